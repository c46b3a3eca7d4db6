//! Tensors in the JSON of the protocols without binary data: TF Serving's, the predict API, and V2's generate
//! extension.
//!
//! Unlike in `v2::json`, datatype and shape come from the model's signature; bytes are `{"b64": "..."}`; a
//! request consists of rows without the batch axis. As there, `NaN`, `Infinity` and `-Infinity` are bare
//! words in both directions, and `null` is a missing value, NaN. `reader` parses the JSON, `element` one number or string, `tensor` nested
//! arrays of them; `rows` joins the rows of a request into one tensor per input, `writer` encodes.
//!
//! Decisions: an integer is never converted through a float, and `1.0` is not an integer; a number
//! beyond the datatype's range is an error, not infinity; a missing value is an error for datatypes without
//! NaN; a member given twice is an error.
//!
//! Invariant: these formats declare no sizes, so memory is allocated in proportion to the text read. The
//! nesting is as deep as the model's shape.

mod element;
mod error;
mod reader;
mod rows;
mod tensor;
mod writer;

pub(crate) use error::{EncodeError, RowError, SyntaxError, ValueError};
pub(crate) use reader::{Reader, ValueKind, members};
pub(crate) use rows::{Defaults, MAX_DEFAULT_BYTES, Rows};
pub(crate) use tensor::{ArrayForm, read as read_tensor};
pub(crate) use writer::{
    OutputWriter, number, write_element, write_f32, write_f64, write_json, write_string,
};
