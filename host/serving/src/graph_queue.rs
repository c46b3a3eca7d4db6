//! A graph with its queue of computations, which the sandbox calls through [`Compute`].
//!
//! Computing blocks, so it does not run on a thread that serves connections, unless the graph's computations
//! take microseconds and the operator allows it. It runs on the threads that all graphs share, of which each graph
//! may occupy some at a time. A computation is skipped on its turn if its caller has gone
//! or its deadline has passed. A running computation of such a caller is cancelled and its thread replaced,
//! since it may take long to end. The caller of a computation bounds the wait.

use crate::call_durations::{CallDurations, CallKind, ExecutionMode};
use crate::expected_wait::ExpectedWait;
use crate::worker_pool::{Ticket, WorkerOptions, WorkerPool, WorkerQueue};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_backend::deadline::cancel_at;
use wisp_backend::{BackendError, Cancellation, Graph};
use wisp_sandbox::compute::{Compute, ComputeError, Computed, Computing};
use wisp_tensor::{NamedTensor, Signature};

/// A graph and the queue of its computations. Lifetime: a model version.
#[derive(Debug)]
pub struct GraphQueue {
    computer: Arc<Computer>,
    queue: WorkerQueue,
}

/// A graph and the recent durations of its computations. Lifetime: a model version.
#[derive(Debug)]
struct Computer {
    graph: Arc<dyn Graph>,
    /// The expected wait for a thread, including the time of the computation.
    wait: Arc<ExpectedWait>,
    durations: CallDurations,
}

/// A computation that waits for a thread. Lifetime: one request.
struct Entry {
    inputs: Vec<NamedTensor>,
    deadline: Instant,
    submitted: Instant,
    /// Set if all threads were busy when the computation was submitted.
    has_to_wait: bool,
    cancellation: Cancellation,
    /// The channel to the caller. It is closed if the caller has gone.
    response: oneshot::Sender<Result<Computed, ComputeError>>,
}

/// A guard that cancels a computation which has not returned a result when the guard is dropped.
struct Running {
    ticket: Ticket,
    cancellation: Cancellation,
    has_ended: bool,
}

impl GraphQueue {
    /// Returns a queue for the computations of `graph` on the threads of `pool`. As long as computations are quick,
    /// they run on the thread of the caller instead if `mode` is [`ExecutionMode::Direct`].
    pub fn new(
        graph: Arc<dyn Graph>,
        pool: &Arc<WorkerPool>,
        options: WorkerOptions,
        mode: ExecutionMode,
    ) -> GraphQueue {
        GraphQueue {
            computer: Arc::new(Computer {
                graph,
                wait: ExpectedWait::new(options.threads.get()),
                durations: CallDurations::new(mode),
            }),
            queue: pool.queue(options),
        }
    }

    /// Computes on this thread, or returns `None` if the computation is not quick or may not be.
    fn compute_directly(
        &self,
        inputs: &[NamedTensor],
        deadline: Instant,
    ) -> Option<Result<Computed, ComputeError>> {
        let durations = &self.computer.durations;
        let kind = durations.kind();
        if kind != CallKind::Direct {
            return None;
        }
        let started = Instant::now();
        let budget_end = started + kind.budget()?;
        let computed = self.compute_inline(inputs, deadline.min(budget_end));
        durations.add(started.elapsed());
        match computed {
            Err(ComputeError::Unprepared) => None,
            Err(ComputeError::Deadline) if budget_end < deadline => {
                durations.exceeded_budget(kind);
                None
            }
            computed => Some(computed.map(|outputs| Computed {
                outputs,
                queue: Duration::ZERO,
            })),
        }
    }

