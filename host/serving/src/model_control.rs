//! Loads and unloads models of the repository while the server runs.
//!
//! Loading reads files, compiles and warms, for seconds, so it happens on a thread that may block, one
//! load or unload at a time. A failed load changes nothing where there was something: what was served goes
//! on being served.

use crate::error::InferError;
use crate::registry::load_error::LoadError;
use crate::registry::loader::Loader;
use crate::registry::{LoadedVersion, Registry, repository};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use wisp_protocol::call::ModelName;
use wisp_protocol::error::ErrorKind;

/// Who may change what is served, in the words of Triton's `--model-control-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlMode {
    /// Nobody: the repository is served as it was at the start.
    Fixed,
    /// Clients, by asking for a model to be loaded or unloaded.
    Explicit,
    /// Clients of this machine only, which these are not: the server listens to others as well.
    Forbidden,
}

/// The repository, and what it takes to load from it again. Lifetime: the process.
#[derive(Debug)]
pub struct ModelControl {
    pub loader: Arc<Loader>,
    pub path: PathBuf,
    pub mode: ControlMode,
    /// Held while something is loaded or unloaded.
    pub busy: Mutex<()>,
}

/// Why a model has not been loaded or unloaded. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("loading and unloading is off: the server was started with --model-control-mode none")]
    Fixed,
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
    /// Load the model as it is in the repository now, in the place of what is served.
    pub async fn load(
        &self,
        registry: &Arc<Registry>,
        model: ModelName,
    ) -> Result<(), ControlError> {
        self.check()?;
        let _busy = self.busy.lock().await;
        let (loader, path) = (Arc::clone(&self.loader), self.path.clone());
        let registry = Arc::clone(registry);
        let loading = move || load(&loader, &path, &registry, model);
        match tokio::task::spawn_blocking(loading).await {
            Ok(loaded) => loaded,
            Err(_) => Err(ControlError::Lost),
        }
    }

    /// Stop serving the model; requests it has are answered. One that is not served stays so.
    pub async fn unload(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        self.check()?;
        let _busy = self.busy.lock().await;
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
            ControlMode::Forbidden => Err(ControlError::Forbidden),
        }
    }
}

fn load(
    loader: &Loader,
    path: &std::path::Path,
    registry: &Registry,
    model: ModelName,
) -> Result<(), ControlError> {
    let failed = |error: LoadError| ControlError::Failed {
        model: model.clone(),
        reason: error.client_reason(),
    };
    let selected = repository::find_model(path, &model).map_err(failed)?;
    let selected = selected.ok_or_else(|| ControlError::UnknownModel {
        model: model.clone(),
    })?;
    let entry = loader.load_model(&selected, &|_, _| ());
    let failure = entry.versions.values().find_map(|version| match version {
        LoadedVersion::Failed(reason) => Some(reason.clone()),
        LoadedVersion::Ready(_) | LoadedVersion::Unloaded => None,
    });
    let is_served = registry.entry(&model).is_ok_and(|before| before.is_ready());
    if failure.is_none() || !is_served {
        registry.replace(model.clone(), entry);
    }
    match failure {
        None => Ok(()),
        Some(reason) => Err(ControlError::Failed { model, reason }),
    }
}

impl From<ControlError> for InferError {
    fn from(error: ControlError) -> InferError {
        let kind = match error {
            ControlError::Fixed | ControlError::Failed { .. } => ErrorKind::InvalidRequest,
            ControlError::Forbidden => ErrorKind::Forbidden,
            ControlError::UnknownModel { .. } => ErrorKind::NotFound,
            ControlError::Lost => ErrorKind::Internal,
        };
        InferError::plain(kind, error)
    }
}
