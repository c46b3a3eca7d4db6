//! The messages of an ONNX file: tract-onnx's, or equal ones where tract is not linked.
//!
//! A Wasm module that links tract contains all of its operators, because they register themselves.

#[cfg(not(feature = "tract"))]
mod messages;

#[cfg(not(feature = "tract"))]
pub(crate) use messages::*;
#[cfg(feature = "tract")]
pub(crate) use tract_onnx::pb::*;
