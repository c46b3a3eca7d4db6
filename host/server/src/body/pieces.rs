//! The pieces of a body that is passed on as it arrives, and so may be larger than the memory for requests.
//!
//! Its size has no limit here, and its time depends on the bytes that have arrived: a client that sends nothing, or too
//! slowly, ends it.

use super::{RequestBody, State};
use bytes::Bytes;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use wisp_serving::BodyError;

/// The rate below which an upload is late. It occupies one of few places.
const MIN_BYTES_PER_SECOND: u64 = 64 * 1024;

/// A body that arrives. Lifetime: one request.
pub(crate) struct BodyPieces<'a, B> {
    body: &'a mut RequestBody<B>,
    start: Instant,
    /// Completes when the body is given up because the server drains.
    given_up: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<B> fmt::Debug for BodyPieces<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyPieces")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl<B> RequestBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Error + 'static> + Unpin,
{
    /// Returns the length that the client has declared, or 0.
    pub(crate) fn declared_bytes(&self) -> u64 {
        self.incoming.size_hint().lower()
    }

    /// Returns whether the body is compressed. Its pieces are not inflated.
    pub(crate) fn is_compressed(&self) -> bool {
        self.coding.is_some()
    }

    /// Returns the body as pieces.
    pub(crate) fn pieces(&mut self) -> BodyPieces<'_, B> {
        let drain = self.drain.take();
        let given_up = async move {
            match drain {
                Some(drain) => drain.bodies_given_up().await,
                None => std::future::pending().await,
            }
        };
        BodyPieces {
            body: self,
            start: Instant::now(),
            given_up: Box::pin(given_up),
        }
    }
}

impl<B> BodyPieces<'_, B>
where
    B: http_body::Body<Data = Bytes, Error: Error + 'static> + Unpin,
{
    /// Returns the next piece, or `None` at the end of a complete body.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if self.body.state == State::Ended {
                return Ok(None);
            }
            let deadline = self.start + allowed_time(self.body.grace, self.body.received);
            let (body, given_up) = (&mut *self.body, &mut self.given_up);
            let piece = poll_fn(|cx| match body.poll_piece(cx) {
                Poll::Ready(piece) => Poll::Ready(piece),
                Poll::Pending => given_up
                    .as_mut()
                    .poll(cx)
                    .map(|()| Err(BodyError::Draining)),
            });
            match timeout_at(deadline, piece).await {
                // The last piece may be followed by nothing.
                Ok(Ok(Some(piece))) => return Ok(Some(piece)),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(BodyError::Timeout),
            }
        }
    }
}

/// Returns the time that a body may take when this many bytes have been received.
fn allowed_time(grace: Duration, received: u64) -> Duration {
    grace.saturating_add(Duration::from_secs(received / MIN_BYTES_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_time_for_what_it_has_sent() {
        let grace = Duration::from_secs(10);
        assert_eq!(allowed_time(grace, 0), grace);
        let hour = allowed_time(grace, 3600 * MIN_BYTES_PER_SECOND);
        assert_eq!(hour, Duration::from_secs(3610));
    }
}
