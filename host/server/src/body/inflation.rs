//! Inflating a compressed body, with its bytes counted as for any other.
//!
//! A short body is inflated immediately. A longer one would delay other connections, so it is inflated on
//! a thread of the blocking pool. The reservation moves with it and is released no earlier than the memory.

use bytes::Bytes;
use wisp_protocol::content_coding::{Coding, InflateError, Inflater, Progress};
use wisp_serving::BodyError;
use wisp_serving::blocking::{BlockingPool, BlockingPoolError};
use wisp_tensor::Reservation;

/// The longest compressed body whose first steps run immediately. This takes some tenths of a millisecond,
/// about as long as the output of one step.
const MAX_SHORT_BYTES: usize = 64 << 10;

/// A body being inflated. Lifetime: one request.
#[derive(Debug)]
struct Inflation {
    inflater: Inflater,
    reservation: Reservation,
}

/// Inflates `body` to at most `limit` bytes. Returns the inflated bytes, and the reservation of these and
/// the compressed bytes.
pub(crate) async fn inflate(
    (coding, body): (Coding, Bytes),
    limit: usize,
    reservation: Reservation,
    blocking: &BlockingPool,
) -> Result<(Bytes, Reservation), BodyError> {
    let is_short = body.len() <= MAX_SHORT_BYTES;
    let inflater = Inflater::new(coding, body, limit);
    let mut inflation = Inflation {
        inflater,
        reservation,
    };
    if is_short {
        // Two steps, because gzip reports its end only in a separate step.
        for _ in 0..2 {
            if inflation.step()? == Progress::Whole {
                return Ok(inflation.finish());
            }
        }
    }
    match blocking.run_soon(|| inflation.run()).await {
        Ok(result) => result,
        Err(BlockingPoolError::Deadline | BlockingPoolError::NoThread) => Err(BodyError::NoThread),
    }
}

impl Inflation {
    fn run(mut self) -> Result<(Bytes, Reservation), BodyError> {
        while self.step()? == Progress::Started {}
        Ok(self.finish())
    }

    fn step(&mut self) -> Result<Progress, BodyError> {
        let before = self.inflater.inflated_bytes();
        let progress = self.inflater.step().map_err(|error| match error {
            InflateError::TooLarge { limit } => BodyError::TooLarge { limit },
            InflateError::Malformed(coding) => BodyError::NotInCoding(coding),
            InflateError::NoMemory => BodyError::NoRoom,
        })?;
        match self
            .reservation
            .grow(self.inflater.inflated_bytes() - before)
        {
            true => Ok(progress),
            false => Err(BodyError::NoRoom),
        }
    }

    fn finish(self) -> (Bytes, Reservation) {
        (self.inflater.into_inflated(), self.reservation)
    }
}
