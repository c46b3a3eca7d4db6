//! Reading a request's body within limits on its size and its time.
//!
//! A body that arrives in one piece is passed on without a copy. Several pieces are joined in one buffer as
//! they arrive, because each piece would keep far more memory than its length: a flood of tiny pieces costs
//! about as much as its bytes. A declared length is trusted only to refuse a body. A compressed body is
//! inflated once all of it has arrived, within the same limit. `pieces` passes on a body that is never held as a whole.

mod inflation;
mod pieces;

pub(crate) use inflation::inflate;

use crate::drain::DrainWatch;
use bytes::Bytes;
use std::collections::TryReserveError;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use wisp_protocol::content_coding::Coding;
use wisp_serving::BodyError;
use wisp_serving::blocking::BlockingPool;
use wisp_tensor::{MemoryBudget, Reservation};

/// The rate below which a body is late. A poor mobile connection reaches it.
const MIN_BYTES_PER_SECOND: u64 = 16 * 1024;

/// The longest time that a body may take at any rate, because it occupies a place among the requests.
const MAX_BODY_TIME: Duration = Duration::from_secs(300);

/// The most bytes that are allocated for a declared length before they have arrived.
const MAX_ADVANCE_BYTES: usize = 256 * 1024;

/// The size of a piece below which some of the following bytes are reserved with it, because many such
/// pieces may follow.
const MAX_TINY_PIECE: usize = 1024;

/// The bytes that are reserved in advance with a tiny piece.
const RESERVED_AHEAD_BYTES: usize = 16 * 1024;

/// The number of pieces that are read before other connections get their turn.
const MAX_PIECES_AT_ONCE: usize = 256;

/// The most unread bytes that are discarded, if they have already arrived, so that a connection can be
/// reused after an error response.
const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// The body of a request, which is read at most once. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    incoming: B,
    collected: Collected,
    /// The compression of the body; `None` if it is not compressed.
    coding: Option<Coding>,
    /// The part of the memory budget of all requests. It is released with the request, which continues to
    /// use the bytes.
    reservation: Reservation,
    /// The threads that inflate long bodies.
    blocking: BlockingPool,
    /// The time that the body may keep the server waiting, in addition to the time allowed for its bytes.
    grace: Duration,
    /// The signal after which a body that does not arrive is given up, if there is one.
    drain: Option<DrainWatch>,
    state: State,
    /// The bytes that have arrived, also those that were discarded.
    received: u64,
}

/// The progress of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    Ended,
    /// The body failed. hyper returns no more of it, and the connection cannot be reused.
    Broken,
}

/// The bytes that have been received.
#[derive(Debug)]
enum Collected {
    Nothing,
    OnePiece(Bytes),
    Joined(Vec<u8>),
}

impl<B> RequestBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Error + 'static> + Unpin,
{
    pub(crate) fn new(
        incoming: B,
        grace: Duration,
        reservation: Reservation,
        blocking: BlockingPool,
    ) -> RequestBody<B> {
        RequestBody {
            state: match incoming.is_end_stream() {
                true => State::Ended,
                false => State::Coming,
            },
            incoming,
            collected: Collected::Nothing,
            coding: None,
            reservation,
            blocking,
            grace,
            drain: None,
            received: 0,
        }
    }

    /// Returns the number of bytes that have arrived, compressed as they were sent.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Counts the memory of the body in this budget, that of the caller's tenant, from now on.
    pub(crate) fn charge_to(&mut self, memory: &Arc<MemoryBudget>) {
        self.reservation.charge_to(memory);
    }

    /// Returns the same body, given up soon after the server begins to drain.
    pub(crate) fn until_drain(self, drain: DrainWatch) -> RequestBody<B> {
        RequestBody {
            drain: Some(drain),
            ..self
        }
    }

    /// Sets the compression of the body, before it is read.
    pub(crate) fn set_coding(&mut self, coding: Option<Coding>) {
        self.coding = coding;
    }

    /// Returns whether the body has ended. Bytes that have already arrived are discarded, without waiting
    /// for more.
    pub(crate) async fn is_over(&mut self) -> bool {
        let mut discarded = 0;
        while self.state == State::Coming && discarded <= MAX_DISCARDED_BYTES {
            match poll_fn(|cx| Poll::Ready(self.poll_piece(cx))).await {
                Poll::Ready(Ok(Some(piece))) => discarded += piece.len().max(1),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return false,
            }
        }
        self.state == State::Ended
    }

    async fn read_whole(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let declared = self.incoming.size_hint().lower();
        if usize::try_from(declared).map_or(true, |declared| declared > limit) {
            return Err(BodyError::TooLarge { limit });
        }
        // Small bodies arrive with their head and need no timer.
        if let Poll::Ready(body) = poll_fn(|cx| Poll::Ready(self.poll_whole(cx, limit))).await {
            return body;
        }
        let start = Instant::now();
        let drain = self.drain.take();
        let mut given_up = pin!(async {
            match drain {
                Some(drain) => drain.bodies_given_up().await,
                None => std::future::pending().await,
            }
        });
        loop {
            let deadline = self.deadline(start);
            let whole = poll_fn(|cx| match self.poll_whole(cx, limit) {
                Poll::Ready(body) => Poll::Ready(body),
                Poll::Pending => {
                    let given_up = given_up.as_mut().poll(cx);
                    given_up.map(|()| Err(BodyError::Draining))
                }
            });
            match timeout_at(deadline, whole).await {
                Ok(body) => return body,
                // The bytes that arrived in the meantime have extended the deadline.
                Err(_) if self.deadline(start) > deadline => {}
                Err(_) => return Err(BodyError::Timeout),
            }
        }
    }

