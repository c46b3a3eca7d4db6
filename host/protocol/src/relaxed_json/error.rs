//! Errors of the JSON of a tensor or of a row of tensors, and of encoding a response.
//!
//! The protocols prefix the messages with the position: the member or the row.

use crate::element_description::describe;
use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use std::borrow::Cow;
use wisp_tensor::{ElementType, TensorError};

/// A syntax error in JSON, with the parser's message. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SyntaxError(pub(super) Box<str>);

/// An error in the value of one input. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("element {position} is not {}", expected(*element_type))]
    Element {
        position: usize,
        element_type: ElementType,
    },
    #[error(
        "element {position} is null, a missing value, which only floating-point inputs can have: it must be {}",
        expected(*element_type)
    )]
    Missing {
        position: usize,
        element_type: ElementType,
    },
    #[error("its nesting does not match shape {expected}: expected arrays {depth} deep")]
    Nesting { expected: Box<str>, depth: usize },
    #[error("its arrays differ in length")]
    Ragged,
    #[error("it has shape {actual}, expected {expected}")]
    Shape {
        actual: Box<str>,
        expected: Box<str>,
    },
    #[error("a flat array of {actual} does not fill shape {expected}: nest it like the shape")]
    Flat { actual: usize, expected: Box<str> },
    #[error("it has shape {actual}, the rows before it {expected}: all must agree")]
    Disagrees {
        actual: Box<str>,
        expected: Box<str>,
    },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// An error in one row of a request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("input {name}: {error}")]
    Input { name: Quoted, error: ValueError },
    #[error("unknown input {name}, expected one of: {expected}")]
    Unknown { name: Quoted, expected: Box<str> },
    #[error("input {0} is given twice")]
    Repeated(Quoted),
    #[error("input {0} is missing")]
    Missing(Quoted),
    #[error("input {0} must be in all rows or in none")]
    Uneven(Quoted),
    #[error("it must be an object with a value for each input: {expected}")]
    NeedsObject { expected: Box<str> },
    #[error("more than {limit} rows in one request")]
    TooMany { limit: u32 },
    #[error(
        "the defaults, repeated for each row, take more than {limit} bytes: write them into the rows that need them"
    )]
    Defaults { limit: usize },
}

/// The reason that a response cannot be encoded in the requested form. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("the response has no output")]
    NoOutput,
    #[error("output `{output}` is missing from the response")]
    Missing { output: String },
    #[error(
        "output `{output}` has shape {shape}, not an entry for each of {rows} rows: request it in \
         the column format (`inputs`) or with V2"
    )]
    Rows {
        output: String,
        shape: String,
        rows: u32,
    },
    #[error(
        "output `{output}` has {actual} entries for each row where {expected} are wanted: request \
         it with `:predict`"
    )]
    Entries {
        output: String,
        actual: usize,
        expected: usize,
    },
    #[error(
        "output `{output}` has shape {shape}, too many empty arrays for JSON: request it on the \
         /v2 route"
    )]
    EmptyArrays { output: String, shape: String },
    #[error("output `{output}` has several values for each row: request it with V2")]
    SeveralValues { output: String },
    #[error(
        "output `{output}` contains bytes that are not UTF-8, which a label cannot represent: \
         request it with V2"
    )]
    NotUtf8 { output: String },
    #[error("output `{output}` contains no numbers, as the model declares")]
    NotNumbers { output: String },
}

/// A result that cannot be written in the requested form makes the request invalid, since the client can
/// request another form.
impl HasErrorKind for EncodeError {
    fn kind(&self) -> ErrorKind {
        match self {
            EncodeError::NoOutput
            | EncodeError::Missing { .. }
            | EncodeError::NotNumbers { .. } => ErrorKind::Handler,
            EncodeError::Rows { .. }
            | EncodeError::Entries { .. }
            | EncodeError::EmptyArrays { .. }
            | EncodeError::SeveralValues { .. }
            | EncodeError::NotUtf8 { .. } => ErrorKind::InvalidRequest,
        }
    }
}

/// Returns a description of an element of this type.
fn expected(element_type: ElementType) -> Cow<'static, str> {
    match element_type {
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => {
            format!("{}, NaN, Infinity or null", describe(element_type)).into()
        }
        ElementType::Bytes => r#"a string or {"b64": its bytes in base64}"#.into(),
        _ => describe(element_type).into(),
    }
}
