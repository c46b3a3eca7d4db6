//! Loads and unloads models of the repository while the server runs, for clients or for a poll.
//!
//! Loading reads files, compiles and warms, which takes seconds, so it runs on a thread that may block.
//! Each model has one load or unload at a time; models do not wait for each other. A failed load does not
//! replace a served version: the previous one continues to be served. No load begins while the process is short of memory,
//! whether a client, a poll or a release asks for it. The versions of an open release are loaded with those that the policy
//! of the model selects.
//!
//! `client_command` has the loads and unloads of clients, and `on_demand` the loads for requests. `release_control`
//! starts, changes and closes releases, and `upload_control` adds versions to the repository and deletes them. All of them
//! load a model with `replacement`, in which `golden_check` computes the golden cases of a new version.

mod client_command;
mod control_error;
mod golden_check;
mod load_source;
mod on_demand;
mod release_control;
mod replacement;
mod upload_control;

use crate::load_locks::LoadLocks;
use crate::memory_pressure::MemoryPressure;
use crate::owner::Owner;
use crate::registry::golden_cases::CaseCaller;
use crate::registry::load_error::LoadError;
use crate::registry::loader::{Loaded, Loader};
use crate::registry::snapshot::{ModelFiles, Snapshot};
use crate::registry::{ModelEntry, Registry, repository};
use crate::release::Releases;
use crate::residency::{NoRoom, Residency, ResidencyOptions};
use crate::uploads::Uploads;
use crate::uploads::limits::UploadLimits;
use load_source::{Asked, LoadSource};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::call::ModelName;

pub use control_error::ControlError;

/// The source of changes to the served models, as in Triton's `--model-control-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMode {
    /// No changes: the repository is served as it was at the start.
    Disabled,
    /// Client requests that load or unload a model.
    Explicit,
    /// Changes in the repository, which the served models follow.
    Poll,
    /// No changes, because the server also listens on addresses of other machines. Only clients on the
    /// same machine may load and unload.
    Forbidden,
}

