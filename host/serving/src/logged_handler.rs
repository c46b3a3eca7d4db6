//! A handler whose lines are written to the log of the process.

use crate::current_request::CurrentRequest;
use crate::guest_log_writer::GuestLogWriter;
use wisp_sandbox::handler::{Handler, HandlerCall, HandlerError, HandlerOutcome, HandlerResponse};
use wisp_sandbox::logging::GuestLog;

/// A handler and the writer of its lines. Lifetime: a model version.
#[derive(Debug)]
pub struct LoggedHandler {
    handler: Handler,
    writer: GuestLogWriter,
}

impl LoggedHandler {
    /// Writes what the handler logged when it was loaded.
    pub fn new(handler: Handler, writer: GuestLogWriter) -> LoggedHandler {
        writer.write(handler.load_log().clone(), None);
        LoggedHandler { handler, writer }
    }

    /// Runs one request without blocking the thread for longer than an epoch.
    pub(crate) async fn infer(
        &self,
        call: HandlerCall<'_>,
        request: Option<&CurrentRequest>,
    ) -> Result<HandlerResponse, HandlerError> {
        let HandlerOutcome { result, log } = self.handler.infer(call).await;
        self.write(log, request);
        result
    }

    /// Runs one request on the calling thread. Its lines are not written, because the call may have to be
    /// repeated.
    pub(crate) fn infer_inline(&self, call: HandlerCall<'_>) -> HandlerOutcome {
        self.handler.infer_inline(call)
    }

    /// Writes the lines of one call.
    pub(crate) fn write(&self, log: GuestLog, request: Option<&CurrentRequest>) {
        self.writer.write(log, request);
    }
}
