//! Finds the models and versions below a path from directory and file names alone.
//!
//! The layout is the same as in Triton and TF Serving: `<model>/<version>/model.onnx`, with `handler.wasm`
//! beside it and an optional `model.toml` above. An unusable model is returned as an error in its own
//! place; only an error of the path itself fails as a whole. `version_selection` chooses the versions of a model, and
//! `version_files` finds the files of each. None of these modules loads a model.

use crate::registry::config_override::check_name;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{self, ModelFile};
use crate::registry::model_name::{absolute, model_name, single_file_name};
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::version_directory::{
    entries, file_name, is_hidden, is_version_directory, number,
};
use crate::registry::version_files::single_file;
use crate::registry::version_selection::selected_versions;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_protocol::call::ModelName;
use wisp_protocol::load::LoadConfig;

pub use crate::registry::version_directory::{HANDLER_FILE, versions};
pub use crate::registry::version_files::{MAIN_GRAPH, VersionFiles, graphs, is_main_graph};
pub use crate::registry::version_selection::{SelectedVersions, files_of_version, version_files};

/// A model that was found: its files, or the reason that none of its versions can be loaded.
#[derive(Debug)]
pub struct FoundModel {
    /// The name of its file or directory, which may be invalid as the name of a model.
    pub name: String,
    /// The versions to load, in order, and the labels of some of them.
    pub versions: Result<SelectedVersions, LoadError>,
    /// Set if its model file declares it optional.
    pub is_optional: bool,
}

/// The kind of a path.
enum Holding {
    /// A single graph file.
    Graph(PathBuf),
    /// The directory of a model.
    Model(PathBuf),
    /// A directory of model directories.
    Repository(PathBuf),
}

/// Returns the models below `path`, by name: the models of a repository, or the one at `path`.
pub fn find_models(path: &Path) -> Result<Vec<FoundModel>, LoadError> {
    let path = match holding(path)? {
        Holding::Graph(path) => {
            let versions = single_file(&path).map(SelectedVersions::only);
            return Ok(vec![found(&path, versions)]);
        }
        Holding::Model(path) => return Ok(vec![found(&path, selected_versions(&path, None))]),
        Holding::Repository(path) => path,
    };
    let mut models = Vec::new();
    for directory in entries(&path)? {
        if !directory.is_dir() || is_hidden(&directory) {
            continue;
        }
        match is_model_directory(&directory) {
            Ok(true) => models.push(found(&directory, selected_versions(&directory, None))),
            Ok(false) => {}
            Err(error) => models.push(found(&directory, Err(error))),
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(models)
}

/// Returns the path of the model of this name below `path`, if it exists now: its directory, or its only graph. Other
/// models are not read.
pub fn model_path(path: &Path, name: &ModelName) -> Result<Option<PathBuf>, LoadError> {
    let is_named = |own: Result<ModelName, LoadError>| own.is_ok_and(|own| own == *name);
    Ok(match holding(path)? {
        Holding::Graph(path) => is_named(single_file_name(&path)).then_some(path),
        Holding::Model(path) => is_named(model_name(&path)).then_some(path),
        Holding::Repository(path) => {
            let directory = path.join(name.as_str());
            let is_model = directory.is_dir() && is_model_directory(&directory)?;
            is_model.then_some(directory)
        }
    })
}

/// Returns the versions to load of the model at `path`: a directory, or a single graph. The settings in `config`
/// replace settings of the model file.
pub fn model_versions(
    path: &Path,
    config: Option<&Arc<LoadConfig>>,
) -> Result<SelectedVersions, LoadError> {
    let mut selected = match path.is_file() {
        true => SelectedVersions::only(single_file(path)?),
        false => selected_versions(path, config)?,
    };
    if let Some(config) = config {
        check_name(config, &selected.model).map_err(LoadError::Config)?;
        for files in &mut selected.files {
            files.config = Some(Arc::clone(config));
            if let Some(file) = &config.default_model_filename {
                files.set_main_file(file)?;
            }
        }
    }
    Ok(selected)
}

/// Returns the path of each model below `path` by its name: its directory, or its only graph. Names that
/// are invalid for a model are left out.
pub fn model_paths(path: &Path) -> Result<BTreeMap<ModelName, PathBuf>, LoadError> {
    let mut paths = BTreeMap::new();
    match holding(path)? {
        Holding::Graph(path) => {
            paths.extend(single_file_name(&path).map(|name| (name, path)));
        }
        Holding::Model(path) => paths.extend(model_name(&path).map(|name| (name, path))),
        Holding::Repository(path) => {
            for directory in entries(&path)? {
                // An unreadable directory counts as a model.
                if directory.is_dir() && is_model_directory(&directory).unwrap_or(true) {
                    paths.extend(model_name(&directory).map(|name| (name, directory)));
                }
            }
        }
    }
    Ok(paths)
}

/// Returns whether the path is a directory of models, and not one model.
pub fn is_repository(path: &Path) -> Result<bool, LoadError> {
    Ok(matches!(holding(path)?, Holding::Repository(_)))
}

fn holding(path: &Path) -> Result<Holding, LoadError> {
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let path = absolute(path).map_err(read)?;
    if std::fs::metadata(&path).map_err(read)?.is_file() {
        return Ok(Holding::Graph(path));
    }
    // An unreadable directory inside does not decide about the others.
    let is_version = |entry: &PathBuf| {
        number(entry).is_some() && entry.is_dir() && is_version_directory(entry).unwrap_or(false)
    };
    let is_model = has_settings(&path);
    match is_model || entries(&path)?.iter().any(is_version) {
        true => Ok(Holding::Model(path)),
        false => Ok(Holding::Repository(path)),
    }
}

fn found(path: &Path, versions: Result<SelectedVersions, LoadError>) -> FoundModel {
    let name = match &versions {
        Ok(versions) => versions.model.to_string(),
        Err(_) => file_name(path),
    };
    // A single file has no model file, and an invalid model file declares nothing.
    let is_optional = ModelFile::read(path).is_ok_and(|(file, _)| file.optional);
    FoundModel {
        name,
        versions,
        is_optional,
    }
}

/// Returns whether the directory contains a model: a version, a model file, or a configuration of Triton.
pub fn is_model_directory(path: &Path) -> Result<bool, LoadError> {
    Ok(has_settings(path) || !versions(path)?.is_empty())
}

/// Returns whether the directory contains settings of a model.
fn has_settings(path: &Path) -> bool {
    let names = [model_file::FILE_NAME, TRITON_CONFIG_FILE];
    names.iter().any(|name| path.join(name).is_file())
}

/// Returns the files of the model at `path`: a single graph file, or the directory of a model, of which the highest
/// version is meant.
pub fn model_files(path: &Path) -> Result<VersionFiles, LoadError> {
    if !path.is_file() {
        return version_files(path);
    }
    let absolute = absolute(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    });
    single_file(&absolute?)
}

#[cfg(test)]
mod tests;
