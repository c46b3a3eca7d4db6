//! The Open Inference Protocol (V2) over gRPC, with Triton's repository and configuration methods.
//!
//! [`target`] resolves the model of any request, and [`decode`] turns an inference into an `InferRequest`
//! and a [`Reply`], which encodes the `InferResponse`. `request` contains the decoder, `contents` the
//! typed fields of a tensor, `response` the encoder, and `metadata`, `config`, `control` and `statistics`
//! the smaller methods.
//!
//! As in V2 over HTTP, the caller checks that names, datatypes and shapes match the model. Error messages
//! are those of V2 over HTTP for the same errors.

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

/// Returns the model and version that a message names; an empty version means the default.
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
