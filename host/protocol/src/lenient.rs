//! Tensors in the JSON of the dialects without binary data: TF Serving's and the simple one.
//!
//! What differs from `v2::json`: datatype and shape come from the model's signature, not from the
//! request; `NaN`, `Infinity` and `-Infinity` stand bare among the numbers in both directions;
//! bytes are `{"b64": "..."}`; a request is made of rows that lack the batch axis. `reader` walks
//! the JSON, `element` reads one number or string, `tensor` nested lists of them, `rows` joins the
//! rows of a request into one tensor per input, `writer` is the way back.
//!
//! Judgements: an integer never passes through a float, and `1.0` is no integer; a number beyond
//! the datatype's range is refused instead of becoming infinite; a member given twice is refused.
//!
//! Invariant: no size is declared in these formats, so what is allocated is in proportion to the
//! text read; the depth of nesting is that of the model's shape.

mod element;
mod error;
mod half;
mod reader;
mod rows;
mod tensor;
mod writer;

pub(crate) use error::{RowProblem, SyntaxError};
pub(crate) use reader::{Kind, Reader, members};
pub(crate) use rows::{Defaults, MAX_DEFAULT_BYTES, Rows};
pub(crate) use tensor::Form;
pub(crate) use writer::{Values, number, write_element, write_json, write_text};

pub use error::EncodeError;