/// The repository and everything needed to load from it again. Lifetime: the process.
#[derive(Debug)]
pub struct ModelControl {
    loader: Loader,
    path: PathBuf,
    mode: ControlMode,
    observer: fn(&str, Loaded<'_>),
    locks: LoadLocks,
    residency: Arc<Residency>,
    releases: Arc<Releases>,
    /// Set if a version computes the golden cases of its model before it is served.
    golden_cases: Option<CaseCaller>,
    /// The owner of the models, for whom the golden cases are computed.
    owner: Owner,
    /// The uploads into the repository, if it takes any.
    uploads: Option<Uploads>,
    /// The memory of the process, which no load may make shorter.
    pressure: Arc<MemoryPressure>,
    /// Set if clients may not upload because the server also listens on addresses of other machines.
    forbids_uploads: bool,
    /// Set if the models are the own ones of a tenant, and so their budget is its limit.
    is_of_tenant: bool,
}

impl ModelControl {
    /// Returns the control over the models of the repository at `path`.
    ///
    /// `observer` receives each version that was loaded or failed to load, with causes that clients do not
    /// receive.
    pub fn new(
        loader: Loader,
        path: PathBuf,
        mode: ControlMode,
        observer: fn(&str, Loaded<'_>),
    ) -> ModelControl {
        ModelControl {
            loader,
            path,
            mode,
            observer,
            locks: LoadLocks::default(),
            residency: Arc::default(),
            releases: Arc::default(),
            golden_cases: None,
            owner: Owner::LOCAL,
            uploads: None,
            pressure: Arc::new(MemoryPressure::new(None)),
            forbids_uploads: false,
            is_of_tenant: false,
        }
    }

    /// Returns the control over the own models of a tenant.
    pub(crate) fn of_tenant(self) -> ModelControl {
        ModelControl {
            is_of_tenant: true,
            ..self
        }
    }

    /// Returns the error of a load for which there is no room.
    fn no_room(&self, model: &ModelName, reason: NoRoom) -> ControlError {
        ControlError::NoRoom {
            model: model.clone(),
            reason,
            is_of_tenant: self.is_of_tenant,
        }
    }

    /// Returns the control with these uploads into its repository.
    pub fn with_uploads(self, uploads: Option<Uploads>) -> ModelControl {
        ModelControl { uploads, ..self }
    }

    /// Returns the control without uploads by clients, who may be on other machines and need no key. In the mode `poll`
    /// there are no loads by clients, and so nothing else reveals the addresses of the server.
    pub fn forbidding_uploads(self) -> ModelControl {
        ModelControl {
            forbids_uploads: true,
            ..self
        }
    }

    /// Returns the control with the releases of the server. With `golden_cases`, a new version computes the golden cases
    /// of its model before it is served.
    pub(crate) fn with_releases(
        self,
        releases: Arc<Releases>,
        golden_cases: Option<CaseCaller>,
    ) -> ModelControl {
        ModelControl {
            releases,
            golden_cases,
            ..self
        }
    }

    /// Returns the control over the models of this owner.
    pub(crate) fn with_owner(self, owner: Owner) -> ModelControl {
        ModelControl { owner, ..self }
    }

    /// Returns the control whose loads are refused while the process is short of this memory.
    pub(crate) fn with_pressure(self, pressure: Arc<MemoryPressure>) -> ModelControl {
        ModelControl { pressure, ..self }
    }

    /// Returns the control with the places for loads of another, whose loads and these are bounded together.
    pub(crate) fn sharing_places(self, other: &ModelControl) -> ModelControl {
        ModelControl {
            locks: other.locks.for_other_models(),
            ..self
        }
    }

    /// Returns the control of the service that takes the place of another one, with the same models. Loads, commits and
    /// deletions that the other has begun take turns with these.
    pub(crate) fn sharing_turns(self, before: &ModelControl) -> ModelControl {
        ModelControl {
            locks: before.locks.for_same_models(),
            ..self
        }
    }

    /// Hands the uploads over to the service that takes the place of this one, if there are any.
    pub(crate) fn hand_over_uploads(&self) -> Option<Uploads> {
        self.uploads.as_ref().map(Uploads::hand_over)
    }

    /// Replaces the limits of the uploads, if there are any.
    pub(crate) fn set_upload_limits(&self, limits: &UploadLimits) {
        if let Some(uploads) = &self.uploads {
            uploads.set_limits(limits);
        }
    }

    /// Leaves the repository to another process, or to nobody.
    pub(crate) fn give_up_uploads(&self) {
        if let Some(uploads) = &self.uploads {
            uploads.give_up();
        }
    }

    /// Returns the control with these settings for loading.
    pub fn with_residency(self, options: ResidencyOptions) -> ModelControl {
        ModelControl {
            residency: Arc::new(Residency::new(options)),
            ..self
        }
    }

    /// Returns the loaded models, their memory, and the history of their loads.
    pub fn residency(&self) -> &Arc<Residency> {
        &self.residency
    }

    /// Returns the source of changes to the served models.
    pub fn mode(&self) -> ControlMode {
        self.mode
    }

    /// Loads the model as it is in the repository now and replaces the served one. A model that is loaded on demand and
    /// not loaded now is only found again.
    pub(crate) async fn reload(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let lock = self.locks.load(&model, self.owner).await;
        run(move || {
            let _lock = lock;
            control.load_again(&registry, &model)
        })
        .await?
    }

    /// Loads the model as it is in the repository now, or only finds it again if it is loaded on demand and not loaded now.
    /// Its lock is held.
    fn load_again(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        let is_loaded = || registry.entry(model).is_ok_and(|entry| entry.has_loaded());
        match self.residency.loads_on_demand() && !is_loaded() {
            true => self.find_again(registry, model),
            false => self.load_from_repository(registry, model, Asked::by_client()),
        }
    }

    /// Removes a model that is no longer in the repository. Its running requests are completed.
    pub(crate) async fn remove(
        &self,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        let (registry, residency) = (Arc::clone(registry), Arc::clone(&self.residency));
        let lock = self.locks.unload(&model).await;
        run(move || {
            let _lock = lock;
            registry.remove(&model);
            residency.forget(&model);
        })
        .await
    }

    /// Takes a snapshot of the repository's files.
    pub(crate) async fn snapshot(&self) -> Result<Result<Snapshot, LoadError>, ControlError> {
        let path = self.path.clone();
        run(move || Snapshot::take(&path)).await
    }

    /// Loads the model as it is in the repository. The lock of the model is held.
    fn load_from_repository(
        &self,
        registry: &Registry,
        model: &ModelName,
        asked: Asked,
    ) -> Result<(), ControlError> {
        let Some(path) = self.model_path(registry, model)? else {
            let model = model.clone();
            return Err(ControlError::UnknownModel { model });
        };
        let source = LoadSource {
            path: &path,
            config: None,
            // Taken before the files are read, so that a change in the meantime is detected by the next load.
            files: Some(ModelFiles::take(&path)),
            asked,
        };
        self.load_from(registry, model, source)
    }

    /// Returns the path of a model of the repository. A repository or directory that cannot be read is a failed load.
    fn model_path(
        &self,
        registry: &Registry,
        model: &ModelName,
    ) -> Result<Option<PathBuf>, ControlError> {
        repository::model_path(&self.path, model).map_err(|error| {
            (self.observer)(model.as_str(), Err(&error));
            let reason = error.client_reason();
            self.residency.failed(model, Instant::now());
            enter_failure(registry, model, ModelEntry::problem(reason.clone()));
            ControlError::Failed {
                model: model.clone(),
                reason,
            }
        })
    }

    /// Returns an error if clients may not load and unload models.
    pub fn check(&self) -> Result<(), ControlError> {
        match self.mode {
            ControlMode::Explicit => Ok(()),
            ControlMode::Disabled => Err(ControlError::Disabled),
            ControlMode::Poll => Err(ControlError::Polling),
            ControlMode::Forbidden => Err(ControlError::Forbidden),
        }
    }
}

/// Runs work that reads files on a thread that may block. Work that has begun is completed
/// even if its client has disconnected.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    let worked = tokio::task::spawn_blocking(work);
    worked.await.map_err(|_| ControlError::Lost)
}

/// Enters a load of the repository that has failed: beside the versions that are served, or in place of others. The
/// server stays as ready as it was.
fn enter_failure(registry: &Registry, model: &ModelName, failed: ModelEntry) {
    let before = registry.entry(model).ok();
    let blocks_readiness = before
        .as_ref()
        .is_some_and(|before| before.blocks_readiness);
    let served = before.filter(|before| before.has_loaded());
    let entry = match served {
        Some(served) => served.with_failures(&failed),
        None => ModelEntry {
            blocks_readiness,
            ..failed
        },
    };
    registry.replace(model.clone(), entry);
}

#[cfg(test)]
mod tests;
