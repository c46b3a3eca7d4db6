//! The protocols over gRPC, as messages without a transport.
//!
//! [`message`] contains the types of all messages. Each protocol maps its request messages to a target
//! and an `InferRequest`, and an `InferResponse` to a message: [`v2`] is the Open Inference Protocol with
//! Triton's methods, [`tfs`] is TensorFlow Serving, and [`predict`] takes rows of numbers. [`limits`]
//! checks a message before it is decoded; `target`, `element`, `row_shape`, `value` and `message_size` are
//! shared parts. Each inference method has a decoder whose source is its request message. The remaining
//! work is to convert repeated fields to tensors, which takes time proportional to their size; bytes of
//! tensors are not copied.
//!
//! The caller resolves the target first, admits the request and only then decodes it. Until then the
//! message is in memory, but nothing is allocated from the sizes it declares.
//!
//! Invariant: tensors share the message's memory where the wire carries their bytes. The memory for
//! repeated or widened fields is bounded before it is allocated.

mod element;
pub mod limits;
pub mod message;
mod message_size;
pub mod predict;
mod row_shape;
mod target;
pub mod tfs;
pub mod v2;
mod value;

pub use message::FILE_DESCRIPTOR_SET;
pub use target::TargetError;

#[cfg(test)]
mod tests;
