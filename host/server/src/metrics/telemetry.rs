//! The metrics of other reports about requests: the spans of traces, and the payload log.

use super::page::{Kind, Page};
use wisp_serving::event_queue::QueueCounts;

const SPANS: (&str, &str) = (
    "wisp_trace_spans_total",
    "Spans of requests, by whether they were exported or lost",
);

const PAYLOADS: (&str, &str) = (
    "wisp_payload_log_events_total",
    "Events of the payload log, by whether they were written or lost",
);

/// Writes the families, which have no samples if nothing is reported.
pub(super) fn write(page: &mut Page, spans: Option<QueueCounts>, payloads: Option<QueueCounts>) {
    for ((name, help), counts) in [(SPANS, spans), (PAYLOADS, payloads)] {
        page.family(Kind::Counter, name, help);
        if let Some(QueueCounts { written, dropped }) = counts {
            page.sample(name, &[("outcome", "written")], written);
            page.sample(name, &[("outcome", "dropped")], dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_does_not_exist_has_no_samples() {
        let mut page = Page::default();
        let counts = QueueCounts {
            written: 5,
            dropped: 1,
        };
        write(&mut page, None, Some(counts));
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "wisp_payload_log_events_total{outcome=\"written\"} 5",
            "wisp_payload_log_events_total{outcome=\"dropped\"} 1",
        ];
        assert_eq!(samples, expected);
    }
}
