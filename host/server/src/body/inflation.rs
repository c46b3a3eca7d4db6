//! The plain bytes of a body that came compressed, counted like those of any other.
//!
//! What is short is inflated at once. The rest waits for a thread of those for such work, since it would hold up
//! connections; the budget's reservation goes with it, so that it is given back no earlier than the memory.

use bytes::Bytes;
use wisp_protocol::content_coding::{Coding, InflateError, Inflater, Progress};
use wisp_serving::BodyError;
use wisp_serving::offload::{Offload, OffloadError};
use wisp_tensor::Reservation;

/// The longest compressed body whose first steps are made at once: some tenths of a millisecond, about
/// what one step makes of it.
const MAX_SHORT_BYTES: usize = 64 << 10;

/// A body being inflated. Lifetime: one request.
#[derive(Debug)]
struct Inflation {
    inflater: Inflater,
    reservation: Reservation,
}

/// The plain bytes of `body`, of which there may be `limit`, and the reservation that they
/// and the compressed ones have.
pub(crate) async fn inflate(
    (coding, body): (Coding, Bytes),
    limit: usize,
    reservation: Reservation,
    offload: &Offload,
) -> Result<(Bytes, Reservation), BodyError> {
    let is_short = body.len() <= MAX_SHORT_BYTES;
    let inflater = Inflater::new(coding, body, limit);
    let mut inflation = Inflation {
        inflater,
        reservation,
    };
    if is_short {
        // Two steps, since gzip shows its end only in a step of its own.
        for _ in 0..2 {
            if inflation.step()? == Progress::Whole {
                return Ok(inflation.finish());
            }
        }
    }
    match offload.run_soon(|| inflation.run()).await {
        Ok(result) => result,
        Err(OffloadError::Deadline | OffloadError::NoThread) => Err(BodyError::NoThread),
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
