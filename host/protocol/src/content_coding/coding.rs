//! The content codings and compression with them.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::fmt;
use std::io::Write;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    /// Deflate with the zlib frame.
    Deflate,
}

impl Coding {
    /// Returns the coding with this name in headers.
    pub(super) fn from_token(token: &str) -> Option<Coding> {
        // `x-gzip` is the name from before the standard, which defines it as equivalent.
        let gzip = ["gzip", "x-gzip"];
        if gzip.iter().any(|name| token.eq_ignore_ascii_case(name)) {
            return Some(Coding::Gzip);
        }
        (token.eq_ignore_ascii_case("deflate")).then_some(Coding::Deflate)
    }

    /// Returns the coding's name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    /// Joins and compresses the pieces. The level favors speed over size, because the client waits for
    /// the compression.
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
