//! Tensors as all parts of Wisp use them, independent of any wire format, backend or sandbox.
//!
//! This crate depends on no other crate of the workspace and compiles to Wasm. Start with
//! [`element_type`] and [`shape`], then [`tensor`], whose type guarantees that bytes match a type and a
//! shape. [`named`] and [`signature`] are the building blocks of requests, responses and graphs.
//! [`number`] reads elements as numbers, [`half_precision`] rounds to FP16 and BF16, [`difference`] compares
//! outputs, [`expected_outputs`] checks them, [`elements_text`] shows them, [`batch`] splits and stacks rows, [`image_layout`] orders the axes of images, [`memory_budget`] bounds the memory of
//! all requests, [`response_names`] checks the names of handlers, and [`sanitize`] displays untrusted text.
//!
//! Invariant: all arithmetic on sizes is checked, and no [`Tensor`] exists unvalidated.
#![forbid(unsafe_code)]

pub mod batch;
pub mod difference;
pub mod element_type;
pub mod elements_text;
pub mod expected_outputs;
pub mod half_precision;
pub mod image_layout;
pub mod memory_budget;
pub mod named;
pub mod number;
pub mod response_names;
pub mod sanitize;
pub mod shape;
pub mod signature;
pub mod tensor;

pub use element_type::ElementType;
pub use image_layout::ImageLayout;
pub use memory_budget::{ByteShare, MemoryBudget, Reservation};
pub use named::{NamedTensor, Parameter, ParameterValue};
pub use sanitize::OneLine;
pub use shape::{Shape, ShapeError};
pub use signature::{Dimension, FitError, Signature, SpecError, TensorSpec};
pub use tensor::{Tensor, TensorError};
