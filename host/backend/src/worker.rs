//! OS threads behind a bounded queue, for work that blocks: computing a graph, running a guest.
//!
//! A full queue refuses, it never grows and never blocks the submitter. A job that panics ends
//! alone: its thread goes on with the next one, and whoever waits for its answer learns of it
//! by the dropped reply. The threads end, with what is queued dropped, when the [`Workers`] are dropped.
//!
//! The queue is a mutex and a condition variable. Channels (crossbeam's, the standard library's) spin
//! and yield before they park a receiver, which on a busy core is two context switches for each job.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// The queue has no room; the job was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The jobs that wait, and the threads that wait for jobs.
struct Queue {
    state: Mutex<State>,
    /// Signalled for each job that a sleeping thread has to take, and when the queue closes.
    wake: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that sleep and that nobody has woken yet. Too many cost a system call each, too few
    /// would lose a wake-up: a thread counts itself anew each time it goes to sleep.
    sleeping: usize,
    closed: bool,
}

// === impl Workers ===

impl Workers {
    /// Start the threads, all named `name`.
    pub fn spawn(name: &str, options: WorkerOptions) -> std::io::Result<Workers> {
        let mut workers = Workers {
            queue: Arc::new(Queue {
                state: Mutex::default(),
                wake: Condvar::new(),
                capacity: options.queue,
            }),
            threads: Vec::with_capacity(options.threads.get()),
        };
        for _ in 0..options.threads.get() {
            let queue = Arc::clone(&workers.queue);
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Queue a job. It should look first whether anybody still waits for it.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        let job: Job = Box::new(job);
        let mut state = self.queue.lock();
        if state.jobs.len() >= self.queue.capacity {
            return Err(QueueFull);
        }
        state.jobs.push_back(job);
        let wake = state.sleeping > 0;
        state.sleeping = state.sleeping.saturating_sub(1);
        drop(state);
        if wake {
            self.queue.wake.notify_one();
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let queued = self.queue.close();
        drop(queued);
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

// === impl Queue ===

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned one still guards a whole queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, waited for; `None` once the queue is closed.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.sleeping += 1;
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Let the threads end; what was queued is the caller's to drop, outside the lock.
    fn close(&self) -> VecDeque<Job> {
        let mut state = self.lock();
        state.closed = true;
        let queued = std::mem::take(&mut state.jobs);
        drop(state);
        self.wake.notify_all();
        queued
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

fn work(queue: &Queue) {
    run_after_who_wakes_us();
    while let Some(job) = queue.next() {
        // Whatever the job had borrowed is dropped with it; its caller sees the reply dropped.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Ask Linux that this thread, when a job wakes it, does not push aside the thread that submitted the job.
///
/// On a busy processor the submitter goes on to what else has arrived, and this thread then takes
/// several jobs in one go: 16 instead of 25 us of processor time for a small request. On an idle one
/// nothing changes.
#[cfg(target_os = "linux")]
fn run_after_who_wakes_us() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    /// On the library's scale from 0 to 99: a niceness of 0, as every thread begins with.
    const NICENESS_0: u8 = 47;
    let priority = ThreadPriorityValue::try_from(NICENESS_0).map(ThreadPriority::Crossplatform);
    if let Ok(priority) = priority {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        // Where it is refused, work is only done less cheaply.
        let _ = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    }
}

#[cfg(not(target_os = "linux"))]
fn run_after_who_wakes_us() {}

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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_worker_does_not_push_aside_who_wakes_it() -> anyhow::Result<()> {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy};
        let workers = one_thread(1)?;
        let (reply, answer) = channel();
        workers.submit(move || {
            let _ = reply.send(thread_priority::thread_schedule_policy().ok());
        })?;
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        assert_eq!(answer.recv()?, Some(batch));
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
        // The gate opens only once the drop has begun: the queue is closed before the join.
        let queue = Arc::clone(&workers.queue);
        let opener = std::thread::spawn(move || {
            while !queue.lock().closed {
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
