//! The functions of the fuzz targets. Each takes any bytes, and panics if a decoder breaks a promise.
//!
//! `tests/fuzz.rs` runs them too, on the seeds and on damaged ones.

pub mod models;

pub mod config_text;
pub mod content_coding;
pub mod golden_case;
pub mod grpc_limits;
pub mod grpc_v2;
pub mod load_request;
pub mod model_outline;
pub mod predict_grpc;
pub mod predict_json;
pub mod release;
pub mod route;
pub mod tfs_grpc;
pub mod tfs_json;
pub mod v2_binary;
pub mod v2_control;
pub mod v2_json;
