//! A handler and the threads on which its calls run.
//!
//! The faster a version's calls are, the less of the work around them is worth its cost:
//!
//! - A *queued* call runs the guest on a fiber in the pool, and the computation on the threads of the graph.
//! - An *inline* call runs entirely on one thread of the pool, guest and computation, without a fiber.
//! - A *direct* call does the same on the thread of its caller, which serves connections.
//!
//! Inline and direct calls occupy their thread, so they have a time budget. A call that exceeds it or the time limit
//! of its guest, or that needs a graph which is not prepared yet, is repeated as a queued call. The handler cannot observe that,
//! since it has no side effects. [`CallDurations`] chooses among the kinds by the recent durations of the
//! calls, whatever their outcome.

use crate::admission::Permit;
use crate::call_durations::{CallDurations, CallKind, ExecutionMode};
use crate::call_error::CallError;
use crate::call_slots::CallSlots;
use crate::current_request::CurrentRequest;
use crate::fair_pool::{FairPool, Flow};
use crate::logged_handler::LoggedHandler;
use crate::metering::call_meter::CallMeter;
use crate::metering::job_meter::used_by_run;
use crate::metering::processor_time::metered;
use crate::owner::Owner;
use crate::statistics::Statistics;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_protocol::call::{InferRequest, Scheduling};
use wisp_sandbox::compute::{ComputeError, ComputeOptions, Payer};
use wisp_sandbox::handler::{HandlerCall, HandlerError, HandlerOutcome, HandlerResponse, Usage};
use wisp_tensor::MemoryBudget;

/// A handler with its jobs in the pool. Lifetime: a model version.
#[derive(Debug)]
pub struct HandlerExecutor {
    handler: Arc<LoggedHandler>,
    durations: CallDurations,
    flow: Flow,
    slots: Arc<CallSlots>,
}

/// The response of a handler, and the names of the outputs that its request selected.
#[derive(Debug)]
pub(crate) struct HandlerCalled {
    pub(crate) selected: Vec<String>,
    pub(crate) response: HandlerResponse,
}

/// The time at which a call arrived, the one at which it must have ended, and its owner.
#[derive(Debug, Clone, Copy)]
struct CallTimes {
    arrived: Instant,
    deadline: Instant,
    owner: Owner,
}

/// A request whose call runs on one thread. Lifetime: one request.
struct InlineCall {
    handler: Arc<LoggedHandler>,
    request: InferRequest,
    /// The request for the log.
    current: Option<CurrentRequest>,
    meter: Option<Arc<CallMeter>>,
    /// The budget for the memory of the handler.
    memory: Option<Arc<MemoryBudget>>,
    times: CallTimes,
    budget: Duration,
}

/// The outcome of an inline or direct call.
enum InlineOutcome {
    Called(HandlerCalled),
    /// The call exceeded its time budget, or a graph must be prepared first; contains the request for a
    /// repetition.
    Repeat(InferRequest),
}

/// The outcome of a queued call.
struct QueuedOutcome {
    selected: Vec<String>,
    result: Result<HandlerResponse, HandlerError>,
}

// === impl HandlerExecutor ===

impl HandlerExecutor {
    /// Returns a handler whose calls run in `pool` unless they are direct. At most `slots` queued calls run
    /// at the same time.
    pub fn new(
        handler: LoggedHandler,
        mode: ExecutionMode,
        pool: &Arc<FairPool>,
        slots: usize,
    ) -> HandlerExecutor {
        HandlerExecutor {
            handler: Arc::new(handler),
            durations: CallDurations::new(mode),
            flow: pool.flow(),
            slots: CallSlots::new(slots),
        }
    }

    /// Returns the statistics of the version, to which the calls of the handler are added.
    pub(crate) fn statistics(&self) -> &Arc<Statistics> {
        self.handler.statistics()
    }

