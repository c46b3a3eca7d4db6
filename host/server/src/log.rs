//! The log line for each request, and the counts of requests.
//!
//! Its level depends on the party that has to act: debug for errors of the client, warn for failures of the
//! handler and for missing capacity, error for failures of the server. Clients can cause the last three at any
//! rate, so at most one line per second is written for each kind of error, with a count of the suppressed
//! ones. Successful requests are logged at debug too: a line for each would cost more than the response to
//! a small request.
//!
//! `request_report` writes the line for each request, if the operator enables it, and the span of a traced request,
//! at the same moment.
//!
//! Invariant: the data of clients and guests in a line is limited in length and cannot break the line.

use crate::failure::Failure;
use crate::request_counts::{RequestCounts, RequestSubject};
use crate::request_id::{LazyRequestId, RequestId, RequestIds};
use crate::request_report::{EndedRequest, Report, Reports};
use crate::trace::TraceParent;
use http::StatusCode;
use http::request::Parts;
use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tracing::{Level, enabled};
use wisp_protocol::error::{ErrorKind, Party};
use wisp_protocol::v2::LogSettings;
use wisp_serving::current_request::{CurrentRequest, RequestModel};
use wisp_tensor::sanitize::is_unsafe_to_show;

/// The most bytes of a path in a line. The paths of the protocols are shorter.
const MAX_PATH_BYTES: usize = 300;

/// The most bytes of an error and its causes in a line.
const MAX_CHAIN_BYTES: usize = 2048;

/// The number of error kinds with a sampler of their own. Further kinds share these.
const KINDS: usize = 32;

/// The state that the lines of all requests share. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Log {
    ids: Arc<RequestIds>,
    samplers: [Sampler; KINDS],
    reports: Reports,
    counts: Arc<RequestCounts>,
}

/// The line for one request, written when the request ends in any way. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct RequestLog<'a> {
    log: &'a Log,
    head: &'a Parts,
    id: Arc<LazyRequestId>,
    model: RequestModel,
    start: Instant,
    written: bool,
    /// The facts for its own line and its span, if it has either.
    report: Option<Report>,
}

/// A filter that passes one event per second and counts the others. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Sampler {
    start: Instant,
    /// The time of the next event to pass, in milliseconds since `start`.
    next: AtomicU64,
    suppressed: AtomicU64,
}

/// An error followed by its causes. The text of an error does not include its causes.
struct Chain<'a>(&'a dyn Error);

/// A writer that escapes characters that could end the line or control a terminal, and truncates long text.
struct OneLine<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    /// The number of bytes that may still be written; `None` after a character did not fit.
    left: Option<usize>,
}

/// Returns the settings of the log for clients: the levels of the lines about requests.
pub(crate) fn settings() -> LogSettings {
    LogSettings {
        error: enabled!(Level::ERROR),
        warning: enabled!(Level::WARN),
        info: enabled!(Level::INFO),
        verbose_level: u32::from(enabled!(Level::DEBUG)) + u32::from(enabled!(Level::TRACE)),
    }
}

// === impl Log ===

impl Log {
    pub(crate) fn new(reports: Reports) -> Log {
        Log {
            ids: Arc::new(RequestIds::new()),
            samplers: std::array::from_fn(|_| Sampler::new()),
            reports,
            counts: Arc::default(),
        }
    }

    /// Returns the numbers of the requests whose lines have ended.
    pub(crate) fn counts(&self) -> &Arc<RequestCounts> {
        &self.counts
    }

    fn sampler(&self, kind: ErrorKind) -> &Sampler {
        &self.samplers[kind as usize % KINDS]
    }

    /// Starts the line for the request with this head.
    pub(crate) fn begin<'a>(&'a self, head: &'a Parts) -> RequestLog<'a> {
        RequestLog {
            log: self,
            head,
            id: Arc::new(self.ids.id(&head.headers)),
            model: RequestModel::default(),
            start: Instant::now(),
            written: false,
            report: self.reports.begin(head),
        }
    }
}

// === impl RequestLog ===

