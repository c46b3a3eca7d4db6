//! OS threads that bounded queues share, for work that blocks: computing a graph, decoding long JSON.
//!
//! A queue is the jobs of one graph, or of one kind of work. It has at most as many jobs running at a time as it is
//! allowed, and jobs that wait in order; a full queue refuses jobs. A queue without jobs has no thread: threads are
//! started when more jobs may run than there are threads, up to the limit of the pool, and end after a while
//! without work. Their number therefore depends on the size of the machine and not on the number of queues.
//! Of the owners with jobs that may run, the one that has used the least by its weight is served, and its queues take
//! turns, one job each. A queue has room for as many jobs of one owner, no matter how many another has.
//!
//! A job that panics ends alone: its thread continues, and its caller sees that the sender of the result was
//! dropped. Dropping a queue drops its waiting jobs, and waits for none that runs. A thread whose job has been
//! abandoned ([`Ticket::abandon`]) no longer counts, neither for its queue nor for the pool, so that another one is
//! started when it is needed: a computation that does not end occupies a thread and not the queue. As many jobs of a queue
//! as may run are replaced in this way. Further ones keep their places in the queue, which then runs nothing until one
//! ends, but none of those in the pool: whatever the number of such queues, the others have all threads of the pool.
//!
//! Each sleeping thread has a condition variable, and the one that has slept for the shortest time is woken: its
//! stack is in the caches, and the others end. Channels (crossbeam's, the standard library's) spin and yield before
//! they park a receiver, which on a busy core costs two context switches for each job.

mod state;

pub use self::state::WorkerOptions;

use self::state::{Call, Next, QUEUED, Queued, Sleeper, State, Taken};
use crate::owner::Owner;
use crate::thread_policy::run_as_batch;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The native stack of a thread, in bytes. Backends recurse over the graph when they optimise it.
const STACK_BYTES: usize = 8 << 20;

/// Far longer than starting a thread takes, and short enough that a burst is soon forgotten.
const LINGER: Duration = Duration::from_secs(10);

/// The minimum of the maximum number of threads that compute graphs. On a small machine, a few models with long
/// computations must leave threads to the others.
const MIN_MOST_GRAPH_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The multiple of the computations of one graph that all graphs together may run at the same time.
const SHARES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// The numbers of threads of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolThreads {
    /// The number of threads that are started with the pool, and kept without work.
    pub kept: NonZeroUsize,
    /// The maximum number of threads. A queue that may run more jobs at a time raises it.
    pub most: NonZeroUsize,
    /// The time without work after which the other threads end. Bursts that follow each other sooner find the
    /// threads of the last one.
    pub linger: Duration,
}

/// The threads and all their queues. Lifetime: the process. The queues keep it alive.
pub struct WorkerPool {
    shared: Arc<Shared>,
}

/// The jobs of one graph or of one kind of work, which run in the order of their submission.
pub struct WorkerQueue {
    pool: Arc<WorkerPool>,
    index: usize,
    options: WorkerOptions,
}

/// A submitted job. Dropping the ticket has no effect on it. Lifetime: one request.
pub struct Ticket {
    shared: Arc<Shared>,
    queue: usize,
    owner: Owner,
    progress: Arc<AtomicU8>,
}

/// The error for a job that was dropped because the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The state that the threads, the queues and the tickets share.
struct Shared {
    state: Mutex<State>,
    name: String,
    threads: PoolThreads,
}

impl PoolThreads {
    /// Returns the numbers for a pool of exactly this many threads.
    pub fn fixed(threads: NonZeroUsize) -> PoolThreads {
        PoolThreads {
            kept: threads,
            most: threads,
            linger: LINGER,
        }
    }

    /// Returns the numbers for graphs that run `threads` computations each at the same time, usually one per core.
    /// One graph cannot occupy all threads.
    pub fn for_graphs(threads: NonZeroUsize) -> PoolThreads {
        PoolThreads {
            kept: threads,
            most: threads.saturating_mul(SHARES).max(MIN_MOST_GRAPH_THREADS),
            linger: LINGER,
        }
    }
}

// === impl WorkerPool ===

impl WorkerPool {
    /// Starts the threads that are kept. All threads are named `name`.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses to start a thread.
    pub fn spawn(name: &str, threads: PoolThreads) -> std::io::Result<Arc<WorkerPool>> {
        let kept = threads.kept.get();
        let pool = Arc::new(WorkerPool {
            shared: Arc::new(Shared {
                state: Mutex::new(State::new(kept, threads.most.get())),
                name: name.to_owned(),
                threads,
            }),
        });
        for _ in 0..kept {
            pool.shared.spawn_thread()?;
        }
        Ok(pool)
    }

    /// Returns a new queue without jobs.
    pub fn queue(self: &Arc<WorkerPool>, options: WorkerOptions) -> WorkerQueue {
        let index = self.shared.lock().add(options);
        WorkerQueue {
            pool: Arc::clone(self),
            index,
            options,
        }
    }
}

impl Drop for WorkerPool {
    /// Ends the threads after the jobs that they are running, without waiting for them.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let sleeping = std::mem::take(&mut state.sleeping);
        drop(state);
        for sleeper in sleeping {
            sleeper.wake.notify_one();
        }
    }
}

