//! Errors of V2 over HTTP, from decoding requests and from encoding responses.
//!
//! All messages are for clients. They contain the client's own names, shortened by `Quoted`, and the
//! change that the client has to make; nothing internal.

use crate::classification::{ClassRequestError, ClassesError};
use crate::element_description::describe;
use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use std::fmt;
use wisp_tensor::{ElementType, Shape, TensorError};

/// The reason that a body cannot be decoded. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error(
        "the body has {body} bytes, fewer than the {header} that Inference-Header-Content-Length \
         declares"
    )]
    HeaderBeyondBody { header: usize, body: usize },
    #[error("the body is not valid JSON: {0}")]
    Syntax(Box<str>),
    #[error("the body is not valid: {0}")]
    Document(Box<str>),
    /// Internal: the caller returns the error of the whole text instead, so no client receives this one.
    #[error("an array of numbers or a bare word is not in the `data` of an input")]
    Misplaced,
    #[error("the inputs declare {declared} bytes of binary data, the body contains {actual}")]
    BinaryLength { declared: u64, actual: usize },
    #[error("the model has {expected} inputs, the request gives {actual}")]
    TooManyInputs { expected: usize, actual: usize },
    #[error("the model has {expected} outputs, the request names {actual}")]
    TooManyOutputs { expected: usize, actual: usize },
    #[error("input {0} is given twice")]
    RepeatedInput(Quoted),
    #[error("input {name}: {error}")]
    Input { name: Quoted, error: InputError },
    #[error("output {name}: {error}")]
    Classification {
        name: Quoted,
        error: ClassRequestError,
    },
    #[error("output {0}: shared memory is not supported by this server")]
    SharedMemory(Quoted),
    #[error("the request's id is longer than {limit} bytes")]
    LongId { limit: usize },
    #[error("the name of an output is longer than {limit} bytes")]
    LongOutputName { limit: usize },
    #[error(
        "a raw request, one without JSON, takes a model with exactly one required input; this one has {required}"
    )]
    RawInputs { required: usize },
}

/// An error in one input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InputError {
    #[error("{0} is not a datatype")]
    Datatype(Quoted),
    #[error("its name is longer than {limit} bytes")]
    LongName { limit: usize },
    #[error("shared memory is not supported by this server")]
    SharedMemory,
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("it has neither `data` nor the parameter `binary_data_size`")]
    NoContent,
    #[error("it has both `data` and the parameter `binary_data_size`")]
    TwoContents,
    #[error("{0} has no JSON form, send it as binary data")]
    NoJsonForm(ElementType),
    #[error("element {position} of `data` is not {}", describe(*element_type))]
    Element {
        position: usize,
        element_type: ElementType,
    },
    #[error("shape {shape} takes {} elements, `data` contains {actual}", shape.elements())]
    Count { shape: Shape, actual: ElementCount },
    #[error("`data` is not an array")]
    NotAnArray,
    #[error("a raw request takes an input with at most one variable dimension besides the batch")]
    RawVariable,
    #[error("a raw request takes a BYTES input of a single element")]
    RawElements,
    #[error("{actual} bytes do not make a raw tensor of {element_type} {shape}")]
    RawLength {
        element_type: ElementType,
        shape: String,
        actual: usize,
    },
}

/// The number of elements found; counting stops at the first excess element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementCount {
    Exactly(usize),
    More,
}

/// An invalid header for the length of the JSON. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderLengthError {
    #[error("Inference-Header-Content-Length is not a decimal number of bytes")]
    NotANumber,
    #[error("Inference-Header-Content-Length is given more than once")]
    Repeated,
}

/// The reason that a response cannot be encoded in the requested form. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    #[error(
        "output `{output}` is {element_type}, which has no JSON form: request it with the \
         parameter `binary_data`: true"
    )]
    NoJsonForm {
        output: String,
        element_type: ElementType,
    },
    #[error(
        "output `{output}` contains bytes that are not UTF-8, which JSON cannot represent: request \
         it with the parameter `binary_data`: true"
    )]
    NotUtf8 { output: String },
    #[error(transparent)]
    Classes(#[from] ClassesError),
    #[error("the handler returned parameter `{parameter}`, which is not a finite number")]
    Parameter { parameter: String },
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        match self {
            DecodeError::SharedMemory(_)
            | DecodeError::Input {
                error: InputError::SharedMemory,
                ..
            } => ErrorKind::NotImplemented,
            _ => ErrorKind::InvalidRequest,
        }
    }
}

impl DecodeError {
    /// Converts an error of serde_json. Its message contains the position and the text of our
    /// visitors; it is cut to 200 characters, since it may repeat strings of any length.
    pub(super) fn json(error: &serde_json::Error) -> DecodeError {
        const MAX_CHARACTERS: usize = 200;
        let text: Box<str> = error.to_string().chars().take(MAX_CHARACTERS).collect();
        match error.is_data() {
            true => DecodeError::Document(text),
            false => DecodeError::Syntax(text),
        }
    }
}

/// A result that cannot be written in the requested form makes the request invalid, since the client can
/// request another form.
impl HasErrorKind for EncodeError {
    fn kind(&self) -> ErrorKind {
        match self {
            EncodeError::NoJsonForm { .. } | EncodeError::NotUtf8 { .. } => {
                ErrorKind::InvalidRequest
            }
            EncodeError::Classes(error) => error.kind(),
            EncodeError::Parameter { .. } => ErrorKind::Handler,
        }
    }
}

impl fmt::Display for ElementCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementCount::Exactly(count) => count.fmt(f),
            ElementCount::More => f.write_str("more"),
        }
    }
}
