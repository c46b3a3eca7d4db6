//! The Open Inference Protocol (V2) over gRPC, with Triton's repository and configuration methods.
//!
//! [`target()`] resolves the model of any request, and [`ModelInferDecoder`] turns an inference into an
//! `InferRequest` and a [`ModelInferEncoder`], which encodes the `InferResponse`. `request` contains the decoder, `contents` the
//! typed fields of a tensor, `response` the encoder, and `metadata`, `config`, `control`,
//! `statistics`, `settings` and `shared_memory` the smaller methods.
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
mod settings;
mod shared_memory;
mod statistics;
mod target;

pub use config::model_config;
pub use control::{load_model, loaded, unload_model, unloaded};
pub use metadata::{
    decode_index, index, live, model_metadata, model_ready, ready, server_metadata,
};
pub use request::{ModelInferDecoder, echoed_id};
pub use response::{ModelInferEncoder, stream_error, stream_response};
pub use settings::{log_settings, trace_settings, trace_target};
pub use shared_memory::{cuda_shared_memory_status, system_shared_memory_status};
pub use statistics::{statistics, statistics_target};
pub use target::target;
