//! Numbers as JSON writes them, each rounded once from its digits to the datatype of a tensor.
//!
//! `decimal` takes one number apart, `float` rounds it, `array` reads lists of them. All of them check
//! what they read, so that text may come here before any parser has seen it.

mod array;
mod decimal;
mod float;

pub(crate) use array::{read_list, read_tensor};
pub(crate) use float::{read_f32, read_f64};
