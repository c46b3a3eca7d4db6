//! The reports about single requests that an operator asks for: a line in the log and a span.
//!
//! Both contain the same facts, and both are made when the request ends. Without either, a request has no report. The
//! values that clients choose are limited in length; everything that a metric could be grouped by is one of a few
//! values that the server has chosen.

use crate::request_id::RequestId;
use crate::route_template::route_template;
use crate::spans::{OpenSpan, RequestSpan, Spans};
use crate::trace::TraceParent;
use http::Version;
use http::request::Parts;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Level;
use wisp_protocol::error::ErrorKind;
use wisp_serving::current_request::RequestModel;
use wisp_serving::timings::{RecordedTimings, Timings};

/// The most bytes of a path in a report. The paths of the protocols are shorter.
const MAX_PATH_BYTES: usize = 300;

/// The most bytes of a method in a report. The methods of the standard are shorter.
const MAX_METHOD_BYTES: usize = 20;

/// The requests that have a line of their own in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestLines {
    /// No request. Failures that are not the client's are logged, but not each of them.
    #[default]
    None,
    /// Every request that fails, whichever party is at fault.
    Failures,
    /// Every request.
    All,
}

/// The choice of reports. Lifetime: the process.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pub(crate) lines: RequestLines,
    pub(crate) spans: Option<Arc<Spans>>,
}

/// The facts about one request that are collected for its report. Lifetime: one request.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) span: Option<OpenSpan>,
    pub(crate) timings: RecordedTimings,
    pub(crate) is_grpc: bool,
    pub(crate) received_bytes: Option<u64>,
    pub(crate) sent_bytes: Option<u64>,
}

/// A request that has ended. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct EndedRequest<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) id: RequestId,
    pub(crate) model: &'a RequestModel,
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorKind>,
    pub(crate) duration: Duration,
}

// === impl Reports ===

impl Reports {
    /// Returns the report of the request with this head, if it may have one.
    pub(crate) fn begin(&self, head: &Parts) -> Option<Report> {
        let span = match &self.spans {
            Some(spans) => spans.begin(&head.headers),
            None => None,
        };
        let is_reported = span.is_some() || self.lines != RequestLines::None;
        is_reported.then(|| Report {
            span,
            ..Report::default()
        })
    }

    /// Reports a request that has ended.
    pub(crate) fn end(&self, report: &Report, ended: &EndedRequest<'_>) {
        let has_line = match self.lines {
            RequestLines::None => false,
            RequestLines::Failures => ended.error.is_some(),
            RequestLines::All => true,
        };
        if has_line {
            write_line(report, ended);
        }
        if let (Some(spans), Some(open)) = (&self.spans, &report.span) {
            spans.end(span(spans, open, (report, ended)));
        }
    }
}

/// Writes the line of a request.
fn write_line(report: &Report, ended: &EndedRequest<'_>) {
    let phases = report.timings.get().map(|(_, timings)| timings);
    let phase = |of: fn(&Timings) -> Duration| {
        let duration = phases.as_ref().map(of);
        duration
            .map(microseconds)
            .filter(|microseconds| *microseconds > 0)
    };
    let span = report.span.as_ref();
    tracing::event!(
        target: "wisp_server::requests",
        Level::INFO,
        request_id = %ended.id,
        trace_id = trace_id(report, ended).map(display),
        span_id = span.map(|span| display(format!("{:016x}", span.span_id))),
        protocol = protocol(report),
        method = beginning(ended.head.method.as_str(), MAX_METHOD_BYTES),
        route = route_template(ended.head.uri.path()),
        path = beginning(ended.head.uri.path(), MAX_PATH_BYTES),
        tenant = ended.model.tenant().map(display),
        model = ended.model.name().map(display),
        model_version = ended.model.version().map(display),
        status = ended.status,
        grpc_status = grpc_status(report, ended),
        failure = ended.error.map(error_type),
        received_bytes = report.received_bytes,
        sent_bytes = report.sent_bytes,
        microseconds = microseconds(ended.duration),
        read_microseconds = phase(|timings| timings.read),
        decode_microseconds = phase(|timings| timings.decode),
        queue_microseconds = phase(|timings| timings.queue),
        preprocess_microseconds = phase(|timings| timings.preprocess),
        compute_microseconds = phase(|timings| timings.compute),
        postprocess_microseconds = phase(|timings| timings.postprocess),
        encode_microseconds = phase(|timings| timings.encode),
        "request"
    );
}

/// Returns the id of the trace to which a request belongs: its own if it is traced, or else its client's.
fn trace_id(report: &Report, ended: &EndedRequest<'_>) -> Option<String> {
    match &report.span {
        Some(span) => Some(format!("{:032x}", span.trace_id)),
        None => {
            let parent = TraceParent::from_headers(&ended.head.headers);
            parent.map(|parent| parent.trace_id.to_owned())
        }
    }
}

