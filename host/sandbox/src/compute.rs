//! The graphs that guests compute with, as this crate requires them from its caller.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_tensor::{MemoryBudget, NamedTensor, Signature};

/// A graph that guests compute with. Lifetime: a model version.
pub trait Compute: Send + Sync + std::fmt::Debug {
    /// Returns the graph's inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Computes without blocking the calling thread. Waits no longer than the options allow.
    ///
    /// The inputs are complete and match the signature. The payer's meter is charged for all executions, also for those
    /// that fail and for those whose caller has gone.
    fn compute(&self, inputs: Vec<NamedTensor>, options: ComputeOptions) -> Computing<'_>;

    /// Computes on the calling thread without waiting. Fails with [`ComputeError::Deadline`] soon after
    /// `deadline`, and with [`ComputeError::Unprepared`] if the graph would first have to prepare for
    /// inputs of these sizes, which is slow. The caller measures the time.
    fn compute_inline(
        &self,
        inputs: &[NamedTensor],
        deadline: Instant,
    ) -> Result<Vec<NamedTensor>, ComputeError>;
}

/// The time and the place in the queue that a computation has. Lifetime: one request.
#[derive(Debug, Clone)]
pub struct ComputeOptions {
    pub deadline: Instant,
    /// The priority level, of which 1 is the highest; 0 for the default level of the graph.
    pub priority: u32,
    /// The time that the computation may wait in the queue; `None` for the graph's own.
    pub queue_timeout: Option<Duration>,
    /// The party that is charged for the computation.
    pub payer: Payer,
}

/// A party that is charged for computations and memory, as the caller of the sandbox numbers it. The sandbox passes it on.
#[derive(Debug, Clone)]
pub struct Payer {
    pub id: u32,
    /// The part of the threads that the party gets, relative to the weights of the others.
    pub weight: u32,
    /// The meter of the request; `None` if its computations are not counted.
    pub meter: Option<Arc<dyn ComputeMeter>>,
    /// The budget in which the memory of its handlers is reserved; `None` for that of the engine.
    pub memory: Option<Arc<MemoryBudget>>,
}

/// Receives the time for which graphs compute for one request, as soon as it has been spent. A computation may go on after
/// its request has ended, and is then still added.
pub trait ComputeMeter: Send + Sync + std::fmt::Debug {
    /// Adds the time of an execution; if requests were computed together, the part of this one.
    fn add_compute(&self, time: Duration);
}

impl Default for Payer {
    /// Returns the only party of a caller that does not tell parties apart.
    fn default() -> Payer {
        Payer {
            id: 0,
            weight: 1,
            meter: None,
            memory: None,
        }
    }
}

impl ComputeOptions {
    /// Returns the options of a computation of the default level that ends before `deadline`.
    pub fn until(deadline: Instant) -> ComputeOptions {
        ComputeOptions {
            deadline,
            priority: 0,
            queue_timeout: None,
            payer: Payer::default(),
        }
    }
}

/// A computation in progress. Dropping it cancels the part that has not started.
pub type Computing<'a> = Pin<Box<dyn Future<Output = Result<Computed, ComputeError>> + Send + 'a>>;

/// The result of a computation. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Computed {
    pub outputs: Vec<NamedTensor>,
    /// The time that the computation waited in the queue.
    pub queue: Duration,
    /// The time for which the graph computed for these outputs: if requests were computed together, the part of this one.
    pub backend: Duration,
}

/// The error of a computation. The messages are for the log; guests and clients receive short messages of the
/// host, and the explanation of refused inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// The backend refuses these inputs, although the signature allows them.
    #[error("the inputs cannot be computed: {reason}")]
    Inputs {
        reason: String,
        /// One sentence without internals of the backend.
        explanation: String,
    },
    /// The queue of the version has no room.
    #[error("the queue is full")]
    QueueFull,
    /// The computation has waited for longer than it may.
    #[error("the computation waited in the queue for longer than its timeout")]
    QueueTimeout,
    /// The computation would probably end too late.
    #[error("the graph has more computations than it can finish in time")]
    WouldMissDeadline,
    /// The running computations leave too little memory for this one.
    #[error("the running computations leave too little memory")]
    NoMemory,
    /// The graph has not been prepared for inputs of these sizes, so it cannot compute them without
    /// waiting.
    #[error("the graph is not prepared for inputs of these sizes")]
    Unprepared,
    #[error("the deadline passed before the graph's computation ended")]
    Deadline,
    #[error("the backend failed: {0}")]
    Backend(String),
}

/// The graphs that one version may load, by name. Lifetime: a model version.
#[derive(Debug, Default)]
pub struct Graphs {
    entries: Vec<(String, Arc<dyn Compute>)>,
}

impl Graphs {
    /// Creates the set of graphs; if two have the same name, the first is found.
    pub fn new(entries: Vec<(String, Arc<dyn Compute>)>) -> Graphs {
        Graphs { entries }
    }

    /// Returns the graph of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Compute>> {
        // A version has one or two graphs, so comparing is faster than hashing.
        self.entries
            .iter()
            .find(|(entry, _)| entry == name)
            .map(|(_, graph)| graph)
    }

    /// Iterates over the names of the graphs, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }
}
