//! The name of a model: that of its directory, or that of its only file without the ending.

use crate::registry::load_error::LoadError;
use crate::registry::version_directory::file_name;
use std::path::{Path, PathBuf};
use wisp_backend::Format;
use wisp_protocol::call::ModelName;

/// Returns the absolute path whose last component is the name of the model. A link is not followed: its
/// own name is the intended one, `latest.onnx` for example.
pub(super) fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    match absolute.file_name() {
        Some(_) => Ok(absolute),
        // The path ends in `..`, which is not a name.
        None => absolute.canonicalize(),
    }
}

/// Returns the name of the model in this directory.
pub(super) fn model_name(path: &Path) -> Result<ModelName, LoadError> {
    let name = file_name(path);
    ModelName::new(&name).map_err(|source| LoadError::Name { name, source })
}

/// Returns the path of a single-file model without the ending of its format, as if it were a directory.
fn stem(path: &Path) -> PathBuf {
    match Format::of(path) {
        Some((_, stem)) => path.with_file_name(stem),
        None => path.with_extension(""),
    }
}

/// Returns the name of the model in a single file, from the name of the file without its ending. Characters that a
/// model name cannot have, such as spaces, become `_`.
pub(super) fn single_file_name(path: &Path) -> Result<ModelName, LoadError> {
    let stem = stem(path);
    model_name(&stem).or_else(|_| model_name(Path::new(&valid_name(&file_name(&stem)))))
}

/// Returns `name` with one `_` for each run of characters that a model name cannot have, and without such at its
/// ends; `model` if nothing is left.
fn valid_name(name: &str) -> String {
    const MAX_LENGTH: usize = 128;
    let mut valid = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-') {
            valid.push(character);
        } else if !valid.ends_with('_') {
            valid.push('_');
        }
    }
    let valid = valid.trim_start_matches(['_', '.', '-']);
    // All characters are ASCII by now.
    let valid = &valid[..valid.len().min(MAX_LENGTH)];
    match valid.trim_end_matches('_') {
        "" => "model".to_owned(),
        valid => valid.to_owned(),
    }
}
