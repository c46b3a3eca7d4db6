//! A graph with its own threads, which the sandbox calls through [`Compute`].
//!
//! Computing blocks, so it never runs on a thread that serves connections. A computation is skipped on its
//! turn if its caller has gone or its deadline has passed. A running computation of such a caller is cancelled
//! and its thread replaced, since it may take long to end. The caller of a computation bounds the wait.

use crate::expected_wait::ExpectedWait;
use crate::worker_pool::{Ticket, Workers};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use wisp_backend::deadline::cancel_at;
use wisp_backend::{BackendError, Cancellation, Graph};
use wisp_sandbox::compute::{Compute, ComputeError, Computed, Computing};
use wisp_tensor::{NamedTensor, Signature};

/// A graph and the threads that compute it. Lifetime: a model version.
#[derive(Debug)]
pub struct GraphQueue {
    graph: Arc<dyn Graph>,
    workers: Workers,
    /// The expected wait for a thread, including the time of the computation.
    wait: Arc<ExpectedWait>,
}

/// A guard that cancels a computation which has not returned a result when the guard is dropped.
struct Running {
    ticket: Ticket,
    cancellation: Cancellation,
    answered: bool,
}

impl GraphQueue {
    pub fn new(graph: Arc<dyn Graph>, workers: Workers) -> GraphQueue {
        let wait = ExpectedWait::new(workers.threads());
        GraphQueue {
            graph,
            workers,
            wait,
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
            let submitted = Instant::now();
            let call = self.wait.begin();
            call.check_wait(deadline)
                .map_err(|_| ComputeError::Overloaded)?;
            let has_to_wait = call.has_to_wait();
            let wait = Arc::clone(&self.wait);
            let (reply, answer) = oneshot::channel();
            let graph = Arc::clone(&self.graph);
            let cancellation = Cancellation::new();
            let cancelled = cancellation.clone();
            let compute = move || {
                let started = Instant::now();
                if reply.is_closed() {
                    return;
                }
                let result = if has_to_wait && wait.check_start(started, deadline).is_err() {
                    Err(ComputeError::Overloaded)
                } else {
                    let queue = started.saturating_duration_since(submitted);
                    let computed = graph.compute_cancellable(&inputs, &cancelled);
                    wait.record(started.elapsed());
                    let computed = computed.map(|outputs| Computed { outputs, queue });
                    computed.map_err(compute_error)
                };
                // The caller may disappear in between; the result is then dropped.
                let _ = reply.send(result);
            };
            let ticket = self.workers.submit(compute);
            let mut running = Running {
                ticket: ticket.map_err(|_| ComputeError::Overloaded)?,
                cancellation,
                answered: false,
            };
            let answer = answer.await;
            running.answered = true;
            drop(call);
            match answer {
                Ok(result) => result,
                Err(_) if Instant::now() >= deadline => Err(ComputeError::Deadline),
                // The worker dropped the sender: the computation panicked, or the version is being dropped.
                Err(_) => Err(ComputeError::Backend("the computation was lost".to_owned())),
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
        let queue = GraphQueue::new(Arc::new(Endless::default()), workers);
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
        let queue = GraphQueue::new(Arc::clone(&graph) as Arc<dyn Graph>, workers);
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
