//! A handler and where its calls run.
//!
//! Inline, a call runs whole on one of the handler threads, guest and compute, without a fiber:
//! several times cheaper where the graphs compute in microseconds, but the thread is taken for as long. So
//! it has a budget there. A call that exceeds it, or meets a graph that would first have to prepare, is
//! made again as a queued one, which a handler cannot tell: it has no side effects.

use crate::admission::Permit;
use crate::guest_threads::GuestThreads;
use crate::version::CallError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_backend::worker::Workers;
use wisp_protocol::call::InferRequest;
use wisp_sandbox::handler::{Handler, HandlerAnswer, HandlerCall, HandlerError};
use wisp_sandbox::nn::ComputeError;

/// How long an inline call may keep its thread.
const INLINE_BUDGET: Duration = Duration::from_millis(20);

/// How long a handler that was too slow too often stays off the handler threads.
const PAUSE: Duration = Duration::from_secs(10);

/// What an inline call over its budget counts against those within theirs.
const SLOW_WEIGHT: u32 = 100;

/// Beyond this a handler is paused: three slow calls among a hundred. A single one may have met
/// a busy machine, or a request larger than all others.
const MAX_SLOWNESS: u32 = 3 * SLOW_WEIGHT - 1;

/// Where a handler's calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Guest and compute whole on one of Wisp's handler threads, as long as they are quick.
    Inline,
    /// The guest on a fiber, compute on the graph's threads.
    Queued,
}

/// A handler, its placement and the threads for both ways. Lifetime: a model version.
#[derive(Debug)]
pub struct PlacedHandler {
    handler: Arc<Handler>,
    placement: Placement,
    pace: Pace,
    workers: Arc<Workers>,
    guests: Arc<GuestThreads>,
}

/// How well a handler keeps to the budget of inline calls. Lifetime: a model version.
#[derive(Debug)]
struct Pace {
    start: Instant,
    slowness: AtomicU32,
    /// Milliseconds since `start` until which calls are queued.
    paused_until: AtomicU64,
}

/// What became of an inline call.
enum InlineOutcome {
    Answered {
        wanted: Vec<String>,
        answer: HandlerAnswer,
    },
    /// It used up its time on the thread; here is the request again.
    TooSlow(InferRequest),
    /// A graph has to prepare first.
    Unprepared(InferRequest),
}

/// The threads that handlers run on. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct HandlerThreads {
    /// Where inline calls run.
    pub workers: Arc<Workers>,
    /// Where queued calls run.
    pub guests: Arc<GuestThreads>,
}

// === impl PlacedHandler ===

impl PlacedHandler {
    pub fn new(handler: Handler, placement: Placement, threads: HandlerThreads) -> PlacedHandler {
        let HandlerThreads { workers, guests } = threads;
        PlacedHandler {
            handler: Arc::new(handler),
            placement,
            pace: Pace::new(Instant::now()),
            workers,
            guests,
        }
    }

    /// Answer one admitted request before `deadline`; the outputs it asked for come back with the answer.
    pub(crate) async fn call(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Vec<String>, HandlerAnswer), CallError> {
        let arrived = Instant::now();
        let request = if self.runs_inline() {
            match self.call_inline(request, arrived, deadline).await? {
                InlineOutcome::Answered { wanted, answer } => {
                    self.pace.was_quick();
                    return Ok((wanted, answer));
                }
                InlineOutcome::TooSlow(request) => {
                    self.pace.was_slow(Instant::now());
                    request
                }
                InlineOutcome::Unprepared(request) => request,
            }
        } else {
            request
        };
        let (wanted, mut answer, started) = self.call_queued(request, permit, deadline).await?;
        answer.usage.queue += started.saturating_duration_since(arrived);
        Ok((wanted, answer))
    }

    fn runs_inline(&self) -> bool {
        self.placement == Placement::Inline && !self.pace.is_paused(Instant::now())
    }

    /// Make the call on a fiber; the last of what comes back is when it began.
    async fn call_queued(
        &self,
        request: InferRequest,
        permit: &Permit,
        deadline: Instant,
    ) -> Result<(Vec<String>, HandlerAnswer, Instant), CallError> {
        let slot = permit
            .instance(deadline)
            .await
            .map_err(CallError::Admission)?;
        let handler = Arc::clone(&self.handler);
        let call = async move {
            // An abandoned call ends on its own thread, a little after its request: the place is free when
            // the instance is gone, and not before.
            let _slot = slot;
            let started = Instant::now();
            let answer = handler.infer(handler_call(&request, deadline)).await;
            (request.outputs, answer, started)
        };
        match self.guests.run(call).await {
            Ok((wanted, Ok(answer), started)) => Ok((wanted, answer, started)),
            Ok((_, Err(error), _)) => Err(CallError::Handler(error)),
            Err(lost) => Err(CallError::Handler(HandlerError::Host(lost.into()))),
        }
    }

    /// Hand the whole call to a handler thread.
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
            // The caller may have gone in between; then nobody wants the answer.
            let _ = reply.send(outcome);
        };
        let overloaded = |_| CallError::Compute(ComputeError::Overloaded);
        self.workers.submit(job).map_err(overloaded)?;
        match tokio::time::timeout_at(deadline.into(), outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(CallError::Handler(HandlerError::Host(
                "the call was lost with its thread".into(),
            ))),
            Err(_) => Err(CallError::Handler(HandlerError::Deadline)),
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

// Calls that end at the same time may miss each other's marks; that only moves a threshold a little.
impl Pace {
    fn new(start: Instant) -> Pace {
        Pace {
            start,
            slowness: AtomicU32::new(0),
            paused_until: AtomicU64::new(0),
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.milliseconds(now) < self.paused_until.load(Relaxed)
    }

    fn was_quick(&self) {
        let slowness = self.slowness.load(Relaxed);
        if slowness > 0 {
            self.slowness.store(slowness - 1, Relaxed);
        }
    }

    fn was_slow(&self, now: Instant) {
        let slowness = self.slowness.load(Relaxed).saturating_add(SLOW_WEIGHT);
        if slowness <= MAX_SLOWNESS {
            self.slowness.store(slowness, Relaxed);
            return;
        }
        self.slowness.store(0, Relaxed);
        let until = self.milliseconds(now + PAUSE);
        self.paused_until.store(until, Relaxed);
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_call_changes_nothing_and_three_pause_for_ten_seconds() {
        let start = Instant::now();
        let pace = Pace::new(start);
        pace.was_slow(start);
        pace.was_slow(start);
        assert!(!pace.is_paused(start));
        pace.was_slow(start);
        assert!(pace.is_paused(start));
        assert!(pace.is_paused(start + Duration::from_millis(9_999)));
        assert!(!pace.is_paused(start + PAUSE));
    }

    #[test]
    fn slow_calls_among_many_quick_ones_are_forgiven() {
        let start = Instant::now();
        let pace = Pace::new(start);
        for _ in 0..10 {
            pace.was_slow(start);
            for _ in 0..SLOW_WEIGHT {
                pace.was_quick();
            }
        }
        assert!(!pace.is_paused(start));
    }
}
