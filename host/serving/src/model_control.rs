//! Loads and unloads models of the repository while the server runs, for clients or for a poll.
//!
//! Loading reads files, compiles and warms, which takes seconds, so it runs on a thread that may block.
//! Each model has one load or unload at a time; models do not wait for each other. A failed load does not
//! replace a served version: the previous one continues to be served. No load begins while the process is short of memory,
//! whether a client, a poll or a release asks for it. A client that loads a model whose files are
//! unchanged keeps its versions, with their statistics. The versions of an open release are loaded with those that the
//! policy of the model selects; `release_control` starts, changes and closes releases. `replacement` loads a model
//! in place of the served one. Loads for requests are in `on_demand`; `golden_check` computes the golden cases of a new
//! version. `upload_control` adds versions to the repository and deletes them.

mod golden_check;
mod load_source;
mod on_demand;
mod release_control;
mod replacement;
mod upload_control;

use crate::load_locks::LoadLocks;
use crate::memory_pressure::{MemoryPressure, ShortOfMemory};
use crate::owner::Owner;
use crate::registry::golden_cases::CaseCaller;
use crate::registry::load_error::LoadError;
use crate::registry::loader::{Loaded, Loader};
use crate::registry::snapshot::{ModelFiles, Snapshot};
use crate::registry::uploaded_model::UploadedModel;
use crate::registry::{ModelEntry, Registry, repository};
use crate::release::Releases;
use crate::residency::{NoRoom, Residency, ResidencyOptions};
use crate::uploads::upload_error::UploadError;
use crate::uploads::{Uploads, content_check};
use load_source::{Asked, LoadSource};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::load::{LoadRequest, UploadedFile};
use wisp_protocol::upload::{FilePlace, UploadFileName};

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
}

/// The result of a load.
enum Outcome {
    Loaded,
    /// The files are those of the served versions, which stay.
    Unchanged,
}

