//! A thread pool that shares its time fairly between several flows of jobs.
//!
//! A [`Flow`] is the jobs of one model version: inline calls, and polls of its guests, which yield their
//! thread at every epoch. A free thread takes the first job of the flow that has used the least processor
//! time (start-time fair queueing), so a flow of long jobs delays another flow only by its running jobs, never
//! by its queued ones. A flow that was idle resumes at the time of the busy flows: being idle earns no
//! credit. Threads for long jobs are separate and run at a lower priority, so that a short job rarely
//! waits for a processor. There are more of them than one flow may occupy, so that a busy flow leaves
//! some for the others; the operating system shares the processors between the running threads. The queue
//! is a mutex and a condition variable, for the same reason as in [`worker_pool`](crate::worker_pool).

use crate::thread_policy::run_as_batch;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The native stack in bytes that a thread needs for inline and direct calls: it contains the stack of the
/// guest, and backends recurse over graphs.
pub const STACK_BYTES: usize = 8 << 20;

/// The mean processor time of a call above which a flow is one of long jobs.
const LONG_CALL: Duration = Duration::from_millis(1);

/// The mean processor time of a call below which a flow of long jobs becomes one of short jobs again.
const SHORT_CALL: Duration = Duration::from_micros(500);

/// The niceness that threads for long jobs have in addition to that of the others. They get about a tenth
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
    /// The number of jobs of one flow that may wait.
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
    state: Mutex<State>,
    /// The condition variables, by [`Class`]. Each is notified for every job that a sleeping thread must
    /// take, and when the queue closes.
    wake: [Condvar; 2],
    options: PoolOptions,
}

/// The class of a flow, by the mean processor time of its calls, and of the threads that run them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Class {
    #[default]
    Short,
    Long,
}

#[derive(Default)]
struct State {
    /// The flows, by index; `None` if the flow has been removed.
    flows: Vec<Option<FlowState>>,
    free: Vec<usize>,
    /// The state of each class, by [`Class`].
    classes: [ClassState; 2],
    closed: bool,
}

/// The state that the flows and threads of one class share.
#[derive(Default)]
struct ClassState {
    /// The indices of the flows that have a job and may run it.
    ready: Vec<usize>,
    /// The used time of the flow that was served last.
    clock: Duration,
    /// The number of sleeping threads that have not been notified yet. A count that is too high costs a
    /// system call for each surplus thread; one that is too low would lose a wake-up. A thread counts
    /// itself again each time that it goes to sleep.
    sleeping: usize,
}

#[derive(Default)]
struct FlowState {
    class: Class,
    jobs: VecDeque<Job>,
    running: usize,
    /// The processor time that the flow has used, on the clock of its class.
    used: Duration,
    /// The mean processor time of its jobs, which is charged when a job starts and corrected when it ends.
    mean: Duration,
    /// The mean processor time that a call has used at the end of a job, which determines the class. A job
    /// alone would not: the polls of a long call are short if its thread rarely gets a processor.
    mean_call: Duration,
    /// Set once no handle is left; the state is removed with the last running job.
    orphaned: bool,
}

/// Measures the processor time of the jobs of one thread. Their time by the clock would include that of
/// waiting for a processor, and short jobs would be taken for long ones on a busy machine.
///
/// Reading the processor time is a system call, so jobs that are short by the clock are charged that time.
struct Meter {
    /// The processor time of the thread at the last reading.
    read: Duration,
    /// The time and the number of the jobs since then.
    since: Duration,
    jobs: u32,
}

/// The number of jobs after which the processor time is read, since it includes the work between jobs.
const JOBS_PER_READING: u32 = 64;

/// A job that a thread has taken from the queue.
struct Taken {
    job: Job,
    charge: Charge,
}

/// The processor time of a job that has ended.
#[derive(Clone, Copy)]
struct Times {
    job: Duration,
    /// The time of the call up to the end of this job.
    call: Duration,
}

