//! The description of a version, which clients read as its metadata and its configuration.
//!
//! It follows from the signature, the model file and the loaded graphs. Declarations of a configuration that do not agree
//! with the version are errors.

use crate::registry::batch_axis::check_batch_axis;
use crate::registry::class_labels;
use crate::registry::config_override::check_declarations;
use crate::registry::configuration::Configuring;
use crate::registry::graph_loader::LoadedGraph;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::ModelFile;
use crate::registry::repository::{MAIN_GRAPH, VersionFiles};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use wisp_backend::Format;
use wisp_protocol::call::ModelDescription;
use wisp_tensor::Signature;

/// The maximum number of rows of a request for a handler, if batches are possible and the model file sets no maximum.
const DEFAULT_HANDLER_ROWS: u32 = 32;

/// The batch size that clients of a graph without a handler are told if the model file sets none, and requests have
/// any number of rows. Triton's type for this number is a signed integer of 32 bits.
const ANY_BATCH_SIZE: u32 = i32::MAX.unsigned_abs();

/// The property of a version's description that has the reasons for its automatically selected backends.
pub const SELECTION: &str = "backend_selection";

/// The backend name of a version without graphs.
const NO_BACKEND: &str = "none";

/// The parts of a version's description that do not depend on its signature.
pub(super) struct DescriptionParts<'a> {
    pub(super) files: &'a VersionFiles,
    pub(super) model_file: &'a ModelFile,
    pub(super) platform: String,
    pub(super) properties: BTreeMap<String, String>,
    /// The number of computations of a graph that may run at the same time.
    pub(super) instances: NonZeroUsize,
    /// Set if the first axes of each graph's inputs may be one batch.
    pub(super) may_be_batched: bool,
}

impl DescriptionParts<'_> {
    /// Returns the description of the version with this signature.
    pub(super) fn with_signature(
        &self,
        signature: Signature,
        is_batched: bool,
    ) -> Result<ModelDescription, LoadError> {
        let DescriptionParts {
            files,
            model_file,
            platform,
            properties,
            instances,
            may_be_batched,
        } = self;
        let has_handler = files.handler.is_some();
        let default = match (is_batched && *may_be_batched, has_handler) {
            (false, _) => 0,
            (true, true) => DEFAULT_HANDLER_ROWS,
            (true, false) => ANY_BATCH_SIZE,
        };
        let max_batch_size = model_file.max_batch_size.unwrap_or(default);
        check_batch_axis(&signature, max_batch_size).map_err(LoadError::NoBatchAxis)?;
        let is_limited = has_handler || model_file.max_batch_size.is_some();
        let graph = files.graphs.get(MAIN_GRAPH).filter(|_| !has_handler);
        let graph = graph.map(PathBuf::as_path);
        let directories = files.directories();
        let class_labels = class_labels::load(model_file, &directories, &signature, graph);
        let configuring = Configuring {
            files,
            model_file,
            signature: &signature,
            has_batch: max_batch_size > 0,
            instances: *instances,
        };
        let configuration = configuring.configuration();
        let description = ModelDescription {
            model: files.model.clone(),
            version: files.version,
            platform: platform.clone(),
            properties: properties.clone(),
            max_batch_size,
            max_rows: is_limited.then_some(max_batch_size),
            class_labels: class_labels.map_err(LoadError::ClassLabels)?,
            configuration: configuration.map_err(LoadError::InputFormat)?,
            signature,
        };
        if let Some(config) = &files.config {
            check_declarations(config, &description).map_err(LoadError::Config)?;
        } else if let Some(triton) = &model_file.triton {
            let checked = check_declarations(&triton.config, &description);
            checked.map_err(LoadError::TritonConfig)?;
        }
        Ok(description)
    }
}

/// Returns the backend and format of the version's main graph, or of the first if it has no main graph.
pub(super) fn platform(files: &VersionFiles, loaded: &BTreeMap<&str, LoadedGraph>) -> String {
    let main = loaded.get_key_value(MAIN_GRAPH);
    let Some((name, graph)) = main.or_else(|| loaded.iter().next()) else {
        return format!("{NO_BACKEND}_onnx");
    };
    let path = files.graphs.get(*name);
    let format = path.and_then(|path| Format::of(path));
    let format = format.map_or(Format::Onnx, |(format, _)| format);
    format!("{}_{}", graph.backend, format.name())
}

/// Returns the parameters of the model file, with the reasons for automatically selected backends, if there are any.
pub(super) fn properties(
    model_file: &ModelFile,
    loaded: &BTreeMap<&str, LoadedGraph>,
) -> BTreeMap<String, String> {
    let mut properties = model_file.parameters.clone();
    // A client that sends back a configuration would send the reason of an earlier load.
    properties.remove(SELECTION);
    let selections = loaded.iter().filter_map(|(name, graph)| {
        let selection = graph.selection.as_ref()?;
        Some(match loaded.len() {
            1 => selection.to_string(),
            _ => format!("{name}: {selection}"),
        })
    });
    let selections: Vec<String> = selections.collect();
    if !selections.is_empty() {
        properties.insert(SELECTION.to_owned(), selections.join("; "));
    }
    properties
}
