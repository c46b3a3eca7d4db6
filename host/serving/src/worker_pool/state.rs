//! The queues of a pool and the numbers of its threads: which job is next, and which thread is woken, started or
//! ended.
//!
//! The state is changed under one lock and starts no thread itself. Invariant: while jobs may run, as many threads
//! are on their way, or all threads that there may be are busy.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Condvar};

/// The progress of a job that waits in its queue. All changes of the progress are made while the pool is locked.
pub(super) const QUEUED: u8 = 0;
/// The progress of a job that a thread runs.
const RUNNING: u8 = 1;
/// The progress of a job that runs on a thread which no longer counts.
const ABANDONED: u8 = 2;
/// The progress of a job that has ended.
const ENDED: u8 = 3;

/// The limits of a queue.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// The number of jobs that run at the same time.
    pub threads: NonZeroUsize,
    /// The number of jobs that may wait.
    pub queue: usize,
}

type Job = Box<dyn FnOnce() + Send>;

/// A waiting job and its progress.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) progress: Arc<AtomicU8>,
}

/// A job that a thread has taken from the queue with this index.
pub(super) struct Taken {
    pub(super) queue: usize,
    pub(super) job: Job,
    pub(super) progress: Arc<AtomicU8>,
}

/// The state of a pool, of which changes are made under its lock.
#[derive(Default)]
pub(super) struct State {
    /// The queues, by index; `None` if the queue has been removed.
    queues: Vec<Option<QueueState>>,
    free: Vec<usize>,
    /// The indices of the queues with jobs that may run, in the order of their turns.
    ready: VecDeque<usize>,
    /// The number of jobs that may run now, in all queues.
    runnable: usize,
    /// The sleeping threads. The last one has slept for the shortest time.
    pub(super) sleeping: Vec<Arc<Sleeper>>,
    /// The number of threads that have been woken or started, and do not have the lock yet. Each takes a job if
    /// there is one.
    pub(super) waking: usize,
    /// The number of threads, without those whose job has been abandoned.
    pub(super) threads: usize,
    /// The maximum number of threads.
    most: usize,
    /// Set once the pool has been dropped.
    pub(super) closed: bool,
}

/// The jobs of one queue.
struct QueueState {
    options: WorkerOptions,
    jobs: VecDeque<Queued>,
    running: usize,
    /// The number of jobs that run on threads which no longer count.
    abandoned: usize,
    /// The part of [`State::runnable`].
    runnable: usize,
    /// Set once the queue has been dropped by its user. The state is removed with the last job.
    closed: bool,
}

/// A thread that waits for work, or has been woken. Lifetime: a thread.
#[derive(Default)]
pub(super) struct Sleeper {
    pub(super) wake: Condvar,
    /// Set by the thread that has removed this one from the sleeping ones.
    pub(super) is_woken: AtomicBool,
}

/// The thread that the jobs need now.
pub(super) enum Call {
    Nobody,
    Sleeper(Arc<Sleeper>),
    /// A thread that is counted, and must be started.
    NewThread,
}

/// The course of a thread after a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Continues,
    Ends,
}

// === impl State ===

impl State {
    /// Returns the state of a pool without queues that starts `kept` threads, of at most `most`.
    pub(super) fn new(kept: usize, most: usize) -> State {
        State {
            waking: kept,
            threads: kept,
            most: most.max(kept),
            ..State::default()
        }
    }

    /// Adds a queue without jobs, and returns its index.
    pub(super) fn add(&mut self, options: WorkerOptions) -> usize {
        self.most = self.most.max(options.threads.get());
        let queue = Some(QueueState {
            options,
            jobs: VecDeque::new(),
            running: 0,
            abandoned: 0,
            runnable: 0,
            closed: false,
        });
        match self.free.pop() {
            Some(index) => {
                self.queues[index] = queue;
                index
            }
            None => {
                self.queues.push(queue);
                self.queues.len() - 1
            }
        }
    }

    /// Adds a job to a queue, or returns it if the queue is full.
    pub(super) fn push(&mut self, index: usize, job: Queued) -> Result<(), Queued> {
        let Some(queue) = self.queues[index].as_mut() else {
            return Err(job);
        };
        if queue.jobs.len() >= queue.options.queue {
            return Err(job);
        }
        queue.jobs.push_back(job);
        self.refresh(index);
        Ok(())
    }

