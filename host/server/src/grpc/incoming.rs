//! The body of a gRPC request, as tonic reads messages from it.
//!
//! It takes its share of what the bodies of all requests may have, and does not wait for ever. A
//! request with one message has to bring it as steadily as every other body; one with many may be
//! silent between them for as long as the server runs, and ends when that drains.

use crate::body::allowed_time;
use crate::drain::DrainWatch;
use crate::failure::Failure;
use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use wisp_serving::readers::{Reader, Readers};
use wisp_serving::{BodyError, InferError};
use wisp_tensor::Reservation;

/// What a request holds of the budget of all bodies. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct Held(Arc<Mutex<Reservation>>);

/// How many messages a request may have.
#[derive(Debug)]
pub(crate) enum Messages {
    /// Counted among these while it waits.
    One(Arc<Readers>),
    /// Until the server drains.
    Many(DrainWatch),
}

/// The body. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct MessageBody {
    incoming: Incoming,
    held: Held,
    received: u64,
    wait: Wait,
}

/// What a wait for the next piece ends with, if it is too long.
enum Wait {
    /// The piece has to be there in time.
    Steady {
        start: Instant,
        grace: Duration,
        readers: Arc<Readers>,
        /// Made when there is something to wait for: small messages come with their head.
        waiting: Option<Waiting>,
    },
    UntilDrain(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// A message that does not come at once, and what may end the wait for it.
struct Waiting {
    timer: Pin<Box<Sleep>>,
    reader: Reader,
}

// === impl Held ===

impl Held {
    pub(crate) fn new(reservation: Reservation) -> Held {
        Held(Arc::new(Mutex::new(reservation)))
    }

    /// Give back what the messages so far have taken: they are answered.
    pub(super) fn release(&self) {
        self.with(Reservation::release);
    }

    /// What the messages so far have taken, for who works on them where this cannot be.
    pub(super) fn split_off(&self) -> Reservation {
        self.with(Reservation::split_off)
    }

    /// Hold again what was split off.
    pub(super) fn put_back(&self, taken: Reservation) {
        self.with(|reservation| reservation.join(taken));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Reservation) -> T) -> T {
        // A panic leaves a count that is right.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl MessageBody ===

impl MessageBody {
    pub(crate) fn new(
        incoming: Incoming,
        messages: Messages,
        grace: Duration,
        held: Held,
    ) -> MessageBody {
        let wait = match messages {
            Messages::One(readers) => Wait::Steady {
                start: Instant::now(),
                grace,
                readers,
                waiting: None,
            },
            Messages::Many(drain) => Wait::UntilDrain(Box::pin(drain.begun())),
        };
        MessageBody {
            incoming,
            held,
            received: 0,
            wait,
        }
    }

    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// The message is complete, and is waited for no more.
    fn has_ended(&mut self) {
        if let Wait::Steady { waiting, .. } = &mut self.wait {
            *waiting = None;
        }
    }

    /// Why there is no use in waiting any longer.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        match &mut self.wait {
            Wait::Steady {
                start,
                grace,
                readers,
                waiting,
            } => {
                let deadline = *start + allowed_time(*grace, self.received);
                let Waiting { timer, reader } = waiting.get_or_insert_with(|| Waiting {
                    timer: Box::pin(tokio::time::sleep_until(deadline)),
                    reader: readers.enter(),
                });
                if timer.deadline() != deadline {
                    timer.as_mut().reset(deadline);
                }
                let failure = |error: BodyError| Failure::from(InferError::from(error));
                if Pin::new(reader).poll(cx).is_ready() {
                    return Poll::Ready(failure(BodyError::MadeRoom));
                }
                timer
                    .as_mut()
                    .poll(cx)
                    .map(|()| failure(BodyError::Timeout))
            }
            Wait::UntilDrain(drain) => drain.as_mut().poll(cx).map(|()| Failure::Draining),
        }
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let fail = |error: BodyError| {
            let failure = Failure::from(InferError::from(error));
            Poll::Ready(Some(Err(Status::from(failure))))
        };
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if !self.held.with(|reservation| reservation.grow(bytes)) {
                    return fail(BodyError::NoRoom);
                }
                self.received = self.received.saturating_add(bytes as u64);
                if self.incoming.is_end_stream() {
                    self.has_ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => fail(BodyError::Disconnected),
            Poll::Ready(None) => {
                self.has_ended();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let given_up = self.poll_given_up(cx);
                given_up.map(|failure| Some(Err(Status::from(failure))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wait::Steady { .. } => "Steady",
            Wait::UntilDrain(_) => "UntilDrain",
        })
    }
}