/// The estimated time that a flow was charged for a running job.
struct Charge {
    flow: usize,
    estimate: Duration,
    /// The class of the thread that runs the job.
    class: Class,
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
    /// Queues a job. The job should check first whether its result is still wanted.
    ///
    /// # Errors
    /// Returns [`QueueFull`] if the flow already has its maximum number of waiting jobs.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        let limit = self.0.pool.queue.options.queue_per_flow;
        self.push(Job::Call(Box::new(job)), limit)
            .map_err(|_| QueueFull)
    }

    /// Runs `call` on the threads of the pool and returns its result. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Returns [`Lost`] if the call panics.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Lost> {
        self.spawn(call).fallible().await.ok_or(Lost)
    }

    /// Starts `call` on the threads of the pool.
    pub fn start(&self, call: impl Future<Output = ()> + Send + 'static) -> RunningTask {
        RunningTask(self.spawn(call))
    }

    fn spawn<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> async_task::Task<T> {
        let flow = self.clone();
        let earlier = Arc::new(AtomicU64::new(0));
        let schedule = move |task| {
            let earlier = Arc::clone(&earlier);
            // Polls do not count against the queue limit and so are never refused: each call has at most one.
            let _ = flow.push(Job::Poll { task, earlier }, usize::MAX);
        };
        let (runnable, task) = async_task::spawn(call, schedule);
        runnable.schedule();
        task
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
        // If the flow already runs all the jobs that it may, the thread that ends one of them takes the next.
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

impl RunningTask {
    /// Lets the task run to its end.
    pub fn detach(self) {
        self.0.detach();
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
        // Outside the lock, since dropping what a job holds may lock the queue.
        drop(jobs);
    }
}

// === impl FairQueue ===

impl FairQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the jobs of a class until the queue closes.
    fn work(&self, class: Class) {
        run_as_batch();
        if class == Class::Long {
            lower_priority();
        }
        let mut meter = Meter::start();
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
            let times = job.run(&mut meter);
            state = self.lock();
            if let Some(class) = state.ended(charge, times, self.options.threads_per_flow) {
                self.wake[class as usize].notify_all();
            }
        }
    }
}

impl Meter {
    /// Returns the meter of the calling thread.
    fn start() -> Meter {
        Meter {
            read: processor_time(),
            since: Duration::ZERO,
            jobs: 0,
        }
    }

    /// Returns the processor time of a job that has just ended and took `elapsed` by the clock.
    fn used_by_job(&mut self, elapsed: Duration) -> Duration {
        self.jobs += 1;
        if elapsed < SHORT_CALL && self.jobs < JOBS_PER_READING {
            self.since += elapsed;
            return elapsed;
        }
        let Meter { read, since, .. } = std::mem::replace(self, Meter::start());
        let used = self.read.saturating_sub(read).saturating_sub(since);
        used.min(elapsed)
    }
}

impl Job {
    /// Runs the job. Everything that it borrows is dropped with it, even if it panics.
    fn run(self, meter: &mut Meter) -> Times {
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

impl State {
    /// Takes the first job of the ready flow that has used the least time in a class.
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
                class,
            },
        })
    }

    /// Charges a flow the processor time of its job. Returns the class whose threads must be notified, if the
    /// flow has waiting jobs that the calling thread does not take.
    fn ended(
        &mut self,
        charge: Charge,
        times: Times,
        threads_per_flow: NonZeroUsize,
    ) -> Option<Class> {
        let index = charge.flow;
        let State { flows, classes, .. } = self;
        let flow = flows[index].as_mut()?;
        let was_full = flow.running >= threads_per_flow.get();
        flow.running -= 1;
        flow.used = flow
            .used
            .saturating_add(times.job)
            .saturating_sub(charge.estimate);
        flow.mean = (flow.mean * 7 + times.job) / 8;
        flow.mean_call = flow.mean_call.saturating_mul(7).saturating_add(times.call) / 8;
        if flow.orphaned {
            if flow.running == 0 {
                self.remove(index);
            }
            return None;
        }
        let class = flow.class.of_mean(flow.mean_call);
        let moves = class != flow.class;
        if moves {
            let old = &mut classes[flow.class as usize];
            old.forget(index);
            // The clocks of the classes are unrelated, so only the lead over the others is kept.
            let lead = flow.used.saturating_sub(old.clock);
            flow.class = class;
            flow.used = classes[class as usize].clock.saturating_add(lead);
        }
        if flow.jobs.is_empty() || !(moves || was_full) {
            return None;
        }
        let class_state = &mut classes[class as usize];
        class_state.ready.push(index);
        // The calling thread takes a job of its own class next. Threads of another class do not see this job end.
        let notifies = moves || class != charge.class;
        if notifies {
            class_state.sleeping = 0;
        }
        notifies.then_some(class)
    }

    fn remove(&mut self, index: usize) {
        self.flows[index] = None;
        self.free.push(index);
    }
}

/// Returns the processor time that the calling thread has used.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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

impl ClassState {
    /// Removes a flow from the ready ones.
    fn forget(&mut self, flow: usize) {
        self.ready.retain(|ready| *ready != flow);
    }
}

impl Class {
    /// Returns the class for the current mean time of the calls of a flow that was in this class.
    fn of_mean(self, mean: Duration) -> Class {
        match self {
            Class::Short if mean > LONG_CALL => Class::Long,
            Class::Long if mean < SHORT_CALL => Class::Short,
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
