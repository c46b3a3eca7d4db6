//! Graphs and the engines that compute them.
//!
//! A [`Backend`] loads a [`Graph`] from a model file; a [`Graph`] is shared by all its users and
//! computes on the calling thread, with its signature known from the file. [`worker`] gives a graph
//! OS threads of its own behind a bounded queue, because computing blocks. [`sample`] makes inputs up
//! for whoever measures or warms a graph. Each engine is one module, on by feature; none falls back
//! to another.
//!
//! Invariant: nothing here is async, and no input makes a compute panic past its caller: engines
//! are foreign code, so the worker catches what they throw.
#![forbid(unsafe_code)]

#[cfg(feature = "tract")]
mod onnx;
#[cfg(feature = "tract")]
mod panic;
pub mod sample;
#[cfg(feature = "tract")]
pub mod tract;
#[cfg(feature = "threads")]
pub mod worker;

use std::path::Path;
use std::sync::Arc;
use wisp_tensor::{NamedTensor, Signature, TensorError};

pub use sample::sample_inputs;

/// An inference engine: turns model files into graphs.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// The engine's name in metadata and configuration, such as `tract`.
    fn name(&self) -> &'static str;

    /// Read, check and optimise the model file at `path`. Blocks, for seconds with a large model.
    fn load(&self, path: &Path) -> Result<Arc<dyn Graph>, BackendError>;
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
    /// The engine failed.
    #[error("{engine} failed: {reason}")]
    Compute {
        engine: &'static str,
        reason: String,
    },
}
