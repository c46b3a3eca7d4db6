//! Conversion of results and failures to HTTP responses, whose bodies consist of the chunks they were
//! encoded in.
//!
//! This is the only module that converts errors to responses; `protocol::error` defines their statuses.

use crate::connection_activity::RequestGuard;
use crate::document_body::DocumentBody;
use crate::failure::Failure;
use crate::framing::Framing;
use crate::server_timing::{SERVER_TIMING, server_timing};
use crate::usage_header::{USAGE, usage_value};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use std::sync::Arc;
use wisp_protocol::content_coding::{AcceptedCoding, Coding, READ_CODINGS, depends_on_client};
use wisp_protocol::encoded_response::EncodedResponse;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::rest::RestProtocol;
use wisp_protocol::v2::{self, V2Operation};
use wisp_serving::blocking::BlockingPool;
use wisp_serving::metering::usage_counters::UsageCounters;
use wisp_serving::timings::Timings;
use wisp_serving::{BodyError, InferError};
use wisp_tensor::{MemoryBudget, Reservation};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The scheme of the keys that clients send.
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

const HEADER_LENGTH: HeaderName = HeaderName::from_static(v2::HEADER_LENGTH);

const TIMINGS: HeaderName = HeaderName::from_static(SERVER_TIMING);

const SHOWN_USAGE: HeaderName = HeaderName::from_static(USAGE);

/// The number of seconds after which a refused client may retry. Queues in this server are short.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The largest response that is compressed on the thread of its connection, which takes about half a
/// millisecond.
const MAX_SHORT_BYTES: usize = 32 * 1024;

/// The bytes that a response with shared bytes reserves at most: its share of the data that is being sent.
const SHARED_BYTES: usize = 64 * 1024;

/// The largest response that reserves no memory.
const SMALL_BYTES: usize = 4 * 1024;

/// The largest response whose reservation is held by its body. For a larger one, the reservation is held by
/// the bytes themselves.
const HELD_BY_BODY_BYTES: usize = 64 * 1024;

/// A response that is not yet bound to a connection. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    status: StatusCode,
    content_type: HeaderValue,
    header_length: Option<usize>,
    /// The compression of the chunks.
    coding: Option<Coding>,
    /// Set if another client may get the same response with a different compression.
    varies: bool,
    /// The headers that not every response has.
    headers: HeaderMap,
    chunks: Vec<Bytes>,
    memory: Memory,
}

/// The memory that a response holds from the budget of all requests.
#[derive(Debug)]
enum Memory {
    /// Nothing has been reserved yet.
    Owned,
    /// All clients share the same bytes, which the server keeps anyway.
    Shared,
    Reserved(Reservation),
}

/// A file of the documentation, for one client. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) content_type: HeaderValue,
    /// `None` if the client already has it.
    pub(crate) content: Option<Bytes>,
    /// The compression of the content.
    pub(crate) coding: Option<Coding>,
    /// Set if another client may get the content with a different compression.
    pub(crate) varies: bool,
    pub(crate) headers: HeaderMap,
}

// === impl HttpResponse ===

impl HttpResponse {
    /// Returns a JSON document with status 200.
    pub(crate) fn document(document: Bytes) -> HttpResponse {
        HttpResponse {
            status: StatusCode::OK,
            content_type: JSON,
            header_length: None,
            coding: None,
            varies: false,
            headers: HeaderMap::new(),
            chunks: vec![document],
            memory: Memory::Owned,
        }
    }

    /// Returns a file, or status 304 if the client already has it.
    pub(crate) fn file(file: File) -> HttpResponse {
        let File {
            content_type,
            content,
            coding,
            varies,
            headers,
        } = file;
        HttpResponse {
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
            memory: Memory::Shared,
        }
    }

    /// Returns a file that was made for this response, whose memory therefore counts.
    pub(crate) fn page(file: File) -> HttpResponse {
        HttpResponse {
            memory: Memory::Owned,
            ..HttpResponse::file(file)
        }
    }

    /// Returns a JSON document that reports that something is not ready.
    pub(crate) fn not_ready(document: Bytes) -> HttpResponse {
        HttpResponse {
            status: ErrorKind::Unavailable.status(),
            ..HttpResponse::document(document)
        }
    }

