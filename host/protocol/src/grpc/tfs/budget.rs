//! The memory that a request may still allocate.

use super::error::InputError;

/// The number of bytes that a request's repeated fields may still be widened or repeated to. Lifetime:
/// one request.
pub(super) struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Budget {
        Budget { limit, left: limit }
    }

    /// Deducts bytes that are about to be allocated. `None` represents a number that overflowed.
    pub(super) fn take(&mut self, bytes: Option<usize>) -> Result<(), InputError> {
        let left = bytes.and_then(|bytes| self.left.checked_sub(bytes));
        let limit = self.limit;
        self.left = left.ok_or(InputError::TooLarge { limit })?;
        Ok(())
    }
}
