//! Graphs and the backends that compute them.
//!
//! A [`Backend`] loads a [`Graph`] from a [`ModelSource`]. A [`Graph`] is shared by all its users and computes
//! on the calling thread; its signature is read from the file. Each backend is one module behind a
//! feature, and none falls back to another; [`Backends`] finds them by name. Computing blocks; a
//! [`Cancellation`] ends a computation that takes too long. [`sample`] generates inputs for warming,
//! [`measure`] times graphs of one model, [`model_outline`] reads a file's operators before it is loaded, and
//! [`image_layouts`] finds the inputs that are images, [`compared_values`] the numbers that inputs are compared with.
//!
//! Invariant: no async code here, and no input makes a compute panic past its caller. Backends are
//! foreign code, so the threads that call them catch their panics.
#![deny(unsafe_code)]

mod backend;
mod backends;
pub mod bounded_file;
mod cancellation;
pub mod compared_values;
#[cfg(feature = "threads")]
pub mod deadline;
mod device;
mod error;
pub mod foreign_content;
pub mod format;
mod graph;
pub mod image_layouts;
#[cfg(feature = "onnx")]
mod input_order;
#[cfg(feature = "threads")]
pub mod measure;
pub mod memory;
#[cfg(feature = "onnx")]
mod model_folder;
pub mod model_outline;
mod model_source;
#[cfg(feature = "onnx")]
mod observed_shapes;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(feature = "onnx")]
mod panic;
#[cfg(feature = "onnx")]
mod pb;
#[cfg(feature = "onnx")]
mod plan_cache;
#[cfg(feature = "onnx")]
mod probe;
pub mod process_memory;
#[cfg(feature = "onnx")]
mod refusal;
mod rows;
#[cfg(feature = "rten")]
pub mod rten;
pub mod sample;
#[cfg(feature = "tract")]
mod self_contained;
#[cfg(feature = "tract")]
pub mod tract;
mod wire_reader;

pub use backend::{Backend, LoadOptions};
pub use backends::Backends;
pub use cancellation::{Cancellation, OnCancel};
pub use device::{Device, UnknownDevice};
pub use error::{BackendError, MISSING_OPERATORS};
pub use format::Format;
pub use graph::Graph;
pub use model_source::ModelSource;
pub use rows::Rows;
pub use sample::sample_inputs;
