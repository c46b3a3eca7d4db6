//! OS threads behind a bounded queue, for work that blocks: computing a graph, running a guest.
//!
//! A full queue refuses, it never grows and never blocks the submitter. A job that panics ends
//! alone: its thread goes on with the next one, and whoever waits for its answer learns of it
//! by the dropped reply. The threads end, with what is queued dropped, when the [`Workers`] are dropped.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// Native stack of a worker. Engines recurse over the graph when they optimise it, and an inline
/// guest's own stack lies on it too.
const STACK_BYTES: usize = 8 << 20;

/// How many threads, and how many jobs may wait for them.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    pub threads: NonZeroUsize,
    pub queue: usize,
}

/// Named threads that take jobs in the order they were submitted.
#[derive(Debug)]
pub struct Workers {
    jobs: Option<Sender<Job>>,
    closing: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The queue has no room; the job was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

impl Workers {
    /// Start the threads, all named `name`.
    pub fn spawn(name: &str, options: WorkerOptions) -> std::io::Result<Workers> {
        let (sender, receiver) = bounded(options.queue);
        let closing = Arc::new(AtomicBool::new(false));
        let mut workers = Workers {
            jobs: Some(sender),
            closing: Arc::clone(&closing),
            threads: Vec::with_capacity(options.threads.get()),
        };
        for _ in 0..options.threads.get() {
            let (receiver, closing) = (receiver.clone(), Arc::clone(&closing));
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&receiver, &closing))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Queue a job. It should look first whether anybody still waits for it.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        let jobs = self.jobs.as_ref().ok_or(QueueFull)?;
        jobs.try_send(Box::new(job)).map_err(|error| match error {
            // Disconnected: every thread is gone, which leaves no room either.
            TrySendError::Full(_) | TrySendError::Disconnected(_) => QueueFull,
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        let current = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A job may hold the last reference to its own workers; that thread cannot wait for
            // itself, and ends when it returns to the closed queue.
            if thread.thread().id() != current {
                // Jobs' panics are caught, so there is none to hear of here.
                let _ = thread.join();
            }
        }
    }
}

fn work(jobs: &Receiver<Job>, closing: &AtomicBool) {
    for job in jobs {
        if closing.load(Ordering::Relaxed) {
            continue;
        }
        // Whatever the job had borrowed is dropped with it; its caller sees the reply dropped.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn one_thread(queue: usize) -> anyhow::Result<Workers> {
        let threads = NonZeroUsize::MIN;
        Ok(Workers::spawn("test", WorkerOptions { threads, queue })?)
    }

    #[test]
    fn a_full_queue_refuses_and_has_room_again_afterwards() -> anyhow::Result<()> {
        let workers = one_thread(1)?;
        let (open, gate) = channel::<()>();
        let (started, running) = channel();
        workers.submit(move || {
            let _ = started.send(());
            let _ = gate.recv();
        })?;
        running.recv()?;
        let (done, finished) = channel();
        workers.submit(move || {
            let _ = done.send(());
        })?;
        assert_eq!(workers.submit(|| ()), Err(QueueFull));
        open.send(())?;
        finished.recv()?;
        let (done, finished) = channel();
        workers.submit(move || {
            let _ = done.send(());
        })?;
        finished.recv()?;
        Ok(())
    }

    #[test]
    fn a_panic_ends_its_job_and_not_its_thread() -> anyhow::Result<()> {
        let workers = one_thread(2)?;
        let (reply, answer) = channel::<()>();
        workers.submit(move || {
            let _reply = reply;
            panic!("a job's panic");
        })?;
        assert!(answer.recv().is_err(), "the reply is dropped");
        let (reply, answer) = channel();
        workers.submit(move || {
            let _ = reply.send(7);
        })?;
        assert_eq!(answer.recv()?, 7);
        Ok(())
    }

    #[test]
    fn dropping_the_workers_drops_what_is_queued_and_waits_for_what_runs() -> anyhow::Result<()> {
        let workers = one_thread(2)?;
        let (open, gate) = channel::<()>();
        let (started, running) = channel();
        let (reply, answer) = channel();
        workers.submit(move || {
            let _ = started.send(());
            let _ = gate.recv();
            let _ = reply.send("finished");
        })?;
        let (queued_reply, queued_answer) = channel::<()>();
        workers.submit(move || {
            let _ = queued_reply.send(());
        })?;
        running.recv()?;
        // The gate opens only once the drop has begun: `closing` is set before the join.
        let closing = Arc::clone(&workers.closing);
        let opener = std::thread::spawn(move || {
            while !closing.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            open.send(())
        });
        drop(workers);
        assert_eq!(answer.try_recv(), Ok("finished"));
        assert!(queued_answer.recv().is_err(), "the queued job was dropped");
        assert!(opener.join().is_ok_and(|sent| sent.is_ok()));
        Ok(())
    }

    #[test]
    fn a_job_may_hold_the_last_reference_to_its_workers() -> anyhow::Result<()> {
        let workers = Arc::new(one_thread(1)?);
        let (done, finished) = channel();
        let last = Arc::clone(&workers);
        let (release, released) = channel::<()>();
        workers.submit(move || {
            let _ = released.recv();
            drop(last);
            let _ = done.send(());
        })?;
        drop(workers);
        release.send(())?;
        finished.recv()?;
        Ok(())
    }
}
