//! Compressed bodies: negotiation through headers, compression and decompression.
//!
//! The codings are `gzip` and `deflate` (with the zlib frame, as the standard requires; not the raw
//! stream), at most one per body. This module parses header names and values; the server decides when to
//! compress and on which thread.
//!
//! Invariant: inflating any body takes no more memory than the limit plus one step.

mod coding;
mod inflate;

pub use coding::Coding;
pub use inflate::{InflateError, Inflater, Progress};

use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use http::{HeaderMap, HeaderName, header};
use std::borrow::Cow;

/// The codings that this server decodes, as the value of `Accept-Encoding`.
pub const READ_CODINGS: &str = "gzip, deflate";

/// The smallest body worth compressing: a smaller one fits in a packet or two either way.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// The error for a body in an unsupported coding, or in several codings. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("content encoding {0} is not supported: send gzip, deflate or the body as it is")]
pub struct ContentCodingError(Quoted);

/// The codings that a client accepts for the response. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedCoding {
    coding: Option<Coding>,
    plain: Plain,
}

/// The client's acceptance of an uncompressed response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    Accepted,
    Refused,
}

/// Returns the coding of a request's body; `None` for an uncompressed body.
pub fn of_body(headers: &HeaderMap) -> Result<Option<Coding>, ContentCodingError> {
    let all = list(headers, header::CONTENT_ENCODING);
    let codings = all.split(',').map(str::trim);
    let mut codings =
        codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(None),
        (Some(coding), None) => match Coding::from_token(coding) {
            Some(coding) => Ok(Some(coding)),
            None => Err(ContentCodingError(Quoted::new(coding))),
        },
        // Nested codings would hide a decompression bomb from the limit on the first one.
        (Some(_), Some(_)) => Err(ContentCodingError(Quoted::new(&all))),
    }
}

impl HasErrorKind for ContentCodingError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::UnsupportedEncoding
    }
}

// === impl AcceptedCoding ===

impl AcceptedCoding {
    /// Parses the headers of a request; without any, the response is not compressed.
    pub fn from_headers(headers: &HeaderMap) -> AcceptedCoding {
        let (mut gzip, mut deflate, mut identity, mut others) = (None, None, None, None);
        for item in list(headers, header::ACCEPT_ENCODING).split(',') {
            let (token, weight) = weighed(item);
            let slot = match Coding::from_token(token) {
                Some(Coding::Gzip) => &mut gzip,
                Some(Coding::Deflate) => &mut deflate,
                None if token.eq_ignore_ascii_case("identity") => &mut identity,
                None if token == "*" => &mut others,
                None => continue,
            };
            // If a coding is named twice, the higher weight counts.
            *slot = (*slot).max(Some(weight));
        }
        let gzip = gzip.or(others).unwrap_or(0);
        let deflate = deflate.or(others).unwrap_or(0);
        // A tie goes to gzip: some clients take `deflate` for the raw stream.
        let (coding, weight) = match deflate > gzip {
            true => (Coding::Deflate, deflate),
            false => (Coding::Gzip, gzip),
        };
        // An uncompressed body is acceptable unless it is refused, and is preferred only if it is named.
        let is_preferred = weight > 0 && identity.is_none_or(|identity| identity <= weight);
        AcceptedCoding {
            coding: is_preferred.then_some(coding),
            plain: match identity.or(others) {
                Some(0) => Plain::Refused,
                _ => Plain::Accepted,
            },
        }
    }

    /// Returns the coding for a response of `bytes` bytes; `None` leaves it uncompressed. A client that
    /// accepts nothing at all also gets an uncompressed response, which is more useful than an error
    /// without a body.
    pub fn for_body(self, bytes: usize) -> Option<Coding> {
        match self.plain {
            Plain::Accepted if !depends_on_client(bytes) => None,
            _ => self.coding,
        }
    }
}

/// Returns whether the form of a response of `bytes` bytes depends on the client, so that it needs a
/// `Vary` header for caches.
pub fn depends_on_client(bytes: usize) -> bool {
    bytes >= MIN_COMPRESSED_BYTES
}

/// Parses an item of `Accept-Encoding` and its weight in thousandths. An invalid weight counts as a
/// missing one.
fn weighed(item: &str) -> (&str, u16) {
    let (token, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim().eq_ignore_ascii_case("q")).then(|| thousandths(value.trim()))?
    });
    (token.trim(), weight.unwrap_or(1000))
}

/// Parses a number from 0 to 1 with at most three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_decimal = decimals.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if is_decimal && decimals.len() <= 3 => format!("{decimals:0<3}").parse().ok(),
        "1" if decimals.len() <= 3 && decimals.bytes().all(|byte| byte == b'0') => Some(1000),
        _ => None,
    }
}

/// Joins all values of a header into one list, as the standard specifies. A value that is not text
/// matches nothing.
fn list(headers: &HeaderMap, name: HeaderName) -> Cow<'_, str> {
    let values = headers.get_all(name).iter();
    let mut values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next().unwrap_or_default();
    values.fold(first, |mut all, value| {
        all.to_mut().push(',');
        all.to_mut().push_str(&value);
        all
    })
}

#[cfg(test)]
mod tests;
