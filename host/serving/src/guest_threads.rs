//! The threads that queued guests run on.
//!
//! A guest that computes hands its thread back at every epoch only, so many of them on the threads
//! that serve connections would hold up every other request. Here they hold up each other.

use std::num::NonZeroUsize;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// A runtime for guests. Lifetime: the process.
#[derive(Debug)]
pub struct GuestThreads {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// The guest's task has ended without a result: it panicked, or the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was lost with its task")]
pub struct Lost;

impl GuestThreads {
    /// Start `threads` of them.
    pub fn spawn(threads: NonZeroUsize) -> std::io::Result<GuestThreads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.get())
            .thread_name("wisp-guest")
            .enable_time()
            .build()?;
        Ok(GuestThreads {
            runtime: Some(runtime),
        })
    }

    /// Drive `call` there. Dropping the future ends the call.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Lost> {
        let runtime = self.runtime.as_ref().ok_or(Lost)?;
        // A set of one: it ends its tasks when it is dropped.
        let mut task = JoinSet::new();
        task.spawn_on(call, runtime.handle());
        match task.join_next().await {
            Some(Ok(result)) => Ok(result),
            Some(Err(_)) | None => Err(Lost),
        }
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads would block, which an asynchronous caller may not.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_runs_on_a_thread_of_its_own() -> anyhow::Result<()> {
        let threads = GuestThreads::spawn(NonZeroUsize::MIN)?;
        let name = threads
            .run(async { std::thread::current().name().map(str::to_owned) })
            .await?;
        assert_eq!(name.as_deref(), Some("wisp-guest"));
        Ok(())
    }

    #[tokio::test]
    async fn dropping_the_future_ends_the_call() -> anyhow::Result<()> {
        let threads = GuestThreads::spawn(NonZeroUsize::MIN)?;
        let (started, running) = tokio::sync::oneshot::channel();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let call = threads.run(async move {
            let _held = held;
            let _ = started.send(());
            std::future::pending::<()>().await;
        });
        tokio::select! {
            _ = call => anyhow::bail!("it never ends by itself"),
            started = running => started?,
        }
        assert!(dropped.await.is_err(), "what the call held is gone");
        Ok(())
    }

    #[tokio::test]
    async fn a_panic_is_lost_with_its_call_only() -> anyhow::Result<()> {
        let threads = GuestThreads::spawn(NonZeroUsize::MIN)?;
        let panicking = threads.run(async { panic!("a guest's panic") });
        assert_eq!(panicking.await, Err::<(), _>(Lost));
        assert_eq!(threads.run(async { 7 }).await?, 7);
        Ok(())
    }
}
