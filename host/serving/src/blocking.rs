//! Threads for work that would delay connections, with at most as much of it at a time as there are cores.
//!
//! Such work is decoding and encoding long JSON, compressing and decompressing bodies, and decoding long
//! messages. Further work waits for at most the time limit of its request: owners in turns, and the work of each in order.
//! The threads are started in advance, so that the number of requests does not change the number of threads. They have
//! the scheduling policy of batch work: connections take precedence.
//!
//! This module does not depend on the work that it runs. Tensors sent as bytes cost a codec nothing; JSON does.

use crate::current_request::owner_of_task;
use crate::error::InferError;
use crate::fair_slots::FairSlots;
use crate::owner::Owner;
use crate::worker_pool::{PoolThreads, WorkerOptions, WorkerPool, WorkerQueue};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wisp_protocol::error::ErrorKind;

/// The number of bytes of JSON from which a codec runs on another thread: about a millisecond of numbers.
/// Handing work over costs a few microseconds.
pub const LONG_TEXT_BYTES: usize = 256 << 10;

/// A handle to the threads, shared by all code that has such work. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct BlockingPool(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    permits: Arc<FairSlots>,
    /// `None` if the operating system refused the threads. Long work is then refused, and short work still runs.
    workers: Option<WorkerQueue>,
    longest_wait: Duration,
}

/// The reason that work was not done.
#[derive(Debug, thiserror::Error)]
pub enum BlockingPoolError {
    #[error("the deadline passed before a thread was free for the request")]
    Deadline,
    #[error("the server has no thread for the request; try again")]
    NoThread,
}

impl BlockingPool {
    /// Starts `threads` threads, which also bounds the work at a time. Work without a deadline
    /// waits for at most `longest_wait`.
    pub fn new(threads: NonZeroUsize, longest_wait: Duration) -> BlockingPool {
        let queue = threads.get().saturating_mul(2);
        let options = WorkerOptions { threads, queue };
        let pool = WorkerPool::spawn("wisp-codec", PoolThreads::fixed(threads));
        BlockingPool(Arc::new(Threads {
            permits: FairSlots::new(threads.get()),
            workers: pool.ok().map(|pool| pool.queue(options)),
            longest_wait,
        }))
    }

    /// Runs `work` on a thread that may block and returns its result. A panic in `work` resumes in the caller. The work
    /// belongs to the owner of the request that the task works on.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingPoolError> {
        self.run_for((owner_of_task(), deadline), work).await
    }

    /// Runs the `work` of an owner as [`BlockingPool::run`] does.
    async fn run_for<T: Send + 'static>(
        &self,
        (owner, deadline): (Owner, Instant),
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingPoolError> {
        let workers = self.0.workers.as_ref().ok_or(BlockingPoolError::NoThread)?;
        let acquire = self.0.permits.acquire(owner);
        let acquired = tokio::time::timeout_at(deadline.into(), acquire).await;
        let permit = acquired.map_err(|_| BlockingPoolError::Deadline)?;
        let (reply, answer) = oneshot::channel();
        let job = move || {
            // Released when the work has ended, even if its caller is gone.
            let _permit = permit;
            if !reply.is_closed() {
                // Everything that a panic leaves half done is dropped with its request.
                let _ = reply.send(catch_unwind(AssertUnwindSafe(work)));
            }
        };
        let _ticket = workers
            .submit_for(owner, job)
            .map_err(|_| BlockingPoolError::NoThread)?;
        match answer.await {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(panic)) => resume_unwind(panic),
            // The server is shutting down.
            Err(_) => Err(BlockingPoolError::NoThread),
        }
    }

    /// Runs `work` as [`BlockingPool::run`] does, for a request that has no deadline yet.
    pub async fn run_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingPoolError> {
        self.run(Instant::now() + self.0.longest_wait, work).await
    }

    /// Returns the result of the `codec` of an owner for a `model`, which decodes or encodes about `text_bytes` bytes of
    /// text. Short text is handled on the calling thread.
    pub(crate) async fn run_codec<M, T, E>(
        &self,
        text_bytes: usize,
        terms: (Owner, Instant),
        (model, codec): (&Arc<M>, impl FnOnce(&M) -> Result<T, E> + Send + 'static),
    ) -> Result<T, InferError>
    where
        M: Send + Sync + 'static,
        T: Send + 'static,
        E: Into<InferError> + Send + 'static,
    {
        if text_bytes < LONG_TEXT_BYTES {
            return codec(model).map_err(Into::into);
        }
        let model = Arc::clone(model);
        let codec = move || codec(&model);
        self.run_for(terms, codec).await?.map_err(Into::into)
    }
}

impl From<BlockingPoolError> for InferError {
    fn from(error: BlockingPoolError) -> InferError {
        match error {
            BlockingPoolError::Deadline => InferError::plain(ErrorKind::DeadlineExceeded, error),
            BlockingPoolError::NoThread => InferError::plain(ErrorKind::Unavailable, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::current;

    fn blocking() -> BlockingPool {
        BlockingPool::new(NonZeroUsize::MIN, Duration::from_secs(60))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn short_texts_stay_on_the_thread_and_long_ones_leave_it() -> anyhow::Result<()> {
        let here = current().id();
        for (bytes, stays) in [(0, true), (LONG_TEXT_BYTES, false)] {
            let codec = |_: &()| Ok::<_, InferError>(current().id());
            let ran = blocking()
                .run_codec(bytes, (Owner::LOCAL, later()), (&Arc::new(()), codec))
                .await?;
            assert_eq!(ran == here, stays, "{bytes}");
        }
        Ok(())
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
    async fn a_panic_is_that_of_who_waits_and_gives_its_turn_back() -> anyhow::Result<()> {
        let blocking = blocking();
        let panicking = blocking.clone();
        let lost = tokio::spawn(async move {
            let work = || -> () { panic!("a codec's panic") };
            panicking.run(later(), work).await
        });
        assert!(lost.await.is_err_and(|lost| lost.is_panic()));
        assert_eq!(blocking.run(later(), || 1).await?, 1);
        Ok(())
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
    async fn no_more_runs_at_once_than_there_are_threads_and_nothing_waits_for_ever()
    -> anyhow::Result<()> {
        let blocking = blocking();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let blocking = blocking.clone();
            async move {
                let work = move || {
                    let _ = started.send(());
                    let _ = ends.recv();
                };
                blocking.run(later(), work).await
            }
        });
        has_started.await?;
        let late = blocking.run(Instant::now(), || ()).await;
        assert!(matches!(late, Err(BlockingPoolError::Deadline)), "{late:?}");
        // The first caller is gone; its work keeps the permit until it ends.
        first.abort();
        assert!(first.await.is_err());
        let late = blocking.run(Instant::now(), || ()).await;
        assert!(matches!(late, Err(BlockingPoolError::Deadline)), "{late:?}");
        drop(end);
        assert!(blocking.run(later(), || ()).await.is_ok());
        Ok(())
    }
}
