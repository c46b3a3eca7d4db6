//! Errors of decoding a body of this protocol.
//!
//! The messages contain the client's own names, shortened by `Quoted`, and the change that the client
//! has to make.

use super::classes::RoleError;
use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use crate::relaxed_json::{RowError, SyntaxError};
use wisp_tensor::TensorError;

/// The reason that a body cannot be decoded. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not a valid JSON object: {0}")]
    Syntax(#[from] SyntaxError),
    #[error("`{0}` is given twice")]
    Repeated(&'static str),
    /// Internal: the caller decodes the whole text instead, so no client receives this error.
    #[error("an array of numbers is not one of the members")]
    MisplacedArray,
    #[error("the body has both `instances` and `inputs`: send rows or columns, not both")]
    TwoFormats,
    #[error("the body has neither `instances` (rows) nor `inputs` (columns)")]
    NoFormat,
    #[error("the body has no `examples`")]
    NoExamples,
    #[error("`signature_name` is not a string")]
    SignatureType,
    #[error("the model has no signature {0}, only `serving_default`: leave `signature_name` out")]
    Signature(Quoted),
    #[error("`{0}` is not an array")]
    NotAnArray(&'static str),
    #[error("`{0}` is empty")]
    Empty(&'static str),
    #[error(
        "axis 0 of this model is not a batch axis, so it has no rows: use `:predict` with \
         columns, `inputs`"
    )]
    NoBatchAxis,
    #[error("{member} {position}: {error}")]
    Row {
        member: &'static str,
        position: u32,
        error: RowError,
    },
    #[error("{member}: {error}")]
    Member {
        member: &'static str,
        error: RowError,
    },
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}
