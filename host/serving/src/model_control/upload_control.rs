//! Adds uploaded versions to the repository, and deletes versions from it.
//!
//! A version is loaded from a directory of its own before it is committed, and computes the golden cases of its model, so
//! that a version that cannot be served never becomes part of the repository. After the commit its model is loaded again,
//! as any other change of the repository is; in the mode `poll`, the next polls do so.

use super::control_error::no_room;
use super::load_source::Asked;
use super::{ControlError, ControlMode, ModelControl, run};
use crate::registry::dormancy::expected_bytes_of;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{self, ModelFile, VersionPolicy};
use crate::registry::repository::VersionFiles;
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::{LoadedVersion, ModelEntry, Registry, baseline_file, repository};
use crate::residency::NoRoom;
use crate::uploads::incoming_file::IncomingFile;
use crate::uploads::upload_error::UploadError;
use crate::uploads::{Uploads, content_check};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::upload::{CommittedVersion, UploadFileName, VersionName};

impl ModelControl {
    /// Begins to receive a file of a version that is being uploaded.
    pub(crate) async fn begin_upload(
        &self,
        name: &VersionName,
        file: &UploadFileName,
    ) -> Result<IncomingFile, ControlError> {
        let uploads = self.uploads()?;
        Ok(uploads.begin(name.clone(), file.clone()).await?)
    }

    /// Loads an uploaded version for a trial, adds it to the repository, and loads its model again.
    pub(crate) async fn commit_version(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        name: &VersionName,
    ) -> Result<CommittedVersion, ControlError> {
        self.uploads()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let name = name.clone();
        let lock = self.locks.load(&name.model, self.owner).await;
        run(move || {
            let _lock = lock;
            control.commit_locked(&registry, &name)
        })
        .await?
    }

    /// Deletes a version, or the upload of one. The last version of a model is deleted with its model.
    pub(crate) async fn delete_version(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        name: &VersionName,
    ) -> Result<(), ControlError> {
        self.uploads()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let name = name.clone();
        let lock = self.locks.load(&name.model, self.owner).await;
        run(move || {
            let _lock = lock;
            control.delete_locked(&registry, &name)
        })
        .await?
    }

    /// Returns the uploads, if clients may change the repository.
    fn uploads(&self) -> Result<&Uploads, ControlError> {
        match self.mode {
            ControlMode::Explicit | ControlMode::Poll => {}
            ControlMode::Disabled => return Err(ControlError::Disabled),
            ControlMode::Forbidden => return Err(ControlError::Forbidden),
        }
        if self.forbids_uploads {
            return Err(ControlError::Forbidden);
        }
        Ok(self.uploads.as_ref().ok_or(UploadError::Disabled)?)
    }

    /// Commits a version. The lock of its model is held.
    fn commit_locked(
        &self,
        registry: &Registry,
        name: &VersionName,
    ) -> Result<CommittedVersion, ControlError> {
        let uploads = self.uploads()?;
        let staged = uploads.staging()?.begin_commit(name)?;
        let trial = staged.trial()?;
        let model_directory = trial.model_directory();
        content_check::check_version(&model_directory.join(name.version.to_string()))?;
        if trial.has_settings() {
            content_check::check_settings(model_directory)?;
        }
        self.try_version(registry, (name, model_directory))?;
        staged.commit()?;
        drop(trial);
        let VersionName { model, version } = name;
        tracing::info!(%model, %version, "a client has added a version");
        if self.mode == ControlMode::Poll {
            return Ok(CommittedVersion {
                is_loaded: false,
                problem: None,
            });
        }
        // The service that has taken its place may have looked for the models before.
        if uploads.has_ended() {
            let problem = "the settings of the tenant have changed meanwhile; load the model again";
            return Ok(CommittedVersion {
                is_loaded: false,
                problem: Some(problem.to_owned()),
            });
        }
        let loaded = self.load_again(registry, model);
        Ok(CommittedVersion {
            is_loaded: loaded.is_ok(),
            problem: loaded.err().map(|error| error.to_string()),
        })
    }

