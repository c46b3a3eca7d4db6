//! The reasons for which a command that changes the served models fails.

use crate::memory_pressure::ShortOfMemory;
use crate::residency::NoRoom;
use crate::uploads::upload_error::UploadError;
use wisp_protocol::call::{ModelName, Version};

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
    #[error(
        "the release of version {candidate} of `{model}` is running; promote or abort it before the model is unloaded"
    )]
    Releasing {
        model: ModelName,
        candidate: Version,
    },
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
