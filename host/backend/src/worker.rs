//! A graph's own OS threads behind a bounded queue.
//!
//! Computing blocks, for microseconds or seconds, so it must not happen on a thread that serves
//! connections. Whoever has inputs submits a [`Job`] and is answered through its [`Reply`], from
//! a worker thread. A full queue refuses at once: waiting is the caller's to bound. A job that is
//! late or that nobody waits for any more costs its turn, not a computation.
//!
//! Invariant: every accepted job's reply is either sent to exactly once or found abandoned, also
//! when the computation panics and when [`Workers`] is dropped.

use crate::panic::panic_message;
use crate::{BackendError, Graph};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wisp_tensor::NamedTensor;

/// Engines optimise graphs recursively, on the thread of the first request of each shape. Reserved
/// address space only: untouched pages cost nothing.
const STACK_BYTES: usize = 8 << 20;

/// How many threads a graph has and how much may wait for them.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Computations that run at the same time.
    pub threads: NonZeroUsize,
    /// Jobs that wait while every thread is busy; with 0 a job is taken only by an idle thread.
    pub queue: usize,
}

/// One computation to do. Lifetime: a request, or a batch of them.
pub struct Job {
    pub inputs: Vec<NamedTensor>,
    /// A job whose turn comes later than this is answered with [`WorkerError::Late`].
    pub deadline: Instant,
    pub reply: Box<dyn Reply>,
}

/// Where the result of a [`Job`] goes. Called on worker threads, so it must not block.
pub trait Reply: Send {
    /// Whether nobody waits for the result any more; then it is not computed.
    fn is_abandoned(&self) -> bool;

    /// Take the result.
    fn send(self: Box<Self>, result: Result<Vec<NamedTensor>, WorkerError>, usage: Usage);
}

/// What a job took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From submission to its turn.
    pub queued: Duration,
    /// In the graph; zero where it did not get there.
    pub computed: Duration,
}

/// Why a job has no outputs.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The graph refused or failed.
    #[error(transparent)]
    Backend(BackendError),
    /// The graph panicked. The text is for the log.
    #[error("the computation panicked: {message}")]
    Panicked { message: String },
    /// The deadline had passed before its turn came.
    #[error("the deadline passed before the computation began")]
    Late,
    /// The graph is being unloaded.
    #[error("the graph is being unloaded")]
    Closed,
}

/// A job refused because as many as may wait do; it is handed back.
#[derive(Debug, thiserror::Error)]
#[error("the graph's queue is full")]
pub struct QueueFull(pub Job);

/// The threads of one graph. Lifetime: a model version.
///
/// Dropping it answers what waits with [`WorkerError::Closed`], lets running computations finish
/// and joins the threads. A worker thread may itself drop it, inside a reply: then that thread is
/// left to end on its own.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told of each new job, and of the end.
    changed: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Entry>,
    /// Threads that are not computing.
    idle: usize,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    submitted: Instant,
}

// === impl Job ===

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("inputs", &self.inputs.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

// === impl Workers ===

impl Workers {
    /// Start the threads, named `<name>-<number>`.
    pub fn spawn(
        name: &str,
        graph: Arc<dyn Graph>,
        options: WorkerOptions,
    ) -> std::io::Result<Workers> {
        let WorkerOptions { threads, queue } = options;
        let mut workers = Workers {
            shared: Arc::new(Shared {
                queue: Mutex::new(Queue {
                    waiting: VecDeque::new(),
                    idle: threads.get(),
                    closed: false,
                }),
                changed: Condvar::new(),
                limit: queue,
            }),
            threads: Vec::with_capacity(threads.get()),
        };
        for number in 0..threads.get() {
            let shared = Arc::clone(&workers.shared);
            let graph = Arc::clone(&graph);
            let thread = std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work(&shared, &*graph))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Queue a job, or hand it back where the queue is full. Never blocks.
    pub fn submit(&self, job: Job) -> Result<(), QueueFull> {
        let mut queue = self.shared.lock();
        if queue.waiting.len() >= self.shared.limit.saturating_add(queue.idle) {
            return Err(QueueFull(job));
        }
        queue.waiting.push_back(Entry {
            job,
            submitted: Instant::now(),
        });
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Jobs that have been submitted and not begun.
    pub fn queued(&self) -> usize {
        self.shared.lock().waiting.len()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.shared.changed.notify_all();
        for entry in left {
            let queued = entry.submitted.elapsed();
            answer(entry.job.reply, Err(WorkerError::Closed), queued);
        }
        let current = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A thread that joined itself would wait for ever. The others cannot be waiting for
            // this one: replies do not block.
            if thread.thread().id() != current {
                // Panics are caught inside, so there is nothing to learn from the result.
                let _ = thread.join();
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    /// The queue. Nothing panics while it is locked, so a poisoned lock still guards a whole queue.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait for the next job; `None` at the end.
    fn next(&self) -> Option<Entry> {
        let queue = self.lock();
        let mut queue = self
            .changed
            .wait_while(queue, |queue| queue.waiting.is_empty() && !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let entry = queue.waiting.pop_front()?;
        queue.idle -= 1;
        Some(entry)
    }

    fn done(&self) {
        self.lock().idle += 1;
    }
}

/// The life of one thread.
fn work(shared: &Shared, graph: &dyn Graph) {
    while let Some(Entry { job, submitted }) = shared.next() {
        let begun = Instant::now();
        let queued = begun.saturating_duration_since(submitted);
        let Job {
            inputs,
            deadline,
            reply,
        } = job;
        // Inputs are freed before the reply, which may drop this thread's `Workers`.
        let abandoned = catch_unwind(AssertUnwindSafe(|| reply.is_abandoned()));
        match abandoned {
            Ok(false) if begun < deadline => {
                let result = compute(graph, &inputs);
                drop(inputs);
                let computed = begun.elapsed();
                shared.done();
                send(reply, result, Usage { queued, computed });
            }
            Ok(false) => {
                shared.done();
                answer(reply, Err(WorkerError::Late), queued);
            }
            Ok(true) | Err(_) => {
                shared.done();
                drop_quietly(reply);
            }
        }
    }
}

/// Compute, with a panic as an error. Engines are foreign code; their locks are their own, and
/// what a graph shares between computations is read-only or rebuilt.
fn compute(graph: &dyn Graph, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, WorkerError> {
    match catch_unwind(AssertUnwindSafe(|| graph.compute(inputs))) {
        Ok(result) => result.map_err(WorkerError::Backend),
        Err(payload) => Err(WorkerError::Panicked {
            message: panic_message(&*payload).to_owned(),
        }),
    }
}

/// Answer a job that was not computed.
fn answer(reply: Box<dyn Reply>, result: Result<Vec<NamedTensor>, WorkerError>, queued: Duration) {
    let computed = Duration::ZERO;
    send(reply, result, Usage { queued, computed });
}

/// Send a reply; one that panics ends itself and not the thread.
fn send(reply: Box<dyn Reply>, result: Result<Vec<NamedTensor>, WorkerError>, usage: Usage) {
    let _ = catch_unwind(AssertUnwindSafe(|| reply.send(result, usage)));
}

fn drop_quietly(reply: Box<dyn Reply>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(reply)));
}

#[cfg(test)]
mod tests;
