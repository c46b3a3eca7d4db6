//! The body of a response on its way from a worker to the client.
//!
//! It updates the activity of the client's connection, and holds the places of its request until its last byte has been
//! taken. If the worker ends before its response does, or the request does in the middle of its body, the response must not
//! look complete: a gRPC response gets a status, and the connection or stream of any other ends. Dropping the body cancels
//! the request in the worker.

use super::request_body::{BodyProgress, BodyState};
use super::worker_slot::Use;
use crate::connection_activity::RequestGuard;
use crate::drain::DrainWatch;
use crate::failure::Failure;
use crate::grpc;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use wisp_serving::forwarded::ForwardedCall;

/// The places of a request that is forwarded, until its response has been sent. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Places {
    /// The progress of the body of the request, which explains an early end of the response.
    pub(crate) progress: Arc<BodyProgress>,
    pub(crate) _call: ForwardedCall,
    pub(crate) _worker: Use,
}

/// The form of a response: what ends it early, and how.
#[derive(Debug)]
pub(crate) enum Form {
    Rest,
    Grpc {
        /// The client's deadline, if it has set one.
        deadline: Option<Instant>,
        /// The signal that ends a response which has no other end.
        drain: Option<DrainWatch>,
    },
}

/// The body of a response of a worker. Lifetime: one request.
pub(crate) struct ForwardedBody {
    /// `None` once it has been cut.
    incoming: Option<Incoming>,
    is_grpc: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    guard: RequestGuard,
    places: Places,
}

impl ForwardedBody {
    pub(crate) fn new(
        incoming: Incoming,
        form: Form,
        mut guard: RequestGuard,
        places: Places,
    ) -> ForwardedBody {
        guard.start_responding();
        let (is_grpc, deadline, drain) = match form {
            Form::Rest => (false, None, None),
            Form::Grpc { deadline, drain } => (true, deadline, drain),
        };
        let drain = drain.map(|drain| {
            let begun: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(drain.begun());
            begun
        });
        ForwardedBody {
            incoming: Some(incoming),
            is_grpc,
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            drain,
            guard,
            places,
        }
    }

    /// Completes with the failure that ends the response early.
    fn poll_early_end(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Failure::ClientDeadline);
        }
        match &mut self.drain {
            Some(drain) => drain.as_mut().poll(cx).map(|()| Failure::Draining),
            None => Poll::Pending,
        }
    }

    /// Returns whether this is the response to a stream of messages that has ended because the server drains.
    fn is_given_up(&self) -> bool {
        self.is_grpc && self.places.progress.state() == BodyState::GivenUp
    }

    /// Ends a gRPC response with the status of a failure. The work of the worker for it is cancelled.
    fn cut(&mut self, failure: Failure) -> Frame<Bytes> {
        self.incoming = None;
        self.guard.start_responding();
        Frame::trailers(grpc::trailers(failure))
    }
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = &mut *self;
        let Some(incoming) = &mut body.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() && body.is_given_up() => {
                // The worker has answered what there was of the stream, and the client has not ended it.
                Poll::Ready(Some(Ok(body.cut(Failure::Draining))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                body.guard.start_responding();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "a worker has not completed a response");
                let failure = body.places.progress.state().failure();
                Poll::Ready(Some(match body.is_grpc {
                    true => Ok(body.cut(failure)),
                    false => Err(Status::from(failure)),
                }))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match body.poll_early_end(cx) {
                Poll::Ready(failure) => Poll::Ready(Some(Ok(body.cut(failure)))),
                Poll::Pending => {
                    // The client has all there is, and the worker makes more.
                    body.guard.resume_working();
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for ForwardedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardedBody")
            .field("is_grpc", &self.is_grpc)
            .finish_non_exhaustive()
    }
}
