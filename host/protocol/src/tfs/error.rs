//! What can be wrong with a body of this dialect.
//!
//! The texts name what the client named, shortened by `Label`, and what it has to change.

use super::classes::RoleError;
use crate::error::ErrorKind;
use crate::label::Label;
use crate::lenient::{RowProblem, SyntaxError};
use wisp_tensor::TensorError;

/// Why a body is no request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(#[from] Reason);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not a valid JSON object: {0}")]
    Syntax(#[from] SyntaxError),
    #[error("`{0}` is given twice")]
    Repeated(&'static str),
    /// Told to nobody: the whole text is read instead.
    #[error("a list of numbers is none of the members")]
    Outline,
    #[error("the body has both `instances` and `inputs`: send rows or columns, not both")]
    TwoFormats,
    #[error("the body has neither `instances` (rows) nor `inputs` (columns)")]
    NoFormat,
    #[error("the body has no `examples`")]
    NoExamples,
    #[error("`signature_name` is not a string")]
    SignatureType,
    #[error("the model has no signature {0}, only `serving_default`: leave `signature_name` out")]
    Signature(Label),
    #[error("`{0}` is not a list")]
    NotAList(&'static str),
    #[error("`{0}` is empty")]
    Empty(&'static str),
    #[error(
        "axis 0 of this model is no batch, so it has no rows: use `:predict` with columns, `inputs`"
    )]
    NoBatchAxis,
    #[error("{member} {position}: {problem}")]
    Row {
        member: &'static str,
        position: u32,
        problem: RowProblem,
    },
    #[error("{member}: {problem}")]
    Member {
        member: &'static str,
        problem: RowProblem,
    },
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl DecodeError {
    /// What the dialect's error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}
