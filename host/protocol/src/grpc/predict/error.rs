//! Errors in rows, and in requests for rows from an unsuitable model.

use crate::error::{ErrorKind, HasErrorKind};
use crate::grpc::row_shape::RowShapeError;
use crate::quoted::Quoted;
use wisp_tensor::{ElementType, TensorError};

/// The error for a message that is not a valid request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error(
        "`features` take a model with exactly one required input, this one has {required}: use ModelInfer"
    )]
    Inputs { required: usize },
    #[error(
        "`features` need an input of whole numbers, FP32 or FP64, and the input of this model is {0}: use ModelInfer"
    )]
    Datatype(ElementType),
    #[error("the model takes one row at a time: use Predict")]
    NoBatch,
    #[error("the batch has {actual} rows, more than the limit of {limit}: send several")]
    TooManyRows { limit: usize, actual: usize },
    #[error("the batch is empty")]
    Empty,
    #[error("no row of the batch is valid; row 0: {0}")]
    NoValidRow(String),
    #[error("`features`: {0}")]
    Row(#[from] RowError),
    #[error("`features`: {0}")]
    Tensor(#[from] TensorError),
}

/// An error in one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Shape(#[from] RowShapeError),
    #[error("a row takes {expected} elements as the first one does, not {actual}")]
    OtherShape { expected: usize, actual: usize },
    #[error("element {position} does not fit in {element_type}")]
    Element {
        position: usize,
        element_type: ElementType,
    },
    #[error("the batch is for another model than {0}: send its rows in a batch of their own")]
    OtherModel(Quoted),
    #[error("the batch is for another version: send the row in a batch of its own")]
    OtherVersion,
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}
