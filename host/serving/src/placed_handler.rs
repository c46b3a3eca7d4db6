//! A handler and the place where its calls run.
//!
//! An inline call runs entirely on one thread of the pool, guest and computation, without a fiber. It is
//! several times cheaper if it takes microseconds, but it occupies the thread for as long. Therefore an inline
//! call has a time budget, and a version whose calls have recently been long, whatever their outcome, is called
//! queued until its calls are short again. A call that exceeds the budget, or that needs a graph which is not
//! prepared yet, is repeated as a queued call. The handler cannot observe that, since it has no side effects.

use crate::admission::Permit;
use crate::fair_pool::{FairPool, Flow};
use crate::moving_average::MovingAverage;
use crate::places::Places;
use crate::version::CallError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_protocol::call::InferRequest;
use wisp_sandbox::compute::ComputeError;
use wisp_sandbox::handler::{Handler, HandlerCall, HandlerError, HandlerResponse};

/// The time that an inline call may occupy its thread.
const INLINE_BUDGET: Duration = Duration::from_millis(10);

/// The mean call time above which calls are no longer made inline.
const LONG_CALL: Duration = Duration::from_micros(500);

/// The mean call time below which calls are made inline again.
const SHORT_CALL: Duration = Duration::from_micros(250);

/// The upper bound of one call's time in the mean, so that a single call changes nothing. Such a call may
/// have met a busy machine, or may be larger than all others.
const LONGEST_COUNTED: Duration = Duration::from_millis(4);

/// The place where the calls of a handler run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Guest and computation run on one thread of the pool, as long as the calls are short.
    Inline,
    /// The guest runs on a fiber, and the computation on the threads of the graph.
    Queued,
}

/// A handler, its placement and its jobs in the pool. Lifetime: a model version.
#[derive(Debug)]
pub struct PlacedHandler {
    handler: Arc<Handler>,
    placement: Placement,
    pace: Pace,
    flow: Flow,
    instances: Arc<Places>,
}

/// The recent durations of a handler's calls. Lifetime: a model version.
#[derive(Debug, Default)]
struct Pace {
    mean: MovingAverage<4>,
    is_long: AtomicBool,
}

/// The outcome of an inline call.
enum InlineOutcome {
    Answered {
        wanted: Vec<String>,
        answer: HandlerResponse,
    },
    /// The call exceeded its time budget; contains the request for a repetition.
    TooSlow(InferRequest),
    /// A graph must be prepared first; contains the request for a repetition.
    Unprepared(InferRequest),
}

// === impl PlacedHandler ===

impl PlacedHandler {
    /// Returns a handler whose calls run in `pool`. At most `instances` queued calls run at the same time.
    pub fn new(
        handler: Handler,
        placement: Placement,
        pool: &Arc<FairPool>,
        instances: usize,
    ) -> PlacedHandler {
        PlacedHandler {
            handler: Arc::new(handler),
            placement,
            pace: Pace::default(),
            flow: pool.flow(),
            instances: Places::new(instances),
        }
    }

    /// Calls the handler for one admitted request, before `deadline`. Returns the names of the
    /// requested outputs with the answer.
    pub(crate) async fn call(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Vec<String>, HandlerResponse), CallError> {
        let called = self.call_somewhere(request, permit, deadline);
        match tokio::time::timeout_at(deadline.into(), called).await {
            Ok(called) => called,
            Err(_) => Err(CallError::Handler(HandlerError::Deadline)),
        }
    }

    async fn call_somewhere(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Vec<String>, HandlerResponse), CallError> {
        let arrived = Instant::now();
        let request = match self.placement == Placement::Inline && !self.pace.is_long() {
            false => request,
            true => match self.call_inline(request, arrived, deadline).await? {
                InlineOutcome::Answered { wanted, answer } => return Ok((wanted, answer)),
                InlineOutcome::TooSlow(request) | InlineOutcome::Unprepared(request) => request,
            },
        };
        let (wanted, answer, started) = self.call_queued(request, permit, deadline).await?;
        let mut answer = answer.map_err(CallError::Handler)?;
        self.pace.add(answer.usage.guest + answer.usage.compute);
        answer.usage.queue += started.saturating_duration_since(arrived);
        Ok((wanted, answer))
    }

