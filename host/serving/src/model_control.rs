//! Loads and unloads models of the repository while the server runs, for clients or for who polls it.
//!
//! Loading reads files, compiles and warms, for seconds, so it happens on a thread that may block, one
//! load or unload of a model at a time; models do not wait for each other. A failed load changes nothing
//! where there was something: what was served goes on being served.

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

/// Who may change what is served, in the words of Triton's `--model-control-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMode {
    /// Nobody: the repository is served as it was at the start.
    Fixed,
    /// Clients, by asking for a model to be loaded or unloaded.
    Explicit,
    /// Who changes the repository: what is served follows it.
    Poll,
    /// Clients of this machine only, which these are not: the server listens to others as well.
    Forbidden,
}

/// The repository, and what it takes to load from it again. Lifetime: the process.
#[derive(Debug)]
pub struct ModelControl {
    pub loader: Arc<Loader>,
    pub path: PathBuf,
    pub mode: ControlMode,
    /// When a model may be loaded or unloaded.
    pub turns: Arc<LoadTurns>,
    /// Who hears of each version that is loaded or is not, with the causes that clients are not told.
    pub report: fn(&str, Loaded<'_>),
}

/// What one load needs, on whichever thread it is made.
struct Loading {
    loader: Arc<Loader>,
    path: PathBuf,
    registry: Arc<Registry>,
    report: fn(&str, Loaded<'_>),
}

/// Why a model has not been loaded or unloaded. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("loading and unloading is off: the server was started with --model-control-mode none")]
    Fixed,
    /// In Triton's words, which tools look for.
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
    /// Load the model, for a client, as it is in the repository now, in the place of what is served.
    pub async fn load(
        &self,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        self.check()?;
        self.reload(registry, model).await
    }

    /// Load these models, for a client, and stop serving all others. If one of them is not there, or
    /// cannot be loaded, none is unloaded.
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

    /// Load the model as it is in the repository now, in the place of what is served.
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

    /// Forget a model that is not in the repository any more; requests it has are answered.
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

    /// How the files of the repository are now.
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

    /// Stop serving the model; requests it has are answered. One that is not served stays so.
    pub async fn unload(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        self.check()?;
        let _turn = self.turns.unload(model).await;
        // As Triton: unloading what is not there is done already.
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

/// Work that reads files, on a thread that may block. Once begun it is finished, also for a client that has
/// gone.
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
        // A name that is not there is found out before anything changes.
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
                // As it is now: it may have been loaded or removed meanwhile.
                if let Ok(entry) = self.registry.entry(&model) {
                    self.registry.replace(model, entry.unloaded());
                }
            }
        }
        Ok(())
    }
}

/// Why a version of the model has not been loaded, if one has not.
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
