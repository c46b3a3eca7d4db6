//! Finds the models and versions below a path from directory and file names alone.
//!
//! The layout is the same as in Triton and TF Serving: `<model>/<version>/model.onnx`, with `handler.wasm`
//! beside it and an optional `model.toml` above. An unusable model is returned as an error in its own
//! place; only an error of the path itself fails as a whole. This module loads no models.

use crate::registry::baseline_file;
use crate::registry::config_override::{check_name, override_settings};
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{self, ModelFile, ModelFileError, NamedPolicy, VersionPolicy};
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::version_directory::{
    entries, file_name, is_hidden, is_version_directory, number, skipped_versions,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_backend::Format;
use wisp_backend::format::conversion;
use wisp_protocol::call::{ModelName, Version, VersionLabel};
use wisp_protocol::load::LoadConfig;

pub use crate::registry::version_directory::{HANDLER_FILE, versions};

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
}

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

/// The versions of a model that its policy selects, at least one.
#[derive(Debug)]
pub struct SelectedVersions {
    pub model: ModelName,
    /// The files of each version, in the order of version numbers.
    pub files: Vec<VersionFiles>,
    pub labels: BTreeMap<VersionLabel, Version>,
    /// The reasons that entries of the directory which look like versions are none.
    pub skipped: Vec<String>,
    /// The names of the fields in its `config.pbtxt` that have no effect.
    pub ignored_settings: Vec<String>,
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
        Holding::Graph(path) => return Ok(vec![found(&path, single_file(&path).map(only))]),
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
        true => only(single_file(path)?),
        false => selected_versions(path, config)?,
    };
    if let Some(config) = config {
        check_name(config, &selected.model).map_err(LoadError::Config)?;
        for files in &mut selected.files {
            files.config = Some(Arc::clone(config));
            if let Some(file) = &config.default_model_filename {
                set_main_file(files, file)?;
            }
        }
    }
    Ok(selected)
}

/// Makes the graph in `file` the main one, if the version has graphs.
fn set_main_file(files: &mut VersionFiles, file: &str) -> Result<(), LoadError> {
    let is_default = Format::of(Path::new(file)).is_some_and(|(_, stem)| stem == MAIN_GRAPH);
    let is_default = is_default && files.graphs.contains_key(MAIN_GRAPH);
    if files.graphs.is_empty() || is_default || file == HANDLER_FILE {
        return Ok(());
    }
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| name == file);
    let named = files.graphs.iter().find(|(_, path)| is_named(path));
    let Some((graph, path)) = named.map(|(graph, path)| (graph.clone(), path.clone())) else {
        return Err(LoadError::NoMainFile {
            version: files.version,
            file: file.to_owned(),
        });
    };
    files.graphs.remove(&graph);
    files.graphs.insert(MAIN_GRAPH.to_owned(), path);
    Ok(())
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

fn only(files: VersionFiles) -> SelectedVersions {
    SelectedVersions {
        model: files.model.clone(),
        files: vec![files],
        labels: BTreeMap::new(),
        skipped: Vec::new(),
        ignored_settings: Vec::new(),
    }
}

