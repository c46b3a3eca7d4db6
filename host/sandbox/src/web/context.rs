//! The state of the WASI interfaces for one request of a web component.
//!
//! There are no files, no environment, no arguments and no sockets. The clocks and the random numbers are real.

use super::outgoing::{AllowedHosts, OutgoingRequests};
use super::output::OutputCapture;
use crate::logging::{LogLevel, LogMeter};
use std::sync::Arc;
use std::time::Instant;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::WasiHttpCtx;

/// The maximum number of random bytes of one call.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// The maximum size of the headers of one message, as they are held in memory.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// The state of the WASI interfaces. Without the streams of [`WebContext::new`], output is discarded. Lifetime:
/// one request.
#[derive(Default)]
pub(crate) struct WebContext {
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) outgoing: OutgoingRequests,
    streams: Option<[(OutputCapture, LogLevel, &'static str); 2]>,
}

impl WebContext {
    /// Returns the state of a request that may send requests to the allowed hosts until `deadline`, and write
    /// `output_bytes` to each stream.
    pub(crate) fn new(
        allowed: Arc<AllowedHosts>,
        deadline: Instant,
        output_bytes: usize,
    ) -> WebContext {
        let stdout = OutputCapture::new(output_bytes);
        let stderr = OutputCapture::new(output_bytes);
        let wasi = WasiCtx::builder()
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .max_random_size(MAX_RANDOM_BYTES)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_HEADER_BYTES);
        WebContext {
            wasi,
            http,
            outgoing: OutgoingRequests::new(allowed, deadline),
            streams: Some([
                (stdout, LogLevel::Info, "stdout"),
                (stderr, LogLevel::Warn, "stderr"),
            ]),
        }
    }

    /// Moves the output of the guest to the lines of the call.
    pub(crate) fn log_output(&self, log: &mut LogMeter) {
        for (stream, level, context) in self.streams.iter().flatten() {
            stream.log_to(log, *level, context);
        }
    }
}
