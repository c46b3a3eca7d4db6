//! From an answer or a failure to an HTTP response, its body in the pieces it was made of.
//!
//! The only place where errors become responses; which status, `protocol::error` says.

use crate::failure::Failure;
use crate::grpc::GrpcBody;
use crate::pulse::Turn;
use crate::server_timing::{SERVER_TIMING, server_timing};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};
use wisp_protocol::content_coding::{AcceptedCoding, Coding, READ_CODINGS, depends_on_client};
use wisp_protocol::error::ErrorKind;
use wisp_protocol::reply::EncodedReply;
use wisp_protocol::rest::Dialect;
use wisp_protocol::v2;
use wisp_serving::timings::Timings;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const HEADER_LENGTH: HeaderName = HeaderName::from_static(v2::HEADER_LENGTH);

/// Seconds after which a refused client may try again: queues here are short.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The largest answer that is compressed where its connection is served: about half a millisecond.
const MAX_SHORT_BYTES: usize = 32 * 1024;

/// The most bytes that an HTTP/2 response hands over at a time. Its client takes each before the
/// next, which shows that it reads at all; HTTP/1 shows that at the socket.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024;

/// An answer before it belongs to a connection. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    content_type: HeaderValue,
    header_length: Option<usize>,
    /// How the chunks are compressed.
    coding: Option<Coding>,
    /// Whether another client may get the same answer otherwise compressed.
    varies: bool,
    /// Those that not every answer has.
    headers: HeaderMap,
    chunks: Vec<Bytes>,
}

/// A file of the documentation, for one client. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) content_type: HeaderValue,
    /// `None` where the client has it already.
    pub(crate) content: Option<Bytes>,
    /// How the content is compressed.
    pub(crate) coding: Option<Coding>,
    /// Whether another client may get it otherwise compressed.
    pub(crate) varies: bool,
    pub(crate) headers: HeaderMap,
}

/// A response's body. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    chunks: std::vec::IntoIter<Bytes>,
    /// What is left of a chunk too large for one frame.
    rest: Bytes,
    left: u64,
    max_frame: usize,
    /// Until it is dropped, the connection is not idle.
    turn: Turn,
}

/// The body of any response. Lifetime: one request.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    Document(ReplyBody),
    Grpc(GrpcBody),
}

/// How a response's bytes are handed to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Chunk by chunk, however large.
    Whole,
    /// In frames of limited size.
    Limited,
}

// === impl Reply ===

impl Reply {
    /// A JSON document with status 200.
    pub(crate) fn document(document: Bytes) -> Reply {
        Reply {
            status: StatusCode::OK,
            content_type: JSON,
            header_length: None,
            coding: None,
            varies: false,
            headers: HeaderMap::new(),
            chunks: vec![document],
        }
    }

    /// A file, or the answer to a client that has it already.
    pub(crate) fn file(file: File) -> Reply {
        let File {
            content_type,
            content,
            coding,
            varies,
            headers,
        } = file;
        Reply {
            status: match content {
                Some(_) => StatusCode::OK,
                None => StatusCode::NOT_MODIFIED,
            },
            content_type,
            header_length: None,
            coding,
            varies,
            headers,
            chunks: content.into_iter().collect(),
        }
    }

    /// A JSON document that says that something is not ready.
    pub(crate) fn not_ready(document: Bytes) -> Reply {
        Reply {
            status: ErrorKind::Unavailable.status(),
            ..Reply::document(document)
        }
    }

