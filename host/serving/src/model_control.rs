//! Loads and unloads models of the repository while the server runs, for clients or for a poll.
//!
//! Loading reads files, compiles and warms, which takes seconds, so it runs on a thread that may block.
//! Each model has one load or unload at a time; models do not wait for each other. A failed load does not
//! replace a served version: the previous one continues to be served.

use crate::error::InferError;
use crate::load_turns::LoadTurns;
use crate::registry::load_error::LoadError;
use crate::registry::loader::{Loaded, Loader};
use crate::registry::snapshot::Snapshot;
use crate::registry::{LoadedVersion, ModelEntry, Registry, repository};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use wisp_protocol::call::ModelName;
use wisp_protocol::error::ErrorKind;

/// The source of changes to the served models, as in Triton's `--model-control-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMode {
    /// No changes: the repository is served as it was at the start.
    Fixed,
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
    pub loader: Arc<Loader>,
    pub path: PathBuf,
    pub mode: ControlMode,
    /// The turns of loads and unloads.
    pub turns: Arc<LoadTurns>,
    /// The function that receives each version that was loaded or failed to load, with causes
    /// that clients do not receive.
    pub report: fn(&str, Loaded<'_>),
}

/// Everything that one load needs, on any thread.
struct Loading {
    loader: Arc<Loader>,
    path: PathBuf,
    registry: Arc<Registry>,
    report: fn(&str, Loaded<'_>),
}

/// The reason that a model was not loaded or unloaded. The message is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("loading and unloading is off: the server was started with --model-control-mode none")]
    Fixed,
    /// Uses Triton's message, which tools search for.
    #[error("explicit model load / unload is not allowed if polling is enabled")]
    Polling,
    #[error(
        "loading and unloading is for clients of a server that listens on its own machine only; this one \
         listens on other addresses too"
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
    /// Loads the model for a client, as it is in the repository now, and replaces the served one.
    pub async fn load(
        &self,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        self.check()?;
        self.reload(registry, model).await
    }

    /// Loads these models for a client and stops serving all others. If one of them does not exist or
    /// cannot be loaded, no model is unloaded.
    pub async fn load_only(
        &self,
        registry: &Arc<Registry>,
        models: Vec<ModelName>,
    ) -> Result<(), ControlError> {
        self.check()?;
        let loading = self.loading(registry);
        let turns = Arc::clone(&self.turns);
        let all = turns.replace_all().await;
        run(move || {
            let _all = all;
            loading.load_only(&models, &turns, &Handle::current())
        })
        .await?
    }

    /// Loads the model as it is in the repository now and replaces the served one.
    pub(crate) async fn reload(
        &self,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        let loading = self.loading(registry);
        let turn = self.turns.load(&model).await;
        run(move || {
            let _turn = turn;
            loading.load(&model)
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
        let turn = self.turns.unload(&model).await;
        run(move || {
            let _turn = turn;
            registry.remove(&model);
        })
        .await
    }

    /// Takes a snapshot of the repository's files.
    pub(crate) async fn snapshot(&self) -> Result<Result<Snapshot, LoadError>, ControlError> {
        let path = self.path.clone();
        run(move || Snapshot::take(&path)).await
    }

    fn loading(&self, registry: &Arc<Registry>) -> Loading {
        Loading {
            loader: Arc::clone(&self.loader),
            path: self.path.clone(),
            registry: Arc::clone(registry),
            report: self.report,
        }
    }

    /// Stops serving the model. Its running requests are completed. A model that is not served stays unchanged.
    pub async fn unload(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        self.check()?;
        let _turn = self.turns.unload(model).await;
        // As in Triton, unloading a model that does not exist succeeds.
        if let Ok(entry) = registry.entry(model) {
            registry.replace(model.clone(), entry.unloaded());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ControlError> {
        match self.mode {
            ControlMode::Explicit => Ok(()),
            ControlMode::Fixed => Err(ControlError::Fixed),
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

impl Loading {
    fn load(&self, model: &ModelName) -> Result<(), ControlError> {
        let (entry, failure) = match repository::find_model(&self.path, model) {
            Ok(None) => {
                let model = model.clone();
                return Err(ControlError::UnknownModel { model });
            }
            Ok(Some(selected)) => {
                let entry = self.loader.load_model(&selected, &self.report);
                let failure = failure(&entry);
                (entry, failure)
            }
            Err(error) => {
                (self.report)(model.as_str(), Err(&error));
                let reason = error.client_reason();
                (ModelEntry::problem(reason.clone()), Some(reason))
            }
        };
        let before = self.registry.entry(model);
        let is_served = before.is_ok_and(|before| before.is_ready());
        if failure.is_none() || !is_served {
            self.registry.replace(model.clone(), entry);
        }
        match failure {
            None => Ok(()),
            Some(reason) => Err(ControlError::Failed {
                model: model.clone(),
                reason,
            }),
        }
    }

    fn load_only(
        &self,
        models: &[ModelName],
        turns: &LoadTurns,
        runtime: &Handle,
    ) -> Result<(), ControlError> {
        // An unknown name is reported before anything changes.
        for model in models {
            if let Ok(None) = repository::find_model(&self.path, model) {
                let model = model.clone();
                return Err(ControlError::UnknownModel { model });
            }
        }
        for model in models {
            let _turn = runtime.block_on(turns.load(model));
            self.load(model)?;
        }
        for (model, _) in self.registry.entries() {
            if !models.contains(&model) {
                let _turn = runtime.block_on(turns.unload(&model));
                // The entry is read again here, since it may have been loaded or removed in the meantime.
                if let Ok(entry) = self.registry.entry(&model) {
                    self.registry.replace(model, entry.unloaded());
                }
            }
        }
        Ok(())
    }
}

/// Returns the reason that a version of the model has failed to load, if any has.
fn failure(entry: &ModelEntry) -> Option<String> {
    entry.versions.values().find_map(|version| match version {
        LoadedVersion::Failed(reason) => Some(reason.clone()),
        LoadedVersion::Ready(_) | LoadedVersion::Unloaded => None,
    })
}

impl From<ControlError> for InferError {
    fn from(error: ControlError) -> InferError {
        let kind = match error {
            ControlError::Fixed | ControlError::Failed { .. } => ErrorKind::InvalidRequest,
            ControlError::Polling => ErrorKind::Unavailable,
            ControlError::Forbidden => ErrorKind::Forbidden,
            ControlError::UnknownModel { .. } => ErrorKind::NotFound,
            ControlError::Lost => ErrorKind::Internal,
        };
        InferError::plain(kind, error)
    }
}