/// Returns the versions in the directory of a model that its model file or `config` selects. If the file cannot be
/// read, returns the highest version, whose load then fails and reports the error.
fn selected_versions(
    model_directory: &Path,
    config: Option<&Arc<LoadConfig>>,
) -> Result<SelectedVersions, LoadError> {
    let highest = highest_version(model_directory)?;
    let Ok(mut model_file) = ModelFile::load(model_directory) else {
        return Ok(only(highest));
    };
    if let Some(config) = config {
        override_settings(config, &mut model_file).map_err(LoadError::Config)?;
    }
    if let Some(triton) = &model_file.triton {
        check_name(&triton.config, &highest.model).map_err(LoadError::TritonConfig)?;
    }
    let all = versions(model_directory)?;
    let selected: Vec<Version> = match &model_file.versions {
        VersionPolicy::Named(NamedPolicy::Latest) => vec![highest.version],
        VersionPolicy::Named(NamedPolicy::All) => all.keys().copied().collect(),
        VersionPolicy::Newest { latest } => {
            let surplus = all.len().saturating_sub(latest.get());
            all.keys().copied().skip(surplus).collect()
        }
        VersionPolicy::Specific(numbers) => {
            let mut selected = Vec::with_capacity(numbers.len());
            for number in numbers {
                let version = Version::from_decimal(&number.to_string());
                let version = version.filter(|version| all.contains_key(version));
                selected.push(version.ok_or(LoadError::NoSuchVersion { number: *number })?);
            }
            selected.sort_unstable();
            selected.dedup();
            selected
        }
    };
    let mut labels = BTreeMap::new();
    for (name, number) in &model_file.labels {
        let label = VersionLabel::new(name).ok_or_else(|| LoadError::LabelName {
            label: name.clone(),
        })?;
        let version = Version::from_decimal(&number.to_string());
        let version = version.filter(|version| selected.contains(version));
        let version = version.ok_or_else(|| LoadError::Label {
            label: name.clone(),
            number: *number,
        })?;
        labels.insert(label, version);
    }
    let mut files = Vec::with_capacity(selected.len());
    for version in selected {
        files.push(match all.get(&version) {
            Some(directory) if version != highest.version => VersionFiles {
                version,
                graphs: graphs(directory)?,
                handler: handler(directory),
                baseline: baseline_file::find(directory),
                directory: Some(directory.clone()),
                ..highest.clone()
            },
            _ => highest.clone(),
        });
    }
    // The main file that a client names is set by the caller, in place of this one.
    let is_named = config.is_some_and(|config| config.default_model_filename.is_some());
    if let Some(file) = model_file.main_file().filter(|_| !is_named) {
        for files in &mut files {
            set_main_file(files, file)?;
        }
    }
    match files.is_empty() {
        true => Err(LoadError::NoSelectedVersion),
        false => Ok(SelectedVersions {
            model: highest.model,
            files,
            labels,
            skipped: skipped_versions(model_directory)?,
            ignored_settings: model_file.ignored_settings(),
        }),
    }
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

/// Returns whatever has the name of a handler: an unreadable handler must not turn the version into one without.
fn handler(version_directory: &Path) -> Option<PathBuf> {
    let handler = version_directory.join(HANDLER_FILE);
    std::fs::symlink_metadata(&handler)
        .is_ok()
        .then_some(handler)
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

/// Returns the files of the highest version in the directory of a model.
pub fn version_files(model_directory: &Path) -> Result<VersionFiles, LoadError> {
    with_main_file(highest_version(model_directory)?)
}

/// Returns the version with the main graph that its `config.pbtxt` names, if it names one.
fn with_main_file(mut files: VersionFiles) -> Result<VersionFiles, LoadError> {
    let directory = files.model_directory.as_deref();
    // An invalid file is reported by the load.
    let model_file = directory.and_then(|directory| ModelFile::load(directory).ok());
    if let Some(file) = model_file.as_ref().and_then(ModelFile::main_file) {
        set_main_file(&mut files, file)?;
    }
    Ok(files)
}

/// Returns the files of the highest version, with its graphs by the names of their files.
fn highest_version(model_directory: &Path) -> Result<VersionFiles, LoadError> {
    let read = |path: &Path, source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let model_directory =
        absolute(model_directory).map_err(|source| read(model_directory, source))?;
    let model = model_name(&model_directory)?;
    let Some((version, directory)) = versions(&model_directory)?.pop_last() else {
        return Err(match ModelFile::load(&model_directory) {
            // Ensembles have no version.
            Err(error @ ModelFileError::Triton(_)) => LoadError::ModelFile(error),
            // An invalid model file is reported once there is a version to load.
            model_file => LoadError::NoVersion {
                export: model_file.ok().and_then(|file| file.export),
            },
        });
    };
    Ok(VersionFiles {
        model,
        version,
        graphs: graphs(&directory)?,
        handler: handler(&directory),
        baseline: baseline_file::find(&directory),
        directory: Some(directory),
        model_directory: Some(model_directory),
        config: None,
    })
}

/// Returns the files of this version in the directory of a model, whatever the policy of the model selects, or `None`
/// if there is no such version.
pub fn files_of_version(
    model_directory: &Path,
    version: Version,
) -> Result<Option<VersionFiles>, LoadError> {
    let highest = highest_version(model_directory)?;
    let Some(directory) = versions(model_directory)?.remove(&version) else {
        return Ok(None);
    };
    let read = |source| LoadError::Read {
        path: directory.clone(),
        source,
    };
    let directory = absolute(&directory).map_err(read)?;
    let files = VersionFiles {
        version,
        graphs: graphs(&directory)?,
        handler: handler(&directory),
        baseline: baseline_file::find(&directory),
        directory: Some(directory),
        ..highest
    };
    with_main_file(files).map(Some)
}

/// Returns a single file, a graph or a component, as version 1 of a model with the name of [`single_file_name`].
fn single_file(path: &Path) -> Result<VersionFiles, LoadError> {
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

/// Returns the path of a single-file model without the ending of its format, as if it were a directory.
fn stem(path: &Path) -> PathBuf {
    match Format::of(path) {
        Some((_, stem)) => path.with_file_name(stem),
        None => path.with_extension(""),
    }
}

/// Returns the name of the model in a single file, from the name of the file without its ending. Characters that a
/// model name cannot have, such as spaces, become `_`.
fn single_file_name(path: &Path) -> Result<ModelName, LoadError> {
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

/// Returns the absolute path whose last component is the name of the model. A link is not followed: its
/// own name is the intended one, `latest.onnx` for example.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    match absolute.file_name() {
        Some(_) => Ok(absolute),
        // The path ends in `..`, which is not a name.
        None => absolute.canonicalize(),
    }
}

fn model_name(path: &Path) -> Result<ModelName, LoadError> {
    let name = file_name(path);
    ModelName::new(&name).map_err(|source| LoadError::Name { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use tempfile::TempDir;
    use wisp_protocol::load::VersionSelection;

    /// Creates a directory with these files, all of them empty.
    fn directory(files: &[&str]) -> anyhow::Result<TempDir> {
        let directory = tempfile::tempdir()?;
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::write(&path, "")?;
        }
        Ok(directory)
    }

    fn names(models: &[FoundModel]) -> Vec<&str> {
        models.iter().map(|model| model.name.as_str()).collect()
    }

    #[test]
    fn a_directory_that_can_be_no_model_fails_alone() -> anyhow::Result<()> {
        let repository = directory(&[
            "good/1/model.onnx",
            "my model/1/model.onnx",
            "notes/a.txt",
            ".hidden/1/model.onnx",
        ])?;
        let models = find_models(repository.path())?;
        assert_eq!(names(&models), ["good", "my model"]);
        assert!(models[0].versions.is_ok());
        assert!(matches!(models[1].versions, Err(LoadError::Name { .. })));
        assert!(find_models(&repository.path().join("none")).is_err());
        Ok(())
    }

    #[test]
    fn any_entry_named_like_a_handler_is_one() -> anyhow::Result<()> {
        let repository = directory(&[
            "link/1/model.onnx",
            "folder/1/handler.wasm/file",
            "bare/1/model.onnx",
        ])?;
        let link = repository.path().join("link/1/handler.wasm");
        std::os::unix::fs::symlink("/nowhere/handler.wasm", &link)?;
        for (model, has_handler) in [("link", true), ("folder", true), ("bare", false)] {
            let files = version_files(&repository.path().join(model))?;
            assert_eq!(files.handler.is_some(), has_handler, "{model}");
        }
        Ok(())
    }

    #[test]
    fn a_number_can_be_a_models_name() -> anyhow::Result<()> {
        let repository = directory(&["7/1/model.onnx", "8/model.toml", "wine/2/handler.wasm"])?;
        let models = find_models(repository.path())?;
        assert_eq!(names(&models), ["7", "8", "wine"]);
        let models = find_models(&repository.path().join("7"))?;
        assert_eq!(names(&models), ["7"]);
        Ok(())
    }

    #[test]
    fn one_model_is_found_whatever_is_wrong_with_the_others() -> anyhow::Result<()> {
        let repository = directory(&["m/2/model.onnx", "bad/1/model.onnx", "notes/a.txt"])?;
        std::fs::write(repository.path().join("bad/model.toml"), "versions = [7]")?;
        for (path, name, expected) in [
            ("", "m", true),
            ("", "notes", false),
            ("", "nope", false),
            ("m", "m", true),
            ("m", "bad", false),
            ("m/2/model.onnx", "model", true),
            ("m/2/model.onnx", "m", false),
        ] {
            let found = model_path(&repository.path().join(path), &ModelName::new(name)?)?;
            assert_eq!(found.is_some(), expected, "{name} below {path}");
            if let Some(found) = found {
                assert_eq!(model_versions(&found, None)?.model.as_str(), name);
            }
        }
        let bad = model_path(repository.path(), &ModelName::new("bad")?)?;
        assert!(model_versions(&bad.context("it is a model")?, None).is_err());
        let paths = model_paths(repository.path())?;
        let names: Vec<_> = paths.keys().map(ModelName::as_str).collect();
        assert_eq!(names, ["bad", "m"]);
        Ok(())
    }

    #[test]
    fn a_version_may_be_empty_or_hold_what_is_not_understood() -> anyhow::Result<()> {
        let repository = directory(&["a/3/saved_model/x.pb"])?;
        std::fs::create_dir_all(repository.path().join("b/4"))?;
        let models = find_models(repository.path())?;
        assert_eq!(names(&models), ["a", "b"]);
        let versions: Vec<_> = models
            .into_iter()
            .map(|model| Ok(model.versions?.files[0].version.to_string()))
            .collect::<Result<_, LoadError>>()?;
        assert_eq!(versions, ["3", "4"]);
        Ok(())
    }

    #[test]
    fn the_model_file_selects_versions_and_labels_them() -> anyhow::Result<()> {
        let files = directory(&[
            "m/1/model.onnx",
            "m/2/model.onnx",
            "m/10/model.onnx",
            "m/v3/x",
        ])?;
        let model = files.path().join("m");
        let select = |text: &str| -> anyhow::Result<Result<SelectedVersions, LoadError>> {
            std::fs::write(model.join(model_file::FILE_NAME), text)?;
            Ok(selected_versions(&model, None))
        };
        for (text, expected) in [
            ("", "10"),
            ("versions = 'all'", "1 2 10"),
            ("versions = { latest = 2 }", "2 10"),
            ("versions = { latest = 9 }", "1 2 10"),
            ("versions = [10, 1, 1]", "1 10"),
        ] {
            let selected = select(text)??.files;
            let versions: Vec<_> = selected.iter().map(|of| of.version.to_string()).collect();
            assert_eq!(versions.join(" "), expected, "{text}");
        }
        let labelled = select("versions = 'all'\nlabels = { stable = 2 }")??.labels;
        let stable = labelled
            .iter()
            .map(|(label, version)| format!("{label} {version}"));
        assert_eq!(stable.collect::<Vec<_>>(), ["stable 2"]);
        for (text, expected) in [
            (
                "versions = [3]",
                "there is no version 3, which model.toml or `config` selects",
            ),
            (
                "versions = []",
                "there is no version to load: the list of versions in model.toml or `config` is empty",
            ),
            (
                "labels = { 'next one' = 10 }",
                "`next one` in `labels` of model.toml is not a valid label",
            ),
            (
                "labels = { stable = 2 }",
                "label `stable` is for version 2, which is not loaded",
            ),
        ] {
            let error = select(text)?.expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        Ok(())
    }

    #[test]
    fn a_configuration_selects_the_versions_and_the_main_file() -> anyhow::Result<()> {
        let files = directory(&["m/1/model.onnx", "m/1/other.onnx", "m/00002/other.onnx"])?;
        let model = files.path().join("m");
        std::fs::write(model.join(model_file::FILE_NAME), "versions = [2]")?;
        let select = |config: LoadConfig| model_versions(&model, Some(&Arc::new(config)));
        let other = LoadConfig {
            versions: Some(VersionSelection::All),
            default_model_filename: Some("other.onnx".to_owned()),
            ..LoadConfig::default()
        };
        let selected = select(other.clone())?;
        let main = selected.files.iter().map(|files| &files.graphs[MAIN_GRAPH]);
        let expected = ["1/other.onnx", "00002/other.onnx"].map(|file| model.join(file));
        assert!(main.eq(&expected));
        let default = LoadConfig {
            default_model_filename: Some("model.onnx".to_owned()),
            ..other.clone()
        };
        let error = select(default)
            .expect_err("version 2 has another")
            .to_string();
        assert_eq!(
            error,
            "version 2 has no model file `model.onnx`, which `default_model_filename` names"
        );
        let named = LoadConfig {
            name: Some("n".to_owned()),
            ..other
        };
        let error = select(named).expect_err("the model is m").to_string();
        assert_eq!(error, "`config` is for model `n`");
        Ok(())
    }

    #[test]
    fn a_configuration_of_triton_selects_them_too_unless_a_client_or_the_model_file_does()
    -> anyhow::Result<()> {
        let files = directory(&["m/1/model.onnx", "m/1/other.onnx", "m/2/other.onnx"])?;
        let model = files.path().join("m");
        let write = |text: &str| std::fs::write(model.join(TRITON_CONFIG_FILE), text);
        write(
            "version_policy { all { } } default_model_filename: \"other.onnx\"\n\
             metric_tags { key: \"a\" value: \"b\" }",
        )?;
        let selected = model_versions(&model, None)?;
        let main = selected.files.iter().map(|files| &files.graphs[MAIN_GRAPH]);
        let expected = ["1/other.onnx", "2/other.onnx"].map(|file| model.join(file));
        assert!(main.eq(&expected));
        assert_eq!(selected.ignored_settings, ["metric_tags"]);
        let highest = version_files(&model)?;
        assert_eq!(highest.graphs[MAIN_GRAPH], model.join("2/other.onnx"));
        let config = LoadConfig {
            versions: Some(VersionSelection::Specific(vec![1])),
            default_model_filename: Some("model.onnx".to_owned()),
            ..LoadConfig::default()
        };
        let selected = model_versions(&model, Some(&Arc::new(config)))?;
        let main = &selected.files[0].graphs[MAIN_GRAPH];
        assert_eq!(*main, model.join("1/model.onnx"));
        std::fs::write(model.join(model_file::FILE_NAME), "versions = [2]")?;
        assert_eq!(model_versions(&model, None)?.files.len(), 1);
        write("name: \"n\"")?;
        let error = model_versions(&model, None).expect_err("the model is m");
        assert_eq!(error.to_string(), "`config.pbtxt` is for model `n`");
        Ok(())
    }

    #[test]
    fn a_directory_with_a_configuration_of_triton_is_a_model() -> anyhow::Result<()> {
        let files = directory(&["one/config.pbtxt", "all/1/notes.txt"])?;
        std::fs::write(
            files.path().join("all").join(TRITON_CONFIG_FILE),
            "platform: \"ensemble\"",
        )?;
        assert!(is_model_directory(&files.path().join("one"))?);
        let error = version_files(&files.path().join("one")).expect_err("there is no version");
        assert!(matches!(error, LoadError::NoVersion { .. }), "{error}");
        std::fs::remove_dir_all(files.path().join("all/1"))?;
        let error = version_files(&files.path().join("all")).expect_err("it is an ensemble");
        let reason = error.client_reason();
        let expected =
            "its config.pbtxt is not valid: line 1: platform `ensemble` is not supported: ";
        assert!(reason.starts_with(expected), "{reason}");
        Ok(())
    }

    #[test]
    fn a_link_has_its_own_name_and_not_that_of_what_it_leads_to() -> anyhow::Result<()> {
        let files = directory(&["blobs/1a2b", "store/v/1/model.onnx"])?;
        let link = files.path().join("latest.onnx");
        std::os::unix::fs::symlink(files.path().join("blobs/1a2b"), &link)?;
        assert_eq!(names(&find_models(&link)?), ["latest"]);
        let link = files.path().join("wine");
        std::os::unix::fs::symlink(files.path().join("store/v"), &link)?;
        assert_eq!(names(&find_models(&link)?), ["wine"]);
        assert_eq!(names(&find_models(&link.join("1/.."))?), ["v"]);
        Ok(())
    }

    #[test]
    fn a_single_file_with_an_odd_name_is_a_model_with_a_valid_one() -> anyhow::Result<()> {
        let long = "x".repeat(200);
        let files = tempfile::tempdir()?;
        for (file, name) in [
            ("my model (1).onnx", "my_model_1"),
            ("yolo v8: größe.640.onnx", "yolo_v8_gr_e.640"),
            ("  -x.onnx", "x"),
            ("模型.onnx", "model"),
            ("a__b_.onnx", "a__b_"),
            ("50%.nnef.tgz", "50"),
            (&format!("{long}.onnx"), &long[..128]),
        ] {
            let path = files.path().join(file);
            std::fs::write(&path, "")?;
            assert_eq!(model_files(&path)?.model.as_str(), name, "{file}");
            assert!(model_path(&path, &ModelName::new(name)?)?.is_some());
            assert_eq!(names(&find_models(&path)?), [name]);
            assert!(model_paths(&path)?.contains_key(&ModelName::new(name)?));
        }
        Ok(())
    }

    #[test]
    fn a_single_component_has_no_graph() -> anyhow::Result<()> {
        let files = directory(&["hello.wasm"])?;
        let path = files.path().join("hello.wasm");
        let found = model_files(&path)?;
        assert_eq!((found.model.as_str(), found.graphs.len()), ("hello", 0));
        assert_eq!(found.handler, Some(path));
        Ok(())
    }

    #[test]
    fn a_single_file_has_no_model_file() -> anyhow::Result<()> {
        let files = directory(&["wine.onnx", "model.toml"])?;
        let models = find_models(&files.path().join("wine.onnx"))?;
        let directories: Vec<_> = models
            .into_iter()
            .map(|model| Ok(model.versions?.files[0].model_directory.clone()))
            .collect::<Result<_, LoadError>>()?;
        assert_eq!(directories, [None]);
        Ok(())
    }

    #[test]
    fn a_model_without_a_version_names_the_command_that_makes_one() -> anyhow::Result<()> {
        let files = directory(&[])?;
        let model = files.path().join("embed");
        std::fs::create_dir(&model)?;
        std::fs::write(model.join(model_file::FILE_NAME), "export = 'make it'")?;
        match version_files(&model) {
            Err(error @ LoadError::NoVersion { .. }) => assert_eq!(
                error.to_string(),
                "there is no version: no directory with a decimal name; create model.onnx with \
                 `make it`, then try again"
            ),
            other => anyhow::bail!("{other:?}"),
        }
        Ok(())
    }
}
