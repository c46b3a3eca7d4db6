//! Threads that serve several flows of jobs in turn, by the time that each flow has used.
//!
//! A [`Flow`] is the jobs of one model version: inline calls, and the polls of its guests, which hand their
//! thread back at every epoch. A thread that is free takes the first job of the flow that has used the
//! least time so far (start-time fair queueing), so a flow of long jobs delays another one by what
//! runs already, never by what it has queued. A flow that was idle resumes at the time of those that are busy:
//! idleness is no credit.
//!
//! Flows of short jobs have threads of their own: those for long jobs run at a lower priority, so that a
//! short one hardly ever waits for a processor that a long one occupies. There are more threads for long jobs than one
//! flow may occupy, so that a flow that keeps all of its own busy leaves some to the others; between threads that
//! run, the operating system shares the processors.
//!
//! The queue is a mutex and a condition variable, as that of [`wisp_backend::worker`], for the same reason.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wisp_backend::worker::run_as_batch;

/// Native stack of a thread: an inline guest's own stack lies on it, and engines recurse over graphs.
const STACK_BYTES: usize = 8 << 20;

/// The mean time of its jobs from which on a flow is one of long jobs.
const LONG_JOB: Duration = Duration::from_millis(1);

/// The mean time of its jobs below which a flow of long jobs is one of short jobs again.
const SHORT_JOB: Duration = Duration::from_micros(500);

/// What the niceness of threads for long jobs is more than that of the others: they get about a tenth of a
/// processor when those take the rest.
const LONG_NICENESS: i32 = 10;

/// The highest niceness there is.
const MAX_NICENESS: i32 = 19;

/// How many threads there are, and what one flow may take of them.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Threads for long jobs.
    pub long_threads: NonZeroUsize,
    /// Jobs of one flow that run at once, and threads for short jobs.
    pub threads_per_flow: NonZeroUsize,
    /// Jobs of one flow that may wait.
    pub queue_per_flow: usize,
}

impl PoolOptions {
    /// Options for flows that may keep `threads` threads busy each.
    pub fn with_threads_per_flow(threads: NonZeroUsize) -> PoolOptions {
        PoolOptions {
            long_threads: threads
                .saturating_mul(const { NonZeroUsize::new(2).expect("2 is not 0") }),
            threads_per_flow: threads,
            queue_per_flow: 1024,
        }
    }

    /// Returns the number of threads in all.
    pub fn threads(self) -> usize {
        self.long_threads.get() + self.threads_per_flow.get()
    }
}

/// The threads. Lifetime: the process. Flows keep it alive; dropping it lets the threads end with the jobs
/// they run, and waits for none of them, since a job may take long.
#[derive(Debug)]
pub struct FairPool {
    queue: Arc<FairQueue>,
}

/// The jobs of one model version. Clones are the same flow; what it has queued is dropped with the last of
/// them. Lifetime: a model version.
#[derive(Debug, Clone)]
pub struct Flow(Arc<FlowHandle>);

/// The flow's queue is full; the job was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The task has ended without a result: it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call was lost with its task")]
pub struct Lost;

enum Job {
    Call(Box<dyn FnOnce() + Send>),
    Poll(async_task::Runnable),
}

#[derive(Debug)]
struct FlowHandle {
    pool: Arc<FairPool>,
    index: usize,
}

struct FairQueue {
    state: Mutex<State>,
    /// By [`Class`]: signalled for each job that a sleeping thread has to take, and when the queue closes.
    wake: [Condvar; 2],
    options: PoolOptions,
}

/// The jobs that a flow has, by their mean time, and the threads that run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Class {
    #[default]
    Short,
    Long,
}

#[derive(Default)]
struct State {
    /// By index; `None` where there is no flow any more.
    flows: Vec<Option<FlowState>>,
    free: Vec<usize>,
    /// By [`Class`].
    classes: [ClassState; 2],
    closed: bool,
}

/// What the flows of one class, and its threads, have in common.
#[derive(Default)]
struct ClassState {
    /// The flows that have a job and may run it.
    ready: Vec<usize>,
    /// The time of the flow that was served last.
    clock: Duration,
    /// Threads that sleep and that nobody has woken yet. Too many cost a system call each, too few
    /// would lose a wake-up: a thread counts itself anew each time it goes to sleep.
    sleeping: usize,
}

