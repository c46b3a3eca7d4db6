//! Reading a request's body under a limit on its bytes and on its time.
//!
//! A body that came in one piece is passed on as it is. More pieces are joined in one buffer as
//! they come, since each would keep memory far larger than itself: a flood of tiny pieces costs
//! about as much as the bytes in it. What is declared is believed only to refuse. A body that is
//! compressed is inflated when all of it is there, under the same limit.

mod inflation;

pub(crate) use inflation::inflate;

use bytes::Bytes;
use std::collections::TryReserveError;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use wisp_protocol::content_coding::Coding;
use wisp_serving::offload::Offload;
use wisp_serving::{Body, BodyError};
use wisp_tensor::Reservation;

/// The rate below which a body is late; a bad mobile connection reaches it.
const MIN_BYTES_PER_SECOND: u64 = 16 * 1024;

/// The longest that a body may take however steadily it comes, since it holds its place among the requests.
const MAX_BODY_TIME: Duration = Duration::from_secs(300);

/// Memory set aside for a body of a declared size before its bytes are there.
const MAX_ADVANCE_BYTES: usize = 256 * 1024;

/// The largest piece with which some of what follows is reserved, since so many may come.
const MAX_TINY_PIECE: usize = 1024;

/// What is reserved with a tiny piece for those behind it.
const RESERVED_AHEAD_BYTES: usize = 16 * 1024;

/// Pieces taken in one go before other connections get their turn.
const MAX_PIECES_AT_ONCE: usize = 256;

/// What is thrown away, if it is there already, to use a connection again after a refusal.
const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// The body of a request, read once or not at all. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    incoming: B,
    collected: Collected,
    /// How it is compressed; `None` for a body as it is.
    coding: Option<Coding>,
    /// Of what all bodies may take; given back with the request, which goes on using the bytes.
    reservation: Reservation,
    /// Where it is inflated if it is long.
    offload: Offload,
    /// How long it may make us wait, besides the time its bytes take.
    grace: Duration,
    state: State,
}

/// How far the body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    Ended,
    /// It failed; hyper then has nothing more of it, but its connection is lost.
    Broken,
}

/// The bytes so far.
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
        offload: Offload,
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
            offload,
            grace,
        }
    }

    /// Say how the body is compressed, before it is read.
    pub(crate) fn set_coding(&mut self, coding: Option<Coding>) {
        self.coding = coding;
    }

    /// Whether nothing of the body is left to come. What is there is thrown away; nothing is
    /// waited for.
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
        // Small bodies come with their head: those need no timer.
        if let Poll::Ready(body) = poll_fn(|cx| Poll::Ready(self.poll_whole(cx, limit))).await {
            return body;
        }
        let start = Instant::now();
        loop {
            let deadline = self.deadline(start);
            let whole = poll_fn(|cx| self.poll_whole(cx, limit));
            match timeout_at(deadline, whole).await {
                Ok(body) => return body,
                // By the bytes that came meanwhile there is time left.
                Err(_) if self.deadline(start) > deadline => {}
                Err(_) => return Err(BodyError::Timeout),
            }
        }
    }

    /// By when a body of this length has to be there, if it goes on.
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

    /// Reserves a piece behind what was received; where it is small, what may follow as well.
    fn reserve(&mut self, received: usize, piece: usize) -> bool {
        let needed = (received + piece).saturating_sub(self.reservation.bytes());
        if needed == 0 {
            return true;
        }
        let is_tiny = received > 0 && piece < MAX_TINY_PIECE;
        let ahead = is_tiny && self.reservation.grow(needed + RESERVED_AHEAD_BYTES);
        ahead || self.reservation.grow(needed)
    }

    /// The next piece; `None` for what is not content, the end included.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let piece = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if self.incoming.is_end_stream() {
                    self.state = State::Ended;
                }
                // Trailers mean nothing to any protocol here.
                frame.into_data().ok()
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

/// By reference, so that `service` can look at what was left unread.
impl<B> Body for &mut RequestBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Error + 'static> + Unpin + Send,
{
    async fn read(self, limit: usize) -> Result<Bytes, BodyError> {
        let body = self.read_whole(limit).await?;
        let Some(coding) = self.coding else {
            return Ok(body);
        };
        let reservation = self.reservation.split_off();
        let (inflated, reservation) =
            inflate((coding, body), limit, reservation, &self.offload).await?;
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

    /// Adds a piece after which at least `left` bytes are announced; together they are at most
    /// `limit`. Fails where there is no memory for them.
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
                    // Growing copies. What is announced is reached in a few steps, once an eighth of it has come;
                    // otherwise twice as much each time, and never more than could come.
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

/// What a body may take of which so many bytes have come.
pub(crate) fn allowed_time(grace: Duration, received: u64) -> Duration {
    let allowed = Duration::from_millis(received.saturating_mul(1000) / MIN_BYTES_PER_SECOND);
    (grace + allowed).min(MAX_BODY_TIME)
}

/// hyper says what was wrong with a body's framing by an `io::Error` of one of these kinds.
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
