//! The dialects that travel over gRPC, as messages without any transport.
//!
//! [`message`] holds the types of all messages.

pub mod message;

/// All files of `proto/` and those they import, as a serialised `google.protobuf.FileDescriptorSet`:
/// what server reflection answers, and what services are generated from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
