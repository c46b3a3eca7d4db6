//! Graphs and the engines that compute them.
//!
//! A [`Backend`] loads a [`Graph`] from a model file; a [`Graph`] is shared by all its users and
//! computes on the calling thread, with its signature known from the file. [`worker`] gives a graph
//! OS threads of its own behind a bounded queue, because computing blocks; a [`Cancellation`] ends a
//! computation that takes too long. [`sample`] makes inputs up
//! for whoever warms a graph, [`measure`] compares graphs of one model. Each engine is one module, on by feature; none falls back
//! to another. [`Backends`] finds them by name.
//!
//! Invariant: nothing here is async, and no input makes a compute panic past its caller: engines
//! are foreign code, so the worker catches what they throw.
#![deny(unsafe_code)]

mod backends;
pub mod bounded_file;
mod cancellation;
#[cfg(feature = "threads")]
pub mod deadline;
mod device;
pub mod format;
#[cfg(feature = "threads")]
pub mod measure;
pub mod memory;
#[cfg(feature = "tract")]
mod one_line;
#[cfg(feature = "tract")]
mod onnx;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(feature = "tract")]
mod ordered;
#[cfg(feature = "tract")]
mod panic;
#[cfg(feature = "tract")]
mod probe;
pub mod process_memory;
#[cfg(feature = "threads")]
mod rows;
pub mod sample;
#[cfg(feature = "tract")]
pub mod tract;
#[cfg(feature = "threads")]
pub mod worker;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use wisp_tensor::{NamedTensor, Signature, TensorError};

pub use backends::Backends;
pub use cancellation::{Cancellation, OnCancel};
pub use device::{Device, UnknownDevice};
pub use format::Format;
pub use sample::sample_inputs;

/// An inference engine: turns model files into graphs.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// The engine's name in metadata and configuration, such as `tract`.
    fn name(&self) -> &'static str;

    /// Its version, which a record of what it did is compared with.
    fn version(&self) -> String;

    /// Whether it can load anything at all: [`BackendError::Unavailable`] says what is missing.
    fn available(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Read, check and optimise the model file at `path`. Blocks, for seconds with a large model.
    fn load(&self, path: &Path, options: &LoadOptions) -> Result<Arc<dyn Graph>, BackendError>;
}

/// What a model asks of its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where it computes.
    pub device: Device,
    /// Threads that one compute may use, the caller's included.
    pub threads: NonZeroUsize,
}

impl Default for LoadOptions {
    /// The processor, one thread: a server uses its other cores for other requests.
    fn default() -> LoadOptions {
        LoadOptions {
            device: Device::Cpu,
            threads: NonZeroUsize::MIN,
        }
    }
}

/// A loaded model. Lifetime: a model version.
pub trait Graph: Send + Sync + std::fmt::Debug {
    /// Names, element types and shapes, variable axes as the file declares them.
    fn signature(&self) -> &Signature;

    /// Compute every output for `inputs`, on this thread.
    ///
    /// The inputs have met [`Graph::signature`]; the outputs come in its order.
    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError>;

    /// Compute as [`Graph::compute`] does if that needs no preparation for inputs of these sizes;
    /// `None` if it does, which takes milliseconds up to seconds.
    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        Some(self.compute(inputs))
    }

    /// Compute as [`Graph::compute`] does, until `cancellation` is set: it then fails soon with
    /// [`BackendError::Cancelled`], between two of the graph's operators.
    fn compute_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        match cancellation.is_cancelled() {
            true => Err(BackendError::Cancelled),
            false => self.compute(inputs),
        }
    }

    /// Compute as [`Graph::compute_prepared`] does, until `cancellation` is set.
    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        match cancellation.is_cancelled() {
            true => Some(Err(BackendError::Cancelled)),
            false => self.compute_prepared(inputs),
        }
    }

    /// Inputs of no meaning that this graph computes, to warm it and to measure how long it takes.
    ///
    /// All zeros, batch of one; other variable axes as small as the graph was found to take them.
    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        sample_inputs(self.signature())
    }
}

/// Why an engine did not load or compute.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No engine has this name.
    #[error("there is no backend `{name}`, expected one of: {}", expected.join(", "))]
    Unknown {
        name: String,
        expected: Vec<&'static str>,
    },
    /// The engine, or the device it was asked for, is not on this machine; the text says how to get it.
    #[error("{engine} is not available: {reason}")]
    Unavailable {
        engine: &'static str,
        reason: String,
    },
    /// The file cannot be read.
    #[error("failed to read the model file")]
    Read(#[source] std::io::Error),
    /// The file is no model this engine can serve; the text names the operator or input at fault.
    #[error("{engine} cannot load the model: {reason}")]
    Load {
        engine: &'static str,
        reason: String,
    },
    /// These inputs cannot be computed, although the signature allows them: sizes the graph's own
    /// operators refuse. The text is for the log; it may name internals.
    #[error("{engine} refused the inputs: {reason}")]
    Inputs {
        engine: &'static str,
        reason: String,
    },
    /// There is no memory for this computation beside those that run now; later there may be.
    #[error("{engine} has no memory for the computation now: {reason}")]
    Overloaded {
        engine: &'static str,
        reason: String,
    },
    /// The computation was told to stop before it was finished.
    #[error("the computation was cancelled")]
    Cancelled,
    /// The engine failed.
    #[error("{engine} failed: {reason}")]
    Compute {
        engine: &'static str,
        reason: String,
    },
}

impl BackendError {
    /// Whether an engine or device was asked for that this machine, or this build, does not have.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            BackendError::Unavailable { .. } | BackendError::Unknown { .. }
        )
    }

    /// What was at fault, without the engine's name.
    #[cfg(feature = "tract")]
    fn into_reason(self) -> String {
        match self {
            BackendError::Unavailable { reason, .. }
            | BackendError::Load { reason, .. }
            | BackendError::Inputs { reason, .. }
            | BackendError::Overloaded { reason, .. }
            | BackendError::Compute { reason, .. } => reason,
            BackendError::Unknown { .. } | BackendError::Read(_) | BackendError::Cancelled => {
                self.to_string()
            }
        }
    }
}
