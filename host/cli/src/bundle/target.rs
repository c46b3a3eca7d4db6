//! The forms in which a finished bundle is written: the component alone, or with the files of a platform.

mod component;

use crate::failure::bad_configuration;
use crate::options::TargetChoice;
use std::path::{Path, PathBuf};
use wisp_protocol::call::ModelDescription;

/// A finished bundle, which has been tried. Lifetime: the end of the command.
#[derive(Debug)]
pub(crate) struct Bundle<'a> {
    /// The component, which exports wasi:http/incoming-handler.
    pub(crate) bytes: &'a [u8],
    /// The size of the component compressed with gzip.
    pub(crate) gzipped_bytes: u64,
    /// The model and the version inside.
    pub(crate) model: &'a ModelDescription,
    /// The name of the engine inside: `rten` or `tract`.
    pub(crate) engine: &'static str,
    /// The interfaces that the component imports, with their versions.
    pub(crate) imports: &'a [String],
    /// Set if an instance may serve several requests.
    pub(crate) keeps_instance: bool,
}

/// Returns the path to which a bundle is written if none is named.
pub(super) fn default_output(target: TargetChoice, bundle: &Bundle<'_>) -> PathBuf {
    let model = &bundle.model.model;
    PathBuf::from(match target {
        TargetChoice::Component => format!("{model}.wasm"),
        TargetChoice::Spin => format!("{model}-spin"),
        TargetChoice::Cloudflare => format!("{model}-cloudflare"),
    })
}

/// Writes the bundle for a target.
pub(super) fn write(
    target: TargetChoice,
    bundle: &Bundle<'_>,
    output: &Path,
) -> anyhow::Result<()> {
    match target {
        TargetChoice::Component => component::write(bundle, output),
        TargetChoice::Spin | TargetChoice::Cloudflare => Err(bad_configuration(format!(
            "--target {target:?} is not available in this build"
        ))),
    }
}
