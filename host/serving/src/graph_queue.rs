//! A graph with its own threads, which the sandbox calls through [`Compute`].
//!
//! Computing blocks, so it does not run on a thread that serves connections, unless the graph's computations
//! take microseconds: handing one over to another thread would take longer. A computation is skipped on its
//! turn if its caller has gone or its deadline has passed. A running computation of such a caller is cancelled
//! and its thread replaced, since it may take long to end. The caller of a computation bounds the wait.

use crate::call_durations::{CallDurations, CallKind};
use crate::expected_wait::ExpectedWait;
use crate::handler_executor::ExecutionMode;
use crate::worker_pool::{Ticket, Workers};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_backend::deadline::cancel_at;
use wisp_backend::{BackendError, Cancellation, Graph};
use wisp_sandbox::compute::{Compute, ComputeError, Computed, Computing};
use wisp_tensor::{NamedTensor, Signature};

/// The time that a direct computation may occupy its thread, which other connections wait for.
const DIRECT_BUDGET: Duration = Duration::from_millis(2);

/// A graph and the threads that compute it. Lifetime: a model version.
#[derive(Debug)]
pub struct GraphQueue {
    graph: Arc<dyn Graph>,
    workers: Workers,
    /// The expected wait for a thread, including the time of the computation.
    wait: Arc<ExpectedWait>,
    durations: Arc<CallDurations>,
}

/// A guard that cancels a computation which has not returned a result when the guard is dropped.
struct Running {
    ticket: Ticket,
    cancellation: Cancellation,
    answered: bool,
}

impl GraphQueue {
    /// Returns a queue for the computations of `graph`. They run on `workers`, and as long as they are quick
    /// on the thread of the caller if `mode` is [`ExecutionMode::Direct`].
    pub fn new(graph: Arc<dyn Graph>, workers: Workers, mode: ExecutionMode) -> GraphQueue {
        let wait = ExpectedWait::new(workers.threads());
        GraphQueue {
            graph,
            workers,
            wait,
            durations: Arc::new(CallDurations::new(mode)),
        }
    }

    /// Computes on this thread, or returns `None` if the computation is not quick or may not be.
    fn compute_directly(
        &self,
        inputs: &[NamedTensor],
        deadline: Instant,
    ) -> Option<Result<Computed, ComputeError>> {
        let kind = self.durations.kind();
        if kind != CallKind::Direct {
            return None;
        }
        let started = Instant::now();
        let budget_end = started + DIRECT_BUDGET;
        let computed = self.compute_inline(inputs, deadline.min(budget_end));
        self.durations.add(started.elapsed());
        match computed {
            Err(ComputeError::Unprepared) => None,
            Err(ComputeError::Deadline) if budget_end < deadline => {
                self.durations.exceeded_budget(kind);
                None
            }
            computed => Some(computed.map(|outputs| Computed {
                outputs,
                queue: Duration::ZERO,
            })),
        }
    }

    /// Computes on a thread of the graph.
    async fn compute_queued(
        &self,
        inputs: Vec<NamedTensor>,
        deadline: Instant,
    ) -> Result<Computed, ComputeError> {
        let submitted = Instant::now();
        let call = self.wait.begin();
        call.check_wait(deadline)
            .map_err(|_| ComputeError::Overloaded)?;
        let has_to_wait = call.has_to_wait();
        let (wait, durations) = (Arc::clone(&self.wait), Arc::clone(&self.durations));
        let (response, result) = oneshot::channel();
        let graph = Arc::clone(&self.graph);
        let cancellation = Cancellation::new();
        let cancelled = cancellation.clone();
        let compute = move || {
            let started = Instant::now();
            if response.is_closed() {
                return;
            }
            let result = if has_to_wait && wait.check_start(started, deadline).is_err() {
                Err(ComputeError::Overloaded)
            } else {
                let queue = started.saturating_duration_since(submitted);
                let computed = graph.compute_cancellable(&inputs, &cancelled);
                let took = started.elapsed();
                wait.record(took);
                durations.add(took);
                let computed = computed.map(|outputs| Computed { outputs, queue });
                computed.map_err(compute_error)
            };
            // The caller may disappear in between; the result is then dropped.
            let _ = response.send(result);
        };
        let ticket = self.workers.submit(compute);
        let mut running = Running {
            ticket: ticket.map_err(|_| ComputeError::Overloaded)?,
            cancellation,
            answered: false,
        };
        let result = result.await;
        running.answered = true;
        drop(call);
        match result {
            Ok(result) => result,
            Err(_) if Instant::now() >= deadline => Err(ComputeError::Deadline),
            // The worker dropped the sender: the computation panicked, or the version is being dropped.
            Err(_) => Err(ComputeError::Backend("the computation was lost".to_owned())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.answered {
            self.cancellation.cancel();
            self.ticket.abandon();
        }
    }
}

impl Compute for GraphQueue {
    fn signature(&self) -> &Signature {
        self.graph.signature()
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
        match self
            .graph
            .compute_prepared_cancellable(inputs, &cancellation)
        {
            Some(computed) => computed.map_err(compute_error),
            None => Err(ComputeError::Unprepared),
        }
    }
}

fn compute_error(error: BackendError) -> ComputeError {
    match error {
        BackendError::Inputs { .. } => ComputeError::Inputs(error.to_string()),
        BackendError::Overloaded { .. } => ComputeError::Overloaded,
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
    use crate::worker_pool::WorkerOptions;
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[derive(Debug, Default)]
    struct Counted {
        signature: Signature,
        computes: AtomicUsize,
    }

    impl Graph for Counted {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            self.computes.fetch_add(1, SeqCst);
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

    #[test]
    fn an_inline_computation_ends_at_its_deadline() -> anyhow::Result<()> {
        let threads = NonZeroUsize::MIN;
        let workers = Workers::spawn("test", WorkerOptions { threads, queue: 1 })?;
        let queue = GraphQueue::new(Arc::new(Endless::default()), workers, ExecutionMode::Queued);
        let computed = queue.compute_inline(&[], Instant::now());
        assert_eq!(computed, Err(ComputeError::Deadline));
        Ok(())
    }

    #[tokio::test]
    async fn a_computation_that_nobody_waits_for_is_skipped() -> anyhow::Result<()> {
        let threads = NonZeroUsize::MIN;
        let workers = Workers::spawn("test", WorkerOptions { threads, queue: 8 })?;
        let (open, gate) = std::sync::mpsc::channel::<()>();
        workers.submit(move || {
            let _ = gate.recv();
        })?;
        let graph = Arc::new(Counted::default());
        let queue = GraphQueue::new(Arc::clone(&graph) as Arc<dyn Graph>, workers, ExecutionMode::Queued);
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        tokio::select! {
            biased;
            // Polled once, which queues it, and then dropped.
            _ = queue.compute(Vec::new(), deadline) => anyhow::bail!("the gate is closed"),
            () = std::future::ready(()) => {}
        }
        let computing = queue.compute(Vec::new(), deadline);
        open.send(())?;
        computing.await?;
        assert_eq!(graph.computes.load(SeqCst), 1);
        Ok(())
    }
}
