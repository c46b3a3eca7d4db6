//! `wasi:nn@0.2.0-rc-2024-10-28`, translated to [`wisp_tensor`] and to
//! [`Compute`](crate::compute::Compute).
//!
//! A guest can load only the graphs its version was deployed with, by name. Its mistakes are returned to
//! it as wasi:nn errors; only those without a wasi:nn error (too many handles) trap. The interface's
//! tensor constructor cannot fail, so a tensor that does not match its shape keeps no bytes and fails the
//! `compute` that receives it.
//!
//! The interfaces are linked by hand rather than by `bindgen!`: one copy in (validated against the
//! guest's memory before anything is allocated), one copy out, and two implementations of `compute` over
//! one set of types. This module chooses no backend and holds no model.

mod interface;
mod resource;
mod types;

pub(crate) use interface::{add_inline_compute, add_queued_compute, add_to_linker};

use types::TensorType;
use wisp_tensor::ElementType;

/// Returns whether tensors of this type can pass through wasi:nn.
pub fn is_representable(element_type: ElementType) -> bool {
    TensorType::from_element_type(element_type).is_some()
}
