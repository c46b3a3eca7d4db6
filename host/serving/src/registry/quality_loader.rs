//! Loads the rules for the inputs and outputs of a version, and its baseline.

use crate::quality::Quality;
use crate::registry::baseline_file;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::ModelFile;
use crate::registry::quality_settings::{input_rules, output_rules};
use crate::registry::repository::VersionFiles;
use wisp_protocol::call::ModelDescription;

/// Returns the rules and the baseline of a version, if there are any.
pub(super) fn load(
    files: &VersionFiles,
    model_file: &ModelFile,
    description: &ModelDescription,
) -> Result<Option<Quality>, LoadError> {
    let signature = &description.signature;
    let inputs = input_rules(model_file, signature).map_err(LoadError::QualitySettings)?;
    let outputs = output_rules(model_file, signature).map_err(LoadError::QualitySettings)?;
    let baseline = files.baseline.as_deref();
    let baseline = baseline.map(|path| baseline_file::load(path, signature));
    let baseline = baseline.transpose().map_err(LoadError::Baseline)?;
    Ok(Quality::new(inputs, outputs, baseline))
}