    /// Computes on a thread of the pool.
    async fn compute_queued(
        &self,
        inputs: Vec<NamedTensor>,
        deadline: Instant,
    ) -> Result<Computed, ComputeError> {
        let call = self.computer.wait.begin();
        call.check_wait(deadline)
            .map_err(|_| ComputeError::WouldMissDeadline)?;
        let cancellation = Cancellation::new();
        let (response, result) = oneshot::channel();
        let entry = Entry {
            inputs,
            deadline,
            submitted: Instant::now(),
            has_to_wait: call.has_to_wait(),
            cancellation: cancellation.clone(),
            response,
        };
        let computer = Arc::clone(&self.computer);
        let ticket = self.queue.submit(move || computer.compute(entry));
        let mut running = Running {
            ticket: ticket.map_err(|_| ComputeError::QueueFull)?,
            cancellation,
            has_ended: false,
        };
        let result = result.await;
        running.has_ended = true;
        drop(call);
        match result {
            Ok(result) => result,
            Err(_) if Instant::now() >= deadline => Err(ComputeError::Deadline),
            // The job dropped the sender: the computation panicked, or the version is being dropped.
            Err(_) => Err(ComputeError::Backend("the computation was lost".to_owned())),
        }
    }
}

impl Computer {
    /// Computes an entry, unless its caller has gone or it has waited for too long.
    fn compute(&self, entry: Entry) {
        if entry.response.is_closed() {
            return;
        }
        let started = Instant::now();
        let is_late = entry.has_to_wait && self.wait.check_start(started, entry.deadline).is_err();
        let result = if is_late {
            Err(ComputeError::WouldMissDeadline)
        } else {
            let queue = started.saturating_duration_since(entry.submitted);
            let computed = self
                .graph
                .compute_cancellable(&entry.inputs, &entry.cancellation);
            let took = started.elapsed();
            self.wait.record(took);
            self.durations.add(took);
            let computed = computed.map(|outputs| Computed { outputs, queue });
            computed.map_err(compute_error)
        };
        // The caller may disappear in between; the result is then dropped.
        let _ = entry.response.send(result);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.cancellation.cancel();
            self.ticket.abandon();
        }
    }
}

impl Compute for GraphQueue {
    fn signature(&self) -> &Signature {
        self.computer.graph.signature()
    }

