//! The Open Inference Protocol (V2) over gRPC, with Triton's repository and configuration methods.
//!
//! [`target`] names the model of any request of this dialect, [`decode`] turns an inference into an
//! `InferRequest` and a [`Reply`], which turns the `InferResponse` into a message. `request` is the
//! way in, `contents` a tensor's elements as typed lists, `response` the way back, `metadata`,
//! `config`, `control` and `statistics` the small answers.
//!
//! As in V2 over HTTP, it is left to the caller whether names, datatypes and shapes are those of
//! the model. Texts for clients are those of V2 over HTTP wherever the mistake is the same.

mod config;
mod contents;
mod control;
mod error;
mod metadata;
mod request;
mod response;
mod statistics;

pub use config::model_config;
pub use control::{load_model, loaded, unload_model, unloaded};
pub use error::DecodeError;
pub use metadata::{
    decode_index, index, live, model_metadata, model_ready, ready, server_metadata,
};
pub use request::{decode, echoed_id};
pub use response::{Reply, stream_error, stream_response};
pub use statistics::{statistics, statistics_target};

use super::TargetError;
use crate::call::{Target, VersionChoice};
use crate::target::{model, numbered};

/// The model and version that a message names; an empty version means the default.
pub fn target(name: &str, version: &str) -> Result<Target, TargetError> {
    let model = model(name)?;
    Ok(match version {
        "" => Target {
            model,
            version: VersionChoice::Default,
        },
        number => numbered(model, number)?,
    })
}
