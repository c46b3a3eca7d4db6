//! Decompression of messages before tonic reads them.
//!
//! tonic would inflate messages on the thread that serves the connection, without counting the bytes that
//! result. This module inflates them in the same way as every other compressed body: within the memory
//! budget of all bodies, and on another thread if it takes long. Uncompressed messages pass unchanged.

use super::admitted::AdmittedRequest;
use super::incoming::MessageBody;
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
use wisp_serving::blocking::BlockingPool;
use wisp_serving::{BodyError, InferError};
use wisp_tensor::Reservation;

/// The length of the prefix of a message: one byte for the compression flag, four for the length.
const PREFIX_BYTES: usize = 5;

const COMPRESSED: u8 = 1;

/// The body of a request with all messages uncompressed. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct DecompressedBody {
    body: MessageBody,
    /// `None` if no message can be compressed.
    inflating: Option<Inflating>,
}

/// The state of reading a body with compressed messages. Lifetime: one request.
struct Inflating {
    /// The bytes that have been received and not yet returned.
    received: BytesMut,
    stage: Stage,
    coding: Coding,
    /// The largest message, in bytes, both compressed and inflated.
    limit: usize,
    admitted: AdmittedRequest,
    blocking: BlockingPool,
}

/// The inflated bytes of a message and their reservation.
type Inflated = Result<(Bytes, Reservation), BodyError>;

enum Stage {
    /// The prefix of a message comes next.
    Prefix,
    /// An uncompressed message passes unchanged; this many bytes of it are still to come.
    Passing(usize),
    /// A compressed message of this many bytes is being collected.
    Gathering(usize),
    Inflating(Pin<Box<dyn Future<Output = Inflated> + Send>>),
    /// A message whose prefix has been returned.
    Inflated(Bytes),
}

/// Returns the coding that messages may be compressed with. If there is one, the `grpc-encoding` header is
/// removed, because tonic receives the messages uncompressed.
pub(super) fn remove_grpc_encoding(headers: &mut HeaderMap) -> Option<Coding> {
    let encoding = headers.get("grpc-encoding")?;
    let codings = [Coding::Gzip, Coding::Deflate];
    let coding = codings
        .into_iter()
        .find(|coding| encoding == coding.name())?;
    headers.remove("grpc-encoding");
    Some(coding)
}

// === impl DecompressedBody ===

impl DecompressedBody {
    /// Returns a body that contains no compressed messages.
    pub(super) fn passed(body: MessageBody) -> DecompressedBody {
        DecompressedBody {
            body,
            inflating: None,
        }
    }

    /// Returns a body whose messages, compressed with `coding`, are inflated to at most `limit` bytes each.
    pub(super) fn inflated(
        body: MessageBody,
        coding: Coding,
        limit: usize,
        blocking: BlockingPool,
    ) -> DecompressedBody {
        let admitted = body.admitted();
        DecompressedBody {
            body,
            inflating: Some(Inflating {
                received: BytesMut::new(),
                stage: Stage::Prefix,
                coding,
                limit,
                admitted,
                blocking,
            }),
        }
    }
}

impl Body for DecompressedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let DecompressedBody { body, inflating } = &mut *self;
        let Some(inflating) = inflating else {
            return Pin::new(body).poll_frame(cx);
        };
        loop {
            if let Some(piece) = ready!(inflating.poll_piece(cx)).map_err(Status::from)? {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()? {
                Some(frame) => {
                    // A gRPC request has no trailers.
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
    /// Returns the next bytes for tonic, or `None` if more of the body has to arrive first.
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
                    let reservation = self.admitted.split_off();
                    let (coding, limit) = (self.coding, self.limit);
                    let blocking = self.blocking.clone();
                    self.stage = Stage::Inflating(Box::pin(async move {
                        inflate((coding, message), limit, reservation, &blocking).await
                    }));
                }
                Stage::Inflating(inflating) => {
                    let inflated = ready!(inflating.as_mut().poll(cx));
                    let (message, reservation) = inflated.map_err(|error| match error {
                        BodyError::TooLarge { limit } => too_large(limit),
                        BodyError::NotInCoding(coding) => Failure::Message {
                            kind: ErrorKind::InvalidRequest,
                            text: format!("a message is not valid {coding}"),
                        },
                        other => InferError::from(other).into(),
                    })?;
                    self.admitted.hold(reservation);
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

    /// Returns an error if the body must not end here, in the middle of a message.
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

/// Returns the message length in a prefix.
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
