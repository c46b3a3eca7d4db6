//! Decoding of JSON numbers, each rounded once from its digits to the datatype of a tensor.
//!
//! `decimal` parses one number, `float` rounds it, `array` reads arrays of them. All of them validate
//! their input, so the text need not be valid JSON.

mod array;
mod decimal;
mod float;

pub(crate) use array::{read_array, read_tensor};
pub(crate) use float::{read_f32, read_f64};
