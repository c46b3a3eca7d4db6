//! Errors in the messages of this protocol.

use crate::classification::ClassRequestError;
use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use wisp_tensor::{ElementType, Shape, TensorError};

/// The error for a message that is not a valid request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the model has {expected} inputs, the request gives {actual}")]
    TooManyInputs { expected: usize, actual: usize },
    #[error("the model has {expected} outputs, the request names {actual}")]
    TooManyOutputs { expected: usize, actual: usize },
    #[error(
        "the request has {inputs} inputs and {raw} elements of `raw_input_contents`: give one for each input, or none"
    )]
    RawCount { inputs: usize, raw: usize },
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
    #[error("the name of a parameter is longer than {limit} bytes")]
    LongParameterName { limit: usize },
    #[error("the name of an output is longer than {limit} bytes")]
    LongOutputName { limit: usize },
    #[error("more than {limit} parameters")]
    TooManyParameters { limit: usize },
    #[error("parameter {0} has no value")]
    NoValue(Quoted),
    #[error("parameter {name} must be {expected}")]
    ReservedParameter {
        name: Quoted,
        expected: &'static str,
    },
    #[error("a repository's name is not supported by this server")]
    RepositoryName,
    /// The name of no model, in the words of the operation.
    #[error("{0}")]
    Unknown(Box<str>),
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
    #[error("dimension {0} of its shape is not a number from 0 to 4294967295")]
    Dimension(i64),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("it has `contents` although the request has `raw_input_contents`: use one of them")]
    TwoContents,
    #[error("{0} has no typed contents, send it in `raw_input_contents`")]
    RawOnly(ElementType),
    #[error("the elements of {element_type} belong in `{expected}`, not in `{actual}`")]
    OtherList {
        element_type: ElementType,
        expected: &'static str,
        actual: &'static str,
    },
    #[error("shape {shape} takes {} elements, `{list}` contains {actual}", shape.elements())]
    Count {
        shape: Shape,
        list: &'static str,
        actual: usize,
    },
    #[error("element {position} of `{list}` does not fit in {element_type}")]
    Element {
        position: usize,
        list: &'static str,
        element_type: ElementType,
    },
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        match self {
            DecodeError::SharedMemory(_)
            | DecodeError::RepositoryName
            | DecodeError::Input {
                error: InputError::SharedMemory,
                ..
            } => ErrorKind::NotImplemented,
            DecodeError::Unknown(_) => ErrorKind::NotFound,
            _ => ErrorKind::InvalidRequest,
        }
    }
}