    /// Loads a version for a trial and drops it. The error is the reason of a failed load.
    fn try_version(
        &self,
        registry: &Registry,
        (name, model_directory): (&VersionName, &Path),
    ) -> Result<(), ControlError> {
        let VersionName { model, version } = name;
        let failed = |reason: String| ControlError::Failed {
            model: model.clone(),
            reason,
        };
        let refused = |error: LoadError| {
            (self.observer)(model.as_str(), Err(&error));
            failed(error.client_reason())
        };
        let files = repository::version_files(model_directory).map_err(refused)?;
        // A graph takes at least the memory of its file, so one that is too large need not be loaded to be refused.
        let least = largest_graph(&files);
        if let Some(budget) = self.residency.options().max_model_memory_bytes
            && least > budget
        {
            let bytes = least;
            let reason = NoRoom::TooLarge { bytes, budget };
            return Err(failed(no_room(reason, self.is_of_tenant)));
        }
        self.pressure.check_load()?;
        let expected = expected_bytes_of(&files);
        let _expected_load = self.expect_load(expected)?;
        let reserve = || self.residency.make_more_room(registry, model, expected);
        let room = Asked::by_client().wait_for_room(reserve);
        let _room = room.map_err(|reason| self.no_room(model, reason))?;
        let loaded = self.loader.load_version(&files).map_err(refused)?;
        // The golden cases describe the highest version.
        let is_highest = self
            .existing(model)?
            .last_key_value()
            .is_none_or(|(highest, _)| highest < version);
        if is_highest && let Some(reason) = self.golden_failure(model_directory, &loaded) {
            return Err(failed(reason));
        }
        let entry = ModelEntry {
            versions: [(*version, LoadedVersion::Ready(loaded))].into(),
            ..ModelEntry::default()
        };
        let checked = self.residency.check(&entry);
        checked.map_err(|too_large| failed(no_room(too_large, self.is_of_tenant)))?;
        let entry = self.with_route(registry, (model, entry));
        match entry.failure() {
            Some(reason) => Err(failed(reason.to_owned())),
            None => Ok(()),
        }
    }

    /// Deletes a version or an upload. The lock of its model is held.
    fn delete_locked(&self, registry: &Registry, name: &VersionName) -> Result<(), ControlError> {
        let staging = self.uploads()?.staging()?;
        let VersionName { model, version } = name;
        let existing = self.existing(model)?;
        let Some(directory) = existing.get(version) else {
            return match staging.discard(name)? {
                true => Ok(()),
                false => Err(UploadError::UnknownVersion(name.clone()).into()),
            };
        };
        self.check_unused(name)?;
        let loads_others = existing.len() > 1 && self.mode != ControlMode::Poll;
        let is_loaded = || registry.entry(model).is_ok_and(|entry| entry.has_loaded());
        if loads_others && is_loaded() {
            self.pressure.check_load()?;
        }
        let model_directory = self.path.join(model.as_str());
        if existing.len() > 1 {
            staging.delete(directory)?;
        } else {
            check_only_uploads(&model_directory)?;
            staging.delete(&model_directory)?;
        }
        tracing::info!(%model, %version, "a client has deleted a version");
        if self.mode == ControlMode::Poll {
            return Ok(());
        }
        if existing.len() > 1 {
            return self.load_again(registry, model);
        }
        registry.remove(model);
        self.residency.forget(model);
        Ok(())
    }

    /// Returns the versions of a model in the repository; none if there is no such model.
    fn existing(&self, model: &ModelName) -> Result<BTreeMap<Version, PathBuf>, ControlError> {
        let directory = self.path.join(model.as_str());
        if !directory.is_dir() {
            return Ok(BTreeMap::new());
        }
        repository::versions(&directory).map_err(|error| ControlError::Failed {
            model: model.clone(),
            reason: error.client_reason(),
        })
    }

    /// Returns an error if a release or the settings of its model need the version.
    fn check_unused(&self, name: &VersionName) -> Result<(), ControlError> {
        let VersionName { model, version } = name;
        if self.releases.find(model).is_some() {
            let reason = format!("`{model}` has an open release; close it first");
            return Err(UploadError::InUse(reason).into());
        }
        let directory = self.path.join(model.as_str());
        let model_file = ModelFile::load(&directory).unwrap_or_default();
        let is_same = |number: &u64| number.to_string() == version.to_string();
        let is_selected = match &model_file.versions {
            VersionPolicy::Specific(numbers) => numbers.iter().any(is_same),
            VersionPolicy::Named(_) | VersionPolicy::Newest { .. } => false,
        };
        match is_selected || model_file.labels.values().any(is_same) {
            true => {
                let reason = format!("the settings of `{model}` name version {version}");
                Err(UploadError::InUse(reason).into())
            }
            false => Ok(()),
        }
    }
}

/// Returns the size of the largest graph of a version. A file that cannot be read is reported by the load.
fn largest_graph(files: &VersionFiles) -> u64 {
    let graphs = files.graphs.values();
    let sizes = graphs.map(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    sizes.max().unwrap_or(0)
}

/// Returns an error if the directory of a model contains anything that cannot be uploaded.
fn check_only_uploads(model_directory: &Path) -> Result<(), ControlError> {
    const OWN: [&str; 4] = [
        model_file::FILE_NAME,
        TRITON_CONFIG_FILE,
        baseline_file::FILE_NAME,
        "cases",
    ];
    let entries = fs::read_dir(model_directory).map_err(UploadError::from)?;
    for entry in entries {
        let name = entry.map_err(UploadError::from)?.file_name();
        let is_version = name.to_str().and_then(Version::from_decimal).is_some();
        if !is_version && !OWN.iter().any(|own| name == OsStr::new(own)) {
            let reason = "it is the last version, and the directory of the model has other files: delete them on the \
                          server";
            return Err(UploadError::InUse(reason.to_owned()).into());
        }
    }
    Ok(())
}
