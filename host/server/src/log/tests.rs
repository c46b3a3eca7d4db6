//! Tests of the lines that are written, and their levels.

use super::*;
use crate::request_id::REQUEST_ID;
use http::{HeaderMap, HeaderValue, Method, Request};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};
use wisp_protocol::route::route;

/// A subscriber that stores the lines written through it.
#[derive(Debug, Default, Clone)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Text(String);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let line = (*event.metadata().level(), text.0);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "microseconds" {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }
}

/// Returns the lines that `write` logs.
fn lines(write: impl FnOnce(&Log, &Parts)) -> anyhow::Result<Vec<(Level, String)>> {
    let lines = Lines::default();
    let request = Request::get("/v2/models/x?key=secret").header(REQUEST_ID, "r1");
    let (head, ()) = request.body(())?.into_parts();
    tracing::subscriber::with_default(lines.clone(), || {
        write(&Log::new(Reports::default()), &head)
    });
    let lines = lines.0.lock().unwrap().clone();
    Ok(lines)
}

#[test]
fn an_answer_is_a_debug_line_without_the_query() -> anyhow::Result<()> {
    let lines = lines(|log, head| log.begin(head).answered(StatusCode::OK))?;
    let text = "message=answered request_id=r1 method=GET path=\"/v2/models/x\" status=200 ";
    assert_eq!(lines, [(Level::DEBUG, text.to_owned())]);
    Ok(())
}

#[test]
fn a_request_of_a_trace_says_so_in_its_line() -> anyhow::Result<()> {
    let lines = lines(|log, head| {
        let mut head = head.clone();
        for parent in [
            "00-1-2-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let parent = HeaderValue::from_static(parent);
            head.headers.insert("traceparent", parent);
            log.begin(&head).answered(StatusCode::OK);
        }
    })?;
    let [(_, without), (_, with)] = &lines[..] else {
        panic!("two lines, not {lines:?}");
    };
    assert!(!without.contains("trace_id"), "{without}");
    let ids = "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 parent_span_id=00f067aa0ba902b7 ";
    assert!(with.contains(ids), "{with}");
    Ok(())
}

#[test]
fn a_request_dropped_half_way_is_the_clients() -> anyhow::Result<()> {
    let lines = lines(|log, head| drop(log.begin(head)))?;
    let [(Level::DEBUG, text)] = &lines[..] else {
        panic!("one debug line, not {lines:?}");
    };
    assert!(text.contains("status=499"), "{text}");
    Ok(())
}

#[test]
fn a_refusal_is_a_debug_line_and_our_failure_an_error() -> anyhow::Result<()> {
    let unknown = route(&Method::GET, "/nothing", &HeaderMap::new());
    let error_body = Failure::from(unknown.expect_err("there is no such route"));
    let panic = Failure::Panic("index out of bounds".to_owned());
    for (failure, level, words) in [
        (error_body, Level::DEBUG, "status=404"),
        (panic, Level::ERROR, "error=a panic: index out of bounds"),
    ] {
        let lines = lines(|log, head| drop(log.begin(head).failed(&failure)))?;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].0, level);
        assert!(lines[0].1.contains(words), "{lines:?}");
    }
    Ok(())
}

#[test]
fn our_failures_in_a_row_are_one_line() -> anyhow::Result<()> {
    let lines = lines(|log, head| {
        for _ in 0..3 {
            let panic = Failure::Panic("again".to_owned());
            drop(log.begin(head).failed(&panic));
        }
        log.sampler(ErrorKind::Internal).next.store(0, Relaxed);
        drop(log.begin(head).failed(&Failure::Panic("later".to_owned())));
    })?;
    let [(Level::ERROR, first), (Level::ERROR, second)] = &lines[..] else {
        panic!("two error lines, not {lines:?}");
    };
    assert!(first.contains("suppressed=0"), "{first}");
    assert!(
        second.contains("suppressed=2 error=a panic: later"),
        "{second}"
    );
    Ok(())
}

#[test]
fn a_handler_that_fails_again_and_again_is_one_line() -> anyhow::Result<()> {
    let failure = Failure::Message {
        kind: ErrorKind::Handler,
        text: "it trapped".to_owned(),
    };
    let lines = lines(|log, head| {
        for _ in 0..1000 {
            drop(log.begin(head).failed(&failure));
        }
        log.sampler(ErrorKind::Handler).next.store(0, Relaxed);
        drop(log.begin(head).failed(&failure));
    })?;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|(level, _)| *level == Level::WARN));
    assert!(lines[1].1.contains("suppressed=999"), "{lines:?}");
    Ok(())
}

#[test]
fn failures_of_one_kind_hide_none_of_another() {
    let log = Log::new(Reports::default());
    for kind in [
        ErrorKind::Handler,
        ErrorKind::HandlerTimeout,
        ErrorKind::OverQuota,
        ErrorKind::Unavailable,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Internal,
    ] {
        assert_eq!(log.sampler(kind).admit(), Some(0), "{kind:?}");
        assert_eq!(log.sampler(kind).admit(), None, "{kind:?}");
    }
}

#[test]
fn events_in_a_row_are_counted_instead() {
    let sampler = Sampler::new();
    assert_eq!(sampler.admit(), Some(0));
    assert_eq!(sampler.admit(), None);
    assert_eq!(sampler.admit(), None);
    sampler.next.store(0, Relaxed);
    assert_eq!(sampler.admit(), Some(2));
}

#[test]
fn long_paths_are_cut_between_characters() {
    let path = "é".repeat(MAX_PATH_BYTES);
    assert_eq!(shown(&path), "é".repeat(MAX_PATH_BYTES / 2));
    assert_eq!(shown("/v2"), "/v2");
}

#[test]
fn causes_are_told_once_and_in_order() {
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Cause {
        text: &'static str,
        source: Option<Box<Cause>>,
    }
    let cause = |text, source: Option<Cause>| Cause {
        text,
        source: source.map(Box::new),
    };
    let error = cause("a", Some(cause("b", Some(cause("c", None)))));
    assert_eq!(Chain(&error).to_string(), "a: b: c");
}

#[test]
fn errors_end_no_line_and_are_cut_between_characters() {
    let error = |text: &str| Chain(&Failure::Panic(text.to_owned())).to_string();
    assert_eq!(error("a\nERROR b\x1b[2J"), "a panic: a\\nERROR b\\u{1b}[2J");
    assert_eq!(error("\u{2028}\u{202e}"), "a panic: \\u{2028}\\u{202e}");
    let room = MAX_CHAIN_BYTES - "a panic: ".len();
    let exact = "x".repeat(room);
    assert_eq!(error(&exact), format!("a panic: {exact}"));
    assert_eq!(error(&format!("{exact}y")), format!("a panic: {exact}.."));
    let cut = error(&"é".repeat(room));
    assert_eq!(cut, format!("a panic: {}..", "é".repeat(room / 2)));
    // An escape is written completely or not at all.
    let cut = error(&format!("{}\n\n", &exact[3..]));
    assert_eq!(cut, format!("a panic: {}\\n..", &exact[3..]));
}
