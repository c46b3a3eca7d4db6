//! The body of a gRPC request, from which tonic reads messages.
//!
//! The body reserves its bytes in the budget of all request bodies, and its time is limited. A request with
//! one message must arrive at the minimum rate of any other body. A stream may be silent between its
//! messages for as long as the server runs; it ends when the server drains.

use super::admitted::AdmittedRequest;
use crate::body::allowed_time;
use crate::drain::DrainWatch;
use crate::failure::Failure;
use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use wisp_serving::{BodyError, InferError};

/// The number of messages that a request may contain.
#[derive(Debug)]
pub(crate) enum Messages {
    /// One message. While it arrives, the request waits in its reading slot, and not for long once the server
    /// drains.
    One(DrainWatch),
    /// Any number of messages, until the server drains.
    Many(DrainWatch),
}

/// The body of a gRPC request. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct MessageBody {
    incoming: Incoming,
    admitted: AdmittedRequest,
    announcements: Announcements,
    received: u64,
    wait: Wait,
}

/// A parser for the prefixes of the messages in a body. Lifetime: one request.
#[derive(Debug, Default)]
struct Announcements {
    /// One byte that is nonzero if the message is compressed, then the length of the message in four bytes.
    prefix: [u8; 5],
    /// The number of bytes of the prefix that have been read.
    known: usize,
    /// The number of bytes of the current message that are still to come.
    left: usize,
}

/// The event that ends a wait for the next piece of the body.
enum Wait {
    /// A deadline, which moves as bytes are received.
    Steady {
        start: Instant,
        grace: Duration,
        /// Created on the first wait. Small messages arrive with their head and need none.
        timer: Option<Pin<Box<Sleep>>>,
        drain: DrainWatch,
        /// Completes when the server drains and the message is given up. Created like the timer.
        given_up: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    },
    UntilDrain(Pin<Box<dyn Future<Output = ()> + Send>>),
}

// === impl Announcements ===

impl Announcements {
    /// Returns the length of the longest message whose prefix is completed in this piece of the body.
    fn read(&mut self, mut piece: &[u8]) -> usize {
        let mut longest = 0;
        while !piece.is_empty() {
            let passed = self.left.min(piece.len());
            self.left -= passed;
            piece = &piece[passed..];
            let room = &mut self.prefix[self.known..];
            let taken = room.len().min(piece.len());
            room[..taken].copy_from_slice(&piece[..taken]);
            self.known += taken;
            piece = &piece[taken..];
            if let [_, a, b, c, d] = self.prefix
                && self.known == self.prefix.len()
            {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.known = 0;
                longest = longest.max(self.left);
            }
        }
        longest
    }
}

// === impl MessageBody ===

impl MessageBody {
    pub(crate) fn new(
        incoming: Incoming,
        messages: Messages,
        grace: Duration,
        admitted: AdmittedRequest,
    ) -> MessageBody {
        let wait = match messages {
            Messages::One(drain) => Wait::Steady {
                start: Instant::now(),
                grace,
                timer: None,
                drain,
                given_up: None,
            },
            Messages::Many(drain) => Wait::UntilDrain(Box::pin(drain.begun())),
        };
        MessageBody {
            incoming,
            admitted,
            announcements: Announcements::default(),
            received: 0,
            wait,
        }
    }

    pub(super) fn admitted(&self) -> AdmittedRequest {
        self.admitted.clone()
    }

    /// Ends the wait for the message, which is complete.
    fn complete(&mut self) {
        if let Wait::Steady {
            timer, given_up, ..
        } = &mut self.wait
        {
            *timer = None;
            *given_up = None;
        }
        self.admitted.complete();
    }

    /// Completes with a failure when the wait for the next piece must end.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        match &mut self.wait {
            Wait::Steady {
                start,
                grace,
                timer,
                drain,
                given_up,
            } => {
                let deadline = *start + allowed_time(*grace, self.received);
                let timer =
                    timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                if timer.deadline() != deadline {
                    timer.as_mut().reset(deadline);
                }
                let given_up =
                    given_up.get_or_insert_with(|| Box::pin(drain.clone().bodies_given_up()));
                let failure = |error: BodyError| Failure::from(InferError::from(error));
                if self.admitted.poll_evicted(cx).is_ready() {
                    return Poll::Ready(failure(BodyError::Evicted));
                }
                if given_up.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(failure(BodyError::Draining));
                }
                let is_late = timer.as_mut().poll(cx);
                is_late.map(|()| failure(BodyError::Timeout))
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
                let piece = frame.data_ref().map_or(&[][..], Bytes::as_ref);
                let (bytes, announced) = (piece.len(), self.announcements.read(piece));
                // tonic allocates the buffer for a message as soon as it has read the prefix.
                if !self.admitted.has_room(announced) || !self.admitted.grow(bytes) {
                    return fail(BodyError::NoRoom);
                }
                self.received = self.received.saturating_add(bytes as u64);
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => fail(BodyError::Disconnected),
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let given_up = self.poll_timeout(cx);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_seen_to_be_announced_wherever_their_bytes_are_cut() {
        let message = |length: u8| [vec![0, 0, 0, 0, length], vec![9; length.into()]].concat();
        let body = [message(3), message(0), message(200), message(1)].concat();
        for size in 1..body.len() {
            let mut announcements = Announcements::default();
            let announced = body.chunks(size).map(|piece| announcements.read(piece));
            let seen: Vec<usize> = announced.filter(|&length| length > 0).collect();
            assert_eq!(seen.iter().max(), Some(&200), "{size}");
            if size < 5 {
                assert_eq!(seen, [3, 200, 1], "{size}");
            }
        }
    }
}
