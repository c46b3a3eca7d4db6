//! OS threads behind a bounded queue, for work that blocks: computing a graph, running a guest.
//!
//! A full queue refuses jobs; it neither grows nor blocks the submitter. A job that panics ends alone: its
//! thread continues, and its caller sees that the sender of the result was dropped. Dropping the [`Workers`]
//! drops the queued jobs and ends the threads after their running jobs, without waiting for them. A thread
//! whose job has been abandoned ([`Ticket::abandon`]) is replaced, so that a computation that does not end
//! occupies a thread and not the queue; at most as many threads are replaced at a time as there are workers.
//! The queue is a mutex and a condition variable. Channels (crossbeam's, the standard library's) spin and
//! yield before they park a receiver, which on a busy core costs two context switches for each job.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A job and its progress.
struct Job {
    run: Box<dyn FnOnce() + Send>,
    progress: Arc<AtomicU8>,
}

/// The progress of a job that waits in the queue.
const QUEUED: u8 = 0;
/// The progress of a job that a thread runs.
const RUNNING: u8 = 1;
/// The progress of a job that runs on a thread which has been replaced.
const ABANDONED: u8 = 2;
/// The progress of a job that has ended.
const ENDED: u8 = 3;

/// The native stack of a worker, in bytes. Backends recurse over the graph when they optimise it, and the
/// stack of an inline guest is on it too.
const STACK_BYTES: usize = 8 << 20;

/// The number of threads, and the number of jobs that may wait for them.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    pub threads: NonZeroUsize,
    pub queue: usize,
}

/// Named threads that run jobs in the order of their submission.
#[derive(Debug)]
pub struct Workers {
    queue: Arc<Queue>,
}

/// A submitted job. Dropping the ticket has no effect on it. Lifetime: one request.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue>,
    progress: Arc<AtomicU8>,
}

/// The error for a job that was dropped because the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The waiting jobs and the waiting threads.
struct Queue {
    state: Mutex<State>,
    /// Notified for each job that a sleeping thread must take, and when the queue closes.
    wake: Condvar,
    name: String,
    options: WorkerOptions,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The number of sleeping threads that have not been notified yet. A count that is too high costs a
    /// system call for each surplus thread; one that is too low would lose a wake-up. A thread counts
    /// itself again each time that it goes to sleep.
    sleeping: usize,
    /// The number of threads that have been replaced and still run their last job.
    replaced: usize,
    closed: bool,
}

// === impl Workers ===

impl Workers {
    /// Starts the threads, all named `name`.
    pub fn spawn(name: &str, options: WorkerOptions) -> std::io::Result<Workers> {
        let workers = Workers {
            queue: Arc::new(Queue {
                state: Mutex::default(),
                wake: Condvar::new(),
                name: name.to_owned(),
                options,
            }),
        };
        for _ in 0..options.threads.get() {
            Queue::spawn_thread(&workers.queue)?;
        }
        Ok(workers)
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.queue.options.threads.get()
    }

    /// Queues a job. The job should check first whether its result is still wanted.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<Ticket, QueueFull> {
        let progress = Arc::new(AtomicU8::new(QUEUED));
        let job = Job {
            run: Box::new(job),
            progress: Arc::clone(&progress),
        };
        let mut state = self.queue.lock();
        if state.jobs.len() >= self.queue.options.queue {
            return Err(QueueFull);
        }
        state.jobs.push_back(job);
        let wake = state.sleeping > 0;
        state.sleeping = state.sleeping.saturating_sub(1);
        drop(state);
        if wake {
            self.queue.wake.notify_one();
        }
        Ok(Ticket {
            queue: Arc::clone(&self.queue),
            progress,
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.queue.close());
    }
}

// === impl Ticket ===

impl Ticket {
    /// Replaces the thread that runs the job, if it is running: its result is not needed any more.
    ///
    /// Does nothing if as many threads are already replaced as the [`Workers`] have, or if the operating
    /// system refuses to start another one. The queue then has one thread less until the job ends.
    pub fn abandon(&self) {
        let mut state = self.queue.lock();
        if state.closed || state.replaced >= self.queue.options.threads.get() {
            return;
        }
        let was_running = self
            .progress
            .compare_exchange(RUNNING, ABANDONED, SeqCst, SeqCst)
            .is_ok();
        if !was_running {
            return;
        }
        match Queue::spawn_thread(&self.queue) {
            Ok(()) => state.replaced += 1,
            // The job cannot end in between without the lock: see `Queue::ended`.
            Err(_) => self.progress.store(RUNNING, SeqCst),
        }
    }
}

// === impl Queue ===