/// Returns the span of a request.
fn span(
    spans: &Spans,
    open: &OpenSpan,
    (report, ended): (&Report, &EndedRequest<'_>),
) -> RequestSpan {
    let phases = report.timings.get();
    RequestSpan {
        trace_id: open.trace_id,
        span_id: open.span_id,
        parent_span_id: open.parent_span_id,
        trace_state: open.trace_state.clone(),
        start: open.start,
        duration: Instant::now().saturating_duration_since(open.started),
        phases: phases.map_or_else(Vec::new, |recorded| spans.phases(open, recorded)),
        is_grpc: report.is_grpc,
        method: beginning(ended.head.method.as_str(), MAX_METHOD_BYTES).to_owned(),
        path: beginning(ended.head.uri.path(), MAX_PATH_BYTES).to_owned(),
        route: route_template(ended.head.uri.path()),
        http_version: http_version(ended.head.version),
        status: ended.status,
        grpc_status: grpc_status(report, ended),
        error: ended.error.map(error_type),
        request_id: ended.id.to_string(),
        model: ended.model.name().map(|model| model.to_string()),
        model_version: ended.model.version().map(|version| version.to_string()),
        received_bytes: report.received_bytes,
        sent_bytes: report.sent_bytes,
    }
}

/// Returns the name of a kind of failure, in traces, in the log and in metrics.
pub(crate) fn error_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "invalid_request",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::MethodNotAllowed => "method_not_allowed",
        ErrorKind::Conflict => "conflict",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::UnsupportedEncoding => "unsupported_encoding",
        ErrorKind::NotImplemented => "not_implemented",
        ErrorKind::ClientTimeout => "client_timeout",
        ErrorKind::ClientGone => "client_gone",
        ErrorKind::Handler => "handler",
        ErrorKind::HandlerTimeout => "handler_timeout",
        ErrorKind::OverQuota => "over_quota",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::StorageFull => "storage_full",
        ErrorKind::DeadlineExceeded => "deadline_exceeded",
        ErrorKind::Internal => "internal",
    }
}

fn grpc_status(report: &Report, ended: &EndedRequest<'_>) -> Option<i32> {
    let status = ended.error.map_or(0, |kind| kind.grpc_code().number());
    report.is_grpc.then_some(status)
}

fn protocol(report: &Report) -> &'static str {
    match report.is_grpc {
        true => "grpc",
        false => "http",
    }
}

fn http_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the beginning of a text, of at most this many bytes.
fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Request};
    use wisp_serving::sample_ratio::SampleRatio;

    fn head(path: &str) -> anyhow::Result<Parts> {
        let request = Request::builder().method(Method::POST).uri(path);
        let (head, ()) = request.body(())?.into_parts();
        Ok(head)
    }

    fn ended<'a>(
        head: &'a Parts,
        model: &'a RequestModel,
        error: Option<ErrorKind>,
    ) -> EndedRequest<'a> {
        EndedRequest {
            head,
            id: RequestId::Made {
                started: 1,
                number: 2,
            },
            model,
            status: error.map_or(200, |kind| kind.status().as_u16()),
            error,
            duration: Duration::from_millis(3),
        }
    }

    #[test]
    fn without_lines_and_spans_a_request_has_no_report() -> anyhow::Result<()> {
        let head = head("/v2")?;
        assert!(Reports::default().begin(&head).is_none());
        let unsampled = Reports {
            lines: RequestLines::None,
            spans: Some(Arc::new(Spans::new(SampleRatio::new(0.0)?))),
        };
        assert!(unsampled.begin(&head).is_none());
        Ok(())
    }

    #[test]
    fn a_span_has_the_route_and_the_kind_of_the_failure() -> anyhow::Result<()> {
        let spans = Arc::new(Spans::new(SampleRatio::ALL));
        let reports = Reports {
            lines: RequestLines::None,
            spans: Some(Arc::clone(&spans)),
        };
        let (head, model) = (
            head("/v2/models/wine/infer?key=secret")?,
            RequestModel::default(),
        );
        let report = reports.begin(&head);
        let mut report = report.ok_or_else(|| anyhow::anyhow!("all are traced"))?;
        report.is_grpc = true;
        report.received_bytes = Some(7);
        reports.end(&report, &ended(&head, &model, Some(ErrorKind::Unavailable)));
        spans.queue().close();
        let batch = spans.queue().next_batch().unwrap_or_default();
        let [span] = &batch[..] else {
            anyhow::bail!("one span, not {batch:?}");
        };
        assert_eq!(span.path, "/v2/models/wine/infer");
        assert_eq!(span.route, Some("/v2/models/{model}/infer"));
        assert_eq!((span.status, span.grpc_status), (503, Some(14)));
        assert_eq!(span.error, Some("unavailable"));
        assert_eq!((span.received_bytes, span.sent_bytes), (Some(7), None));
        assert_eq!(span.request_id, "1-2");
        Ok(())
    }

    #[test]
    fn long_paths_and_methods_are_cut_between_characters() {
        assert_eq!(beginning("é", 1), "");
        assert_eq!(beginning("abc", 2), "ab");
        assert_eq!(beginning("abc", 10), "abc");
    }
}
