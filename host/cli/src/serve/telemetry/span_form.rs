//! The form of spans in OpenTelemetry: names, kinds and attributes of its semantic conventions for HTTP and RPC.
//!
//! Attributes of Wisp's own begin with `wisp.`. A request that failed by a mistake of its client is no error of a
//! server's span, as the conventions require.

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::SystemTime;
use wisp_server::spans::{PhaseSpan, RequestSpan};

/// The methods whose names may be part of the name of a span.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// The statuses of gRPC that are errors of a server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE
/// and DATA_LOSS.
const GRPC_ERRORS: [i32; 6] = [2, 4, 12, 13, 14, 15];

/// Returns the name and version of the program that makes the spans.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("wisp")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// Returns the span of a request, followed by the spans of its phases.
pub(super) fn spans_of(span: RequestSpan, scope: &InstrumentationScope) -> Vec<SpanData> {
    let mut spans = Vec::with_capacity(span.phases.len().saturating_add(1));
    let data = SpanData {
        span_context: context(&span, span.span_id),
        parent_span_id: span_id(span.parent_span_id.unwrap_or_default()),
        parent_span_is_remote: span.parent_span_id.is_some(),
        span_kind: SpanKind::Server,
        name: Cow::Owned(name(&span)),
        start_time: span.start,
        end_time: later(span.start, span.duration),
        attributes: attributes(&span),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: status(&span),
        instrumentation_scope: scope.clone(),
    };
    spans.push(data);
    let phases = span.phases.iter();
    spans.extend(phases.map(|phase| phase_data(&span, phase, scope)));
    spans
}

fn phase_data(span: &RequestSpan, phase: &PhaseSpan, scope: &InstrumentationScope) -> SpanData {
    SpanData {
        span_context: context(span, phase.span_id),
        parent_span_id: span_id(span.span_id),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(phase.name),
        start_time: phase.start,
        end_time: later(phase.start, phase.duration),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    }
}

fn context(span: &RequestSpan, id: u64) -> SpanContext {
    let state: TraceState = span.trace_state.parse().unwrap_or_default();
    SpanContext::new(
        TraceId::from_bytes(span.trace_id.to_be_bytes()),
        span_id(id),
        TraceFlags::SAMPLED,
        false,
        state,
    )
}

/// Returns the id as OpenTelemetry's type, in which 0 is no id.
fn span_id(id: u64) -> SpanId {
    SpanId::from_bytes(id.to_be_bytes())
}

fn later(start: SystemTime, duration: std::time::Duration) -> SystemTime {
    start.checked_add(duration).unwrap_or(start)
}

/// Returns a name of which there are only a few.
fn name(span: &RequestSpan) -> String {
    if span.is_grpc {
        return match grpc_method(span) {
            Some((service, method)) => format!("{service}/{method}"),
            None => "grpc".to_owned(),
        };
    }
    let method = match METHODS.contains(&span.method.as_str()) {
        true => span.method.as_str(),
        false => "HTTP",
    };
    match span.route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

/// Returns the service and the method of a gRPC request, unless the server has no such method.
fn grpc_method(span: &RequestSpan) -> Option<(&str, &str)> {
    // UNIMPLEMENTED: the path may be any text.
    let is_known = span.grpc_status != Some(12);
    let path = span.path.strip_prefix('/').filter(|_| is_known)?;
    path.split_once('/')
}

fn attributes(span: &RequestSpan) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(14);
    let mut add = |key: &'static str, value: opentelemetry::Value| {
        attributes.push(KeyValue::new(key, value));
    };
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    if span.is_grpc {
        add("rpc.system", "grpc".into());
        if let Some((service, method)) = grpc_method(span) {
            add("rpc.service", service.to_owned().into());
            add("rpc.method", method.to_owned().into());
        }
        if let Some(status) = span.grpc_status {
            add("rpc.grpc.status_code", i64::from(status).into());
        }
    } else {
        match METHODS.contains(&span.method.as_str()) {
            true => add("http.request.method", span.method.clone().into()),
            false => {
                add("http.request.method", "_OTHER".into());
                add("http.request.method_original", span.method.clone().into());
            }
        }
        add("url.path", span.path.clone().into());
        if let Some(route) = span.route {
            add("http.route", route.into());
        }
        add("http.response.status_code", i64::from(span.status).into());
        if let Some(bytes) = span.received_bytes {
            add("http.request.body.size", integer(bytes).into());
        }
        if let Some(bytes) = span.sent_bytes {
            add("http.response.body.size", integer(bytes).into());
        }
    }
    add("network.protocol.name", "http".into());
    add("network.protocol.version", span.http_version.into());
    if let Some(error) = span.error {
        add("error.type", error.into());
    }
    add("wisp.request.id", span.request_id.clone().into());
    if let Some(model) = &span.model {
        add("wisp.model.name", model.clone().into());
    }
    if let Some(version) = &span.model_version {
        add("wisp.model.version", version.clone().into());
    }
    attributes
}

