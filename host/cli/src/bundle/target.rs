//! The forms in which a finished bundle is written: the component alone, or with the files of a platform.

mod cloudflare;
mod component;
mod directory;
mod identifier;
mod spin;

pub(crate) use super::finished::Bundle;

use crate::options::TargetChoice;
use std::path::{Path, PathBuf};

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
        TargetChoice::Spin => spin::write(bundle, output),
        TargetChoice::Cloudflare => cloudflare::write(bundle, output),
    }
}