/// Emits one event with the fields common to all lines, and the additional ones.
macro_rules! event {
    ($level:ident, $line:expr, $id:expr, $status:expr, $text:literal $(, $($more:tt)+)?) => {
        tracing::event!(
            tracing::Level::$level,
            request_id = %$id,
            trace_id = $line.trace_id().map(tracing::field::display),
            parent_span_id = $line.trace().map(|trace| tracing::field::display(trace.span_id)),
            method = %$line.head.method,
            path = shown($line.head.uri.path()),
            tenant = $line.model.tenant().map(tracing::field::display),
            model = $line.model.name().map(tracing::field::display),
            model_version = $line.model.version().map(tracing::field::display),
            status = $status,
            microseconds = $line.microseconds(),
            $($($more)+,)?
            $text
        )
    };
}

impl RequestLog<'_> {
    /// Sets the protocol of the request to gRPC.
    pub(crate) fn for_grpc(mut self) -> Self {
        if let Some(report) = &mut self.report {
            report.is_grpc = true;
        }
        self
    }

    /// Sets the sizes of the bodies of the request and of its response, as far as they are known.
    pub(crate) fn set_sizes(&mut self, received: Option<u64>, sent: Option<u64>) {
        if let Some(report) = &mut self.report {
            report.received_bytes = received;
            report.sent_bytes = sent;
        }
    }

    pub(crate) fn answered(mut self, status: StatusCode) {
        self.written = true;
        self.report(status, None);
        self.log.counts.add_answered();
        event!(DEBUG, self, self.id(), status.as_u16(), "answered");
    }

    /// Logs the failure. Returns the request id in the line, which must be sent to the client.
    #[must_use]
    pub(crate) fn failed(mut self, failure: &Failure) -> RequestId {
        self.written = true;
        let (id, kind) = (self.id(), failure.kind());
        self.report(kind.status(), Some(kind));
        let is_unknown = failure.unknown_target().is_some();
        self.log.counts.add_failed(kind, self.subject(is_unknown));
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
            // Handled above.
            Party::Client => {}
            Party::Handler => {
                event!(WARN, self, id, status, "the handler failed", suppressed, %error)
            }
            Party::Capacity => event!(WARN, self, id, status, "no capacity", suppressed, %error),
            Party::Host => event!(ERROR, self, id, status, "failed", suppressed, %error),
        }
        id
    }

    /// Returns the request for other log lines during its processing.
    pub(crate) fn current(&self) -> CurrentRequest {
        let timings = self.report.as_ref().map(|report| report.timings.clone());
        CurrentRequest::new(Arc::clone(&self.id), self.model.clone()).with_timings(timings)
    }

    /// Writes the line and the span, if the operator enabled them.
    fn report(&self, status: StatusCode, error: Option<ErrorKind>) {
        if let Some(report) = &self.report {
            let ended = EndedRequest {
                head: self.head,
                id: self.id(),
                model: &self.model,
                status: status.as_u16(),
                error,
                duration: self.start.elapsed(),
            };
            self.log.reports.end(report, &ended);
        }
    }

    /// Returns the subject of a failed request, which names a model that does not exist if `is_unknown`.
    fn subject(&self, is_unknown: bool) -> RequestSubject {
        match (is_unknown, self.model.name()) {
            (true, _) => RequestSubject::Other,
            (false, Some(_)) => RequestSubject::Model,
            (false, None) => RequestSubject::Server,
        }
    }

    fn id(&self) -> RequestId {
        self.id.id().clone()
    }

    /// Returns the id of the trace to which the request belongs: its client's, or its own if it is traced.
    fn trace_id(&self) -> Option<String> {
        let own = self.report.as_ref().and_then(|report| report.span.as_ref());
        match own {
            Some(span) => Some(format!("{:032x}", span.trace_id)),
            None => self.trace().map(|trace| trace.trace_id.to_owned()),
        }
    }

    /// Returns the trace of the client. It is parsed only when a line is written.
    fn trace(&self) -> Option<TraceParent<'_>> {
        TraceParent::from_headers(&self.head.headers)
    }

    fn microseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Logs a request that was dropped before it completed, because its connection or stream has ended.
impl Drop for RequestLog<'_> {
    fn drop(&mut self) {
        if !self.written {
            let kind = ErrorKind::ClientGone;
            self.log.counts.add_failed(kind, self.subject(false));
            let status = kind.status();
            self.report(status, Some(kind));
            let status = status.as_u16();
            event!(
                DEBUG,
                self,
                self.id(),
                status,
                "the client has disconnected"
            );
        }
    }
}

/// Returns the beginning of a path, which includes all of any valid path.
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

    /// Returns the number of events suppressed since the last one that passed, if this one may pass.
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