#[derive(Default)]
struct FlowState {
    class: Class,
    jobs: VecDeque<Job>,
    running: usize,
    /// The time it has used, in the terms of its class's clock.
    used: Duration,
    /// What its jobs take on average, charged when one begins and corrected when it ends.
    mean: Duration,
    /// Whether no handle is left; the state goes with the last job that runs.
    orphaned: bool,
}

/// A job that a thread has taken.
struct Taken {
    job: Job,
    charge: Charge,
}

/// What a flow has been charged in advance for a job that runs.
struct Charge {
    flow: usize,
    estimate: Duration,
}

// === impl FairPool ===

impl FairPool {
    /// Starts the threads, all named `name`.
    ///
    /// # Errors
    /// Fails if the operating system refuses a thread.
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

    /// Returns a new flow, without jobs.
    pub fn flow(self: &Arc<FairPool>) -> Flow {
        let mut state = self.queue.lock();
        let flow = Some(FlowState::default());
        let index = match state.free.pop() {
            Some(index) => {
                state.flows[index] = flow;
                index
            }
            None => {
                state.flows.push(flow);
                state.flows.len() - 1
            }
        };
        drop(state);
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
    /// Queues a job. It should look first whether anybody still waits for it.
    ///
    /// # Errors
    /// [`QueueFull`] if as many jobs of this flow wait as may.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        let limit = self.0.pool.queue.options.queue_per_flow;
        self.push(Job::Call(Box::new(job)), limit)
            .map_err(|_| QueueFull)
    }

    /// Drives `call` on the threads of the pool and returns its result. Dropping the future ends the call.
    ///
    /// # Errors
    /// [`Lost`] if the call panics.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Lost> {
        let flow = self.clone();
        let schedule = move |runnable| {
            // Not counted against the queue, so never refused: there is one for each call that has begun.
            let _ = flow.push(Job::Poll(runnable), usize::MAX);
        };
        let (runnable, task) = async_task::spawn(call, schedule);
        runnable.schedule();
        task.fallible().await.ok_or(Lost)
    }

    fn push(&self, job: Job, limit: usize) -> Result<(), Job> {
        let queue = &self.0.pool.queue;
        let mut state = queue.lock();
        let State { flows, classes, .. } = &mut *state;
        let index = self.0.index;
        let Some(flow) = flows[index].as_mut() else {
            return Err(job);
        };
        if flow.jobs.len() >= limit {
            return Err(job);
        }
        let class = &mut classes[flow.class as usize];
        let may_run = flow.running < queue.options.threads_per_flow.get();
        if flow.jobs.is_empty() {
            if flow.running == 0 {
                flow.used = flow.used.max(class.clock);
            }
            if may_run {
                class.ready.push(index);
            }
        }
        let waits_for_its_own = flow.running + flow.jobs.len();
        flow.jobs.push_back(job);
        // Beyond what the flow may run, the thread that ends one of its jobs takes the next.
        let is_first = waits_for_its_own < queue.options.threads_per_flow.get();
        let wake = is_first && class.sleeping > 0;
        let class_of_flow = flow.class;
        if wake {
            class.sleeping -= 1;
        }
        drop(state);
        if wake {
            queue.wake[class_of_flow as usize].notify_one();
        }
        Ok(())
    }
}

impl Drop for FlowHandle {
    fn drop(&mut self) {
        let mut state = self.pool.queue.lock();
        let index = self.index;
        let State { flows, classes, .. } = &mut *state;
        let Some(flow) = flows[index].as_mut() else {
            return;
        };
        classes[flow.class as usize].forget(index);
        let jobs = std::mem::take(&mut flow.jobs);
        flow.orphaned = true;
        if flow.running == 0 {
            state.remove(index);
        }
        drop(state);
        // Outside the lock: what a job holds may lock it.
        drop(jobs);
    }
}

// === impl FairQueue ===

