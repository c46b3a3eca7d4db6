//! Bodies that travel compressed: what the headers say of it, and the bytes one way and the other.
//!
//! `gzip` and `deflate` (with zlib's frame, as the standard says; not the raw stream), at most one of
//! them on a body. Header names and values are read here; when to compress, and on which thread, is
//! the server's business.
//!
//! Invariant: inflating takes no more memory than the limit, and one step, whatever the body holds.

mod inflate;

pub use inflate::{InflateError, Inflater, Progress};

use crate::error::ErrorKind;
use crate::label::Label;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderName, header};
use std::fmt;
use std::io::Write;

/// The codings that this server reads, as the value of `Accept-Encoding`.
pub const READ_CODINGS: &str = "gzip, deflate";

/// The smallest body worth compressing: below it fits a packet or two either way.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// A way to compress a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    /// With the frame of zlib.
    Deflate,
}

/// The body comes in a coding, or in several, that are not read. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("content encoding {0} is not supported: send gzip, deflate or the body as it is")]
pub struct ContentCodingError(Label);

/// What a client takes its answer in. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedCoding {
    coding: Option<Coding>,
    plain: Plain,
}

/// Whether a client takes an answer as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    Accepted,
    Refused,
}

// === impl Coding ===

impl Coding {
    fn from_token(token: &str) -> Option<Coding> {
        // `x-gzip` is the name from before there was a standard, and by it the same.
        let gzip = ["gzip", "x-gzip"];
        if gzip.iter().any(|name| token.eq_ignore_ascii_case(name)) {
            return Some(Coding::Gzip);
        }
        (token.eq_ignore_ascii_case("deflate")).then_some(Coding::Deflate)
    }

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    /// The bytes of these pieces, joined and compressed. Fast rather than small: who waits for the
    /// answer waits for this too.
    pub fn compress(self, pieces: &[Bytes]) -> Bytes {
        let level = Compression::fast();
        let compressed = match self {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                let written = pieces.iter().try_for_each(|piece| encoder.write_all(piece));
                written.and_then(|()| encoder.finish())
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                let written = pieces.iter().try_for_each(|piece| encoder.write_all(piece));
                written.and_then(|()| encoder.finish())
            }
        };
        Bytes::from(compressed.expect("a vector takes every byte"))
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The coding of a request's body; `None` for a body as it is.
pub fn of_body(headers: &HeaderMap) -> Result<Option<Coding>, ContentCodingError> {
    let all = list(headers, header::CONTENT_ENCODING);
    let codings = all.split(',').map(str::trim);
    let mut codings =
        codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(None),
        (Some(coding), None) => match Coding::from_token(coding) {
            Some(coding) => Ok(Some(coding)),
            None => Err(ContentCodingError(Label::new(coding))),
        },
        // One within the other hides a bomb from the limit on the first.
        (Some(_), Some(_)) => Err(ContentCodingError(Label::new(&all))),
    }
}

impl ContentCodingError {
    /// What the dialect's error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::UnsupportedEncoding
    }
}

// === impl AcceptedCoding ===

impl AcceptedCoding {
    /// What the headers of a request say; without any, the answer stays as it is.
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
            // Of a coding named twice, the kinder.
            *slot = (*slot).max(Some(weight));
        }
        let gzip = gzip.or(others).unwrap_or(0);
        let deflate = deflate.or(others).unwrap_or(0);
        // Between equals, gzip: there are clients that take `deflate` for the raw stream.
        let (coding, weight) = match deflate > gzip {
            true => (Coding::Deflate, deflate),
            false => (Coding::Gzip, gzip),
        };
        // Plain is always welcome unless it is refused; preferred only where it is named.
        let is_preferred = weight > 0 && identity.is_none_or(|identity| identity <= weight);
        AcceptedCoding {
            coding: is_preferred.then_some(coding),
            plain: match identity.or(others) {
                Some(0) => Plain::Refused,
                _ => Plain::Accepted,
            },
        }
    }

    /// The coding for an answer of so many bytes; `None` to leave it as it is. That is also what a
    /// client gets that accepts nothing at all: more use than an error without a body.
    pub fn for_body(self, bytes: usize) -> Option<Coding> {
        match self.plain {
            Plain::Accepted if !depends_on_client(bytes) => None,
            _ => self.coding,
        }
    }
}

/// Whether an answer of so many bytes has one form for some clients and another for others, which
/// caches have to be told by `Vary`.
pub fn depends_on_client(bytes: usize) -> bool {
    bytes >= MIN_COMPRESSED_BYTES
}

/// An item of `Accept-Encoding` and its weight in thousandths. What is no weight counts as none
/// given.
fn weighed(item: &str) -> (&str, u16) {
    let (token, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim().eq_ignore_ascii_case("q")).then(|| thousandths(value.trim()))?
    });
    (token.trim(), weight.unwrap_or(1000))
}

/// A number from 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_decimal = decimals.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if is_decimal && decimals.len() <= 3 => format!("{decimals:0<3}").parse().ok(),
        "1" if decimals.len() <= 3 && decimals.bytes().all(|byte| byte == b'0') => Some(1000),
        _ => None,
    }
}

/// All values of a header as one list, as the standard reads them. What is not text matches nothing.
fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    values.join(",")
}

#[cfg(test)]
mod tests;
