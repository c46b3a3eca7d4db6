//! What can be wrong with an answer that has to be read row by row.

use crate::error::ErrorKind;

/// Why an inference's outputs cannot be told in the words of a dialect. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("output `{output}` does not have {expected} rows, one for each of the request")]
    Rows { output: String, expected: usize },
    #[error("the answer has no output `{output}`, which was asked for")]
    Missing { output: String },
    #[error("output `{output}` is not of the type that the model declares")]
    ElementType { output: String },
    #[error(
        "output `{output}` holds bytes that are not UTF-8, which a label cannot say: ask for the output itself"
    )]
    NotUtf8 { output: String },
    #[error(
        "outputs `{labels}` and `{scores}` differ in length, so that classes do not have one of each: ask for the outputs themselves"
    )]
    Classes { labels: String, scores: String },
    #[error("output `{output}` has more than one value per row: ask for the output itself")]
    SeveralValues { output: String },
    #[error(
        "the outputs hold neither a label, a number nor probabilities for each row: ask for the outputs themselves"
    )]
    NoPrediction,
}

impl EncodeError {
    /// What the error table is asked with: a sound answer that a dialect has no words for is the
    /// client's to ask for in another one.
    pub fn kind(&self) -> ErrorKind {
        match self {
            EncodeError::Rows { .. }
            | EncodeError::Missing { .. }
            | EncodeError::ElementType { .. } => ErrorKind::Handler,
            EncodeError::NotUtf8 { .. }
            | EncodeError::Classes { .. }
            | EncodeError::SeveralValues { .. }
            | EncodeError::NoPrediction => ErrorKind::InvalidRequest,
        }
    }
}
