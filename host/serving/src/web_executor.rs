//! A web component and the threads on which its guests run.
//!
//! The guests share the pool with handlers and are served in turn with them. A call goes on after its
//! response has begun: its resources are held until its guest has ended.

use crate::account::Charge;
use crate::admission::Permit;
use crate::cache_outcome::CacheOutcome;
use crate::call_error::CallError;
use crate::call_slots::CallSlots;
use crate::current_request::CurrentRequest;
use crate::fair_pool::{FairPool, Flow, RunningTask};
use crate::guest_log_writer::GuestLogWriter;
use crate::metering::processor_time::metered;
use crate::registry::web_route::WebRoute;
use crate::statistics::{PendingRequest, Statistics};
use crate::timings::PhaseTimer;
use crate::web_error_kind::web_error_kind;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::error::ErrorKind;
use wisp_sandbox::logging::{LogLevel, LogLine};
use wisp_sandbox::web::{RunningCall, WebApp, WebError, WebOutcome, WebRequest, WebResponse};
use wisp_tensor::Reservation;
use wisp_tensor::sanitize::shorten;

/// The maximum length of an error in a line of the log.
const MAX_REASON_CHARS: usize = 400;

/// A web component with its jobs in the pool. Lifetime: a model version.
#[derive(Debug)]
pub struct WebExecutor {
    app: WebApp,
    route: WebRoute,
    flow: Flow,
    slots: Arc<CallSlots>,
    log: Arc<GuestLogWriter>,
    statistics: Arc<Statistics>,
}

/// The things that a request holds until its guest has ended. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct AdmittedWebRequest {
    pub(crate) permit: Permit,
    /// The reservation of the body.
    pub(crate) _memory: Reservation,
    pub(crate) charge: Charge,
    pub(crate) pending: PendingRequest,
    pub(crate) timer: PhaseTimer,
    pub(crate) deadline: Instant,
}

impl WebExecutor {
    /// Returns a component whose guests run in `pool`, at most `slots` at the same time.
    pub fn new(
        app: WebApp,
        route: WebRoute,
        log: GuestLogWriter,
        (pool, slots): (&Arc<FairPool>, usize),
    ) -> WebExecutor {
        WebExecutor {
            app,
            route,
            flow: pool.flow(),
            slots: CallSlots::new(slots),
            log: Arc::new(log),
            statistics: Arc::default(),
        }
    }

    /// Returns the route of the component.
    pub fn route(&self) -> &WebRoute {
        &self.route
    }

    /// Returns the statistics of the version, to which its guests are added.
    pub(crate) fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Responds to an admitted request. The guest goes on while its response is sent.
    pub(crate) async fn respond(
        &self,
        request: WebRequest,
        admitted: AdmittedWebRequest,
    ) -> Result<WebResponse, CallError> {
        let deadline = admitted.deadline;
        let responding = self.begin(request, admitted);
        match tokio::time::timeout_at(deadline.into(), responding).await {
            Ok(responded) => responded,
            Err(_) => Err(CallError::Web(Arc::new(WebError::Deadline))),
        }
    }

    async fn begin(
        &self,
        request: WebRequest,
        mut admitted: AdmittedWebRequest,
    ) -> Result<WebResponse, CallError> {
        let arrived = Instant::now();
        let deadline = admitted.deadline;
        // From its deadline on, a request is dropped because it is late.
        admitted.pending.set_deadline(deadline);
        let owner = admitted.permit.owner();
        let slot = self.slots.acquire(owner, deadline).await;
        let slot = slot.map_err(|error| {
            admitted.pending.fail(ErrorKind::Unavailable);
            CallError::WouldMissDeadline(error)
        })?;
        let instance = admitted.permit.instance(deadline).await;
        let instance = instance.map_err(|error| {
            admitted.pending.fail(ErrorKind::Unavailable);
            CallError::Admission(error)
        })?;
        let called = self.app.call(request, (deadline, admitted.permit.payer()));
        let (call, response) = called.map_err(|error| {
            let error = Arc::new(error);
            admitted.fail(&error);
            CallError::Web(error)
        })?;
        let log = Arc::clone(&self.log);
        let statistics = Arc::clone(&self.statistics);
        let current = CurrentRequest::of_task();
        let meter = admitted.permit.meter().cloned();
        let running = metered(meter, async move {
            // They are free only once the instance is gone.
            let _slots = (slot, instance);
            let started = Instant::now();
            let mut outcome = call.await;
            statistics.counters().add_guest(&outcome.run);
            outcome.run.usage.queue += started.saturating_duration_since(arrived);
            write(&log, &mut outcome, current.as_ref());
            admitted.finish(outcome)
        });
        let running = self.flow.start(owner, async move {
            running.await.settle();
        });
        let response = response.wait(Box::new(running)).await;
        response.map_err(CallError::Web)
    }
}

impl AdmittedWebRequest {
    /// Counts a request whose guest has ended. Returns the charge, which is settled once the guest's last turn is measured.
    fn finish(mut self, outcome: WebOutcome) -> Charge {
        self.timer.finish_call(&outcome.run.usage);
        if let Some(meter) = self.permit.meter() {
            meter.add_memory(&outcome.run.usage);
        }
        match &outcome.result {
            Ok(()) if outcome.has_responded => {
                let timings = self.timer.timings();
                self.pending.succeed(1, &timings, CacheOutcome::Bypassed);
                if let Some(meter) = self.permit.meter() {
                    meter.succeed(0, CacheOutcome::Bypassed);
                }
            }
            // The component has ended without a response.
            Ok(()) => self.pending.fail(ErrorKind::Handler),
            Err(error) => self.fail(error),
        }
        self.charge
    }

    /// Records the reason for which the request fails.
    fn fail(&mut self, error: &WebError) {
        self.pending.fail(web_error_kind(error));
    }
}

/// Writes what a guest has logged, and its failure if the client can no longer be told.
fn write(log: &GuestLogWriter, outcome: &mut WebOutcome, request: Option<&CurrentRequest>) {
    let mut lines = std::mem::take(&mut outcome.log);
    if let Err(error) = &outcome.result
        && outcome.has_responded
    {
        let cause = error.source().map(|cause| format!(": {cause}"));
        let text = format!(
            "after its response had begun, {error}{}",
            cause.unwrap_or_default()
        );
        lines.lines.push(LogLine {
            level: LogLevel::Error,
            context: String::new(),
            text: shorten(&text, MAX_REASON_CHARS),
        });
    }
    log.write(lines, request);
}

impl RunningCall for RunningTask {
    fn detach(self: Box<Self>) {
        RunningTask::detach(*self);
    }
}
