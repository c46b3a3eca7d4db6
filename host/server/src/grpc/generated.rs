//! The service traits and the dispatch code that tonic generates.
//!
//! The message types are in `wisp_protocol::grpc::message`.
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    clippy::allow_attributes_without_reason,
    clippy::all,
    reason = "generated code"
)]

/// The Open Inference Protocol with Triton's methods.
pub(super) mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// TensorFlow Serving.
pub(super) mod tensorflow {
    pub(crate) mod serving {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.serving.rs"));
    }
}

/// The predict API.
pub(super) mod prediction {
    include!(concat!(env!("OUT_DIR"), "/prediction.rs"));
}