    /// Returns a JSON document that reports that a model is not ready, with Triton's status for it.
    pub(crate) fn model_not_ready(document: Bytes) -> HttpResponse {
        HttpResponse {
            status: ErrorKind::InvalidRequest.status(),
            ..HttpResponse::document(document)
        }
    }

    /// Returns an empty response with status 204.
    pub(crate) fn no_content() -> HttpResponse {
        HttpResponse {
            status: StatusCode::NO_CONTENT,
            chunks: Vec::new(),
            ..HttpResponse::document(Bytes::new())
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Adds the timings of the inference as a header.
    pub(crate) fn with_timings(mut self, timings: &Timings) -> HttpResponse {
        if let Ok(timings) = HeaderValue::from_maybe_shared(server_timing(timings)) {
            self.headers.insert(TIMINGS, timings);
        }
        self
    }

    /// Adds the use of the server by the request as a header, if it is shown.
    pub(crate) fn with_usage(mut self, shown: Option<&UsageCounters>) -> HttpResponse {
        let value = shown.map(|used| HeaderValue::from_maybe_shared(usage_value(used)));
        if let Some(Ok(value)) = value {
            self.headers.insert(SHOWN_USAGE, value);
        }
        self
    }

    /// Holds this reservation until the response has been sent.
    pub(crate) fn holding(mut self, reservation: Reservation) -> HttpResponse {
        self.memory = Memory::Reserved(reservation);
        self
    }

    /// Reserves the bytes of the response until it has been sent, unless they are reserved already.
    pub(crate) fn reserve(mut self, budget: &Arc<MemoryBudget>) -> Result<HttpResponse, Failure> {
        let bytes = match &self.memory {
            Memory::Reserved(_) => return Ok(self),
            Memory::Owned => self.bytes(),
            Memory::Shared => self.bytes().min(SHARED_BYTES),
        };
        // Small responses are never refused, so that health checks work however full the budget is.
        if bytes > SMALL_BYTES {
            let mut reservation = budget.reservation();
            if !reservation.grow(bytes) {
                return Err(InferError::from(BodyError::NoRoom).into());
            }
            self.memory = Memory::Reserved(reservation);
        }
        Ok(self)
    }

    /// Returns the bytes of the body.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Compresses the response, if the client with these headers accepts it and it is worth it.
    ///
    /// Only inference responses are compressed, as in Triton: the asyncio variant of tritonclient accepts
    /// gzip with every request, and inflates no other responses.
    pub(crate) async fn compress_for(
        mut self,
        headers: &HeaderMap,
        blocking: &BlockingPool,
    ) -> Result<HttpResponse, Failure> {
        let bytes = self.bytes();
        let coding = AcceptedCoding::from_headers(headers).for_body(bytes);
        let varies = coding.is_some() || depends_on_client(bytes);
        if let Some(coding) = coding {
            let compressed = compress(coding, self.chunks, bytes, blocking).await?;
            if let Memory::Reserved(reservation) = &mut self.memory {
                reservation.shrink(bytes.saturating_sub(compressed.len()));
            }
            self.chunks = vec![compressed];
        }
        Ok(HttpResponse {
            coding,
            varies,
            ..self
        })
    }

    pub(crate) fn into_response(
        self,
        framing: Framing,
        mut guard: RequestGuard,
    ) -> Response<DocumentBody> {
        guard.start_responding();
        let bytes = self.bytes();
        let (chunks, memory) = match self.memory {
            Memory::Owned | Memory::Shared => (self.chunks, None),
            Memory::Reserved(memory) if bytes <= HELD_BY_BODY_BYTES => (self.chunks, Some(memory)),
            Memory::Reserved(memory) => (bind(self.chunks, memory), None),
        };
        let body = DocumentBody::new(chunks, memory, framing, guard);
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
            headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let is_refused = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        if is_refused {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}

impl From<EncodedResponse> for HttpResponse {
    fn from(reply: EncodedResponse) -> HttpResponse {
        let EncodedResponse {
            content_type,
            header_length,
            chunks,
        } = reply;
        HttpResponse {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static(content_type),
            header_length,
            coding: None,
            varies: false,
            headers: HeaderMap::new(),
            chunks,
            memory: Memory::Owned,
        }
    }
}

/// Compresses the chunks, on another thread if that takes long.
async fn compress(
    coding: Coding,
    chunks: Vec<Bytes>,
    bytes: usize,
    blocking: &BlockingPool,
) -> Result<Bytes, InferError> {
    if bytes <= MAX_SHORT_BYTES {
        return Ok(coding.compress(&chunks));
    }
    Ok(blocking.run_soon(move || coding.compress(&chunks)).await?)
}

/// Attaches the reservation to the chunks, so that it is released with the last of their bytes. hyper takes
/// the chunks from a body long before they are sent.
fn bind(chunks: Vec<Bytes>, memory: Reservation) -> Vec<Bytes> {
    let memory = Arc::new(memory);
    let bound = chunks.into_iter().map(|chunk| {
        Bytes::from_owner(BoundChunk {
            chunk,
            _memory: Arc::clone(&memory),
        })
    });
    bound.collect()
}

/// Bytes that share a reservation.
struct BoundChunk {
    chunk: Bytes,
    _memory: Arc<Reservation>,
}

impl AsRef<[u8]> for BoundChunk {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Failure {
    /// Returns the response to the request for `path`, whose protocol determines its form.
    pub(crate) fn into_response(
        self,
        path: &str,
        framing: Framing,
        guard: RequestGuard,
    ) -> Response<DocumentBody> {
        let protocol = RestProtocol::from_path(path);
        let message = match V2Operation::from_path(path) {
            Some(operation) => self.v2_message(operation),
            None => self.client_message(),
        };
        let kind = self.kind();
        let status = match kind {
            // The client may have closed only its sending side. It can still read that its request was
            // incomplete, and 499 is in no standard.
            ErrorKind::ClientGone => StatusCode::BAD_REQUEST,
            kind => protocol.status(kind),
        };
        let reply = HttpResponse {
            status,
            ..HttpResponse::document(v2::encode_error(&message))
        };
        let mut response = reply.into_response(framing, guard);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow() {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if kind == ErrorKind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, BEARER);
        }
        if kind == ErrorKind::UnsupportedEncoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(READ_CODINGS));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_activity::{ConnectionActivity, Multiplexing};
    use crate::framing::MAX_FRAME_BYTES;
    use http_body::Body;
    use std::task::{Context, Poll};

    fn response(chunks: Vec<Bytes>, framing: Framing) -> Response<DocumentBody> {
        let reply = HttpResponse::from(EncodedResponse {
            content_type: "application/octet-stream",
            header_length: Some(12),
            chunks,
        });
        let activity = Arc::new(ConnectionActivity::new());
        reply.into_response(framing, activity.begin(Multiplexing::Sequential))
    }

    fn frames(body: DocumentBody) -> Vec<Bytes> {
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
    fn the_bytes_of_a_response_are_reserved_until_the_last_one_is_sent() -> anyhow::Result<()> {
        let budget = Arc::new(MemoryBudget::new(1 << 20));
        let activity = Arc::new(ConnectionActivity::new());
        let large = || Bytes::from(vec![1; 600_000]);
        let reply = HttpResponse::document(large()).reserve(&budget)?;
        assert_eq!(budget.reserved(), 600_000);
        let refused = HttpResponse::document(large())
            .reserve(&budget)
            .map_err(|f| f.kind());
        assert_eq!(refused.err(), Some(ErrorKind::Unavailable));
        // Small responses and those that share their bytes still have room.
        let small = HttpResponse::document(Bytes::from_static(b"{}")).reserve(&budget)?;
        let response =
            reply.into_response(Framing::Whole, activity.begin(Multiplexing::Sequential));
        let mut sent = frames(response.into_body());
        assert_eq!(
            budget.reserved(),
            600_000,
            "hyper has it all, the client nothing"
        );
        sent.truncate(1);
        let last = sent.pop().map(|mut chunk| chunk.split_off(599_999));
        assert_eq!(budget.reserved(), 600_000);
        drop(last);
        assert_eq!(budget.reserved(), 0);
        drop(small);
        Ok(())
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
