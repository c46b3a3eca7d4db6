//! Cross-origin requests from browsers: none are allowed unless the operator has named their origins.
//!
//! This module only adds headers to the responses of `service`, so a preflight has its log line and request
//! id like any other request. tower-http's layer does not fit: it treats every OPTIONS request as a
//! preflight, creates responses from a body that exists without a request (here, bodies count for their
//! connection), and sends its rules to origins that they do not apply to.
//!
//! Invariant: no headers are added to gRPC responses, since browsers cannot use gRPC.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use std::net::Ipv6Addr;
use std::str::FromStr;

const ANY: HeaderValue = HeaderValue::from_static("*");

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");

/// The headers that clients of V2 and TensorFlow Serving send, and those for tracing.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, inference-header-content-length, x-request-id, traceparent, tracestate",
);

/// The response headers that a page may read, in addition to those that are always readable.
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("inference-header-content-length, x-request-id, server-timing");

/// The time in seconds for which a browser may cache the rules. They change only with a restart, and
/// browsers cache them for at most two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// An origin in the operator's configuration: `https://example.com`, with a port if it is not the default
/// one, or `*` for all origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(Origins);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    Any,
    /// The origin in the form in which browsers send it.
    One(HeaderValue),
}

/// The error for a string that is not an origin as browsers send it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("expected an origin, such as https://example.com or http://localhost:3000, or `*`")]
    Form,
    #[error("an origin ends with its host or port; write `{0}`")]
    Path(String),
    #[error("browsers write origins in lower case; write `{0}`")]
    Case(String),
    #[error("browsers omit the default port of a scheme; write `{0}`")]
    Port(String),
}

/// The origins that may send requests. Lifetime: the process.
#[derive(Debug)]
pub(crate) enum Cors {
    Any,
    These(Vec<HeaderValue>),
}

// === impl AllowedOrigin ===

impl FromStr for AllowedOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<AllowedOrigin, OriginError> {
        if text == "*" {
            return Ok(AllowedOrigin(Origins::Any));
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Form)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = split_port(authority)?;
        if !is_scheme(scheme) || !is_host(host) {
            return Err(OriginError::Form);
        }
        if authority != rest {
            return Err(OriginError::Path(format!("{scheme}://{authority}")));
        }
        let lower = text.to_ascii_lowercase();
        if lower != text {
            return Err(OriginError::Case(lower));
        }
        if matches!((scheme, port), ("http", Some(80)) | ("https", Some(443))) {
            return Err(OriginError::Port(format!("{scheme}://{host}")));
        }
        let value = HeaderValue::from_str(text).map_err(|_| OriginError::Form)?;
        Ok(AllowedOrigin(Origins::One(value)))
    }
}

/// Splits an authority without a user into its host and port.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), OriginError> {
    let end_of_address = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[end_of_address..].find(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(end_of_address + colon);
    let port = &port[1..];
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    match port.parse() {
        Ok(port) if is_plain => Ok((host, Some(port))),
        _ => Err(OriginError::Form),
    }
}

fn is_scheme(scheme: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(rest)
}

fn is_host(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = address {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(named)
}

// === impl Cors ===

impl Cors {
    /// Returns the rules for these origins, or `None` if there are no origins.
    pub(crate) fn new(allowed: &[AllowedOrigin]) -> Option<Cors> {
        let mut these = Vec::new();
        for AllowedOrigin(origins) in allowed {
            match origins {
                Origins::Any => return Some(Cors::Any),
                Origins::One(origin) => these.push(origin.clone()),
            }
        }
        (!these.is_empty()).then_some(Cors::These(these))
    }

    /// Returns whether the request with this head is a preflight from an allowed origin.
    pub(crate) fn is_preflight(&self, head: &Parts) -> bool {
        head.method == Method::OPTIONS
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && origin(&head.headers).is_some()
            && self.allowed(&head.headers).is_some()
    }

    /// Adds the headers that the browser needs to the response to the request with this head.
    pub(crate) fn mark(&self, head: &Parts, response: &mut HeaderMap) {
        if let Cors::These(_) = self {
            // A cache must not serve the response for one origin, or for none, to another.
            response.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(allowed) = self.allowed(&head.headers) else {
            return;
        };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.is_preflight(head) {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            response.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        }
    }

    /// Returns the value of `access-control-allow-origin`. If all origins are allowed, it is sent even to
    /// clients that send no origin, so that a cache does not store a response that no page can read.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Cors::Any => Some(ANY),
            Cors::These(these) => {
                let origin = origin(request)?;
                these.iter().find(|allowed| *allowed == origin).cloned()
            }
        }
    }
}