    /// Calls the handler for one admitted request, before `deadline`.
    pub(crate) async fn call(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<HandlerCalled, CallError> {
        let times = CallTimes {
            arrived: Instant::now(),
            deadline,
            owner: permit.owner(),
        };
        let kind = self.durations.kind();
        let Some(budget) = kind.budget() else {
            return Box::pin(self.call_queued(request, permit, times)).await;
        };
        let call = InlineCall {
            handler: Arc::clone(&self.handler),
            request,
            current: CurrentRequest::of_task(),
            meter: permit.meter().cloned(),
            memory: permit.memory().cloned(),
            times,
            budget,
        };
        let (outcome, took) = match kind {
            CallKind::Direct => call.run(),
            _ => self.call_inline(call).await?,
        };
        self.durations.add(took);
        match outcome? {
            InlineOutcome::Called(mut called) => {
                let usage = &mut called.response.usage;
                usage.queue = waited(times.arrived.elapsed(), usage);
                Ok(called)
            }
            InlineOutcome::Repeat(request) => {
                self.durations.exceeded_budget(kind);
                Box::pin(self.call_queued(request, permit, times)).await
            }
        }
    }

    /// Makes the call on a fiber. The future is several kilobytes long: callers box it, so that quick calls do not move it.
    async fn call_queued(
        &self,
        request: InferRequest,
        permit: &Permit,
        times: CallTimes,
    ) -> Result<HandlerCalled, CallError> {
        let CallTimes {
            arrived, deadline, ..
        } = times;
        let called = self.run_queued(request, permit, deadline);
        let called = match tokio::time::timeout_at(deadline.into(), called).await {
            Ok(called) => called?,
            Err(_) => return Err(CallError::Handler(HandlerError::Deadline)),
        };
        let mut response = called.result.map_err(CallError::Handler)?;
        self.durations
            .add(response.usage.guest + response.usage.compute);
        response.usage.queue = waited(arrived.elapsed(), &response.usage);
        Ok(HandlerCalled {
            selected: called.selected,
            response,
        })
    }

    async fn run_queued(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<QueuedOutcome, CallError> {
        let (owner, payer) = (permit.owner(), permit.payer());
        let slot = self.slots.acquire(owner, deadline).await;
        let slot = slot.map_err(CallError::WouldMissDeadline)?;
        let instance = permit.instance(deadline).await;
        let instance = instance.map_err(CallError::Admission)?;
        let handler = Arc::clone(&self.handler);
        let current = CurrentRequest::of_task();
        let meter = permit.meter().cloned();
        let run_meter = meter.clone();
        let call = async move {
            // An abandoned call ends on its own thread, a little after its request. Its slots are free
            // only once the instance is gone.
            let _slots = (slot, instance);
            let call = handler_call(&request, (deadline, payer));
            let called = handler.infer(call, current.as_ref(), run_meter.as_deref());
            let result = called.await;
            QueuedOutcome {
                selected: request.outputs,
                result,
            }
        };
        let lost = |lost| CallError::Handler(HandlerError::Host(Box::new(lost)));
        let call = metered(meter, call);
        self.flow.run(owner, call).await.map_err(lost)
    }

    /// Runs the call on a thread of the pool.
    async fn call_inline(
        &self,
        call: InlineCall,
    ) -> Result<(Result<InlineOutcome, CallError>, Duration), CallError> {
        let CallTimes {
            deadline, owner, ..
        } = call.times;
        let (response, outcome) = oneshot::channel();
        let job = move || {
            if !response.is_closed() {
                // The caller may have gone in between; the outcome is then dropped.
                let _ = response.send(call.run());
            }
        };
        let full = |_| CallError::Compute(ComputeError::QueueFull);
        self.flow.submit(owner, job).map_err(full)?;
        match tokio::time::timeout_at(deadline.into(), outcome).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(CallError::Handler(HandlerError::Host(
                "the call was lost with its thread".into(),
            ))),
            Err(_) => Err(CallError::Handler(HandlerError::Deadline)),
        }
    }
}

// === impl InlineCall ===

impl InlineCall {
    /// Runs the whole call on this thread, and returns the time that it took.
    fn run(self) -> (Result<InlineOutcome, CallError>, Duration) {
        let InlineCall {
            handler,
            request,
            current,
            meter,
            memory,
            times: CallTimes {
                deadline, owner, ..
            },
            budget,
        } = self;
        let started = Instant::now();
        let budget_end = started + budget;
        // The meter is charged for the whole run below.
        let payer = Payer {
            memory,
            ..Payer::from(owner)
        };
        let terms = (deadline.min(budget_end), payer);
        let called = handler.infer_inline(handler_call(&request, terms));
        if let Some(meter) = &meter {
            meter.add_inline_run(&called.run.usage, used_by_run(started.elapsed()));
        }
        let HandlerOutcome { result, log, .. } = called;
        let outcome = match result {
            Ok(response) => Ok(InlineOutcome::Called(HandlerCalled {
                selected: request.outputs,
                response,
            })),
            // A guest is ended for its processor time, which only queued calls measure.
            Err(HandlerError::Unprepared | HandlerError::GuestTime { .. }) => {
                Ok(InlineOutcome::Repeat(request))
            }
            Err(HandlerError::Deadline) if budget_end < deadline => {
                Ok(InlineOutcome::Repeat(request))
            }
            Err(error) => Err(CallError::Handler(error)),
        };
        // The repetition will log the same lines.
        if !matches!(outcome, Ok(InlineOutcome::Repeat(_))) {
            handler.write(log, current.as_ref());
        }
        (outcome, started.elapsed())
    }
}

/// Returns the part of a call that took this long in which neither its guest ran nor a graph computed for it: it waited for
/// the sandbox or for a thread, to begin, to continue or to return.
fn waited(took: Duration, usage: &Usage) -> Duration {
    took.saturating_sub(usage.guest)
        .saturating_sub(usage.compute)
}

/// Returns the options of the computations for a request of a payer.
pub(crate) fn compute_options(
    scheduling: &Scheduling,
    (deadline, payer): (Instant, Payer),
) -> ComputeOptions {
    ComputeOptions {
        deadline,
        priority: scheduling.priority,
        queue_timeout: scheduling.timeout,
        payer,
    }
}

fn handler_call(request: &InferRequest, terms: (Instant, Payer)) -> HandlerCall<'_> {
    HandlerCall {
        inputs: &request.inputs,
        parameters: &request.parameters,
        outputs: &request.outputs,
        options: compute_options(&request.scheduling, terms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_while_neither_its_guest_nor_its_graphs_run() {
        let milliseconds = Duration::from_millis;
        let usage = Usage {
            guest: milliseconds(3),
            compute: milliseconds(4),
            // The wait for a graph is a part of the whole.
            queue: milliseconds(1),
            ..Usage::default()
        };
        assert_eq!(waited(milliseconds(20), &usage), milliseconds(13));
        // The guest's clock may have run a little while the graph computed.
        assert_eq!(waited(milliseconds(6), &usage), Duration::ZERO);
    }
}
