//! The body of a gRPC response: tonic's, with the marks that its connection goes by.
//!
//! Large messages go out in frames of limited size, as all responses over HTTP/2. While the next
//! message is still being made, the request is being worked on, however much went out before.

use super::Held;
use crate::pulse::Turn;
use crate::reply::MAX_FRAME_BYTES;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;

/// The messages of a response and its trailers. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct GrpcBody {
    messages: tonic::body::Body,
    /// What is left of bytes too many for one frame.
    rest: Bytes,
    turn: Turn,
    /// The request's messages may be in use until the last one is answered.
    _held: Held,
}

impl GrpcBody {
    pub(crate) fn new(messages: tonic::body::Body, mut turn: Turn, held: Held) -> GrpcBody {
        turn.start_replying();
        GrpcBody {
            messages,
            rest: Bytes::new(),
            turn,
            _held: held,
        }
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.rest.is_empty() {
            let frame = Pin::new(&mut self.messages).poll_frame(cx);
            if frame.is_pending() {
                self.turn.resume_working();
            }
            match ready!(frame).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => {
                    self.turn.start_replying();
                    return Poll::Ready(Some(Ok(trailers)));
                }
                None => return Poll::Ready(None),
            }
        }
        self.turn.start_replying();
        let size = self.rest.len().min(MAX_FRAME_BYTES);
        let frame = Frame::data(self.rest.split_to(size));
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.messages.is_end_stream()
    }
}