/// Returns the origin of a request that has exactly one.
fn origin(request: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => Some(origin),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn cors(origins: &[&str]) -> anyhow::Result<Cors> {
        let origins: Result<Vec<_>, _> = origins.iter().map(|text| text.parse()).collect();
        Cors::new(&origins?).ok_or(anyhow::anyhow!("no origin"))
    }

    fn head(method: Method, headers: &[(&str, &str)]) -> anyhow::Result<Parts> {
        let mut request = Request::builder().method(method).uri("/v2");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.body(())?.into_parts().0)
    }

    /// Returns the added headers as lines, sorted by name.
    fn marks(cors: &Cors, head: &Parts) -> Vec<String> {
        let mut headers = HeaderMap::new();
        cors.mark(head, &mut headers);
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<_> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for text in [
            "*",
            "https://example.com",
            "http://localhost:3000",
            "https://xn--bcher-kva.example:8443",
            "http://[::1]:5173",
            "http://127.0.0.1",
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
        ] {
            assert!(text.parse::<AllowedOrigin>().is_ok(), "{text}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused_with_the_one_it_would_send() {
        let form = OriginError::Form;
        let path = |text: &str| OriginError::Path(text.to_owned());
        for (text, expected) in [
            ("", form.clone()),
            ("null", form.clone()),
            ("example.com", form.clone()),
            ("https://", form.clone()),
            ("https://*.example.com", form.clone()),
            ("https://user@example.com", form.clone()),
            ("https://bücher.example", form.clone()),
            ("https://a b", form.clone()),
            ("https://example.com:", form.clone()),
            ("https://example.com:http", form.clone()),
            ("https://example.com:65536", form.clone()),
            ("https://example.com:+1", form.clone()),
            ("http://[::1", form.clone()),
            ("http://[example]", form),
            ("https://example.com/", path("https://example.com")),
            ("https://example.com:1/a?b", path("https://example.com:1")),
            (
                "https://Example.com",
                OriginError::Case("https://example.com".to_owned()),
            ),
            (
                "https://example.com:443",
                OriginError::Port("https://example.com".to_owned()),
            ),
            (
                "http://[::1]:80",
                OriginError::Port("http://[::1]".to_owned()),
            ),
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn without_origins_there_is_nothing_to_say() {
        assert!(Cors::new(&[]).is_none());
    }

    #[test]
    fn an_allowed_origin_is_told_that_it_is_and_what_it_may_read() -> anyhow::Result<()> {
        let cors = cors(&["http://a", "http://b:1"])?;
        let head = head(Method::POST, &[("origin", "http://b:1")])?;
        assert!(!cors.is_preflight(&head));
        assert_eq!(
            marks(&cors, &head),
            [
                "access-control-allow-origin: http://b:1",
                "access-control-expose-headers: inference-header-content-length, x-request-id, server-timing",
                "vary: origin",
            ]
        );
        Ok(())
    }

    #[test]
    fn a_preflight_is_told_the_methods_and_the_headers() -> anyhow::Result<()> {
        let cors = cors(&["http://a"])?;
        let ask = [
            ("origin", "http://a"),
            ("access-control-request-method", "POST"),
        ];
        let head = head(Method::OPTIONS, &ask)?;
        assert!(cors.is_preflight(&head));
        let marks = marks(&cors, &head);
        let names: Vec<_> = marks
            .iter()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(
            names,
            [
                "access-control-allow-headers",
                "access-control-allow-methods",
                "access-control-allow-origin",
                "access-control-max-age",
                "vary",
            ]
        );
        Ok(())
    }

    #[test]
    fn others_are_told_nothing_but_that_it_depends() -> anyhow::Result<()> {
        let cors = cors(&["http://a"])?;
        let method = ("access-control-request-method", "POST");
        for headers in [
            &[method][..],
            &[("origin", "http://a.hostile"), method],
            &[("origin", "http://A"), method],
            &[("origin", "null"), method],
            &[("origin", "http://a"), ("origin", "http://a"), method],
        ] {
            let head = head(Method::OPTIONS, headers)?;
            assert!(!cors.is_preflight(&head), "{headers:?}");
            assert_eq!(marks(&cors, &head), ["vary: origin"], "{headers:?}");
        }
        Ok(())
    }

    #[test]
    fn responses_do_not_depend_on_the_origin_if_all_are_allowed() -> anyhow::Result<()> {
        let cors = cors(&["http://a", "*"])?;
        for headers in [&[][..], &[("origin", "http://b")], &[("origin", "null")]] {
            let marks = marks(&cors, &head(Method::GET, headers)?);
            assert_eq!(marks.len(), 2, "{marks:?}");
            assert_eq!(marks[0], "access-control-allow-origin: *");
        }
        // An OPTIONS request without these headers is not a preflight.
        assert!(!cors.is_preflight(&head(Method::OPTIONS, &[])?));
        Ok(())
    }
}
