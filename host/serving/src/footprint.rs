//! The memory that one inference holds besides its body: the decoded tensors and the response.
//!
//! The memory is reserved before it is allocated, if its size can be computed in advance. It is held
//! until the last byte of the response has been sent: the sender takes over the reservation.

use crate::body::BodyError;
use crate::error::InferError;
use std::sync::Arc;
use wisp_protocol::error::ErrorKind;
use wisp_tensor::{MemoryBudget, Reservation};

/// The bytes that are reserved for an inference. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Footprint(Reservation);

impl Footprint {
    /// Returns a footprint without any reserved bytes.
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Footprint {
        Footprint(budget.reservation())
    }

    /// Changes the reservation to exactly `bytes`, or refuses the request.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), InferError> {
        let held = self.0.bytes();
        if bytes <= held {
            self.0.shrink(held - bytes);
            return Ok(());
        }
        let capacity = self.0.budget().capacity();
        if bytes > capacity {
            return Err(InferError::plain(
                ErrorKind::TooLarge,
                format_args!(
                    "the request takes {bytes} bytes of memory, more than the {capacity} that the server has \
                     for all requests (--max-memory-bytes)"
                ),
            ));
        }
        match self.0.grow(bytes - held) {
            true => Ok(()),
            false => Err(BodyError::NoRoom.into()),
        }
    }

    pub(crate) fn into_reservation(self) -> Reservation {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_reservation_changes_nothing() -> anyhow::Result<()> {
        let budget = Arc::new(MemoryBudget::new(10));
        let mut footprint = Footprint::new(&budget);
        footprint.resize(8)?;
        let mut other = Footprint::new(&budget);
        for (bytes, kind) in [(3, ErrorKind::Unavailable), (11, ErrorKind::TooLarge)] {
            let refused = other.resize(bytes).map_err(|error| error.kind());
            assert_eq!(refused, Err(kind), "{bytes}");
            assert_eq!(budget.reserved(), 8);
        }
        footprint.resize(3)?;
        let reservation = footprint.into_reservation();
        assert_eq!((reservation.bytes(), budget.reserved()), (3, 3));
        Ok(())
    }
}
