//! The sizes of the frames in which the bytes of a response are passed to hyper.

use http::Version;

/// The most bytes that an HTTP/2 response returns at a time. The client must accept each frame before the
/// next, which shows that it is reading; for HTTP/1 the socket shows this.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The way in which a response's bytes are passed to hyper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Chunk by chunk, of any size.
    Whole,
    /// In frames of limited size.
    Limited,
}

impl Framing {
    /// Returns the framing of responses in this version of HTTP.
    pub(crate) fn of(version: Version) -> Framing {
        match version {
            Version::HTTP_2 => Framing::Limited,
            _ => Framing::Whole,
        }
    }
}
