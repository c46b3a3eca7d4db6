//! Bodies as streams of wasi:io.

use crate::bindings::wasi::http::types::{IncomingBody, IncomingRequest};
use crate::bindings::wasi::io::streams::{OutputStream, StreamError};

/// The maximum number of bytes of one read.
const READ_BYTES: u64 = 64 << 10;

/// Reads the body of a request to its end.
pub(crate) fn read(request: IncomingRequest) -> Vec<u8> {
    request.consume().map(read_all).unwrap_or_default()
}

/// Reads a body to its end.
pub(crate) fn read_all(body: IncomingBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(stream) = body.stream() {
        while let Ok(piece) = stream.blocking_read(READ_BYTES) {
            bytes.extend_from_slice(&piece);
        }
    }
    bytes
}

/// Writes to a body, as fast as its reader takes it.
pub(crate) fn write(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    loop {
        let permitted = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if permitted == 0 {
            stream.subscribe().block();
            continue;
        }
        let (piece, rest) = bytes.split_at(permitted.min(bytes.len()));
        stream.write(piece)?;
        bytes = rest;
        if bytes.is_empty() {
            return Ok(());
        }
    }
}
