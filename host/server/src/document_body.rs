//! The body of an HTTP response that is not gRPC: the chunks that the response was encoded in.

use crate::connection_activity::RequestGuard;
use crate::framing::{Framing, MAX_FRAME_BYTES};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use wisp_tensor::Reservation;

/// The body of an HTTP response that is not gRPC. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct DocumentBody {
    chunks: std::vec::IntoIter<Bytes>,
    /// The rest of a chunk that was too large for one frame.
    rest: Bytes,
    left: u64,
    max_frame: usize,
    /// The reservation of the chunks, unless they hold it themselves.
    _memory: Option<Reservation>,
    /// Keeps the connection from being idle until the body is dropped.
    guard: RequestGuard,
}

// === impl DocumentBody ===

impl DocumentBody {
    /// Returns a body of these chunks, which holds their reservation and `guard` until it is dropped.
    pub(crate) fn new(
        chunks: Vec<Bytes>,
        memory: Option<Reservation>,
        framing: Framing,
        guard: RequestGuard,
    ) -> DocumentBody {
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        DocumentBody {
            left: bytes as u64,
            chunks: chunks.into_iter(),
            rest: Bytes::new(),
            max_frame: match framing {
                Framing::Whole => usize::MAX,
                Framing::Limited => MAX_FRAME_BYTES,
            },
            _memory: memory,
            guard,
        }
    }

    /// Drops the bytes that have not been sent, and returns their number.
    pub(crate) fn discard(&mut self) -> u64 {
        self.chunks = Vec::new().into_iter();
        self.rest = Bytes::new();
        std::mem::take(&mut self.left)
    }
}

impl Body for DocumentBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            match self.chunks.next() {
                Some(chunk) => self.rest = chunk,
                None => return Poll::Ready(None),
            }
        }
        let size = self.rest.len().min(self.max_frame);
        let frame = self.rest.split_to(size);
        self.left -= size as u64;
        self.guard.record_progress();
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// Returns the exact size, from which hyper sets the `content-length` header.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
