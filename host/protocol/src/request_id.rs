//! The header with the id of a request, which a response repeats.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header for request ids, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted. Ids in common use are no longer: UUIDs have 36 characters, AWS trace
/// ids up to 64.
pub const MAX_ID_BYTES: usize = 64;

/// Returns the client's own id, if there is one that is safe to log.
pub fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(REQUEST_ID).filter(|id| is_fit(id.as_bytes()))
}

fn is_fit(id: &[u8]) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(harmless)
}
