//! The relation between the rows of a graph.

/// The relation between the rows of a graph, as far as its file shows it. A row is an index of the first
/// axis of every input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// The first axis of all inputs and outputs is one batch. Each row of the outputs depends on the same
    /// row of the inputs alone, and not on the number of rows.
    Independent,
    /// Rows may depend on each other.
    Dependent {
        /// The first operator that may mix rows, or another reason.
        reason: String,
    },
    /// The file declares different first axes for its inputs, so they are not one batch.
    Unrelated {
        /// The inputs whose first axes differ.
        reason: String,
    },
}

impl Rows {
    /// Returns whether any rows may be computed together or apart, with the same results.
    pub fn are_independent(&self) -> bool {
        *self == Rows::Independent
    }

    /// Returns whether the first axes of the inputs may be one batch.
    pub fn may_be_batch(&self) -> bool {
        !matches!(self, Rows::Unrelated { .. })
    }
}
