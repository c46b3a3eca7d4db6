//! Decoding of JSON numbers, each rounded once from its digits to the datatype of a tensor.
//!
//! `decimal` parses one number, `float` rounds it, `word` reads the words for floats without digits, `array`
//! reads arrays of all of these. All of them validate their input, so the text need not be valid JSON.

mod array;
mod decimal;
mod float;
mod word;

pub(crate) use array::{read_array, read_tensor};
pub(crate) use float::{read_f32, read_f64};