impl FairQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned one still guards a whole queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs jobs of a class until the queue closes.
    fn work(&self, class: Class) {
        run_as_batch();
        if class == Class::Long {
            lower_priority();
        }
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(taken) = state.take(class, self.options.threads_per_flow) else {
                state.classes[class as usize].sleeping += 1;
                state = self.wake[class as usize]
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let Taken { job, charge } = taken;
            let started = Instant::now();
            // Whatever the job had borrowed is dropped with it; its caller sees the reply dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| match job {
                Job::Call(call) => call(),
                Job::Poll(task) => {
                    task.run();
                }
            }));
            let took = started.elapsed();
            state = self.lock();
            if let Some(class) = state.ended(charge, took, self.options.threads_per_flow) {
                self.wake[class as usize].notify_all();
            }
        }
    }
}

impl State {
    /// Takes the first job of the ready flow of a class that has used the least time.
    fn take(&mut self, class: Class, threads_per_flow: NonZeroUsize) -> Option<Taken> {
        let State { flows, classes, .. } = self;
        let ClassState { ready, clock, .. } = &mut classes[class as usize];
        let used = |index: usize| {
            flows[index]
                .as_ref()
                .map_or(Duration::MAX, |flow| flow.used)
        };
        let first = (0..ready.len()).min_by_key(|position| used(ready[*position]))?;
        let index = ready[first];
        let flow = flows[index].as_mut()?;
        let job = flow.jobs.pop_front()?;
        *clock = (*clock).max(flow.used);
        flow.used = flow.used.saturating_add(flow.mean);
        flow.running += 1;
        if flow.jobs.is_empty() || flow.running >= threads_per_flow.get() {
            ready.swap_remove(first);
        }
        Some(Taken {
            job,
            charge: Charge {
                flow: index,
                estimate: flow.mean,
            },
        })
    }

    /// Charges a flow what its job took in the end. Returns the class that the flow has moved to with its
    /// jobs, if it has: its threads have to be woken.
    fn ended(
        &mut self,
        charge: Charge,
        took: Duration,
        threads_per_flow: NonZeroUsize,
    ) -> Option<Class> {
        let index = charge.flow;
        let State { flows, classes, .. } = self;
        let flow = flows[index].as_mut()?;
        let was_full = flow.running >= threads_per_flow.get();
        flow.running -= 1;
        flow.used = flow
            .used
            .saturating_add(took)
            .saturating_sub(charge.estimate);
        flow.mean = (flow.mean * 7 + took) / 8;
        if flow.orphaned {
            if flow.running == 0 {
                self.remove(index);
            }
            return None;
        }
        let class = flow.class.of_mean(flow.mean);
        if class == flow.class {
            if was_full && !flow.jobs.is_empty() {
                classes[class as usize].ready.push(index);
            }
            return None;
        }
        classes[flow.class as usize].forget(index);
        flow.class = class;
        let class = &mut classes[class as usize];
        flow.used = flow.used.max(class.clock);
        if flow.jobs.is_empty() {
            return None;
        }
        class.ready.push(index);
        class.sleeping = 0;
        Some(flow.class)
    }

    fn remove(&mut self, index: usize) {
        self.flows[index] = None;
        self.free.push(index);
    }
}

/// Lowers the priority of the calling thread. Where that is refused, short jobs wait longer for a processor.
fn lower_priority() {
    use rustix::process::{getpriority_process, setpriority_process};
    if let Ok(niceness) = getpriority_process(None) {
        let niceness = (niceness + LONG_NICENESS).min(MAX_NICENESS);
        let _ = setpriority_process(None, niceness);
    }
}

impl ClassState {
    /// Takes a flow out of those that are ready.
    fn forget(&mut self, flow: usize) {
        self.ready.retain(|ready| *ready != flow);
    }
}

impl Class {
    /// Returns the class of a flow that was of this one, by the mean time of its jobs now.
    fn of_mean(self, mean: Duration) -> Class {
        match self {
            Class::Short if mean > LONG_JOB => Class::Long,
            Class::Long if mean < SHORT_JOB => Class::Short,
            unchanged => unchanged,
        }
    }
}

impl std::fmt::Debug for FairQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FairQueue")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
