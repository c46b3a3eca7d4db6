//! Work that would hold up connections, on other threads: no more of it at a time than there are cores.
//!
//! Reading and writing long texts, inflating and compressing bodies, decoding long messages. The rest waits
//! for its turn in order, for no longer than its request may take. The threads are there from the start, so
//! that no number of requests makes another, and work as batch work does: connections go first.
//!
//! Knows nothing of what it runs. Tensors that travel as bytes cost a codec nothing; JSON does.

use crate::error::InferError;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};
use wisp_backend::worker::{WorkerOptions, Workers};
use wisp_protocol::error::ErrorKind;

/// Bytes of JSON from which a codec runs elsewhere: about a millisecond of numbers. Handing over
/// costs some microseconds.
pub const LONG_TEXT_BYTES: usize = 256 << 10;

/// The right to run such work, shared by all who have any. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct Offload(Arc<Threads>);

#[derive(Debug)]
struct Threads {
    permits: Arc<Semaphore>,
    /// `None` where the system gave none: what is long is then refused, and what is short answered.
    workers: Option<Workers>,
    longest_wait: Duration,
}

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum OffloadError {
    #[error("the deadline passed before a thread was free for the request")]
    Deadline,
    #[error("the server has no thread for the request; try again")]
    NoThread,
}

impl Offload {
    /// As much work at once as there are `threads`; where no deadline is known, it is waited for
    /// `longest_wait`.
    pub fn new(threads: NonZeroUsize, longest_wait: Duration) -> Offload {
        let queue = threads.get().saturating_mul(2);
        let workers = Workers::spawn("wisp-codec", WorkerOptions { threads, queue });
        Offload(Arc::new(Threads {
            permits: Arc::new(Semaphore::new(threads.get().min(Semaphore::MAX_PERMITS))),
            workers: workers.ok(),
            longest_wait,
        }))
    }

    /// Returns what `work` makes on a thread that may take its time. Its panic is the caller's.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        let workers = self.0.workers.as_ref().ok_or(OffloadError::NoThread)?;
        let acquire = Arc::clone(&self.0.permits).acquire_owned();
        let permit = match tokio::time::timeout_at(deadline.into(), acquire).await {
            Ok(Ok(permit)) => permit,
            // The semaphore is never closed; were it, there would be no turn either.
            Ok(Err(_)) | Err(_) => return Err(OffloadError::Deadline),
        };
        let (reply, answer) = oneshot::channel();
        let job = move || {
            // Given back when the work has ended, also where nobody waits for it any more.
            let _permit = permit;
            if !reply.is_closed() {
                // What a panic leaves half done is dropped with its request.
                let _ = reply.send(catch_unwind(AssertUnwindSafe(work)));
            }
        };
        let _ticket = workers.submit(job).map_err(|_| OffloadError::NoThread)?;
        match answer.await {
            Ok(Ok(made)) => Ok(made),
            Ok(Err(panic)) => resume_unwind(panic),
            // The server ends.
            Err(_) => Err(OffloadError::NoThread),
        }
    }

    /// As [`Offload::run`], for a request that has no deadline yet.
    pub async fn run_soon<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        self.run(Instant::now() + self.0.longest_wait, work).await
    }

    /// Returns the result of `codec`, which reads or writes about `text_bytes` of text: at once where that
    /// is short.
    pub(crate) async fn run_codec<T, E>(
        &self,
        text_bytes: usize,
        deadline: Instant,
        codec: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, InferError>
    where
        T: Send + 'static,
        E: Into<InferError> + Send + 'static,
    {
        if text_bytes < LONG_TEXT_BYTES {
            return codec().map_err(Into::into);
        }
        self.run(deadline, codec).await?.map_err(Into::into)
    }
}

impl From<OffloadError> for InferError {
    fn from(error: OffloadError) -> InferError {
        match error {
            OffloadError::Deadline => InferError::plain(ErrorKind::DeadlineExceeded, error),
            OffloadError::NoThread => InferError::plain(ErrorKind::Unavailable, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::current;

    fn offload() -> Offload {
        Offload::new(NonZeroUsize::MIN, Duration::from_secs(60))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn short_texts_stay_on_the_thread_and_long_ones_leave_it() -> anyhow::Result<()> {
        let here = current().id();
        for (bytes, stays) in [(0, true), (LONG_TEXT_BYTES, false)] {
            let codec = || Ok::<_, InferError>(current().id());
            let ran = offload().run_codec(bytes, later(), codec).await?;
            assert_eq!(ran == here, stays, "{bytes}");
        }
        Ok(())
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
    async fn a_panic_is_that_of_who_waits_and_gives_its_turn_back() -> anyhow::Result<()> {
        let offload = offload();
        let panicking = offload.clone();
        let lost = tokio::spawn(async move {
            let work = || -> () { panic!("a codec's panic") };
            panicking.run(later(), work).await
        });
        assert!(lost.await.is_err_and(|lost| lost.is_panic()));
        assert_eq!(offload.run(later(), || 1).await?, 1);
        Ok(())
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
    async fn no_more_runs_at_once_than_there_are_threads_and_nothing_waits_for_ever()
    -> anyhow::Result<()> {
        let offload = offload();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let offload = offload.clone();
            async move {
                let work = move || {
                    let _ = started.send(());
                    let _ = ends.recv();
                };
                offload.run(later(), work).await
            }
        });
        has_started.await?;
        let late = offload.run(Instant::now(), || ()).await;
        assert!(matches!(late, Err(OffloadError::Deadline)), "{late:?}");
        // Nobody waits for the first any more: it holds its turn until it ends.
        first.abort();
        assert!(first.await.is_err());
        let late = offload.run(Instant::now(), || ()).await;
        assert!(matches!(late, Err(OffloadError::Deadline)), "{late:?}");
        drop(end);
        assert!(offload.run(later(), || ()).await.is_ok());
        Ok(())
    }
}
