//! The messages of `proto/`, as prost-build writes them, at the paths of their packages.
//!
//! Whoever generates the services names this module as the place of the messages: package
//! `tensorflow.serving` is `message::tensorflow::serving`. Bytes are slices of the message they
//! came in, and maps are sorted by key.
#![allow(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::all,
    reason = "generated code"
)]

/// The Open Inference Protocol with Triton's methods.
pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// What TensorFlow Serving's messages are made of.
pub mod tensorflow {
    include!(concat!(env!("OUT_DIR"), "/tensorflow.rs"));

    /// The codes of errors.
    pub mod error {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.error.rs"));
    }

    /// TensorFlow Serving.
    pub mod serving {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.serving.rs"));
    }
}

/// The simple dialect.
pub mod prediction {
    include!(concat!(env!("OUT_DIR"), "/prediction.rs"));
}
