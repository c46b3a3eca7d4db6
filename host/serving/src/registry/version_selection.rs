//! The versions in the directory of a model: those that its policy selects, the highest, or one by its number.

use crate::registry::baseline_file;
use crate::registry::config_override::{check_name, override_settings};
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{ModelFile, ModelFileError, NamedPolicy, VersionPolicy};
use crate::registry::model_name::{absolute, model_name};
use crate::registry::version_directory::{skipped_versions, versions};
use crate::registry::version_files::{VersionFiles, graphs, handler};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use wisp_protocol::call::{ModelName, Version, VersionLabel};
use wisp_protocol::load::LoadConfig;

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

impl SelectedVersions {
    /// Returns a selection of these files alone.
    pub(super) fn only(files: VersionFiles) -> SelectedVersions {
        SelectedVersions {
            model: files.model.clone(),
            files: vec![files],
            labels: BTreeMap::new(),
            skipped: Vec::new(),
            ignored_settings: Vec::new(),
        }
    }
}

/// Returns the versions in the directory of a model that its model file or `config` selects. If the file cannot be
/// read, returns the highest version, whose load then fails and reports the error.
pub(super) fn selected_versions(
    model_directory: &Path,
    config: Option<&Arc<LoadConfig>>,
) -> Result<SelectedVersions, LoadError> {
    let highest = highest_version(model_directory)?;
    let Ok(mut model_file) = ModelFile::load(model_directory) else {
        return Ok(SelectedVersions::only(highest));
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
            files.set_main_file(file)?;
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

/// Returns the files of the highest version in the directory of a model.
pub fn version_files(model_directory: &Path) -> Result<VersionFiles, LoadError> {
    with_main_file(highest_version(model_directory)?)
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

/// Returns the version with the main graph that its `config.pbtxt` names, if it names one.
fn with_main_file(mut files: VersionFiles) -> Result<VersionFiles, LoadError> {
    let directory = files.model_directory.as_deref();
    // An invalid file is reported by the load.
    let model_file = directory.and_then(|directory| ModelFile::load(directory).ok());
    if let Some(file) = model_file.as_ref().and_then(ModelFile::main_file) {
        files.set_main_file(file)?;
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
