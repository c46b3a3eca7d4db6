//! `wasi:nn@0.2.0-rc-2024-10-28`, translated to [`wisp_tensor`] and to [`Compute`].
//!
//! A guest reaches only the graphs its version was deployed with, by name. What it gets wrong comes
//! back to it as a wasi:nn error; a trap is left for what the interface has no error for (too many
//! handles). The interface's constructor of a tensor cannot fail, so a tensor that does not fit its
//! shape keeps no bytes and fails the `compute` it is given to.
//!
//! Linked by hand rather than by `bindgen!`: one copy in (validated against the guest's memory
//! before anything is allocated), one copy out, and two ways to answer `compute` over one set of
//! types. This module chooses no backend and holds no model.

mod interface;
mod resource;

pub(crate) use interface::{add_inline_compute, add_queued_compute, add_to_linker};

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_tensor::{ElementType, NamedTensor, Signature};

/// A graph as the sandbox sees it: something that computes. Lifetime: a model version.
pub trait Compute: Send + Sync + std::fmt::Debug {
    /// What the graph takes and gives.
    fn signature(&self) -> &Signature;

    /// Compute without blocking the calling thread. Waits no longer than `deadline`.
    ///
    /// The inputs are complete and meet the signature.
    fn compute(&self, inputs: Vec<NamedTensor>, deadline: Instant) -> Computing<'_>;

    /// Compute on the calling thread, at once, and fail with [`ComputeError::Deadline`] soon after `deadline`; [`ComputeError::Unprepared`] if the graph would first
    /// have to prepare for inputs of these sizes, which takes long.
    fn compute_inline(
        &self,
        inputs: &[NamedTensor],
        deadline: Instant,
    ) -> Result<Vec<NamedTensor>, ComputeError>;
}

/// A computation under way. Dropping it cancels what has not started.
pub type Computing<'a> = Pin<Box<dyn Future<Output = Result<Computed, ComputeError>> + Send + 'a>>;

/// What a computation gave. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Computed {
    pub outputs: Vec<NamedTensor>,
    /// How long it waited for its turn.
    pub queue: Duration,
}

/// Why a graph gave no outputs. The texts are for the log; guests and clients get short ones of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// The engine refuses these inputs, although the signature allows them.
    #[error("the inputs cannot be computed: {0}")]
    Inputs(String),
    /// No room in the graph's queue.
    #[error("the graph's queue is full")]
    Overloaded,
    /// Not at once: the graph has not met inputs of these sizes yet.
    #[error("the graph is not prepared for inputs of these sizes")]
    Unprepared,
    #[error("the deadline passed before the graph had computed")]
    Deadline,
    #[error("the backend failed: {0}")]
    Backend(String),
}

/// The graphs one version may load, by name. Lifetime: a model version.
#[derive(Debug, Default)]
pub struct Graphs {
    entries: Vec<(String, Arc<dyn Compute>)>,
}

impl Graphs {
    /// Graphs under their names; of two with the same name the first is found.
    pub fn new(entries: Vec<(String, Arc<dyn Compute>)>) -> Graphs {
        Graphs { entries }
    }

    /// The graph of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Compute>> {
        // A version has one or two graphs: comparing beats hashing.
        self.entries
            .iter()
            .find(|(entry, _)| entry == name)
            .map(|(_, graph)| graph)
    }

    /// The names that can be loaded, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }
}

/// Whether tensors of this type can pass through wasi:nn.
pub fn is_representable(element_type: ElementType) -> bool {
    interface::TensorType::from_element_type(element_type).is_some()
}
