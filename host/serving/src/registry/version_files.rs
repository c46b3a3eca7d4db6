//! The files of one version of a model: its graphs and its handler, in a directory or in a single file.

use crate::registry::load_error::LoadError;
use crate::registry::model_name::single_file_name;
use crate::registry::version_directory::{HANDLER_FILE, entries, file_name};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_backend::Format;
use wisp_backend::format::conversion;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::load::LoadConfig;

/// The graph of a bare model. The name of the model is an alias of this graph.
pub const MAIN_GRAPH: &str = "model";

/// The ending of the file of a component that is served alone.
const COMPONENT: &str = "wasm";

/// The files of one version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFiles {
    pub model: ModelName,
    pub version: Version,
    /// The graphs, by name.
    pub graphs: BTreeMap<String, PathBuf>,
    pub handler: Option<PathBuf>,
    /// The directory of the version. `None` for a single file.
    pub directory: Option<PathBuf>,
    /// The directory of `model.toml`. `None` for a single file, since files beside it do not belong to it.
    pub model_directory: Option<PathBuf>,
    /// The settings of a client that replace keys of `model.toml`.
    pub config: Option<Arc<LoadConfig>>,
    /// The baseline of the version, or else of the model, if there is one.
    pub baseline: Option<PathBuf>,
}

impl VersionFiles {
    /// Returns the directories in which the settings name files: the version's and the model's.
    pub(crate) fn directories(&self) -> Vec<&Path> {
        let directories = [&self.directory, &self.model_directory].into_iter();
        directories.flatten().map(PathBuf::as_path).collect()
    }

    /// Makes the graph in `file` the main one, if the version has graphs.
    pub(super) fn set_main_file(&mut self, file: &str) -> Result<(), LoadError> {
        let is_default = Format::of(Path::new(file)).is_some_and(|(_, stem)| stem == MAIN_GRAPH);
        let is_default = is_default && self.graphs.contains_key(MAIN_GRAPH);
        if self.graphs.is_empty() || is_default || file == HANDLER_FILE {
            return Ok(());
        }
        let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| name == file);
        let named = self.graphs.iter().find(|(_, path)| is_named(path));
        let Some((graph, path)) = named.map(|(graph, path)| (graph.clone(), path.clone())) else {
            return Err(LoadError::NoMainFile {
                version: self.version,
                file: file.to_owned(),
            });
        };
        self.graphs.remove(&graph);
        self.graphs.insert(MAIN_GRAPH.to_owned(), path);
        Ok(())
    }
}

/// Returns a single file, a graph or a component, as version 1 of a model with the name of [`single_file_name`].
pub(super) fn single_file(path: &Path) -> Result<VersionFiles, LoadError> {
    if let Some(conversion) = conversion(path) {
        return Err(LoadError::ForeignFormat {
            file: file_name(path),
            conversion,
        });
    }
    let is_component = path.extension().is_some_and(|ending| ending == COMPONENT);
    let (graphs, handler) = match is_component {
        true => (BTreeMap::new(), Some(path.to_owned())),
        false => (
            BTreeMap::from([(MAIN_GRAPH.to_owned(), path.to_owned())]),
            None,
        ),
    };
    Ok(VersionFiles {
        model: single_file_name(path)?,
        version: Version::FIRST,
        graphs,
        handler,
        directory: None,
        model_directory: None,
        config: None,
        baseline: None,
    })
}

/// Returns whether the graph `name` is the main one of `graphs`, whose inputs `model.toml` describes.
pub fn is_main_graph(name: &str, graphs: &BTreeMap<String, PathBuf>) -> bool {
    name == MAIN_GRAPH || graphs.len() == 1
}

/// Returns the graphs in the directory of a version, by name.
pub fn graphs(version_directory: &Path) -> Result<BTreeMap<String, PathBuf>, LoadError> {
    let mut graphs = BTreeMap::new();
    for path in entries(version_directory)? {
        if let Some((_, stem)) = Format::of(&path)
            && let Some(other) = graphs.insert(stem.to_owned(), path.clone())
        {
            return Err(LoadError::TwoFiles {
                graph: stem.to_owned(),
                files: [file_name(&other), file_name(&path)],
            });
        }
    }
    Ok(graphs)
}

/// Returns whatever has the name of a handler: an unreadable handler must not turn the version into one without.
pub(super) fn handler(version_directory: &Path) -> Option<PathBuf> {
    let handler = version_directory.join(HANDLER_FILE);
    std::fs::symlink_metadata(&handler)
        .is_ok()
        .then_some(handler)
}

/// Returns the error for a model file in an unsupported format, with the command that converts it.
pub(super) fn foreign_file(directory: &Path) -> Option<LoadError> {
    let mut files = entries(directory).ok()?;
    files.sort();
    files.iter().find_map(|file| {
        Some(LoadError::ForeignFormat {
            file: file_name(file),
            conversion: conversion(file)?,
        })
    })
}