impl Queue {
    fn spawn_thread(queue: &Arc<Queue>) -> std::io::Result<()> {
        let of = Arc::clone(queue);
        std::thread::Builder::new()
            .name(queue.name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || work(&of))?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job and returns it; `None` once the queue is closed.
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

    /// Returns whether the thread that has run this job continues with another one.
    fn ended(&self, progress: &AtomicU8) -> bool {
        let running = progress.compare_exchange(RUNNING, ENDED, SeqCst, SeqCst);
        if running.is_ok() {
            return true;
        }
        // The job is abandoned or about to be; `abandon` decides that while it holds the lock.
        let mut state = self.lock();
        let replaced = progress.swap(ENDED, SeqCst) == ABANDONED;
        if replaced {
            state.replaced -= 1;
        }
        !replaced
    }

    /// Ends the threads. Returns the queued jobs, which the caller drops outside the lock.
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
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn work(queue: &Queue) {
    run_as_batch();
    while let Some(Job { run, progress }) = queue.next() {
        progress.store(RUNNING, SeqCst);
        // Everything that the job borrowed is dropped with it; its caller sees that the sender was dropped.
        let _ = catch_unwind(AssertUnwindSafe(run));
        if !queue.ended(&progress) {
            return;
        }
    }
}

/// Requests a scheduling policy from Linux under which the calling thread, when it is woken by a job,
/// does not preempt the thread that submitted the job.
///
/// On a busy processor the submitter then continues with other work, and this thread takes several jobs in
/// one go: 16 instead of 25 us of processor time for a small request. On an idle processor nothing changes.
#[cfg(target_os = "linux")]
pub fn run_as_batch() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    /// A niceness of 0, with which every thread starts, on the library's scale from 0 to 99.
    const NICENESS_0: u8 = 47;
    let priority = ThreadPriorityValue::try_from(NICENESS_0).map(ThreadPriority::Crossplatform);
    if let Ok(priority) = priority {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        // If this is refused, the work only takes more processor time.
        let _ = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    }
}

#[cfg(not(target_os = "linux"))]
pub fn run_as_batch() {}

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
        assert_eq!(workers.submit(|| ()).err(), Some(QueueFull));
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
    fn a_worker_does_not_preempt_the_thread_that_wakes_it() -> anyhow::Result<()> {
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
    fn dropping_the_workers_drops_queued_jobs_and_waits_for_none() -> anyhow::Result<()> {
        let workers = one_thread(2)?;
        let gate = occupy(&workers)?;
        let (queued_reply, queued_answer) = channel::<()>();
        workers.submit(move || {
            let _ = queued_reply.send(());
        })?;
        drop(workers);
        assert!(queued_answer.recv().is_err(), "the queued job was dropped");
        drop(gate);
        Ok(())
    }

    /// Occupies a thread until the returned gate is dropped.
    fn occupy(workers: &Workers) -> anyhow::Result<Gate> {
        let (open, gate) = channel::<()>();
        let (started, running) = channel();
        let (done, ended) = channel();
        let ticket = workers.submit(move || {
            let _ = started.send(std::thread::current().id());
            let _ = gate.recv();
            drop(done);
        })?;
        Ok(Gate {
            thread: running.recv()?,
            ticket,
            _open: open,
            _ended: ended,
        })
    }

    struct Gate {
        thread: std::thread::ThreadId,
        ticket: Ticket,
        _open: std::sync::mpsc::Sender<()>,
        _ended: std::sync::mpsc::Receiver<()>,
    }

    fn thread_of_next(workers: &Workers) -> anyhow::Result<std::thread::ThreadId> {
        let (reply, answer) = channel();
        workers.submit(move || {
            let _ = reply.send(std::thread::current().id());
        })?;
        Ok(answer.recv()?)
    }

    #[test]
    fn a_thread_whose_job_is_abandoned_is_replaced_once_and_ends_with_the_job() -> anyhow::Result<()>
    {
        let workers = one_thread(2)?;
        let stuck = occupy(&workers)?;
        stuck.ticket.abandon();
        let replacement = thread_of_next(&workers)?;
        assert_ne!(replacement, stuck.thread);
        // As many threads are already replaced as there are, so this one is not.
        let second = occupy(&workers)?;
        second.ticket.abandon();
        assert_eq!(workers.queue.lock().replaced, 1);
        drop(second);
        drop(stuck);
        while workers.queue.lock().replaced > 0 {
            std::thread::yield_now();
        }
        for _ in 0..8 {
            assert_eq!(
                thread_of_next(&workers)?,
                replacement,
                "the other has ended"
            );
        }
        Ok(())
    }

    #[test]
    fn a_job_that_does_not_run_is_abandoned_without_a_thread() -> anyhow::Result<()> {
        let workers = one_thread(2)?;
        let gate = occupy(&workers)?;
        let waiting = workers.submit(|| ())?;
        waiting.abandon();
        drop(gate);
        thread_of_next(&workers)?;
        waiting.abandon();
        assert_eq!(workers.queue.lock().replaced, 0);
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
