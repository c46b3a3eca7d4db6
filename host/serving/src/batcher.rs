//! A graph with its waiting requests, which the sandbox computes through [`Compute`].
//!
//! Requests of all callers meet here, beneath wasi:nn: from bare models, and from handlers, whose sandboxes
//! share nothing. [`schedule`] decides which of them are computed together, by a [`policy`] with Triton's rules and the
//! [`batch_sizes`] of the automatic choice;
//! [`dispatch`] gives them turns on the threads that all graphs share; [`execution`] joins, computes and splits, and
//! [`rerun`] finds the requests that fail, so that they fail alone. The delays of all graphs end by the
//! [`delay_timer`], [`completion_order`] keeps results in order where that is asked for, and [`graph_statistics`]
//! counts. Only graphs whose rows are independent have their requests joined.
//!
//! Computing blocks, so it does not run on a thread that serves connections, unless the graph's computations take
//! microseconds, nothing waits, and the operator allows it. A request is skipped on its turn if its caller has gone
//! or its deadline has passed. A running batch is cancelled once all of its callers have gone, and its thread
//! replaced, since it may take long to end. The caller of a computation bounds the wait.

pub mod batch_sizes;
mod completion_order;
mod delay_timer;
mod dispatch;
mod execution;
pub mod graph_statistics;
pub mod policy;
mod rerun;
mod schedule;
mod turn;

