//! Bodies as streams of wasi:io: one is read into one buffer, the other is written chunk by chunk.

use super::bindings::wasi::http::types::{IncomingBody, IncomingRequest, OutgoingBody};
use super::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::request::{Body, BodyError};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// The most bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// The largest buffer that is allocated for a declared length before the bytes have arrived.
const MAX_DECLARED_BYTES: usize = 1 << 20;

/// The body of an incoming request. Lifetime: one request.
#[derive(Debug)]
pub(super) struct IncomingBytes {
    /// Dropped before the body and the request that it belongs to.
    stream: Option<InputStream>,
    _body: Option<IncomingBody>,
    _request: IncomingRequest,
    /// The length that the request declares.
    declared: Option<usize>,
}

/// The error for a client that has gone before its response was written.
#[derive(Debug)]
pub(super) struct ClientGone;

impl IncomingBytes {
    pub(super) fn new(request: IncomingRequest, headers: &HeaderMap) -> IncomingBytes {
        let body = request.consume().ok();
        let declared = headers.get(CONTENT_LENGTH);
        IncomingBytes {
            stream: body.as_ref().and_then(|body| body.stream().ok()),
            _body: body,
            _request: request,
            declared: declared.and_then(|length| length.to_str().ok()?.parse().ok()),
        }
    }
}

impl Body for IncomingBytes {
    fn read(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let stream = self.stream.as_ref().ok_or(BodyError::Disconnected)?;
        let declared = self.declared.unwrap_or(0);
        if declared > limit {
            return Err(BodyError::TooLarge);
        }
        let mut buffer = Vec::new();
        loop {
            let most = (limit - buffer.len()).saturating_add(1).min(READ_BYTES);
            match stream.blocking_read(most as u64) {
                // The whole of a small body is one piece, which is not copied.
                Ok(piece) if buffer.is_empty() && piece.len() >= declared => buffer = piece,
                Ok(piece) => {
                    if buffer.is_empty() {
                        buffer.reserve(declared.min(MAX_DECLARED_BYTES));
                    }
                    buffer.extend_from_slice(&piece);
                }
                Err(StreamError::Closed) => return Ok(Bytes::from(buffer)),
                Err(StreamError::LastOperationFailed(_)) => return Err(BodyError::Disconnected),
            }
            if buffer.len() > limit {
                return Err(BodyError::TooLarge);
            }
        }
    }
}

/// Writes the chunks to the body of a response, as fast as the client takes them.
pub(super) fn write(body: &OutgoingBody, chunks: &[Bytes]) -> Result<(), ClientGone> {
    let stream = body.write().map_err(|()| ClientGone)?;
    for chunk in chunks {
        write_chunk(&stream, chunk).map_err(|_| ClientGone)?;
    }
    stream.blocking_flush().map_err(|_| ClientGone)
}

fn write_chunk(stream: &OutputStream, mut chunk: &[u8]) -> Result<(), StreamError> {
    while !chunk.is_empty() {
        let permitted = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if permitted == 0 {
            stream.subscribe().block();
            continue;
        }
        let (piece, rest) = chunk.split_at(permitted.min(chunk.len()));
        stream.write(piece)?;
        chunk = rest;
    }
    Ok(())
}
