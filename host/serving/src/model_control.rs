//! Loads and unloads models of the repository while the server runs, for clients or for a poll.
//!
//! Loading reads files, compiles and warms, which takes seconds, so it runs on a thread that may block.
//! Each model has one load or unload at a time; models do not wait for each other. A failed load does not
//! replace a served version: the previous one continues to be served.

use crate::load_locks::LoadLocks;
use crate::registry::load_error::LoadError;
use crate::registry::loader::{Loaded, Loader};
use crate::registry::snapshot::Snapshot;
use crate::registry::{ModelEntry, Registry, repository};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use wisp_protocol::call::ModelName;

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
        }
    }

    /// Returns the source of changes to the served models.
    pub fn mode(&self) -> ControlMode {
        self.mode
    }

    /// Loads the model for a client, as it is in the repository now, and replaces the served one.
    pub async fn load(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        self.check()?;
        self.reload(registry, model).await
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

    /// Loads the model as it is in the repository now and replaces the served one.
    pub(crate) async fn reload(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let lock = self.locks.load(&model).await;
        run(move || {
            let _lock = lock;
            control.load_locked(&registry, &model)
        })
        .await?
    }

    /// Removes a model that is no longer in the repository. Its running requests are completed.
    pub(crate) async fn remove(
        &self,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        let registry = Arc::clone(registry);
        let lock = self.locks.unload(&model).await;
        run(move || {
            let _lock = lock;
            registry.remove(&model);
        })
        .await
    }

    /// Takes a snapshot of the repository's files.
    pub(crate) async fn snapshot(&self) -> Result<Result<Snapshot, LoadError>, ControlError> {
        let path = self.path.clone();
        run(move || Snapshot::take(&path)).await
    }

    /// Stops serving the model. Its running requests are completed. A model that is not served stays unchanged.
    pub async fn unload(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        self.check()?;
        let _lock = self.locks.unload(model).await;
        // As in Triton, unloading a model that does not exist succeeds.
        if let Ok(entry) = registry.entry(model) {
            registry.replace(model.clone(), entry.unloaded());
        }
        Ok(())
    }

    /// Loads the model, whose lock is held.
    fn load_locked(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        let (mut entry, failure) = match repository::find_model(&self.path, model) {
            Ok(None) => {
                let model = model.clone();
                return Err(ControlError::UnknownModel { model });
            }
            Ok(Some(selected)) => {
                let entry = self.loader.load_model(&selected, &self.observer);
                let failure = entry.failure().map(str::to_owned);
                (entry, failure)
            }
            Err(error) => {
                (self.observer)(model.as_str(), Err(&error));
                let reason = error.client_reason();
                (ModelEntry::problem(reason.clone()), Some(reason))
            }
        };
        let before = registry.entry(model).ok();
        let is_served = before.as_ref().is_some_and(|before| before.is_ready());
        // A load that fails leaves the server as ready as it was.
        entry.blocks_readiness =
            failure.is_some() && before.is_some_and(|before| before.blocks_readiness);
        if failure.is_none() || !is_served {
            registry.replace(model.clone(), entry);
        }
        match failure {
            None => Ok(()),
            Some(reason) => Err(ControlError::Failed {
                model: model.clone(),
                reason,
            }),
        }
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
            if let Ok(None) = repository::find_model(&self.path, model) {
                let model = model.clone();
                return Err(ControlError::UnknownModel { model });
            }
        }
        for model in models {
            let _lock = runtime.block_on(self.locks.load(model));
            self.load_locked(registry, model)?;
        }
        for (model, _) in registry.entries() {
            if !models.contains(&model) {
                let _lock = runtime.block_on(self.locks.unload(&model));
                // The entry is read again here, since it may have been loaded or removed in the meantime.
                if let Ok(entry) = registry.entry(&model) {
                    registry.replace(model, entry.unloaded());
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ControlError> {
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