/// The reason that a model was not loaded or unloaded. The message is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "loading and unloading is disabled: the server was started with --model-control-mode none"
    )]
    Disabled,
    /// Uses Triton's message, which tools search for.
    #[error("explicit model load / unload is not allowed if polling is enabled")]
    Polling,
    #[error(
        "models can be loaded and unloaded only while the server listens on loopback addresses \
         alone, and this one listens on others too"
    )]
    Forbidden,
    #[error("unknown model: `{model}`")]
    UnknownModel { model: ModelName },
    #[error("failed to load `{model}`: {reason}")]
    Failed { model: ModelName, reason: String },
    #[error("model `{model}` cannot be loaded now: {reason}")]
    NoRoom { model: ModelName, reason: NoRoom },
    #[error("model `{model}` is still being loaded; try again soon")]
    StillLoading { model: ModelName },
    #[error(
        "the server cannot store the files of the request in its temporary directory, which TMPDIR \
         sets: {}",
        .0.kind()
    )]
    Storage(#[source] std::io::Error),
    #[error(
        "the tenant has {limit} models, its limit `models`; send the files under the name of one of them"
    )]
    TooManyModels { limit: usize },
    #[error("model `{model}` has no release")]
    NoRelease { model: ModelName },
    #[error("the release of `{model}` cannot be changed: {reason}")]
    Release { model: ModelName, reason: String },
    #[error(
        "the release has changed, but the server cannot store its state in the directory that --state-dir sets: {}",
        .0.kind()
    )]
    ReleaseState(#[source] std::io::Error),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    ShortOfMemory(#[from] ShortOfMemory),
    #[error("the server failed")]
    Lost,
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
        }
    }

    /// Returns the control with these uploads into its repository.
    pub fn with_uploads(self, uploads: Option<Uploads>) -> ModelControl {
        ModelControl { uploads, ..self }
    }

    /// Returns the control without uploads by clients, who may be on other machines and need no key. In the mode `poll`
    /// there are no loads by clients, and so nothing else tells the addresses of the server.
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

    /// Returns the control with these settings of what is loaded when.
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

    /// Loads the model for a client and replaces the served one: as it is in the repository now, or with the files and
    /// the configuration of the request. A model that is loaded from the repository and unchanged stays as it is.
    /// The files of a request are no further model if there are `max_models`.
    pub async fn load(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        (model, request): (ModelName, LoadRequest),
        max_models: Option<usize>,
    ) -> Result<(), ControlError> {
        self.check()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let lock = self.locks.load(&model, self.owner).await;
        run(move || {
            let _lock = lock;
            // Checked here, so that requests which wait for their turn do not pass together.
            if !request.files.is_empty() {
                check_count(&registry, &model, max_models)?;
            }
            match request.is_plain() {
                true => control.load_changed(&registry, &model),
                false => control.load_request(&registry, &model, request),
            }
        })
        .await?
    }

    /// Loads these models for a client and stops serving all others. If one of them does not exist or
    /// cannot be loaded, no model is unloaded.
    pub async fn load_only(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        models: Vec<ModelName>,
    ) -> Result<(), ControlError> {
        self.check()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let all = self.locks.replace_all().await;
        run(move || {
            let _all = all;
            control.load_only_locked(&registry, &models)
        })
        .await?
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

    /// Stops serving the model. Its running requests are completed. A model that is not served stays unchanged.
    pub async fn unload(
        &self,
        registry: &Arc<Registry>,
        model: &ModelName,
    ) -> Result<(), ControlError> {
        self.check()?;
        let started = Instant::now();
        let (registry, model) = (Arc::clone(registry), model.clone());
        let residency = Arc::clone(&self.residency);
        let lock = self.locks.unload(&model).await;
        // Returning the memory of a large model takes time.
        run(move || {
            let _lock = lock;
            unload_locked(&registry, &model, started);
            residency.leave(&model);
        })
        .await
    }

    /// Loads a model of the repository for a client, unless it is unchanged. The lock of the model is held.
    fn load_changed(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        let started = Instant::now();
        let before = registry.entry(model).ok();
        let before = before.filter(|entry| entry.is_complete());
        let files = before.as_ref().and_then(|entry| entry.files.as_ref());
        if let Some(files) = files
            && let Ok(Some(path)) = repository::model_path(&self.path, model)
            && ModelFiles::take(&path).is_unchanged_since(files)
        {
            log_load(registry, model, (Outcome::Unchanged, started));
            return Ok(());
        }
        self.load_from_repository(registry, model, Asked::by_client())?;
        log_load(registry, model, (Outcome::Loaded, started));
        Ok(())
    }

    /// Loads the model with the files and settings of a client. The lock of the model is held.
    fn load_request(
        &self,
        registry: &Registry,
        model: &ModelName,
        LoadRequest { config, files }: LoadRequest,
    ) -> Result<(), ControlError> {
        let started = Instant::now();
        let uploaded = match files.is_empty() {
            true => None,
            false => {
                check_sent_files(&files)?;
                let uploaded = UploadedModel::store(model, &files);
                let uploaded = uploaded.map_err(ControlError::Storage)?;
                for version in uploaded.version_directories() {
                    content_check::check_graphs(&version)?;
                }
                Some(uploaded)
            }
        };
        // The files are stored by now, and need not be in memory twice while the model is loaded.
        drop(files);
        let config = config.map(Arc::new);
        let path = match &uploaded {
            Some(uploaded) => Some(uploaded.directory().to_owned()),
            None => self.model_path(registry, model)?,
        };
        let path = path.ok_or_else(|| ControlError::UnknownModel {
            model: model.clone(),
        })?;
        let source = LoadSource {
            path: &path,
            config: config.as_ref(),
            files: None,
            asked: Asked::by_client(),
        };
        self.load_from(registry, model, source)?;
        log_load(registry, model, (Outcome::Loaded, started));
        Ok(())
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
            enter_failure(registry, model, ModelEntry::problem(reason.clone()));
            ControlError::Failed {
                model: model.clone(),
                reason,
            }
        })
    }

    /// Loads these models and unloads all others. No other task does the same at this time.
    fn load_only_locked(
        &self,
        registry: &Registry,
        models: &[ModelName],
    ) -> Result<(), ControlError> {
        let runtime = Handle::current();
        // An unknown name is reported before anything changes.
        for model in models {
            if let Ok(None) = repository::model_path(&self.path, model) {
                let model = model.clone();
                return Err(ControlError::UnknownModel { model });
            }
        }
        for model in models {
            let _lock = runtime.block_on(self.locks.load(model, self.owner));
            self.load_changed(registry, model)?;
        }
        for (model, _) in registry.entries() {
            if !models.contains(&model) {
                let started = Instant::now();
                let _lock = runtime.block_on(self.locks.unload(&model));
                // Its entry is read again, since it may have been loaded or removed in the meantime.
                unload_locked(registry, &model, started);
                self.residency.leave(&model);
            }
        }
        Ok(())
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
/// even if its client has gone.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    let worked = tokio::task::spawn_blocking(work);
    worked.await.map_err(|_| ControlError::Lost)
}

