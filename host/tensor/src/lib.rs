//! Tensors as every part of Wisp knows them, free of any wire format, engine or sandbox.
//!
//! A leaf: it depends on no crate of ours and compiles to Wasm. Read [`element_type`] and [`shape`]
//! first, then [`tensor`], whose one type is the proof that bytes fit a type and a shape; [`named`]
//! and [`signature`] are what requests, answers and graphs are made of. [`number`] reads any of them as numbers, [`batch`] takes rows apart, and
//! [`memory_budget`] bounds what requests hold together. [`one_line`] shows text that others wrote.
//!
//! Invariant: arithmetic on sizes is checked everywhere, and no [`Tensor`] exists unvalidated.
#![forbid(unsafe_code)]

pub mod batch;
pub mod element_type;
pub mod memory_budget;
pub mod named;
pub mod number;
pub mod one_line;
pub mod shape;
pub mod signature;
pub mod tensor;

pub use element_type::ElementType;
pub use memory_budget::{MemoryBudget, Reservation};
pub use named::{NamedTensor, Parameter, ParameterValue};
pub use one_line::OneLine;
pub use shape::{Shape, ShapeError};
pub use signature::{Dimension, Signature, SpecError, TensorSpec};
pub use tensor::{Tensor, TensorError};
