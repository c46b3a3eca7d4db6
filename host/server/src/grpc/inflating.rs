//! Compressed messages, made plain before tonic reads them.
//!
//! tonic would inflate them where their connection is served, and by itself: nobody else would know how
//! many bytes come of it. Here they are inflated as every compressed body is, counted against what
//! all bodies may have and on another thread where it takes long. Messages that are not compressed
//! pass as they are.

use super::MessageBody;
use super::incoming::Held;
use crate::body::inflate;
use crate::failure::Failure;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use wisp_protocol::content_coding::Coding;
use wisp_protocol::error::ErrorKind;
use wisp_serving::offload::Offload;
use wisp_serving::{BodyError, InferError};
use wisp_tensor::Reservation;

/// Before each message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;

const COMPRESSED: u8 = 1;

/// The body of a request, its messages plain. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct PlainMessages {
    body: MessageBody,
    /// `None` where no message can be compressed.
    inflating: Option<Inflating>,
}

/// Where in the body its reader is. Lifetime: one request.
struct Inflating {
    /// Received and not handed on yet.
    received: BytesMut,
    stage: Stage,
    /// The most bytes of a message.
    limit: usize,
    held: Held,
    offload: Offload,
}

/// A message's plain bytes, and what it has of the budget.
type Inflated = Result<(Bytes, Reservation), BodyError>;

enum Stage {
    /// The prefix of a message is next.
    Prefix,
    /// A message passes as it is, so many bytes of it still to come.
    Passing(usize),
    /// A message of so many compressed bytes is gathered.
    Gathering(usize),
    Inflating(Pin<Box<dyn Future<Output = Inflated> + Send>>),
    /// A message whose prefix has been handed on.
    Inflated(Bytes),
}

/// Whether messages may come compressed. If so the header goes: nobody behind us has to inflate.
pub(super) fn take_encoding(headers: &mut HeaderMap) -> bool {
    let is_gzip = headers
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding == "gzip");
    if is_gzip {
        headers.remove("grpc-encoding");
    }
    is_gzip
}

// === impl PlainMessages ===

impl PlainMessages {
    /// The messages of a body of which none is compressed.
    pub(super) fn passed(body: MessageBody) -> PlainMessages {
        PlainMessages {
            body,
            inflating: None,
        }
    }

    /// The messages of a body, those inflated that are compressed, to `limit` bytes at most.
    pub(super) fn inflated(body: MessageBody, limit: usize, offload: Offload) -> PlainMessages {
        let held = body.held();
        PlainMessages {
            body,
            inflating: Some(Inflating {
                received: BytesMut::new(),
                stage: Stage::Prefix,
                limit,
                held,
                offload,
            }),
        }
    }
}

impl Body for PlainMessages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let PlainMessages { body, inflating } = &mut *self;
        let Some(inflating) = inflating else {
            return Pin::new(body).poll_frame(cx);
        };
        loop {
            if let Some(piece) = ready!(inflating.poll_piece(cx)).map_err(Status::from)? {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()? {
                Some(frame) => {
                    // A request of gRPC has no trailers.
                    if let Ok(bytes) = frame.into_data() {
                        inflating.received.extend_from_slice(&bytes);
                    }
                }
                None => return Poll::Ready(inflating.end().err().map(|end| Err(end.into()))),
            }
        }
    }
}

// === impl Inflating ===

impl Inflating {
    /// The next bytes for who reads messages; `None` when more have to come first.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            match &mut self.stage {
                Stage::Prefix => {
                    if self.received.len() < PREFIX_BYTES {
                        return Poll::Ready(Ok(None));
                    }
                    let prefix = self.received.split_to(PREFIX_BYTES).freeze();
                    let length = length(&prefix);
                    if prefix[0] != COMPRESSED {
                        self.stage = Stage::Passing(length);
                        return Poll::Ready(Ok(Some(prefix)));
                    }
                    if length > self.limit {
                        return Poll::Ready(Err(too_large(self.limit)));
                    }
                    self.stage = Stage::Gathering(length);
                }
                Stage::Passing(0) => self.stage = Stage::Prefix,
                Stage::Passing(left) => {
                    let length = self.received.len().min(*left);
                    if length == 0 {
                        return Poll::Ready(Ok(None));
                    }
                    *left -= length;
                    let piece = self.received.split_to(length).freeze();
                    return Poll::Ready(Ok(Some(piece)));
                }
                Stage::Gathering(length) => {
                    if self.received.len() < *length {
                        return Poll::Ready(Ok(None));
                    }
                    let message = self.received.split_to(*length).freeze();
                    let reservation = self.held.split_off();
                    let (limit, offload) = (self.limit, self.offload.clone());
                    self.stage = Stage::Inflating(Box::pin(async move {
                        inflate((Coding::Gzip, message), limit, reservation, &offload).await
                    }));
                }
                Stage::Inflating(inflating) => {
                    let inflated = ready!(inflating.as_mut().poll(cx));
                    let (message, reservation) = inflated.map_err(|error| match error {
                        BodyError::TooLarge { limit } => too_large(limit),
                        BodyError::NotInCoding(_) => Failure::Message {
                            kind: ErrorKind::InvalidRequest,
                            text: "a message is not what its encoding, gzip, says".to_owned(),
                        },
                        other => InferError::from(other).into(),
                    })?;
                    self.held.put_back(reservation);
                    let Ok(length) = u32::try_from(message.len()) else {
                        return Poll::Ready(Err(too_large(u32::MAX as usize)));
                    };
                    self.stage = Stage::Inflated(message);
                    let prefix = [&[0], &length.to_be_bytes()[..]].concat();
                    return Poll::Ready(Ok(Some(Bytes::from(prefix))));
                }
                Stage::Inflated(message) => {
                    let message = std::mem::take(message);
                    self.stage = Stage::Prefix;
                    if !message.is_empty() {
                        return Poll::Ready(Ok(Some(message)));
                    }
                }
            }
        }
    }

    /// Whether the body may end here.
    fn end(&self) -> Result<(), Failure> {
        match (&self.stage, self.received.is_empty()) {
            (Stage::Prefix, true) => Ok(()),
            _ => Err(Failure::Message {
                kind: ErrorKind::InvalidRequest,
                text: "the request ends in the middle of a message".to_owned(),
            }),
        }
    }
}

impl fmt::Debug for Inflating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflating")
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}

/// The length that a prefix tells.
fn length(prefix: &[u8]) -> usize {
    let bytes = prefix[1..PREFIX_BYTES].iter();
    bytes.fold(0, |length, byte| length << 8 | usize::from(*byte))
}

fn too_large(limit: usize) -> Failure {
    Failure::Message {
        kind: ErrorKind::TooLarge,
        text: format!(
            "the message is too large: the limit is {limit} bytes, which --max-body-bytes sets"
        ),
    }
}
