//! How much a request may still grow in memory.

use super::error::InputProblem;

/// The bytes that a request's lists may still be widened or repeated to. Lifetime: one request.
pub(super) struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Budget {
        Budget { limit, left: limit }
    }

    /// Counts bytes that are about to be allocated. `None` is a number beyond all limits.
    pub(super) fn take(&mut self, bytes: Option<usize>) -> Result<(), InputProblem> {
        let left = bytes.and_then(|bytes| self.left.checked_sub(bytes));
        let limit = self.limit;
        self.left = left.ok_or(InputProblem::TooLarge { limit })?;
        Ok(())
    }
}
