//! The files of one version of a model, with those that it needs from the model's directory.
//!
//! These are all files in the directory of the version, `model.toml`, `config.pbtxt`, the golden cases, and the files
//! that these name: labels, files of the handler, files of requests. Whatever else is there (scripts, training data)
//! is left out, so that nothing is published by accident. Hidden files are left out too.

use super::upload::Upload;
use crate::cases;
use crate::display;
use crate::oci::artifact::{EMPTY_CONFIG, ModelArtifact, is_part};
use crate::oci::digest::Blob;
use crate::oci::file_title::{FileTitle, check_distinct};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use wisp_protocol::call::{ModelName, Version};
use wisp_serving::registry::model_file::{FILE_NAME, ModelFile};
use wisp_serving::registry::repository::{HANDLER_FILE, graphs, is_model_directory, versions};
use wisp_serving::registry::triton_config::TRITON_CONFIG_FILE;

/// The directory of golden cases.
const CASES: &str = "cases";

/// The version that a path names.
#[derive(Debug, PartialEq, Eq)]
struct SelectedVersion {
    model_directory: PathBuf,
    version: Version,
    /// The directory of the version, whose name may have leading zeros.
    directory: PathBuf,
}

/// The files of an artifact by their titles. The order of titles is the order of layers.
type Files = BTreeMap<FileTitle, PathBuf>;

/// Reads a version of a model: that in the directory, or the highest one of a model's directory.
pub(super) fn prepare(path: &Path) -> anyhow::Result<Upload> {
    let selected = select(path)?;
    let name = selected.model_directory.file_name().unwrap_or_default();
    let name = ModelName::new(&name.to_string_lossy())?;
    let files = files(&selected)?;
    let mut artifact = ModelArtifact {
        name,
        version: selected.version,
        files: BTreeMap::new(),
    };
    let mut upload = Vec::with_capacity(files.len());
    for (title, path) in files {
        let blob = Blob::of_file(&path)
            .with_context(|| format!("cannot read `{}`", display::path(&path)))?;
        artifact.files.insert(title, blob.clone());
        upload.push((path, blob));
    }
    Ok(Upload {
        manifest: artifact.manifest()?,
        config: EMPTY_CONFIG.to_vec(),
        files: upload,
    })
}

fn select(path: &Path) -> anyhow::Result<SelectedVersion> {
    // A link is not followed: the model has the link's own name.
    let path = std::path::absolute(path)?;
    let path = match path.file_name() {
        Some(_) => path,
        // It ends in `..`, which is not a name.
        None => path.canonicalize()?,
    };
    if is_model_directory(&path)? {
        let Some((version, directory)) = versions(&path)?.pop_last() else {
            bail!("the model has no version");
        };
        return Ok(SelectedVersion {
            model_directory: path,
            version,
            directory,
        });
    }
    let model_directory = path.parent().unwrap_or(&path);
    let found = versions(model_directory)?;
    let found = found.into_iter().find(|(_, directory)| *directory == path);
    let (version, directory) =
        found.context("it is neither the directory of a model nor of a version")?;
    Ok(SelectedVersion {
        model_directory: model_directory.to_owned(),
        version,
        directory,
    })
}

/// Returns the files to push.
fn files(selected: &SelectedVersion) -> anyhow::Result<Files> {
    let SelectedVersion {
        model_directory,
        version,
        directory,
    } = selected;
    let model_file = ModelFile::load(model_directory)?;
    let handler = directory.join(HANDLER_FILE);
    if model_file.handler.source.is_some() && !handler.is_file() {
        bail!(
            "{FILE_NAME} has the source of a handler, and version {version} has no {HANDLER_FILE}; run \
             `wisp build {}` first",
            display::path(model_directory)
        );
    }
    ensure!(
        handler.is_file() || !graphs(directory)?.is_empty(),
        "version {version} has neither a model file nor a {HANDLER_FILE}"
    );
    let mut files = Files::new();
    walk(directory, &version.to_string(), &mut files)?;
    for name in [FILE_NAME, TRITON_CONFIG_FILE] {
        let settings = model_directory.join(name);
        if settings.is_file() {
            files.insert(FileTitle::new(name)?, settings);
        }
    }
    let cases = model_directory.join(CASES);
    if cases.is_dir() {
        walk(&cases, CASES, &mut files)?;
    }
    for title in named_files(&model_file, model_directory)? {
        let path = title.within(model_directory);
        // A file of a handler may be in the directory of the version alone.
        if path.is_file() && is_part(&title, *version) {
            files.insert(title, path);
        }
    }
    check_distinct(files.keys())?;
    Ok(files)
}

/// Returns the files in the directory of the model that its settings and cases name.
fn named_files(model_file: &ModelFile, model_directory: &Path) -> anyhow::Result<Vec<FileTitle>> {
    let mut titles = Vec::new();
    for output in model_file.outputs.values() {
        if let Some(labels) = &output.labels {
            titles.push(resolved("", labels)?);
        }
    }
    for file in &model_file.handler.files {
        titles.push(resolved("", Path::new(file))?);
    }
    for case in cases::load_all(model_directory)? {
        let inputs = case.request.get("inputs").and_then(Value::as_array);
        for input in inputs.into_iter().flatten() {
            if let Some(file) = input.get("file").and_then(Value::as_str) {
                let title = resolved(CASES, Path::new(file));
                let title = title.with_context(|| format!("case {}", display::path(&case.path)))?;
                let exists = title.within(model_directory).is_file();
                ensure!(
                    exists,
                    "case {}: there is no `{title}`",
                    display::path(&case.path)
                );
                titles.push(title);
            }
        }
    }
    Ok(titles)
}

/// Returns the title of the file at `path`, relative to a directory of the model.
fn resolved(directory: &str, path: &Path) -> anyhow::Result<FileTitle> {
    let mut names: Vec<&str> = directory
        .split('/')
        .filter(|name| !name.is_empty())
        .collect();
    for component in path.components() {
        let is_within = match component {
            Component::CurDir => true,
            Component::ParentDir => names.pop().is_some(),
            Component::Normal(name) => {
                names.push(name.to_str().context("a file name is not UTF-8")?);
                true
            }
            Component::RootDir | Component::Prefix(_) => false,
        };
        ensure!(
            is_within,
            "`{}` is not in the directory of the model",
            path.display()
        );
    }
    Ok(FileTitle::new(&names.join("/"))?)
}

/// Adds the files in `directory` and below it, with titles that begin with `prefix`. Links to files are followed.
fn walk(directory: &Path, prefix: &str, files: &mut Files) -> anyhow::Result<()> {
    let reading = || format!("cannot read `{}`", display::path(directory));
    for entry in fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let path = entry.path();
        let shown = display::path(&path);
        let name = entry.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("the name of `{shown}` is not UTF-8"))?;
        if name.starts_with('.') {
            continue;
        }
        let title = FileTitle::new(&format!("{prefix}/{name}"))?;
        let is_directory = entry.file_type().with_context(reading)?.is_dir();
        if is_directory {
            walk(&path, title.as_str(), files)?;
        } else if path.is_file() {
            files.insert(title, path);
        } else {
            bail!("`{shown}` is neither a file nor a directory");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
