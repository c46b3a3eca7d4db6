//! A request as the host passes it in: its head, and a body that is read once.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use wisp_protocol::request_id::REQUEST_ID;
use wisp_protocol::route::{CALL_HEADERS, reserved_prefix};

/// The head of a request. Lifetime: one request.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: Method,
    /// The path of a protocol, without the host's prefix.
    pub path: String,
    pub query: Option<String>,
    /// The headers that have an effect, at least.
    pub headers: HeaderMap,
}

/// The reason that a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// The body has more bytes than the limit.
    TooLarge,
    /// The client has disconnected.
    Disconnected,
}

/// The body of a request.
pub trait Body {
    /// Reads all of the body, which has at most `limit` bytes.
    fn read(&mut self, limit: usize) -> Result<Bytes, BodyError>;
}

/// The headers that have an effect besides those that determine the call.
const OTHER_HEADERS: [HeaderName; 3] =
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, REQUEST_ID];

/// Returns the headers that have an effect. Parsing the names of all others would be much code.
pub fn effective_headers(headers: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let mut effective = HeaderMap::new();
    for (name, value) in headers {
        let mut known = CALL_HEADERS.into_iter().chain(OTHER_HEADERS);
        let known = known.find(|known| name.eq_ignore_ascii_case(known.as_str()));
        if let Some(name) = known
            // The host has parsed the value, so it is valid.
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value))
        {
            effective.append(name, value);
        }
    }
    effective
}

/// Returns the part of a path that begins as the paths of the protocols do, or all of it if no part does.
fn protocol_path(path: &str) -> &str {
    let parts = path.match_indices('/').map(|(start, _)| path.get(start..));
    let mut parts = parts.flatten().filter(|part| *part != "/");
    let found = parts.find(|part| reserved_prefix(part).is_some());
    found.unwrap_or(path)
}

impl Head {
    /// Returns the head of a request for this path, which may have a query, and may begin with the route under which the
    /// host serves the bundle.
    pub fn new(method: Method, path_with_query: &str, headers: HeaderMap) -> Head {
        let (path, query) = match path_with_query.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path_with_query, None),
        };
        Head {
            method,
            path: match path {
                "" => "/".to_owned(),
                path => protocol_path(path).to_owned(),
            },
            query,
            headers,
        }
    }
}
