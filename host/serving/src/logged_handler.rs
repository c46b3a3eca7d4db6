//! A handler whose lines are written to the log of the process, and whose calls are counted.

use crate::current_request::CurrentRequest;
use crate::guest_log_writer::GuestLogWriter;
use crate::metering::call_meter::CallMeter;
use crate::statistics::Statistics;
use std::sync::Arc;
use wisp_sandbox::handler::{Handler, HandlerCall, HandlerError, HandlerOutcome, HandlerResponse};
use wisp_sandbox::logging::GuestLog;

/// A handler, the writer of its lines and the statistics of its version. Lifetime: a model version.
#[derive(Debug)]
pub struct LoggedHandler {
    handler: Handler,
    writer: GuestLogWriter,
    statistics: Arc<Statistics>,
}

impl LoggedHandler {
    /// Writes the lines that the handler logged when it was loaded.
    pub fn new(handler: Handler, writer: GuestLogWriter) -> LoggedHandler {
        writer.write(handler.load_log().clone(), None);
        LoggedHandler {
            handler,
            writer,
            statistics: Arc::default(),
        }
    }

    /// Returns the statistics of the version.
    pub(crate) fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Runs one request without blocking the thread for longer than an epoch. Its meter is charged for the memory of the
    /// guest. The caller measures the time of the guest, and the graphs measure computations.
    pub(crate) async fn infer(
        &self,
        call: HandlerCall<'_>,
        request: Option<&CurrentRequest>,
        meter: Option<&CallMeter>,
    ) -> Result<HandlerResponse, HandlerError> {
        let HandlerOutcome { result, log, run } = self.handler.infer(call).await;
        self.statistics.counters().add_guest(&run);
        if let Some(meter) = meter {
            meter.add_memory(&run.usage);
        }
        self.write(log, request);
        result
    }

    /// Runs one request on the calling thread. Its lines are not written, because the call may have to be
    /// repeated.
    pub(crate) fn infer_inline(&self, call: HandlerCall<'_>) -> HandlerOutcome {
        let outcome = self.handler.infer_inline(call);
        self.statistics.counters().add_guest(&outcome.run);
        outcome
    }

    /// Writes the lines of one call.
    pub(crate) fn write(&self, log: GuestLog, request: Option<&CurrentRequest>) {
        self.writer.write(log, request);
    }
}
