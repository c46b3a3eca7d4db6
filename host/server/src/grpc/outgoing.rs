//! The body of a gRPC response, which wraps tonic's and updates the activity of the connection.
//!
//! Large messages are sent in frames of limited size, like all HTTP/2 responses. While the next message is
//! being made, the request counts as work in progress, no matter how much has been sent already. After the
//! client's deadline, the client receives only a status.

use super::admitted::AdmittedRequest;
use super::status::trailers;
use crate::connection_activity::RequestGuard;
use crate::failure::Failure;
use crate::framing::MAX_FRAME_BYTES;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep};
use tonic::Status;

/// The messages of a response and its trailers. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct GrpcBody {
    messages: tonic::body::Body,
    /// The rest of a piece that was too large for one frame.
    rest: Bytes,
    guard: RequestGuard,
    /// The client's deadline, if it has set one.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The reservation of the request's messages, which may be in use until the last response message is
    /// sent.
    _admitted: AdmittedRequest,
}

impl GrpcBody {
    pub(crate) fn new(
        messages: tonic::body::Body,
        mut guard: RequestGuard,
        deadline: Option<Instant>,
        admitted: AdmittedRequest,
    ) -> GrpcBody {
        guard.start_responding();
        GrpcBody {
            messages,
            rest: Bytes::new(),
            guard,
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            _admitted: admitted,
        }
    }

    /// Ends the response after the client's deadline. The work for the remaining messages is dropped.
    fn cut(&mut self) -> Frame<Bytes> {
        self.deadline = None;
        self.messages = tonic::body::Body::empty();
        self.guard.start_responding();
        Frame::trailers(trailers(Failure::ClientDeadline))
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
            let is_over = self
                .deadline
                .as_mut()
                .map(|deadline| deadline.as_mut().poll(cx));
            if is_over.is_some_and(|over| over.is_ready()) {
                return Poll::Ready(Some(Ok(self.cut())));
            }
            let frame = Pin::new(&mut self.messages).poll_frame(cx);
            if frame.is_pending() {
                self.guard.resume_working();
            }
            match ready!(frame).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => {
                    self.guard.start_responding();
                    return Poll::Ready(Some(Ok(trailers)));
                }
                None => return Poll::Ready(None),
            }
        }
        self.guard.start_responding();
        let size = self.rest.len().min(MAX_FRAME_BYTES);
        let frame = Frame::data(self.rest.split_to(size));
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.messages.is_end_stream()
    }
}