// === impl WorkerQueue ===

impl WorkerQueue {
    /// Returns the number of jobs that run at the same time.
    pub fn threads(&self) -> usize {
        self.options.threads.get()
    }

    /// Queues a job of the server itself, as [`WorkerQueue::submit_for`] does.
    ///
    /// # Errors
    /// Returns [`QueueFull`] if as many jobs wait as may.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<Ticket, QueueFull> {
        self.submit_for(Owner::LOCAL, job)
    }

    /// Queues a job of an owner. Whether its result is still wanted should be checked before it runs.
    ///
    /// # Errors
    /// Returns [`QueueFull`] if as many jobs of the owner wait as may.
    pub fn submit_for(
        &self,
        owner: Owner,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<Ticket, QueueFull> {
        let progress = Arc::new(AtomicU8::new(QUEUED));
        let job = Queued {
            job: Box::new(job),
            progress: Arc::clone(&progress),
        };
        let shared = &self.pool.shared;
        let mut state = shared.lock();
        if let Err(job) = state.push((self.index, owner), job) {
            drop(state);
            // Outside the lock, since dropping what a job holds may lock the pool.
            drop(job);
            return Err(QueueFull);
        }
        let call = state.call();
        drop(state);
        shared.answer(call);
        Ok(Ticket {
            shared: Arc::clone(shared),
            queue: self.index,
            owner,
            progress,
        })
    }

    /// Charges other owners their parts of a job that is about to end, of which `from` is charged the whole.
    pub fn split_cost(&self, from: Owner, parts: &[(Owner, Duration)]) {
        let mut state = self.pool.shared.lock();
        for (to, cost) in parts {
            state.transfer((from, *to), *cost);
        }
    }
}

impl Drop for WorkerQueue {
    fn drop(&mut self) {
        let shared = &self.pool.shared;
        let mut state = shared.lock();
        let jobs = state.close(self.index);
        let call = state.call();
        drop(state);
        shared.answer(call);
        // Outside the lock, since dropping what a job holds may lock the pool.
        drop(jobs);
    }
}

// === impl Ticket ===

impl Ticket {
    /// Lets another thread take the place of the one that runs the job, if it is running: its result is not needed
    /// any more.
    ///
    /// If as many jobs of the queue are already abandoned as may run at the same time, the thread is one for other queues.
    pub fn abandon(&self) {
        let mut state = self.shared.lock();
        if state.abandon((self.queue, self.owner), &self.progress) {
            let call = state.call();
            drop(state);
            self.shared.answer(call);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that is counted already.
    fn spawn_thread(self: &Arc<Shared>) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work())?;
        Ok(())
    }

    /// Wakes or starts the thread that has been called. If the operating system refuses to start it, its job waits for
    /// one of the threads that there are.
    fn answer(self: &Arc<Shared>, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Sleeper(sleeper) => sleeper.wake.notify_one(),
            Call::NewThread => {
                if self.spawn_thread().is_err() {
                    let call = self.lock().not_started();
                    self.answer(call);
                }
            }
        }
    }

    /// Runs jobs until the pool is closed, the thread is not needed any more, or its job has been abandoned.
    fn work(self: Arc<Shared>) {
        run_as_batch();
        let kept = self.threads.kept.get();
        let sleeper = Arc::new(Sleeper::default());
        let mut state = self.lock();
        state.waking -= 1;
        loop {
            if state.closed {
                return;
            }
            let Some(taken) = state.take() else {
                match self.sleep(state, &sleeper) {
                    Some(woken) => state = woken,
                    None => return,
                }
                continue;
            };
            let call = state.call();
            drop(state);
            self.answer(call);
            let Taken { job, running } = taken;
            let started = Instant::now();
            // Everything that the job borrowed is dropped with it; its caller sees that the sender was dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            let took = started.elapsed();
            state = self.lock();
            if state.ended(&running, took, kept) == Next::Ends {
                return;
            }
        }
    }

    /// Waits until the thread is woken or the pool is closed. Returns `None` if the thread has waited for too long and
    /// is not among those that are kept.
    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        sleeper: &Arc<Sleeper>,
    ) -> Option<MutexGuard<'a, State>> {
        sleeper.is_woken.store(false, Relaxed);
        state.sleeping.push(Arc::clone(sleeper));
        let PoolThreads { kept, linger, .. } = self.threads;
        let kept = kept.get();
        loop {
            let mut has_lingered = false;
            if state.threads > kept {
                let waited = sleeper.wake.wait_timeout(state, linger);
                let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                has_lingered = timeout.timed_out();
            } else {
                let woken = sleeper.wake.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
            if sleeper.is_woken.load(Relaxed) {
                state.waking -= 1;
                return Some(state);
            }
            if state.closed {
                return Some(state);
            }
            if has_lingered && state.threads > kept {
                state.sleeping.retain(|other| !Arc::ptr_eq(other, sleeper));
                state.threads -= 1;
                return None;
            }
        }
    }
}

impl std::fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool")
            .field("name", &self.shared.name)
            .field("threads", &self.shared.threads)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WorkerQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerQueue")
            .field("pool", &self.pool)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
