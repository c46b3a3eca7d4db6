//! The messages of `proto/` as prost-build generates them, at the module paths of their packages.
//!
//! A crate that generates the services must use this module as the extern path of the messages: package
//! `tensorflow.serving` is `message::tensorflow::serving`. Bytes fields are slices of the received
//! message, and maps are sorted by key.
#![allow(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::all,
    reason = "generated code"
)]

/// All files of `proto/` and their imports as a serialized `google.protobuf.FileDescriptorSet`. Server
/// reflection returns it, and services are generated from it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The Open Inference Protocol with Triton's methods.
pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// The TensorFlow messages that TensorFlow Serving uses.
pub mod tensorflow {
    include!(concat!(env!("OUT_DIR"), "/tensorflow.rs"));

    /// The error codes.
    pub mod error {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.error.rs"));
    }

    /// TensorFlow Serving.
    pub mod serving {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.serving.rs"));
    }
}

/// The predict API.
pub mod prediction {
    include!(concat!(env!("OUT_DIR"), "/prediction.rs"));
}