/// Refuses files of a request that may not be uploaded. Their names have no other directory in them.
fn check_sent_files(files: &[UploadedFile]) -> Result<(), ControlError> {
    for file in files {
        let parsed = UploadFileName::parse(&file.name);
        let parsed = parsed.map_err(|error| UploadError::Refused(error.to_string()))?;
        if parsed.place() != FilePlace::Version {
            return Err(UploadError::Refused(format!(
                "`{parsed}` is not a file of a version; the parameter `config` has the settings of the model"
            ))
            .into());
        }
    }
    Ok(())
}

/// Returns an error if the model would be one more than `limit`. Those that are not loaded count too: they are in lists and
/// metrics.
fn check_count(
    registry: &Registry,
    model: &ModelName,
    limit: Option<usize>,
) -> Result<(), ControlError> {
    match limit {
        Some(limit) if registry.entry(model).is_err() && registry.entries().len() >= limit => {
            Err(ControlError::TooManyModels { limit })
        }
        _ => Ok(()),
    }
}

/// Stops serving the model for a client. Its lock is held. As in Triton, unloading a model that does not exist
/// succeeds.
fn unload_locked(registry: &Registry, model: &ModelName, started: Instant) {
    let Ok(entry) = registry.entry(model) else {
        return;
    };
    registry.replace(model.clone(), entry.unloaded());
    if entry.is_ready() {
        let (versions, seconds) = (ready_versions(&entry), started.elapsed().as_secs_f64());
        tracing::info!(%model, versions, seconds, "unloaded");
    }
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

/// Logs that a client has loaded the model.
fn log_load(registry: &Registry, model: &ModelName, (outcome, started): (Outcome, Instant)) {
    let entry = registry.entry(model);
    let versions = entry.map_or_else(|_| String::new(), |entry| ready_versions(&entry));
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Outcome::Loaded => tracing::info!(%model, versions, seconds, "loaded"),
        Outcome::Unchanged => {
            tracing::info!(%model, versions, seconds, "unchanged, and so not loaded again");
        }
    }
}

/// Returns the numbers of the versions that can be called.
fn ready_versions(entry: &ModelEntry) -> String {
    let versions = entry.ready().map(|version| version.description().version);
    let versions: Vec<String> = versions
        .map(|version: Version| version.to_string())
        .collect();
    versions.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_load_leaves_the_server_as_ready_as_it_was() -> anyhow::Result<()> {
        let model = ModelName::new("m")?;
        for blocks_readiness in [true, false] {
            let before = ModelEntry {
                blocks_readiness,
                ..ModelEntry::problem("no graph".to_owned())
            };
            let registry = Registry::new([(model.clone(), before)].into());
            let failed = ModelEntry::problem("its files cannot be read".to_owned());
            enter_failure(&registry, &model, failed);
            let entry = registry.entry(&model)?;
            assert_eq!(entry.blocks_readiness, blocks_readiness);
            assert_eq!(entry.problem.as_deref(), Some("its files cannot be read"));
        }
        Ok(())
    }
}
