//! A thread pool that shares its time fairly between several flows of jobs.
//!
//! A [`Flow`] is the jobs of one model version: inline calls, and polls of its guests, which yield their
//! thread at every epoch. Each job has an [`Owner`]. A free thread takes a job of the owner that has used the least
//! processor time by its weight, and among its flows the first job of the one that has used the least (start-time fair
//! queueing), so a flow of long jobs delays another flow only by its running jobs, never
//! by its queued ones. A flow that was idle resumes at the time of the busy flows: being idle earns no
//! credit. Threads for long jobs are separate and run at a lower priority, so that a short job rarely
//! waits for a processor. There are more of them than one flow may occupy, so that a busy flow leaves
//! some for the others; the operating system shares the processors between the running threads. The queue
//! is a mutex and a condition variable, for the same reason as in [`worker_pool`](crate::worker_pool).

mod state;

use self::state::{Class, Notified, State, Taken, Times};
use crate::metering::job_meter::JobMeter;
use crate::owner::Owner;
use crate::thread_policy::run_as_batch;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The native stack in bytes that a thread needs for inline and direct calls: it contains the stack of the
/// guest, and backends recurse over graphs.
pub const STACK_BYTES: usize = 8 << 20;

/// The niceness that threads for long jobs have on top of the others'. They get about a tenth
/// of a processor while the others use the rest.
#[cfg(target_os = "linux")]
const LONG_NICENESS: i32 = 10;

/// The highest niceness of the operating system.
#[cfg(target_os = "linux")]
const MAX_NICENESS: i32 = 19;

/// The sizes of a pool and the part that one flow may use.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// The number of threads for long jobs.
    pub long_threads: NonZeroUsize,
    /// The number of jobs of one flow that run at the same time, and the number of threads for short jobs.
    pub threads_per_flow: NonZeroUsize,
    /// The number of jobs of one flow that may wait, for each owner.
    pub queue_per_flow: usize,
}

impl PoolOptions {
    /// Returns options for flows that may each keep `threads` threads busy.
    pub fn with_threads_per_flow(threads: NonZeroUsize) -> PoolOptions {
        PoolOptions {
            long_threads: threads
                .saturating_mul(const { NonZeroUsize::new(2).expect("2 is not 0") }),
            threads_per_flow: threads,
            queue_per_flow: 1024,
        }
    }

    /// Returns the total number of threads.
    pub fn threads(self) -> usize {
        self.long_threads.get() + self.threads_per_flow.get()
    }
}

/// The thread pool. Lifetime: the process. Flows keep it alive. Dropping it ends the threads after the
/// jobs that they are running, without waiting for them, since a job may take long.
#[derive(Debug)]
pub struct FairPool {
    queue: Arc<FairQueue>,
}

/// The jobs of one model version. Clones are the same flow; its queued jobs are dropped with the last
/// clone. Lifetime: a model version.
#[derive(Debug, Clone)]
pub struct Flow(Arc<FlowHandle>);

/// The error for a job that was dropped because the queue of its flow is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The error for a task that panicked and so ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was lost with its task")]
pub struct Lost;

/// A task of a flow. Dropping it cancels the task. Lifetime: one request.
#[derive(Debug)]
pub struct RunningTask(async_task::Task<()>);

enum Job {
    Call(Box<dyn FnOnce() + Send>),
    /// A poll of a call that takes several jobs.
    Poll {
        task: async_task::Runnable,
        /// The processor time of the earlier polls, in nanoseconds.
        earlier: Arc<AtomicU64>,
    },
}

#[derive(Debug)]
struct FlowHandle {
    pool: Arc<FairPool>,
    index: usize,
}

struct FairQueue {
    state: Mutex<State<Job>>,
    /// The condition variables, by [`Class`]. Each is notified for every job that a sleeping thread must
    /// take, and when the queue closes.
    wake: [Condvar; 2],
    options: PoolOptions,
}

// === impl FairPool ===

impl FairPool {
    /// Starts the threads, all named `name`.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses to start a thread.
    pub fn spawn(name: &str, options: PoolOptions) -> std::io::Result<Arc<FairPool>> {
        let pool = FairPool {
            queue: Arc::new(FairQueue {
                state: Mutex::default(),
                wake: [const { Condvar::new() }; 2],
                options,
            }),
        };
        let threads = [
            (Class::Short, options.threads_per_flow),
            (Class::Long, options.long_threads),
        ];
        for (class, threads) in threads {
            for _ in 0..threads.get() {
                let queue = Arc::clone(&pool.queue);
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .stack_size(STACK_BYTES)
                    .spawn(move || queue.work(class))?;
            }
        }
        Ok(Arc::new(pool))
    }

    /// Returns a new flow without jobs.
    pub fn flow(self: &Arc<FairPool>) -> Flow {
        let index = self.queue.lock().add();
        Flow(Arc::new(FlowHandle {
            pool: Arc::clone(self),
            index,
        }))
    }

