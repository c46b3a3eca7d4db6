//! The spans of requests: which requests are traced, and the queue of those that have ended.
//!
//! A request whose client takes part in a trace is traced if the client records it; any other request is traced if it
//! belongs to the sample, which its new trace id decides. A span is made from the measurements of a request when it has
//! ended, so that a request that is not traced costs one comparison. The program takes the spans from the queue, writes
//! them in the form of OpenTelemetry and sends them; without room they are dropped and counted.

use crate::trace::{TraceParent, trace_state};
use http::HeaderMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};
use wisp_serving::event_queue::{EventQueue, QueueLimits};
use wisp_serving::sample_ratio::SampleRatio;
use wisp_serving::timings::Timings;

/// The limits of the queue, the same as for batches in OpenTelemetry's SDKs. A span holds no bytes of a request.
const LIMITS: QueueLimits = QueueLimits {
    events: 2048,
    bytes: usize::MAX,
    batch: 512,
    linger: Duration::from_secs(1),
};

/// The spans of all requests that are traced. Lifetime: the process.
#[derive(Debug)]
pub struct Spans {
    sample: SampleRatio,
    queue: EventQueue<RequestSpan>,
    /// Makes ids that cannot be guessed from a counter.
    hasher: RandomState,
    next: AtomicU64,
}

/// The span of a request that has ended, with the spans of its phases.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestSpan {
    pub trace_id: u128,
    pub span_id: u64,
    /// The span of the client, if it takes part in a trace.
    pub parent_span_id: Option<u64>,
    /// The state that other tracing systems have added; empty if there is none.
    pub trace_state: String,
    pub start: SystemTime,
    pub duration: Duration,
    pub phases: Vec<PhaseSpan>,
    pub is_grpc: bool,
    /// The method of HTTP, as the client wrote it.
    pub method: String,
    /// The beginning of the path, without the query.
    pub path: String,
    /// The route with names in place of the client's values, if the path has one.
    pub route: Option<&'static str>,
    /// The version of HTTP: `1.0`, `1.1` or `2`.
    pub http_version: &'static str,
    /// The status of HTTP, also for a failed gRPC request in the log.
    pub status: u16,
    /// The status of gRPC.
    pub grpc_status: Option<i32>,
    /// The kind of the failure, if the request failed.
    pub error: Option<&'static str>,
    pub request_id: String,
    pub model: Option<String>,
    pub model_version: Option<String>,
    pub received_bytes: Option<u64>,
    pub sent_bytes: Option<u64>,
}

/// The span of one phase of an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseSpan {
    pub span_id: u64,
    pub name: &'static str,
    pub start: SystemTime,
    pub duration: Duration,
}

/// A traced request that has not ended. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OpenSpan {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) parent_span_id: Option<u64>,
    pub(crate) trace_state: String,
    pub(crate) start: SystemTime,
    pub(crate) started: Instant,
}

impl Spans {
    /// Returns the spans of this share of the requests that are in no trace of their clients.
    pub fn new(sample: SampleRatio) -> Spans {
        Spans {
            sample,
            queue: EventQueue::new(LIMITS),
            hasher: RandomState::new(),
            next: AtomicU64::new(1),
        }
    }

    /// Returns the queue from which spans are exported, with the counts of exported and dropped ones.
    pub fn queue(&self) -> &EventQueue<RequestSpan> {
        &self.queue
    }

