//! The version directories of a model: decimal numbers, with leading zeros as TF Serving writes them or without.
//!
//! This module reads names of directories and files, and nothing else.

use crate::registry::load_error::LoadError;
use crate::registry::model_file;
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wisp_backend::Format;
use wisp_protocol::call::Version;

/// The file name of a version's handler.
pub const HANDLER_FILE: &str = "handler.wasm";

/// Returns the version directories in the directory of a model. Other names are ignored; so is a model whose name
/// is a number.
pub fn versions(model_directory: &Path) -> Result<BTreeMap<Version, PathBuf>, LoadError> {
    let mut versions: BTreeMap<Version, PathBuf> = BTreeMap::new();
    for (version, path) in version_directories(model_directory)? {
        let name = file_name(&path);
        if let Some(other) = versions.insert(version, path) {
            return Err(LoadError::SameVersion {
                version,
                directories: [file_name(&other), name],
            });
        }
    }
    Ok(versions)
}

/// Returns every version directory in the directory of a model, by number and name. Two may have the same number.
pub(super) fn version_directories(
    model_directory: &Path,
) -> Result<Vec<(Version, PathBuf)>, LoadError> {
    let mut versions = Vec::new();
    for path in entries(model_directory)? {
        if let Some(version) = number(&path)
            && path.is_dir()
            && is_version_directory(&path)?
        {
            versions.push((version, path));
        }
    }
    versions.sort();
    Ok(versions)
}

/// Returns the reasons that entries of a model's directory which look like versions are none, in order.
pub(super) fn skipped_versions(model_directory: &Path) -> Result<Vec<String>, LoadError> {
    let mut skipped = Vec::new();
    let mut paths = entries(model_directory)?;
    paths.sort();
    for path in paths {
        let name = file_name(&path);
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        let is_directory = path.is_dir();
        let looks_like_version = match is_directory {
            true => name
                .trim_start_matches('v')
                .starts_with(|c: char| c.is_ascii_digit()),
            false => is_number,
        };
        if !looks_like_version {
            continue;
        }
        let reason = match (number(&path), is_number) {
            (Some(_), _) if !is_directory => "it is not a directory",
            (Some(_), _) if is_version_directory(&path)? => continue,
            (Some(_), _) => {
                "it contains versions or a model.toml, as the directory of a model does"
            }
            (None, false) => "its name is not a decimal number",
            (None, true) if name.bytes().all(|byte| byte == b'0') => "versions begin at 1",
            (None, true) => "the number is larger than 18446744073709551615",
        };
        skipped.push(format!("`{name}` is not a version: {reason}"));
    }
    Ok(skipped)
}

/// Returns whether a directory with a number as its name is a version and not a model in a repository. It
/// is if it contains files of a version, or nothing that only the directory of a model contains.
pub(super) fn is_version_directory(path: &Path) -> Result<bool, LoadError> {
    let entries = entries(path)?;
    let is_versions_file = |path: &PathBuf| {
        Format::of(path).is_some() || path.file_name().is_some_and(|name| name == HANDLER_FILE)
    };
    let is_models_own = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name == model_file::FILE_NAME || name == TRITON_CONFIG_FILE)
            || (number(path).is_some() && path.is_dir())
    };
    Ok(entries.iter().any(is_versions_file) || !entries.iter().any(is_models_own))
}

/// Returns the version whose number is the name of the directory. Leading zeros have no meaning.
pub(super) fn number(path: &Path) -> Option<Version> {
    let name = path.file_name()?.to_str()?;
    Version::from_decimal(name.trim_start_matches('0'))
}

/// Returns the entries of a directory, in no particular order.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let read = |source| LoadError::Read {
        path: directory.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(directory).map_err(read)?;
    entries
        .map(|entry| Ok(entry.map_err(read)?.path()))
        .collect()
}

/// Returns whether the name begins with a dot, which no model's does.
pub(super) fn is_hidden(path: &Path) -> bool {
    file_name(path).starts_with('.')
}

/// Returns the last component of a path as text.
pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn directory(files: &[&str]) -> anyhow::Result<TempDir> {
        let directory = tempfile::tempdir()?;
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&path, "")?;
        }
        Ok(directory)
    }

    #[test]
    fn leading_zeros_have_no_meaning() -> anyhow::Result<()> {
        let model = directory(&["00001/model.onnx", "02/model.onnx", "10/model.onnx"])?;
        let versions = versions(model.path())?;
        let numbers: Vec<_> = versions.keys().map(Version::to_string).collect();
        assert_eq!(numbers, ["1", "2", "10"]);
        assert_eq!(versions[&Version::FIRST], model.path().join("00001"));
        Ok(())
    }

    #[test]
    fn two_directories_of_one_version_are_an_error_that_names_both() -> anyhow::Result<()> {
        let model = directory(&["1/model.onnx", "00001/model.onnx"])?;
        let error = versions(model.path())
            .expect_err("there are two")
            .to_string();
        let expected =
            "version 1 has two directories, `00001` and `1`: remove or rename one of them";
        assert_eq!(error, expected);
        Ok(())
    }

    #[test]
    fn an_entry_that_only_looks_like_a_version_has_a_reason() -> anyhow::Result<()> {
        let model = directory(&[
            "1/model.onnx",
            "0/model.onnx",
            "2.1/model.onnx",
            "v2/model.onnx",
            "3",
            "4/model.toml",
            "99999999999999999999/model.onnx",
            "cases/1.json",
            "src/lib.rs",
            "2024.txt",
            "vocabulary/words",
        ])?;
        let expected = [
            "`0` is not a version: versions begin at 1",
            "`2.1` is not a version: its name is not a decimal number",
            "`3` is not a version: it is not a directory",
            "`4` is not a version: it contains versions or a model.toml, as the directory of a model does",
            "`99999999999999999999` is not a version: the number is larger than 18446744073709551615",
            "`v2` is not a version: its name is not a decimal number",
        ];
        assert_eq!(skipped_versions(model.path())?, expected);
        Ok(())
    }
}
