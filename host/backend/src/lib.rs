//! Graphs and the backends that compute them.
//!
//! A [`Backend`] loads a [`Graph`] from a [`ModelSource`]. A [`Graph`] is shared by all its users and computes
//! on the calling thread; its signature is read from the file. Each backend is one module behind a
//! feature, and none falls back to another; [`Backends`] finds them by name. Computing blocks; a
//! [`Cancellation`] ends a computation that takes too long. [`sample`] generates inputs for warming, and [`measure`] compares graphs of one model.
//!
//! Invariant: no async code here, and no input makes a compute panic past its caller. Backends are
//! foreign code, so the threads that call them catch their panics.
#![deny(unsafe_code)]

mod backends;
pub mod bounded_file;
mod cancellation;
#[cfg(feature = "threads")]
pub mod deadline;
mod device;
pub mod format;
#[cfg(feature = "tract")]
mod input_order;
#[cfg(feature = "threads")]
pub mod measure;
pub mod memory;
mod model_source;
#[cfg(feature = "tract")]
mod onnx;
#[cfg(feature = "onnxruntime")]
pub mod onnxruntime;
#[cfg(feature = "tract")]
mod panic;
#[cfg(feature = "tract")]
mod probe;
pub mod process_memory;
pub mod sample;
#[cfg(feature = "tract")]
pub mod tract;

use std::num::NonZeroUsize;
use std::sync::Arc;
use wisp_tensor::{NamedTensor, Signature, TensorError};

pub use backends::Backends;
pub use cancellation::{Cancellation, OnCancel};
pub use device::{Device, UnknownDevice};
pub use format::Format;
pub use model_source::ModelSource;
pub use sample::sample_inputs;

/// An inference backend, which loads model files into graphs.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// Returns the name of the backend in metadata and configuration, such as `tract`.
    fn name(&self) -> &'static str;

    /// Returns the version of the backend, which invalidates stored records of other versions.
    fn version(&self) -> String;

    /// Returns [`BackendError::Unavailable`], with the missing part as its reason, if the
    /// backend cannot load any model.
    fn available(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Returns whether the rows of a batch may be computed faster one by one than together, which the
    /// caller should then measure.
    fn rows_may_be_faster(&self) -> bool {
        false
    }

    /// Reads, checks and optimises a model. Blocks, for seconds with a large model.
    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError>;
}

/// The settings of a model for its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device that computes.
    pub device: Device,
    /// The number of threads that one computation may use, including that of the caller.
    pub threads: NonZeroUsize,
}

impl Default for LoadOptions {
    /// Returns the CPU and one thread, since a server uses its other cores for other requests.
    fn default() -> LoadOptions {
        LoadOptions {
            device: Device::Cpu,
            threads: NonZeroUsize::MIN,
        }
    }
}

/// A loaded model. Lifetime: a model version.
pub trait Graph: Send + Sync + std::fmt::Debug {
    /// Returns names, element types and shapes, with the variable axes that the file declares.
    fn signature(&self) -> &Signature;

    /// Computes every output for `inputs` on this thread.
    ///
    /// The caller has checked the inputs against [`Graph::signature`]; the outputs are
    /// in the order of the signature.
    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError>;

    /// Computes as [`Graph::compute`] does, or returns `None` if inputs of these sizes need a
    /// preparation, which takes milliseconds up to seconds.
    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        Some(self.compute(inputs))
    }

    /// Computes as [`Graph::compute`] does until `cancellation` is set. It then soon returns
    /// [`BackendError::Cancelled`], between two operators of the graph.
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

    /// Computes as [`Graph::compute_prepared`] does until `cancellation` is set.
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

    /// Returns inputs that this graph computes, for warming it and for measuring its compute time.
    ///
    /// They are all zeros with a batch of one. Other variable axes have the smallest size that the graph accepted.
    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        sample_inputs(self.signature())
    }
}

/// The reason that a backend did not load or compute.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no backend `{name}`, expected one of: {}", expected.join(", "))]
    Unknown {
        name: String,
        expected: Vec<&'static str>,
    },
    /// The backend or the requested device is missing on this machine; the reason contains how to install it.
    #[error("{backend} is not available: {reason}")]
    Unavailable {
        backend: &'static str,
        reason: String,
    },
    /// The file cannot be read.
    #[error("failed to read the model file")]
    Read(#[source] std::io::Error),
    /// This backend cannot serve the file; the reason names the operator or input at fault.
    #[error("{backend} cannot load the model: {reason}")]
    Load {
        backend: &'static str,
        reason: String,
    },
    /// These inputs cannot be computed although the signature allows them, for example because of sizes
    /// that an operator of the graph refuses. The reason is for the log and may contain internals.
    #[error("{backend} refused the inputs: {reason}")]
    Inputs {
        backend: &'static str,
        reason: String,
    },
    /// There is not enough memory for this computation beside the running ones; a later attempt may succeed.
    #[error("{backend} has no memory for the computation now: {reason}")]
    Overloaded {
        backend: &'static str,
        reason: String,
    },
    /// The computation was cancelled before it was finished.
    #[error("the computation was cancelled")]
    Cancelled,
    /// The backend failed.
    #[error("{backend} failed: {reason}")]
    Compute {
        backend: &'static str,
        reason: String,
    },
}

impl BackendError {
    /// Returns whether the error is about a backend or device that this machine or build does not have.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            BackendError::Unavailable { .. } | BackendError::Unknown { .. }
        )
    }

    /// Returns the reason without the name of the backend.
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