    /// Returns the span of a request with these headers, if it is traced.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<OpenSpan> {
        let (trace_id, parent_span_id, trace_state) = match TraceParent::from_headers(headers) {
            Some(parent) if !parent.is_sampled => return None,
            Some(parent) => (
                u128::from_str_radix(parent.trace_id, 16).ok()?,
                Some(u64::from_str_radix(parent.span_id, 16).ok()?),
                trace_state(headers).unwrap_or_default(),
            ),
            None => {
                let (high, low) = (self.new_id(), self.new_id());
                if !self.sample.admits(low) {
                    return None;
                }
                (
                    (u128::from(high) << 64) | u128::from(low),
                    None,
                    String::new(),
                )
            }
        };
        Some(OpenSpan {
            trace_id,
            span_id: self.new_id(),
            parent_span_id,
            trace_state,
            start: SystemTime::now(),
            started: Instant::now(),
        })
    }

    /// Returns the spans of the phases that took place. They follow one another: a handler that waits for its graph
    /// in the middle of its own code has a single wait before it.
    pub(crate) fn phases(&self, open: &OpenSpan, recorded: (Instant, Timings)) -> Vec<PhaseSpan> {
        let (started, timings) = recorded;
        let offset = started.saturating_duration_since(open.started);
        let end = offset.saturating_add(timings.total);
        let encode_start = end.saturating_sub(timings.encode);
        let mut start = offset;
        let mut spans = Vec::with_capacity(7);
        for (name, duration) in timings.phases() {
            let begins = match name {
                // The span of the request takes its place.
                "total" => continue,
                "encode" => encode_start,
                _ => start,
            };
            start = begins.saturating_add(duration);
            let at = open.start.checked_add(begins);
            if let Some(at) = at.filter(|_| !duration.is_zero()) {
                spans.push(PhaseSpan {
                    span_id: self.new_id(),
                    name,
                    start: at,
                    duration,
                });
            }
        }
        spans
    }

    /// Adds the span of a request that has ended, or counts it as dropped if there is no room.
    pub(crate) fn end(&self, span: RequestSpan) {
        self.queue.push(span, 0);
    }

    /// Returns an id, which is not zero: that would be no id.
    fn new_id(&self) -> u64 {
        let number = self.next.fetch_add(1, Relaxed);
        self.hasher.hash_one(number).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";

    fn headers(flags: &str) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let parent = HeaderValue::try_from(format!("{PARENT}{flags}"))?;
        headers.insert("traceparent", parent);
        headers.insert("tracestate", HeaderValue::from_static("a=1"));
        Ok(headers)
    }

    fn spans(ratio: f64) -> anyhow::Result<Spans> {
        Ok(Spans::new(SampleRatio::new(ratio)?))
    }

    #[test]
    fn the_client_decides_about_its_trace() -> anyhow::Result<()> {
        let none = spans(0.0)?;
        let open = none.begin(&headers("01")?);
        let open = open.ok_or_else(|| anyhow::anyhow!("the client records it"))?;
        assert_eq!(open.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(open.parent_span_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(open.trace_state, "a=1");
        assert_ne!(open.span_id, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(spans(1.0)?.begin(&headers("00")?), None);
        Ok(())
    }

    #[test]
    fn the_sample_decides_about_all_others() -> anyhow::Result<()> {
        let no_headers = HeaderMap::new();
        assert_eq!(spans(0.0)?.begin(&no_headers), None);
        let all = spans(1.0)?;
        let (first, second) = (all.begin(&no_headers), all.begin(&no_headers));
        let (Some(first), Some(second)) = (first, second) else {
            anyhow::bail!("both belong to the sample");
        };
        assert_ne!(first.trace_id, second.trace_id);
        assert_ne!(first.span_id, second.span_id);
        assert_eq!(
            (first.parent_span_id, first.trace_state.as_str()),
            (None, "")
        );
        let half = spans(0.5)?;
        let traced = (0..1000).filter(|_| half.begin(&no_headers).is_some());
        let traced = traced.count();
        assert!((350..650).contains(&traced), "{traced}");
        Ok(())
    }

    #[test]
    fn phases_follow_one_another_and_encoding_is_the_last() -> anyhow::Result<()> {
        let spans = spans(1.0)?;
        let open = spans.begin(&HeaderMap::new());
        let open = open.ok_or_else(|| anyhow::anyhow!("all are traced"))?;
        let milliseconds = Duration::from_millis;
        let timings = Timings {
            read: milliseconds(1),
            decode: milliseconds(2),
            queue: milliseconds(3),
            compute: milliseconds(5),
            encode: milliseconds(7),
            total: milliseconds(30),
            ..Timings::default()
        };
        let routed = open.started + milliseconds(10);
        let phases = spans.phases(&open, (routed, timings));
        let found: Vec<(&str, Duration, Duration)> = phases
            .iter()
            .map(|phase| {
                let offset = phase.start.duration_since(open.start);
                (phase.name, offset.unwrap_or_default(), phase.duration)
            })
            .collect();
        let expected = [
            ("read", 10, 1),
            ("decode", 11, 2),
            ("queue", 13, 3),
            ("compute", 16, 5),
            ("encode", 33, 7),
        ];
        let expected = expected
            .map(|(name, start, duration)| (name, milliseconds(start), milliseconds(duration)));
        assert_eq!(found, expected);
        Ok(())
    }

    #[test]
    fn a_request_that_failed_while_it_was_read_has_no_later_phase() -> anyhow::Result<()> {
        let spans = spans(1.0)?;
        let open = spans.begin(&HeaderMap::new());
        let open = open.ok_or_else(|| anyhow::anyhow!("all are traced"))?;
        let timings = Timings {
            total: Duration::from_secs(10),
            ..Timings::default()
        };
        assert!(spans.phases(&open, (open.started, timings)).is_empty());
        Ok(())
    }
}
