//! The one line that the log gets about a request.
//!
//! Its level is that of the party who has to act: a client's mistakes at debug, a handler's at
//! info, missing capacity at warn, ours at error. Of the last three, which a client can bring about
//! as often as it likes, one line a second is written of each kind, which counts the others. Answers are at
//! debug too: a line for each would cost more than answering a small request.
//!
//! Invariant: whatever a line repeats of clients and guests is bounded and stays on it.

use crate::failure::Failure;
use crate::request_id::{RequestId, RequestIds};
use crate::trace::TraceParent;
use http::StatusCode;
use http::request::Parts;
use std::error::Error;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use wisp_protocol::error::{ErrorKind, Party};
use wisp_tensor::one_line::is_unsafe_to_show;

/// The most of a path that a line repeats; the paths of the protocol are shorter.
const MAX_PATH_BYTES: usize = 300;

/// The most of an error and its causes that a line repeats.
const MAX_CHAIN_BYTES: usize = 2048;

/// Kinds of errors that are counted apart; any further ones share.
const KINDS: usize = 16;

/// What lines of all requests share. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Log {
    ids: RequestIds,
    samplers: [Sampler; KINDS],
}

/// The line about one request, written when it ends in whichever way. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    log: &'a Log,
    head: &'a Parts,
    start: Instant,
    written: bool,
}

/// Lets one event a second through and counts the others. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Sampler {
    start: Instant,
    /// In milliseconds since `start`.
    next: AtomicU64,
    suppressed: AtomicU64,
}

/// An error with its causes, which no error's own text repeats.
struct Chain<'a>(&'a dyn Error);

/// Escapes what could end the line or steer a terminal, and cuts what is too long.
struct OneLine<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    /// Bytes that may still be written, until something did not fit.
    left: Option<usize>,
}

// === impl Log ===

impl Log {
    pub(crate) fn new() -> Log {
        Log {
            ids: RequestIds::new(),
            samplers: std::array::from_fn(|_| Sampler::new()),
        }
    }

    fn sampler(&self, kind: ErrorKind) -> &Sampler {
        &self.samplers[kind as usize % KINDS]
    }

    /// The line about the request with this head, from now on.
    pub(crate) fn begin<'a>(&'a self, head: &'a Parts) -> Line<'a> {
        Line {
            log: self,
            head,
            start: Instant::now(),
            written: false,
        }
    }
}

// === impl Line ===

/// One event with what every line says, and what this one adds.
macro_rules! event {
    ($level:ident, $line:expr, $id:expr, $status:expr, $text:literal $(, $($more:tt)+)?) => {
        tracing::event!(
            tracing::Level::$level,
            request_id = %$id,
            trace_id = $line.trace().map(|trace| tracing::field::display(trace.trace_id)),
            parent_span_id = $line.trace().map(|trace| tracing::field::display(trace.span_id)),
            method = %$line.head.method,
            path = shown($line.head.uri.path()),
            status = $status,
            microseconds = $line.microseconds(),
            $($($more)+,)?
            $text
        )
    };
}

impl Line<'_> {
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.written = true;
        event!(DEBUG, self, self.id(), status.as_u16(), "answered");
    }

    /// Returns the id that the client has to be told, which the line bears.
    #[must_use]
    pub(crate) fn failed(mut self, failure: &Failure) -> RequestId {
        self.written = true;
        let (id, kind) = (self.id(), failure.kind());
        let (status, error) = (kind.status().as_u16(), Chain(failure));
        let party = kind.party();
        if party == Party::Client {
            event!(DEBUG, self, id, status, "refused", %error);
            return id;
        }
        let Some(suppressed) = self.log.sampler(kind).admit() else {
            return id;
        };
        match party {
            // Returned above.
            Party::Client => {}
            Party::Handler => {
                event!(INFO, self, id, status, "the handler failed", suppressed, %error)
            }
            Party::Capacity => event!(WARN, self, id, status, "no capacity", suppressed, %error),
            Party::Host => event!(ERROR, self, id, status, "failed", suppressed, %error),
        }
        id
    }

    fn id(&self) -> RequestId {
        self.log.ids.id(&self.head.headers)
    }

    /// Read only when a line is written.
    fn trace(&self) -> Option<TraceParent<'_>> {
        TraceParent::from_headers(&self.head.headers)
    }

    fn microseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A request whose work was dropped half way ended with its connection or stream.
impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.written {
            let status = ErrorKind::ClientGone.status().as_u16();
            event!(DEBUG, self, self.id(), status, "the client went away");
        }
    }
}

/// The beginning of a path, which is long enough for those that are ours.
fn shown(path: &str) -> &str {
    &path[..path.floor_char_boundary(MAX_PATH_BYTES)]
}

// === impl Sampler ===

impl Sampler {
    pub(crate) fn new() -> Sampler {
        Sampler {
            start: Instant::now(),
            next: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// How many were held back since the last one, if this one may go.
    pub(crate) fn admit(&self) -> Option<u64> {
        let elapsed = self.start.elapsed();
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Relaxed);
        let later = now.saturating_add(1000);
        let is_first = || {
            let exchanged = self.next.compare_exchange(next, later, Relaxed, Relaxed);
            exchanged.is_ok()
        };
        if now >= next && is_first() {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

// === impl Chain ===

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = OneLine {
            out: f,
            left: Some(MAX_CHAIN_BYTES),
        };
        write!(line, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(line, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

// === impl OneLine ===

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let Some(left) = self.left else {
                return Ok(());
            };
            let escaped = is_unsafe_to_show(character).then(|| character.escape_default());
            let length = match &escaped {
                Some(escaped) => escaped.len(),
                None => character.len_utf8(),
            };
            self.left = left.checked_sub(length);
            match escaped {
                _ if self.left.is_none() => self.out.write_str("..")?,
                Some(escaped) => write!(self.out, "{escaped}")?,
                None => self.out.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
