//! The entries of a repository that are not served and could be meant as models: directories with names that a model
//! cannot have, directories without a version, and loose model files.
//!
//! Hidden entries, whose names begin with a dot, are neither, and nor are directories with documents.

use crate::registry::load_error::LoadError;
use crate::registry::repository::{is_model_directory, is_repository};
use crate::registry::version_directory::{entries, file_name, is_hidden, skipped_versions};
use std::path::Path;
use wisp_backend::Format;
use wisp_protocol::call::ModelName;

/// The endings of files that belong to no model. A directory with nothing else is not meant as one.
const DOCUMENTS: [&str; 5] = ["md", "rst", "txt", "yaml", "yml"];

/// An entry of a repository that is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEntry {
    /// The name of the file or directory, which may be any text.
    pub name: String,
    /// The reason, for clients too. It contains no path.
    pub reason: String,
}

/// Returns the entries of the repository at `path` that are skipped, by name; none if `path` is the directory of one model.
pub fn skipped_entries(path: &Path) -> Result<Vec<SkippedEntry>, LoadError> {
    let mut skipped = Vec::new();
    if !is_repository(path)? {
        return Ok(skipped);
    }
    for path in entries(path)? {
        if is_hidden(&path) {
            continue;
        }
        let name = file_name(&path);
        if let Some(reason) = reason(&name, &path) {
            skipped.push(SkippedEntry { name, reason });
        }
    }
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(skipped)
}

/// Logs the entries of `now` that are not in `before`.
pub(crate) fn log_new(before: &[SkippedEntry], now: &[SkippedEntry]) {
    for entry in now.iter().filter(|entry| !before.contains(entry)) {
        let SkippedEntry { name, reason } = entry;
        tracing::warn!(name = name.as_str(), reason = reason.as_str(), "skipped");
    }
}

fn reason(name: &str, path: &Path) -> Option<String> {
    if !path.is_dir() {
        let is_graph = Format::of(path).is_some() && path.is_file();
        return is_graph.then(|| {
            "it is a model file outside of a version: move it to `<model>/1/model.onnx`".to_owned()
        });
    }
    if let Err(error) = ModelName::new(name) {
        return Some(format!("`{name}` is not a valid model name: {error}"));
    }
    // A directory that cannot be read counts as a model, which fails to load.
    if is_model_directory(path).unwrap_or(true) {
        return None;
    }
    if is_documentation(path) {
        return None;
    }
    let mut reason = "it contains no version, such as `1/model.onnx`, and no model.toml".to_owned();
    for version in skipped_versions(path).unwrap_or_default() {
        reason += "; ";
        reason += &version;
    }
    Some(reason)
}

/// Returns whether a directory has files, and all of them are documents.
fn is_documentation(path: &Path) -> bool {
    let files = entries(path).unwrap_or_default();
    let mut files = files.iter().filter(|file| file.is_file()).peekable();
    let is_document = |file: &&Path| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| DOCUMENTS.contains(&ending))
    };
    files.peek().is_some() && files.all(|file| is_document(&file.as_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_that_could_be_a_model_has_a_reason() -> anyhow::Result<()> {
        let repository = tempfile::tempdir()?;
        for file in [
            "good/1/model.onnx",
            "empty/model.toml",
            "my model/1/model.onnx",
            "notes/a.txt",
            "other/a.bin",
            "named/v1/model.onnx",
            ".git/1/model.onnx",
            "loose.onnx",
            "README.md",
        ] {
            let path = repository.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&path, "")?;
        }
        let skipped = skipped_entries(repository.path())?;
        let text = |entry: &SkippedEntry| format!("{}: {}", entry.name, entry.reason);
        let skipped: Vec<String> = skipped.iter().map(text).collect();
        assert_eq!(
            skipped,
            [
                "loose.onnx: it is a model file outside of a version: move it to `<model>/1/model.onnx`",
                "my model: `my model` is not a valid model name: a model name is 1 to 128 letters, digits, `_`, `.` \
                 or `-`, and starts with a letter, a digit or `_`",
                "named: it contains no version, such as `1/model.onnx`, and no model.toml; `v1` is not a version: its \
                 name is not a decimal number",
                "other: it contains no version, such as `1/model.onnx`, and no model.toml",
            ]
        );
        let model = repository.path().join("good");
        assert!(skipped_entries(&model)?.is_empty());
        assert!(skipped_entries(&model.join("1/model.onnx"))?.is_empty());
        Ok(())
    }
}