use self::batch_sizes::row_elements;
use self::dispatch::{Dispatcher, DispatcherParts};
use self::execution::{Entry, Executor, compute_error};
use self::graph_statistics::GraphStatistics;
use self::policy::BatchPolicy;
use self::schedule::{Arrival, Schedule};
use self::turn::Member;
use crate::call_durations::{CallDurations, CallKind, ExecutionMode};
use crate::expected_wait::ExpectedWait;
use crate::owner::Owner;
use crate::per_row_graph::{batch_size, has_independent_rows};
use crate::worker_pool::{WorkerOptions, WorkerPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_backend::deadline::cancel_at;
use wisp_backend::{Cancellation, Graph};
use wisp_sandbox::compute::{Compute, ComputeError, ComputeOptions, Computed, Computing};
use wisp_tensor::{NamedTensor, Signature};

/// A graph and its waiting requests. Lifetime: a model version.
#[derive(Debug)]
pub struct Batcher {
    executor: Arc<Executor>,
    dispatcher: Arc<Dispatcher>,
    /// Set if axis 0 is a batch, so that executions have a number of rows.
    has_rows: bool,
    /// Set if no request is computed without a place in the queue.
    needs_queue: bool,
}

/// The parts of a batcher.
#[derive(Debug)]
pub struct BatcherParts {
    pub graph: Arc<dyn Graph>,
    /// The threads that compute.
    pub pool: Arc<WorkerPool>,
    /// The number of batches that are computed at the same time, and of requests that may wait.
    pub options: WorkerOptions,
    /// [`ExecutionMode::Direct`] if quick computations run on the thread of their caller.
    pub mode: ExecutionMode,
    /// The rules of joining; without them, requests are computed one by one in the order of their arrival.
    pub policy: Option<BatchPolicy>,
}

/// A request that waits for its result. Its caller has gone if this is dropped before. Lifetime: one request.
struct WaitingCall {
    dispatcher: Arc<Dispatcher>,
    number: u64,
    member: Arc<Member>,
    has_ended: bool,
}

// === impl Batcher ===

impl Batcher {
    /// Returns a batcher without requests.
    pub fn new(parts: BatcherParts) -> Batcher {
        let BatcherParts {
            graph,
            pool,
            options,
            mode,
            policy,
        } = parts;
        let may_join = policy.is_some() && has_independent_rows(&*graph);
        let has_rows = graph.signature().has_batch_axis();
        let mut policy = policy.unwrap_or_else(BatchPolicy::one_by_one);
        let has_timer = policy.needs_timer() && delay_timer::start();
        if !has_timer {
            // Nothing would end the delay.
            policy.max_queue_delay = Duration::ZERO;
        }
        let executor = Arc::new(Executor {
            graph,
            may_join: AtomicBool::new(may_join),
            wait: ExpectedWait::new(options.threads.get()),
            durations: CallDurations::new(mode),
            statistics: Arc::default(),
        });
        // The requests wait in the schedule; the queue of the pool has the turns.
        let queue = pool.queue(WorkerOptions {
            threads: options.threads,
            queue: options.threads.get().saturating_mul(2),
        });
        let needs_queue = policy.needs_queue();
        let dispatcher = Dispatcher::new(DispatcherParts {
            preserve_ordering: policy.preserve_ordering,
            schedule: Schedule::new(policy, options.queue),
            queue,
            executor: Arc::clone(&executor),
            has_timer,
        });
        Batcher {
            executor,
            dispatcher,
            has_rows,
            needs_queue,
        }
    }

    /// Returns the executions of the graph.
    pub fn statistics(&self) -> &Arc<GraphStatistics> {
        &self.executor.statistics
    }

    /// Computes on this thread, or returns `None` if the computation is not quick or may not be.
    fn compute_directly(
        &self,
        inputs: &[NamedTensor],
        options: &ComputeOptions,
    ) -> Option<Result<Computed, ComputeError>> {
        let deadline = options.deadline;
        let durations = &self.executor.durations;
        let kind = durations.kind();
        if kind != CallKind::Direct || self.needs_queue || self.dispatcher.has_waiting() {
            return None;
        }
        let started = Instant::now();
        let budget_end = started + kind.budget()?;
        let computed = self.compute_inline(inputs, deadline.min(budget_end));
        let took = started.elapsed();
        durations.add(took);
        if let Some(meter) = &options.payer.meter {
            meter.add_compute(took);
        }
        match computed {
            Err(ComputeError::Unprepared) => None,
            Err(ComputeError::Deadline) if budget_end < deadline => {
                durations.exceeded_budget(kind);
                None
            }
            computed => Some(computed.map(|outputs| Computed {
                outputs,
                queue: Duration::ZERO,
                backend: took,
            })),
        }
    }

    /// Computes in a turn on a thread of the pool.
    async fn compute_queued(
        &self,
        mut inputs: Vec<NamedTensor>,
        options: ComputeOptions,
    ) -> Result<Computed, ComputeError> {
        let deadline = options.deadline;
        let owner = Owner::from(&options.payer);
        let call = self.executor.wait.begin(owner);
        call.check_wait(deadline)
            .map_err(|_| ComputeError::WouldMissDeadline)?;
        let kind = self.kind(&mut inputs);
        let rows = self.rows(&inputs);
        let row_elements = row_elements(&inputs);
        let member = Arc::new(Member::default());
        let (response, result) = oneshot::channel();
        let entry = Entry {
            inputs,
            rows,
            owner,
            deadline,
            submitted: Instant::now(),
            has_to_wait: call.has_to_wait(),
            computed: Duration::ZERO,
            meter: options.payer.meter,
            member: Arc::clone(&member),
            response,
        };
        let number = self.dispatcher.submit(Arrival {
            rows,
            kind,
            row_elements,
            priority: options.priority,
            timeout: options.queue_timeout,
            owner,
            item: entry,
        })?;
        let mut waiting = WaitingCall {
            dispatcher: Arc::clone(&self.dispatcher),
            number,
            member,
            has_ended: false,
        };
        let result = result.await;
        waiting.has_ended = true;
        drop(call);
        match result {
            Ok(result) => result,
            Err(_) if Instant::now() >= deadline => Err(ComputeError::Deadline),
            // The turn dropped the sender, which it does only if it fails itself.
            Err(_) => Err(ComputeError::Backend("the computation was lost".to_owned())),
        }
    }

    /// Returns the number of rows of an execution with these inputs; 1 if the graph has no batch.
    fn rows(&self, inputs: &[NamedTensor]) -> u32 {
        let rows = batch_size(inputs).filter(|_| self.has_rows);
        rows.and_then(|rows| u32::try_from(rows).ok()).unwrap_or(1)
    }

    /// Returns the property that the requests of one batch have in common: which inputs they have, and their sizes
    /// besides the rows. Brings the inputs into the order of the signature. Returns `None` for a request that is
    /// computed alone.
    fn kind(&self, inputs: &mut [NamedTensor]) -> Option<Vec<u32>> {
        let has_batch = batch_size(inputs).is_some_and(|rows| rows > 0);
        if !has_batch || !self.executor.may_join.load(Relaxed) {
            return None;
        }
        let declared = &self.signature().inputs;
        let position = |input: &NamedTensor| declared.iter().position(|d| d.name == input.name);
        inputs.sort_by_key(|input| position(input));
        let mut kind = Vec::new();
        for input in inputs.iter() {
            kind.push(u32::try_from(position(input)?).ok()?);
            kind.extend(input.tensor.shape().dimensions().iter().skip(1));
            // No axis has this size; it separates the inputs.
            kind.push(u32::MAX);
        }
        Some(kind)
    }
}

impl Compute for Batcher {
    fn signature(&self) -> &Signature {
        self.executor.graph.signature()
    }

    fn compute(&self, inputs: Vec<NamedTensor>, options: ComputeOptions) -> Computing<'_> {
        Box::pin(async move {
            match self.compute_directly(&inputs, &options) {
                Some(computed) => computed,
                None => self.compute_queued(inputs, options).await,
            }
        })
    }

    fn compute_inline(
        &self,
        inputs: &[NamedTensor],
        deadline: Instant,
    ) -> Result<Vec<NamedTensor>, ComputeError> {
        let cancellation = Cancellation::new();
        let _watched = cancel_at(&cancellation, deadline);
        let started = Instant::now();
        let graph = &self.executor.graph;
        match graph.compute_prepared_cancellable(inputs, &cancellation) {
            Some(Ok(outputs)) => {
                let took = started.elapsed();
                self.executor.count_single(self.rows(inputs), took);
                Ok(outputs)
            }
            Some(Err(error)) => Err(compute_error(error)),
            None => Err(ComputeError::Unprepared),
        }
    }
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        if !self.has_ended {
            self.dispatcher.leave(self.number, &self.member);
        }
    }
}

#[cfg(test)]
mod tests;
