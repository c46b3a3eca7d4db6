//! The trace that a request belongs to, from the `traceparent` header of W3C Trace Context (level 1).
//!
//! The trace is part of the request's log line, so that the line can be found together with those of
//! upstream services, and the span of the request belongs to it. It is not returned: the client has it. An invalid
//! header is ignored, as the standard requires; a valid one consists of hexadecimal digits of fixed length. The
//! `tracestate` header is passed on as it is.

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The bytes of a `tracestate` that must be passed on; a longer one is left out as a whole.
const MAX_STATE_BYTES: usize = 512;

/// The bit of the flags that is set if the client records its span.
const SAMPLED: u8 = 1;

/// The length of a header of version 00, and of the part that all later versions begin with.
const BYTES: usize = 55;

/// The position of a request in its trace. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent<'a> {
    /// 32 digits, the same for all requests of the trace.
    pub(crate) trace_id: &'a str,
    /// 16 digits: the span in which the client has sent this request.
    pub(crate) span_id: &'a str,
    /// Set if the client records its span.
    pub(crate) is_sampled: bool,
}

impl<'a> TraceParent<'a> {
    /// Returns the trace if the client sent exactly one valid header.
    pub(crate) fn from_headers(headers: &'a HeaderMap) -> Option<TraceParent<'a>> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => TraceParent::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    fn parse(text: &'a str) -> Option<TraceParent<'a>> {
        let (known, more) = text.split_at_checked(BYTES)?;
        let mut parts = known.split('-');
        let mut field = |digits| parts.next().filter(|field| is_hex(field, digits));
        let version = field(2)?;
        let (trace_id, span_id) = (field(32)?, field(16)?);
        let flags = u8::from_str_radix(field(2)?, 16).ok()?;
        let is_whole = match version {
            "00" => more.is_empty(),
            "ff" => false,
            // Later versions may add fields.
            _ => more.is_empty() || more.starts_with('-'),
        };
        let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
        (is_whole && !is_zero(trace_id) && !is_zero(span_id)).then_some(TraceParent {
            trace_id,
            span_id,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// Returns the state that other tracing systems have added to the trace, for a request with a valid parent.
pub(crate) fn trace_state(headers: &HeaderMap) -> Option<String> {
    let mut state = String::new();
    for value in headers.get_all(TRACESTATE) {
        let value = value.to_str().ok()?;
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(value);
        if state.len() > MAX_STATE_BYTES {
            return None;
        }
    }
    Some(state).filter(|state| !state.is_empty())
}

/// Returns whether the text consists of this number of lowercase hexadecimal digits.
fn is_hex(text: &str, digits: usize) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == digits && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parsed(values: &[&str]) -> anyhow::Result<Option<(String, String)>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_bytes(value.as_bytes())?);
        }
        let parent = TraceParent::from_headers(&headers);
        Ok(parent.map(|parent| (parent.trace_id.to_owned(), parent.span_id.to_owned())))
    }

    #[test]
    fn a_valid_header_is_read() -> anyhow::Result<()> {
        for (version, flags, more) in [
            ("00", "01", ""),
            ("00", "00", ""),
            ("00", "ff", ""),
            ("01", "01", ""),
            ("cc", "01", "-what-the-future-brings"),
            ("fe", "01", "-"),
        ] {
            let text = format!("{version}-{TRACE}-{SPAN}-{flags}{more}");
            let expected = Some((TRACE.to_owned(), SPAN.to_owned()));
            assert_eq!(parsed(&[&text])?, expected, "{text}");
        }
        Ok(())
    }

    #[test]
    fn an_invalid_header_is_ignored() -> anyhow::Result<()> {
        let upper = TRACE.to_uppercase();
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-001"),
            format!("FE-{TRACE}-{SPAN}-01"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}0-{SPAN}-1"),
            format!("00-{TRACE}{SPAN}--01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
            format!("01-{TRACE}-{SPAN}-0é"),
        ] {
            assert_eq!(parsed(&[&text])?, None, "{text:?}");
        }
        Ok(())
    }

    #[test]
    fn ids_with_any_byte_changed_have_their_length_and_are_hexadecimal() -> anyhow::Result<()> {
        let text = format!("01-{TRACE}-{SPAN}-01-more").into_bytes();
        for position in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut changed = text.clone();
                changed[position] = byte;
                let Ok(value) = HeaderValue::from_bytes(&changed) else {
                    continue;
                };
                let headers = HeaderMap::from_iter([(TRACEPARENT, value)]);
                if let Some(parent) = TraceParent::from_headers(&headers) {
                    for (id, length) in [(parent.trace_id, 32), (parent.span_id, 16)] {
                        assert_eq!(id.len(), length, "{id}");
                        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_last_flag_is_the_decision_of_the_client() {
        for (flags, is_sampled) in [
            ("00", false),
            ("01", true),
            ("02", false),
            ("03", true),
            ("fe", false),
            ("ff", true),
        ] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let parent = TraceParent::parse(&text);
            assert_eq!(
                parent.map(|parent| parent.is_sampled),
                Some(is_sampled),
                "{flags}"
            );
        }
    }

    #[test]
    fn states_in_several_headers_are_one_list_of_limited_length() {
        let state = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACESTATE, HeaderValue::from_static(value));
            }
            trace_state(&headers)
        };
        assert_eq!(state(&[]), None);
        assert_eq!(state(&[""]), None);
        assert_eq!(state(&["a=1"]).as_deref(), Some("a=1"));
        assert_eq!(state(&["a=1,b=2", "c=3"]).as_deref(), Some("a=1,b=2,c=3"));
        let mut headers = HeaderMap::new();
        let long = "x".repeat(MAX_STATE_BYTES + 1);
        headers.insert(TRACESTATE, HeaderValue::try_from(long).unwrap());
        assert_eq!(trace_state(&headers), None);
    }

    #[test]
    fn a_client_in_two_traces_is_in_none() -> anyhow::Result<()> {
        let text = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(parsed(&[&text, &text])?, None);
        assert_eq!(parsed(&[])?, None);
        Ok(())
    }
}