    /// Makes the call on a fiber. The last value of the result is the time at which the call started.
    async fn call_queued(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Vec<String>, Result<HandlerResponse, HandlerError>, Instant), CallError> {
        let place = self.instances.enter(deadline).await;
        let place = place.map_err(CallError::Crowded)?;
        let slot = permit
            .instance(deadline)
            .await
            .map_err(CallError::Admission)?;
        let handler = Arc::clone(&self.handler);
        let call = async move {
            // An abandoned call ends on its own thread, a little after its request. The place is free
            // only once the instance is gone.
            let _places = (place, slot);
            let started = Instant::now();
            let answer = handler.infer(handler_call(&request, deadline)).await;
            (request.outputs, answer, started)
        };
        let lost = |lost| CallError::Handler(HandlerError::Host(Box::new(lost)));
        self.flow.run(call).await.map_err(lost)
    }

    /// Runs the whole call on a thread of the pool.
    async fn call_inline(
        &self,
        request: InferRequest,
        arrived: Instant,
        deadline: Instant,
    ) -> Result<InlineOutcome, CallError> {
        let (reply, outcome) = oneshot::channel();
        let handler = Arc::clone(&self.handler);
        let job = move || {
            if reply.is_closed() {
                return;
            }
            let started = Instant::now();
            let budget_end = started + INLINE_BUDGET;
            let call = handler_call(&request, deadline.min(budget_end));
            let outcome = match handler.infer_inline(call) {
                Ok(mut answer) => {
                    answer.usage.queue += started.saturating_duration_since(arrived);
                    let wanted = request.outputs;
                    Ok(InlineOutcome::Answered { wanted, answer })
                }
                Err(HandlerError::Unprepared) => Ok(InlineOutcome::Unprepared(request)),
                Err(HandlerError::Deadline) if budget_end < deadline => {
                    Ok(InlineOutcome::TooSlow(request))
                }
                Err(error) => Err(CallError::Handler(error)),
            };
            // The caller may have gone in between; the answer is then dropped.
            let _ = reply.send((outcome, started.elapsed()));
        };
        let overloaded = |_| CallError::Compute(ComputeError::Overloaded);
        self.flow.submit(job).map_err(overloaded)?;
        match outcome.await {
            Ok((outcome, took)) => {
                self.pace.add(took);
                outcome
            }
            Err(_) => Err(CallError::Handler(HandlerError::Host(
                "the call was lost with its thread".into(),
            ))),
        }
    }
}

fn handler_call(request: &InferRequest, deadline: Instant) -> HandlerCall<'_> {
    HandlerCall {
        inputs: &request.inputs,
        parameters: &request.parameters,
        outputs: &request.outputs,
        deadline,
    }
}

// === impl Pace ===

impl Pace {
    /// Counts a call, successful or not.
    fn add(&self, took: Duration) {
        self.mean.add(took.min(LONGEST_COUNTED));
        let mean = self.mean.get();
        if mean > LONG_CALL {
            self.is_long.store(true, Relaxed);
        } else if mean < SHORT_CALL && self.is_long() {
            self.is_long.store(false, Relaxed);
        }
    }

    fn is_long(&self) -> bool {
        self.is_long.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);
    const SHORT: Duration = Duration::from_micros(30);

    #[test]
    fn a_single_long_call_changes_nothing_and_several_do() {
        let pace = Pace::default();
        pace.add(LONG);
        assert!(!pace.is_long());
        for _ in 0..3 {
            pace.add(LONG);
        }
        assert!(pace.is_long());
    }

    #[test]
    fn long_calls_among_many_short_ones_are_forgiven() {
        let pace = Pace::default();
        for _ in 0..10 {
            pace.add(LONG);
            for _ in 0..100 {
                pace.add(SHORT);
            }
            assert!(!pace.is_long());
        }
    }

    #[test]
    fn a_handler_whose_calls_are_short_again_is_called_inline_again() {
        let pace = Pace::default();
        for _ in 0..100 {
            pace.add(Duration::from_millis(3));
        }
        assert!(pace.is_long());
        for _ in 0..100 {
            pace.add(SHORT);
        }
        assert!(!pace.is_long());
    }
}