fn status(span: &RequestSpan) -> Status {
    let is_error = match span.grpc_status {
        Some(status) => GRPC_ERRORS.contains(&status),
        None => span.status >= 500,
    };
    match is_error {
        true => Status::error(span.error.unwrap_or_default()),
        false => Status::Unset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request() -> RequestSpan {
        RequestSpan {
            trace_id: 0x0102,
            span_id: 0x0304,
            parent_span_id: None,
            trace_state: String::new(),
            start: SystemTime::UNIX_EPOCH,
            duration: Duration::from_millis(5),
            phases: vec![PhaseSpan {
                span_id: 0x0506,
                name: "compute",
                start: SystemTime::UNIX_EPOCH + Duration::from_millis(1),
                duration: Duration::from_millis(2),
            }],
            is_grpc: false,
            method: "POST".to_owned(),
            path: "/v2/models/wine/infer".to_owned(),
            route: Some("/v2/models/{model}/infer"),
            http_version: "1.1",
            status: 200,
            grpc_status: None,
            error: None,
            request_id: "r1".to_owned(),
            model: Some("wine".to_owned()),
            model_version: Some("1".to_owned()),
            received_bytes: Some(10),
            sent_bytes: Some(20),
        }
    }

    fn attribute(data: &SpanData, key: &str) -> Option<String> {
        let mut attributes = data.attributes.iter();
        let found = attributes.find(|attribute| attribute.key.as_str() == key)?;
        Some(found.value.as_str().into_owned())
    }

    #[test]
    fn a_phase_is_a_child_of_its_request() {
        let spans = spans_of(request(), &scope());
        let [server, phase] = &spans[..] else {
            panic!("two spans, not {spans:?}");
        };
        assert_eq!(server.name, "POST /v2/models/{model}/infer");
        assert_eq!(server.span_kind, SpanKind::Server);
        assert_eq!(server.parent_span_id, SpanId::INVALID);
        assert_eq!(phase.name, "compute");
        assert_eq!(phase.parent_span_id, server.span_context.span_id());
        assert_eq!(
            phase.span_context.trace_id(),
            server.span_context.trace_id()
        );
        let duration = phase.end_time.duration_since(phase.start_time);
        assert_eq!(duration.unwrap(), Duration::from_millis(2));
    }

    #[test]
    fn a_state_and_a_parent_are_passed_on() {
        let span = RequestSpan {
            parent_span_id: Some(0x0708),
            trace_state: "a=1,b=2".to_owned(),
            ..request()
        };
        let spans = spans_of(span, &scope());
        assert_eq!(spans[0].parent_span_id, span_id(0x0708));
        assert!(spans[0].parent_span_is_remote);
        assert_eq!(spans[0].span_context.trace_state().header(), "a=1,b=2");
    }

    #[test]
    fn only_errors_of_the_server_are_errors_of_its_span() {
        for (status, is_error) in [
            (200, false),
            (404, false),
            (499, false),
            (502, true),
            (503, true),
        ] {
            let span = RequestSpan {
                status,
                error: Some("kind"),
                ..request()
            };
            let spans = spans_of(span, &scope());
            assert_eq!(spans[0].status != Status::Unset, is_error, "{status}");
            assert_eq!(attribute(&spans[0], "error.type").as_deref(), Some("kind"));
        }
    }

    #[test]
    fn a_grpc_request_is_named_after_its_method_if_there_is_one() {
        let span = |grpc_status| RequestSpan {
            is_grpc: true,
            path: "/inference.GRPCInferenceService/ModelInfer".to_owned(),
            route: None,
            grpc_status: Some(grpc_status),
            ..request()
        };
        let spans = spans_of(span(0), &scope());
        assert_eq!(spans[0].name, "inference.GRPCInferenceService/ModelInfer");
        assert_eq!(
            attribute(&spans[0], "rpc.method").as_deref(),
            Some("ModelInfer")
        );
        assert_eq!(spans[0].status, Status::Unset);
        let spans = spans_of(span(12), &scope());
        assert_eq!(spans[0].name, "grpc");
        assert_eq!(attribute(&spans[0], "rpc.method"), None);
        assert_eq!(
            attribute(&spans[0], "rpc.grpc.status_code").as_deref(),
            Some("12")
        );
    }

    #[test]
    fn a_method_or_a_path_of_a_client_is_not_part_of_a_name() {
        let span = RequestSpan {
            method: "FORGET".to_owned(),
            path: "/x".to_owned(),
            route: None,
            ..request()
        };
        let spans = spans_of(span, &scope());
        assert_eq!(spans[0].name, "HTTP");
        assert_eq!(
            attribute(&spans[0], "http.request.method").as_deref(),
            Some("_OTHER")
        );
    }
}