    /// Returns the number of threads that one flow may keep busy.
    pub fn threads_per_flow(&self) -> NonZeroUsize {
        self.queue.options.threads_per_flow
    }
}

impl Drop for FairPool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        for wake in &self.queue.wake {
            wake.notify_all();
        }
    }
}

// === impl Flow ===

impl Flow {
    /// Queues a job of an owner. The job should check first whether its result is still wanted.
    ///
    /// # Errors
    /// Returns [`QueueFull`] if the owner already has its maximum number of waiting jobs in the flow.
    pub fn submit(
        &self,
        owner: Owner,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), QueueFull> {
        let limit = self.0.pool.queue.options.queue_per_flow;
        self.push(owner, Job::Call(Box::new(job)), limit)
            .map_err(|_| QueueFull)
    }

    /// Runs the `call` of an owner on the threads of the pool and returns its result. Dropping the future cancels the
    /// call.
    ///
    /// # Errors
    /// Returns [`Lost`] if the call panics.
    pub async fn run<T: Send + 'static>(
        &self,
        owner: Owner,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Lost> {
        self.spawn(owner, call).fallible().await.ok_or(Lost)
    }

    /// Starts the `call` of an owner on the threads of the pool.
    pub fn start(
        &self,
        owner: Owner,
        call: impl Future<Output = ()> + Send + 'static,
    ) -> RunningTask {
        RunningTask(self.spawn(owner, call))
    }

    fn spawn<T: Send + 'static>(
        &self,
        owner: Owner,
        call: impl Future<Output = T> + Send + 'static,
    ) -> async_task::Task<T> {
        let flow = self.clone();
        let earlier = Arc::new(AtomicU64::new(0));
        let schedule = move |task| {
            let earlier = Arc::clone(&earlier);
            // Polls do not count against the queue limit and so are never refused: each call has at most one.
            let _ = flow.push(owner, Job::Poll { task, earlier }, usize::MAX);
        };
        let (runnable, task) = async_task::spawn(call, schedule);
        runnable.schedule();
        task
    }

    fn push(&self, owner: Owner, job: Job, limit: usize) -> Result<(), Job> {
        let queue = &self.0.pool.queue;
        let mut state = queue.lock();
        let threads = queue.options.threads_per_flow.get();
        let pushed = state.push((self.0.index, owner), job, (limit, threads));
        drop(state);
        if let Some(class) = pushed? {
            queue.wake[class as usize].notify_one();
        }
        Ok(())
    }
}

impl RunningTask {
    /// Lets the task run to its end.
    pub fn detach(self) {
        self.0.detach();
    }
}

impl Drop for FlowHandle {
    fn drop(&mut self) {
        let jobs = self.pool.queue.lock().orphan(self.index);
        // Outside the lock, since dropping what a job holds may lock the queue.
        drop(jobs);
    }
}

// === impl FairQueue ===

impl FairQueue {
    fn lock(&self) -> MutexGuard<'_, State<Job>> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the jobs of a class until the queue closes.
    fn work(&self, class: Class) {
        run_as_batch();
        if class == Class::Long {
            lower_priority();
        }
        let threads_per_flow = self.options.threads_per_flow.get();
        let mut meter = JobMeter::start();
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(taken) = state.take(class, threads_per_flow) else {
                state.sleeps(class);
                state = self.wake[class as usize]
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let Taken { job, charge } = taken;
            let times = job.run(&mut meter);
            state = self.lock();
            let notified: Notified = state.ended(charge, times, threads_per_flow);
            if let Some(class) = notified {
                self.wake[class as usize].notify_all();
            }
        }
    }
}

impl Job {
    /// Runs the job. Everything that it borrows is dropped with it, even if it panics.
    fn run(self, meter: &mut JobMeter) -> Times {
        let started = Instant::now();
        match self {
            Job::Call(call) => {
                let _ = catch_unwind(AssertUnwindSafe(call));
                let job = meter.used_by_job(started.elapsed());
                Times { job, call: job }
            }
            Job::Poll { task, earlier } => {
                let _ = catch_unwind(AssertUnwindSafe(|| task.run()));
                let job = meter.used_by_job(started.elapsed());
                let nanoseconds = u64::try_from(job.as_nanos()).unwrap_or(u64::MAX);
                let earlier = Duration::from_nanos(earlier.fetch_add(nanoseconds, Relaxed));
                let call = earlier.saturating_add(job);
                Times { job, call }
            }
        }
    }
}

/// Lowers the priority of the calling thread. If that is refused, short jobs wait longer for a processor.
#[cfg(target_os = "linux")]
fn lower_priority() {
    use rustix::process::{getpriority_process, setpriority_process};
    if let Ok(niceness) = getpriority_process(None) {
        let niceness = (niceness + LONG_NICENESS).min(MAX_NICENESS);
        let _ = setpriority_process(None, niceness);
    }
}

/// Does nothing: on other systems the same call would lower the priority of the whole process.
#[cfg(not(target_os = "linux"))]
fn lower_priority() {}

impl std::fmt::Debug for FairQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairQueue")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