    fn compute(&self, inputs: Vec<NamedTensor>, deadline: Instant) -> Computing<'_> {
        Box::pin(async move {
            match self.compute_directly(&inputs, deadline) {
                Some(computed) => computed,
                None => self.compute_queued(inputs, deadline).await,
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
        let graph = &self.computer.graph;
        match graph.compute_prepared_cancellable(inputs, &cancellation) {
            Some(computed) => computed.map_err(compute_error),
            None => Err(ComputeError::Unprepared),
        }
    }
}

fn compute_error(error: BackendError) -> ComputeError {
    match error {
        BackendError::Inputs {
            ref explanation, ..
        } => ComputeError::Inputs {
            explanation: explanation.clone(),
            reason: error.to_string(),
        },
        BackendError::Overloaded { .. } => ComputeError::NoMemory,
        BackendError::Cancelled => ComputeError::Deadline,
        BackendError::Unknown { .. }
        | BackendError::Unavailable { .. }
        | BackendError::Read(_)
        | BackendError::Load { .. }
        | BackendError::Compute { .. } => ComputeError::Backend(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker_pool::PoolThreads;
    use std::num::NonZeroUsize;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::Receiver;

    /// Waits for the gate in every computation.
    #[derive(Debug)]
    struct Gated {
        signature: Signature,
        gate: Mutex<Receiver<()>>,
        computations: AtomicUsize,
    }

    impl Gated {
        fn new(gate: Receiver<()>) -> Gated {
            Gated {
                signature: Signature::default(),
                gate: Mutex::new(gate),
                computations: AtomicUsize::new(0),
            }
        }
    }

    impl Graph for Gated {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            self.computations.fetch_add(1, SeqCst);
            let _ = self.gate.lock().unwrap().recv();
            Ok(Vec::new())
        }
    }

    /// Records the thread of every computation.
    #[derive(Debug, Default)]
    struct Threads {
        signature: Signature,
        threads: Mutex<Vec<std::thread::ThreadId>>,
    }

    impl Graph for Threads {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            self.threads
                .lock()
                .unwrap()
                .push(std::thread::current().id());
            Ok(Vec::new())
        }
    }

    /// Computes until it is cancelled.
    #[derive(Debug, Default)]
    struct Endless {
        signature: Signature,
    }

    impl Graph for Endless {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            Ok(Vec::new())
        }

        fn compute_prepared_cancellable(
            &self,
            _: &[NamedTensor],
            cancellation: &Cancellation,
        ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
            while !cancellation.is_cancelled() {
                std::thread::yield_now();
            }
            Some(Err(BackendError::Cancelled))
        }
    }

    fn queue(graph: Arc<dyn Graph>, mode: ExecutionMode) -> std::io::Result<GraphQueue> {
        let options = WorkerOptions {
            threads: NonZeroUsize::MIN,
            queue: 8,
        };
        let pool = WorkerPool::spawn("test", PoolThreads::fixed(options.threads))?;
        Ok(GraphQueue::new(graph, &pool, options, mode))
    }

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn an_inline_computation_ends_at_its_deadline() -> anyhow::Result<()> {
        let queue = queue(Arc::new(Endless::default()), ExecutionMode::Queued)?;
        let computed = queue.compute_inline(&[], Instant::now());
        assert_eq!(computed, Err(ComputeError::Deadline));
        Ok(())
    }

    #[tokio::test]
    async fn a_computation_whose_caller_has_gone_is_skipped() -> anyhow::Result<()> {
        let (open, gate) = std::sync::mpsc::channel();
        let graph = Arc::new(Gated::new(gate));
        let queue = queue(Arc::clone(&graph) as Arc<dyn Graph>, ExecutionMode::Queued)?;
        // The first poll of a computation queues it.
        let mut first = queue.compute(Vec::new(), in_a_minute());
        assert!(poll_once(first.as_mut()).is_none());
        let mut abandoned = queue.compute(Vec::new(), in_a_minute());
        assert!(poll_once(abandoned.as_mut()).is_none());
        drop(abandoned);
        let last = queue.compute(Vec::new(), in_a_minute());
        open.send(())?;
        open.send(())?;
        first.await?;
        last.await?;
        assert_eq!(graph.computations.load(SeqCst), 2);
        Ok(())
    }

    #[test]
    fn a_full_queue_is_reported_as_one() -> anyhow::Result<()> {
        let (_open, gate) = std::sync::mpsc::channel();
        let graph = Arc::new(Gated::new(gate));
        let queue = queue(Arc::clone(&graph) as Arc<dyn Graph>, ExecutionMode::Queued)?;
        let deadline = in_a_minute();
        // One runs and eight wait.
        let mut computations: Vec<_> = (0..10)
            .map(|_| queue.compute(Vec::new(), deadline))
            .collect();
        assert_eq!(poll_once(computations[0].as_mut()), None);
        // Until a thread takes it, it has a place in the queue.
        while graph.computations.load(SeqCst) == 0 {
            anyhow::ensure!(Instant::now() < deadline, "it does not run");
            std::thread::yield_now();
        }
        let polled = computations.iter_mut().map(|one| poll_once(one.as_mut()));
        let last = polled.last().flatten();
        assert_eq!(last, Some(Err(ComputeError::QueueFull)));
        Ok(())
    }

    /// Returns the output of the future if it is ready at this poll.
    fn poll_once<T>(future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn quick_computations_run_on_the_thread_of_the_caller() -> anyhow::Result<()> {
        let graph = Arc::new(Threads::default());
        let queue = queue(Arc::clone(&graph) as Arc<dyn Graph>, ExecutionMode::Direct)?;
        for _ in 0..100 {
            queue.compute(Vec::new(), in_a_minute()).await?;
        }
        let threads = graph.threads.lock().unwrap();
        assert_ne!(threads.first(), Some(&std::thread::current().id()));
        assert_eq!(threads.last(), Some(&std::thread::current().id()));
        Ok(())
    }
}
