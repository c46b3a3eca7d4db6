//! The dialects that travel over gRPC, as messages and codecs without any transport.
//!
//! [`message`] holds the types of all messages. Each dialect turns its request messages into a
//! target and an `InferRequest`, and an `InferResponse` back: [`v2`] the Open Inference Protocol
//! with Triton's methods, [`tfs`] TensorFlow Serving, [`predict`] rows of numbers. `target` is why a
//! message names none, [`limits`] what is checked before a message is decoded, `element` and `row` in moving numbers between lists and tensors,
//! `answer` in the
//! elements of the way back. [`codec`] makes each method a codec as every
//! dialect has them.
//!
//! The caller asks for the target first, admits, and only then decodes: the message is there, but
//! nothing is allocated from what it declares.
//!
//! Invariant: tensors share the message's memory where the wire has their bytes; what a list of the
//! message repeats or widens is bounded before it is allocated.

mod answer;
pub mod codec;
mod element;
pub mod limits;
pub mod message;
pub mod predict;
mod row;
mod target;
pub mod tfs;
pub mod v2;

pub use crate::lenient::EncodeError;
pub use target::TargetError;

/// All files of `proto/` and those they import, as a serialised `google.protobuf.FileDescriptorSet`:
/// what server reflection answers, and what services are generated from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
