//! Errors of a body of the predict API, and of one row in it.

use crate::error::{ErrorKind, HasErrorKind};
use crate::relaxed_json::{RowError, SyntaxError};
use wisp_tensor::TensorError;

/// The reason that a body cannot be decoded. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not valid JSON: {0}")]
    Syntax(#[from] SyntaxError),
    #[error(r#"the body is not an object like {{"features": [...]}}"#)]
    NoObject,
    #[error(
        r#"the body is not a batch: send {{"features": [row, ...]}}, [{{"features": row}}, ...] or {{"instances": [{{"features": row}}, ...]}}"#
    )]
    NoBatch,
    #[error("the batch has both `features` and `instances`: send one of them")]
    TwoBatches,
    #[error("`{0}` is given twice")]
    Repeated(&'static str),
    #[error("`class_names` must be true or false")]
    ClassNames,
    #[error("the batch is empty")]
    Empty,
    #[error(
        "axis 0 of this model is not a batch axis, so it takes one request at a time: use /predict"
    )]
    NoBatchAxis,
    #[error(transparent)]
    Row(#[from] PredictRowError),
    #[error("no row of the batch is valid; row 0: {0}")]
    NoValidRow(PredictRowError),
    #[error("more than {limit} rows of the batch are invalid; the last: {last}")]
    ManyInvalid { limit: usize, last: PredictRowError },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The reason that a row is not computed. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PredictRowError {
    #[error(r#"the row is not an object like {{"features": [...]}}"#)]
    NoObject,
    #[error("`features` is missing")]
    NoFeatures,
    #[error("`{0}` is given twice")]
    Repeated(&'static str),
    #[error("`class_names` must be true or false")]
    ClassNames,
    #[error("`features`: {0}")]
    Features(RowError),
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}