    /// Headers, and nothing else.
    pub(crate) fn no_content() -> Reply {
        Reply {
            status: StatusCode::NO_CONTENT,
            chunks: Vec::new(),
            ..Reply::document(Bytes::new())
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Tell what it took.
    pub(crate) fn with_timings(mut self, timings: &Timings) -> Reply {
        if let Ok(timings) = HeaderValue::from_maybe_shared(server_timing(timings)) {
            self.headers.insert(SERVER_TIMING, timings);
        }
        self
    }

    /// Compress it, if the client with these headers wants that and it is worth it.
    ///
    /// Only the answers of inferences are, as in Triton: tritonclient's asyncio variant accepts gzip
    /// with all that it asks, and inflates nothing else.
    pub(crate) async fn compress_for(self, headers: &HeaderMap) -> Reply {
        let bytes = self.chunks.iter().map(Bytes::len).sum();
        let coding = AcceptedCoding::from_headers(headers).for_body(bytes);
        let varies = coding.is_some() || depends_on_client(bytes);
        let chunks = match coding {
            None => self.chunks,
            Some(coding) => vec![compress(coding, self.chunks, bytes).await],
        };
        Reply {
            coding,
            varies,
            chunks,
            ..self
        }
    }

    pub(crate) fn into_response(self, framing: Framing, mut turn: Turn) -> Response<ReplyBody> {
        turn.start_replying();
        let body = ReplyBody {
            left: self.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            chunks: self.chunks.into_iter(),
            rest: Bytes::new(),
            max_frame: match framing {
                Framing::Whole => usize::MAX,
                Framing::Limited => MAX_FRAME_BYTES,
            },
            turn,
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = self.headers;
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_TYPE, self.content_type);
        }
        if let Some(length) = self.header_length {
            headers.insert(HEADER_LENGTH, HeaderValue::from(length));
        }
        if let Some(coding) = self.coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        if self.varies {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

impl From<EncodedReply> for Reply {
    fn from(reply: EncodedReply) -> Reply {
        let EncodedReply {
            content_type,
            header_length,
            chunks,
        } = reply;
        Reply {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static(content_type),
            header_length,
            coding: None,
            varies: false,
            headers: HeaderMap::new(),
            chunks,
        }
    }
}

/// These chunks, compressed on a blocking thread where that takes long.
async fn compress(coding: Coding, chunks: Vec<Bytes>, bytes: usize) -> Bytes {
    if bytes <= MAX_SHORT_BYTES {
        return coding.compress(&chunks);
    }
    on_blocking_thread(move || coding.compress(&chunks)).await
}

/// What `work` makes on a thread that may take its time. Its panic is the request's.
pub(crate) async fn on_blocking_thread(work: impl FnOnce() -> Bytes + Send + 'static) -> Bytes {
    match tokio::task::spawn_blocking(work).await {
        Ok(made) => made,
        Err(lost) => match lost.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and nobody gets this.
            Err(_) => Bytes::new(),
        },
    }
}

impl Failure {
    pub(crate) fn into_response(
        self,
        dialect: Dialect,
        framing: Framing,
        turn: Turn,
    ) -> Response<ReplyBody> {
        let kind = self.kind();
        let status = match kind {
            // A client may have gone in one direction only: it can still read that its request was
            // incomplete, and 499 is in no standard.
            ErrorKind::ClientGone => StatusCode::BAD_REQUEST,
            kind => dialect.status(kind),
        };
        let reply = Reply {
            status,
            ..Reply::document(v2::encode_error(&self.client_message()))
        };
        let mut response = reply.into_response(framing, turn);
        let headers = response.headers_mut();
        if let Some(methods) = self.allow() {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if kind == ErrorKind::UnsupportedEncoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(READ_CODINGS));
        }
        response
    }
}

// === impl ReplyBody ===

impl Body for ReplyBody {
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
        self.turn.got_on();
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    /// Exact, from which hyper makes the `content-length`.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

// === impl ResponseBody ===

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.get_mut() {
            ResponseBody::Document(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never: Infallible| match never {}),
            ResponseBody::Grpc(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Document(body) => body.is_end_stream(),
            ResponseBody::Grpc(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Document(body) => body.size_hint(),
            ResponseBody::Grpc(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulse::{Pulse, Sharing};
    use std::sync::Arc;

    fn response(chunks: Vec<Bytes>, framing: Framing) -> Response<ReplyBody> {
        let reply = Reply::from(EncodedReply {
            content_type: "application/octet-stream",
            header_length: Some(12),
            chunks,
        });
        let pulse = Arc::new(Pulse::new());
        reply.into_response(framing, pulse.begin(Sharing::InTurn))
    }

    fn frames(body: ReplyBody) -> Vec<Bytes> {
        let mut body = std::pin::pin!(body);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let next = || match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn chunks_go_out_uncopied_and_in_their_order() {
        let chunks = vec![Bytes::from_static(b"{}"), Bytes::from(vec![1; 1 << 20])];
        let response = response(chunks.clone(), Framing::Whole);
        assert_eq!(response.headers()[HEADER_LENGTH], "12");
        assert_eq!(response.body().size_hint().exact(), Some((1 << 20) + 2));
        let frames = frames(response.into_body());
        let addresses = |chunks: &[Bytes]| chunks.iter().map(|c| c.as_ptr()).collect::<Vec<_>>();
        assert_eq!(addresses(&frames), addresses(&chunks));
        assert_eq!(frames, chunks);
    }

    #[test]
    fn large_chunks_are_cut_where_frames_are_limited() {
        let chunk = Bytes::from(vec![1; 2 * MAX_FRAME_BYTES + 5]);
        let response = response(
            vec![chunk.clone(), Bytes::from_static(b"x")],
            Framing::Limited,
        );
        let sizes: Vec<_> = frames(response.into_body())
            .iter()
            .map(Bytes::len)
            .collect();
        assert_eq!(sizes, [MAX_FRAME_BYTES, MAX_FRAME_BYTES, 5, 1]);
    }
}
