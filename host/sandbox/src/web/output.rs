//! The standard output and standard error of a web component, whose lines are logged.
//!
//! A stream keeps the beginning of its output, within the budget for lines, and counts the rest. wasmtime-wasi's
//! own streams are not used: they buffer without a limit, or spawn a task for each.

use crate::logging::{LogLevel, LogMeter};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The number of bytes that a guest may write at once.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// A stream of the guest. Clones are the same stream. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct OutputCapture(Arc<Mutex<Captured>>);

/// The bytes that were written to a stream.
#[derive(Debug)]
struct Captured {
    kept: Vec<u8>,
    bytes_left: usize,
    is_cut: bool,
}

impl OutputCapture {
    /// Returns an empty stream that keeps `bytes`.
    pub(crate) fn new(bytes: usize) -> OutputCapture {
        OutputCapture(Arc::new(Mutex::new(Captured {
            kept: Vec::new(),
            bytes_left: bytes,
            is_cut: false,
        })))
    }

    /// Moves the output to the lines of the call.
    pub(crate) fn log_to(&self, log: &mut LogMeter, level: LogLevel, context: &str) {
        let (kept, is_cut) = {
            let mut captured = self.lock();
            (std::mem::take(&mut captured.kept), captured.is_cut)
        };
        log.capture(level, context, (&String::from_utf8_lossy(&kept), is_cut));
    }

    fn keep(&self, bytes: &[u8]) {
        let mut captured = self.lock();
        let length = bytes.len().min(captured.bytes_left);
        captured.bytes_left -= length;
        captured.is_cut |= length < bytes.len();
        captured.kept.extend_from_slice(&bytes[..length]);
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        // No code panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for OutputCapture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputCapture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for OutputCapture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[async_trait]
impl Pollable for OutputCapture {
    async fn ready(&mut self) {}
}

impl AsyncWrite for OutputCapture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_up_to_the_budget() {
        let mut output = OutputCapture::new(8);
        for (text, is_cut) in [
            ("", false),
            ("one\n", false),
            ("two", false),
            ("three", true),
            ("", true),
        ] {
            let written = output.write(Bytes::from_static(text.as_bytes()));
            assert!(written.is_ok(), "{text}");
            assert_eq!(output.lock().is_cut, is_cut, "{text}");
        }
        assert_eq!(output.lock().kept, b"one\ntwot");
    }
}