    /// Returns the deadline for a body of which this much has arrived.
    fn deadline(&self, start: Instant) -> Instant {
        start + allowed_time(self.grace, self.collected.bytes().len() as u64)
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<Bytes, BodyError>> {
        for _ in 0..MAX_PIECES_AT_ONCE {
            if self.state == State::Ended {
                let body = self.collected.take();
                let ahead = self.reservation.bytes().saturating_sub(body.len());
                self.reservation.shrink(ahead);
                return Poll::Ready(Ok(body));
            }
            let Some(piece) = ready!(self.poll_piece(cx))? else {
                continue;
            };
            let received = self.collected.bytes().len();
            if piece.len() > limit - received {
                return Poll::Ready(Err(BodyError::TooLarge { limit }));
            }
            if !self.reserve(received, piece.len()) {
                return Poll::Ready(Err(BodyError::NoRoom));
            }
            let incoming = &self.incoming;
            let left = || incoming.size_hint().lower();
            if self.collected.add(piece, left, limit).is_err() {
                return Poll::Ready(Err(BodyError::NoRoom));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reserves a piece in addition to the bytes received. For a tiny piece, bytes that may follow are
    /// reserved as well.
    fn reserve(&mut self, received: usize, piece: usize) -> bool {
        let needed = (received + piece).saturating_sub(self.reservation.bytes());
        if needed == 0 {
            return true;
        }
        let is_tiny = received > 0 && piece < MAX_TINY_PIECE;
        let ahead = is_tiny && self.reservation.grow(needed + RESERVED_AHEAD_BYTES);
        ahead || self.reservation.grow(needed)
    }

    /// Returns the next piece, or `None` for trailers and at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let piece = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if self.incoming.is_end_stream() {
                    self.state = State::Ended;
                }
                // No supported protocol uses trailers.
                let piece = frame.into_data().ok();
                let bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
                self.received = self.received.saturating_add(bytes);
                piece
            }
            Some(Err(error)) => {
                self.state = State::Broken;
                return Poll::Ready(Err(classify(&error)));
            }
            None => {
                self.state = State::Ended;
                None
            }
        };
        Poll::Ready(Ok(piece))
    }
}

impl<B> RequestBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Error + 'static> + Unpin + Send,
{
    /// Reads the whole body, of at most `limit` bytes after inflation, within the time limit of bodies.
    pub(crate) async fn read(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let body = self.read_whole(limit).await?;
        let Some(coding) = self.coding else {
            return Ok(body);
        };
        let reservation = self.reservation.split_off();
        let (inflated, reservation) =
            inflate((coding, body), limit, reservation, &self.blocking).await?;
        self.reservation = reservation;
        Ok(inflated)
    }
}

impl Collected {
    fn bytes(&self) -> &[u8] {
        match self {
            Collected::Nothing => &[],
            Collected::OnePiece(piece) => piece,
            Collected::Joined(bytes) => bytes,
        }
    }

    /// Adds a piece. At least `left` bytes are announced after it; the total is at most `limit`. Fails if
    /// the memory cannot be allocated.
    fn add(
        &mut self,
        piece: Bytes,
        left: impl FnOnce() -> u64,
        limit: usize,
    ) -> Result<(), TryReserveError> {
        if piece.is_empty() {
            return Ok(());
        }
        let total = self.bytes().len() + piece.len();
        match self {
            Collected::Nothing => *self = Collected::OnePiece(piece),
            Collected::OnePiece(first) => {
                let announced =
                    usize::try_from(left()).map_or(limit, |left| total.saturating_add(left));
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(announced.min(MAX_ADVANCE_BYTES).max(total))?;
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&piece);
                *self = Collected::Joined(bytes);
            }
            Collected::Joined(bytes) => {
                if total > bytes.capacity() {
                    // Growing copies the bytes. An announced length is reached in a few steps, once an
                    // eighth of it has arrived; otherwise the capacity is doubled, up to the most that can
                    // arrive.
                    let announced =
                        usize::try_from(left()).map_or(limit, |left| total.saturating_add(left));
                    let capacity = bytes.capacity();
                    let wanted = announced.min(capacity * 8).max(capacity * 2);
                    let wanted = wanted.clamp(total, limit.max(total));
                    bytes.try_reserve_exact(wanted - bytes.len())?;
                }
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Collected::Nothing) {
            Collected::Nothing => Bytes::new(),
            Collected::OnePiece(piece) => piece,
            Collected::Joined(bytes) => Bytes::from(bytes),
        }
    }
}

/// Returns the time that a body may take when this many bytes have been received.
pub(crate) fn allowed_time(grace: Duration, received: u64) -> Duration {
    let allowed = Duration::from_millis(received.saturating_mul(1000) / MIN_BYTES_PER_SECOND);
    (grace + allowed).min(MAX_BODY_TIME)
}

/// Classifies an error of hyper, which reports invalid framing as an `io::Error` of one of these kinds.
fn classify(error: &(dyn Error + 'static)) -> BodyError {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let framing = causes.find_map(|error| error.downcast_ref::<io::Error>());
    match framing.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => BodyError::Malformed,
        _ => BodyError::Disconnected,
    }
}

#[cfg(test)]
mod tests;
