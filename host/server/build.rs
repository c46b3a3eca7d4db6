//! Writes the gRPC services of the descriptors that `wisp-protocol` has of its messages.
//!
//! The messages themselves stay that crate's: what is written here names them where they are.

use prost::Message;
use prost_types::FileDescriptorSet;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = FileDescriptorSet::decode(wisp_protocol::grpc::FILE_DESCRIPTOR_SET)?;
    let messages = "::wisp_protocol::grpc::message";
    let builder = ["inference", "tensorflow", "prediction"].iter().fold(
        tonic_prost_build::configure(),
        |builder, package| {
            builder.extern_path(format!(".{package}"), format!("{messages}::{package}"))
        },
    );
    builder
        .build_client(false)
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