    /// Updates the number of jobs that may run, after a change of the queue.
    fn refresh(&mut self, index: usize) {
        let Some(queue) = self.queues[index].as_mut() else {
            return;
        };
        let free = queue.options.threads.get().saturating_sub(queue.running);
        let runnable = queue.jobs.len().min(free);
        let before = std::mem::replace(&mut queue.runnable, runnable);
        self.runnable = self.runnable - before + runnable;
        match (before > 0, runnable > 0) {
            (false, true) => self.ready.push_back(index),
            (true, false) => self.ready.retain(|ready| *ready != index),
            _ => {}
        }
    }

    /// Takes a job of the queue whose turn it is.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let index = self.ready.pop_front()?;
        let queue = self.queues[index].as_mut()?;
        // Counted again, and put last, if there are others.
        self.runnable -= std::mem::take(&mut queue.runnable);
        let Queued { job, progress } = queue.jobs.pop_front()?;
        queue.running += 1;
        progress.store(RUNNING, Relaxed);
        self.refresh(index);
        Some(Taken {
            queue: index,
            job,
            progress,
        })
    }

    /// Returns the thread for a job that may run and for which no other thread is on its way.
    pub(super) fn call(&mut self) -> Call {
        if self.waking >= self.runnable {
            return Call::Nobody;
        }
        if let Some(sleeper) = self.sleeping.pop() {
            self.waking += 1;
            sleeper.is_woken.store(true, Relaxed);
            return Call::Sleeper(sleeper);
        }
        if self.threads < self.most {
            self.waking += 1;
            self.threads += 1;
            return Call::NewThread;
        }
        Call::Nobody
    }

    /// Stops counting a new thread that could not be started. Returns the thread that takes its place: one may have
    /// gone to sleep while the new one was expected. Does not return [`Call::NewThread`].
    pub(super) fn not_started(&mut self) -> Call {
        self.waking -= 1;
        self.threads -= 1;
        match self.sleeping.is_empty() {
            true => Call::Nobody,
            false => self.call(),
        }
    }

    /// Stops counting the thread of a running job. Returns whether it did.
    pub(super) fn abandon(&mut self, index: usize, progress: &AtomicU8) -> bool {
        // The queue of a running job is not removed, so that the index is still its own.
        if progress.load(Relaxed) != RUNNING {
            return false;
        }
        let Some(queue) = self.queues[index].as_mut() else {
            return false;
        };
        if queue.closed || queue.abandoned >= queue.options.threads.get() {
            return false;
        }
        progress.store(ABANDONED, Relaxed);
        queue.running -= 1;
        queue.abandoned += 1;
        self.threads -= 1;
        self.refresh(index);
        true
    }

    /// Records the end of a job, and returns the course of its thread. A thread that no longer counts continues if it
    /// is needed, or if fewer than `kept` are left.
    pub(super) fn ended(&mut self, index: usize, progress: &AtomicU8, kept: usize) -> Next {
        let was_abandoned = progress.load(Relaxed) == ABANDONED;
        progress.store(ENDED, Relaxed);
        let Some(queue) = self.queues[index].as_mut() else {
            return Next::Continues;
        };
        let is_counted = !was_abandoned && !queue.closed;
        match is_counted {
            true => queue.running -= 1,
            false => queue.abandoned -= 1,
        }
        match queue.closed && queue.abandoned == 0 {
            true => self.remove(index),
            false => self.refresh(index),
        }
        if is_counted {
            return Next::Continues;
        }
        let has_work = self.runnable > self.waking && self.threads < self.most;
        match has_work || self.threads < kept {
            true => {
                self.threads += 1;
                Next::Continues
            }
            false => Next::Ends,
        }
    }

    /// Closes a queue. Returns its waiting jobs, which the caller drops outside the lock. Nobody needs the results of
    /// those that run, so that their threads no longer count.
    pub(super) fn close(&mut self, index: usize) -> VecDeque<Queued> {
        let Some(queue) = self.queues[index].as_mut() else {
            return VecDeque::new();
        };
        let jobs = std::mem::take(&mut queue.jobs);
        let running = std::mem::take(&mut queue.running);
        queue.abandoned += running;
        queue.closed = true;
        let is_idle = queue.abandoned == 0;
        self.threads -= running;
        self.refresh(index);
        if is_idle {
            self.remove(index);
        }
        jobs
    }

    fn remove(&mut self, index: usize) {
        self.queues[index] = None;
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests;
