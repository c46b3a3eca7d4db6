//! The second embedded backend: rten, which is pure Rust and computes many graphs that tract does not.
//!
//! rten has four element types, and neither limits nor cancellation. [`unsupported`] refuses files that it
//! would compute differently from ONNX Runtime, [`int64`] finds the integers that stay within its 32 bits,
//! [`equivalents`], [`integer_products`] and [`softmax`] rewrite operators that it computes wrongly,
//! [`hidden_nan`] finds graphs whose inputs must not contain NaN, and [`sizes`] determines the memory and the
//! work of a computation before it begins. [`checked`] does all this, [`encode`] writes the file that rten
//! reads, [`graph`] serves the model on threads of [`thread_pools`], and [`convert`] converts tensors.
//!
//! Invariant: nothing is computed, not even a constant while loading, before its size is known.

mod checked;
mod convert;
mod encode;
mod equivalents;
mod failure;
mod graph;
mod hidden_nan;
mod int64;
mod integer_products;
mod rewriter;
mod shared;
mod sizes;
mod softmax;
#[cfg(test)]
mod test_graphs;
mod thread_pools;
mod unsupported;
mod values;

use self::checked::check;
use self::failure::{NAME, guarded, load_error};
use self::graph::RtenGraph;
use self::shared::Shared;
use self::thread_pools::ThreadPools;
use crate::backend::{Backend, LoadOptions};
use crate::device::Device;
use crate::error::BackendError;
use crate::format::Format;
use crate::graph::Graph;
use crate::memory;
use crate::model_folder::ModelFolder;
use crate::model_source::ModelSource;
use crate::onnx;
use rten::ModelOptions;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use wisp_tensor::NamedTensor;
use wisp_tensor::memory_budget::MemoryBudget;

/// The version in the lock file; a test compares the two.
const VERSION: &str = "0.27.0";

/// The stack on which a model is loaded, in bytes.
const STACK_BYTES: usize = 16 << 20;

/// The rten backend. Lifetime: the process.
#[derive(Debug)]
pub struct Rten {
    shared: Arc<Shared>,
}

// === impl Rten ===

impl Default for Rten {
    fn default() -> Rten {
        Rten::new()
    }
}

impl Rten {
    /// Returns the backend with the memory budget of [`memory::compute_budget`].
    pub fn new() -> Rten {
        Rten::with_memory(memory::compute_budget())
    }

    /// Returns the backend with a budget for all its computations together.
    pub fn with_memory(memory: Arc<MemoryBudget>) -> Rten {
        let pools = ThreadPools::default();
        Rten {
            shared: Arc::new(Shared { memory, pools }),
        }
    }
}

impl Backend for Rten {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        if let Device::Cuda(_) = options.device {
            return Err(BackendError::Unavailable {
                backend: NAME,
                reason: "it computes on CPUs only".to_owned(),
            });
        }
        if source.format() == Format::Nnef {
            return Err(load_error("it reads ONNX; NNEF is tract's".to_owned()));
        }
        let mut model = onnx::read(source, NAME)?;
        onnx::fix_shapes(&mut model, &options.shapes).map_err(load_error)?;
        let folder = source.folder();
        onnx::load_with_defaults(model, |model, values| {
            self.load_model(model, folder.as_ref(), (options.threads, values))
        })
    }
}

impl Rten {
    /// Loads `model`, whose external data is in `folder`, for computations on a number of threads. `values`
    /// are those of inputs for a trial computation.
    fn load_model(
        &self,
        mut model: ModelProto,
        folder: Option<&ModelFolder>,
        (threads, values): (NonZeroUsize, &[NamedTensor]),
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let checked = check(&mut model, folder, values).map_err(load_error)?;
        // Constants are folded while the model is loaded, so their sizes are known by now.
        let content = encode::encode(model).map_err(load_error)?;
        on_large_stack(|| {
            let mut loading = ModelOptions::with_all_ops();
            loading.prepack_weights(true);
            let loaded = guarded(|| loading.load(content).map_err(|error| error.to_string()));
            let loaded = loaded.map_err(|failure| load_error(failure.into_reason()))?;
            let graph = RtenGraph::new(loaded, checked, (threads, &self.shared))?;
            Ok(Arc::new(graph) as Arc<dyn Graph>)
        })
    }
}

/// Calls `load` on a thread with a stack of [`STACK_BYTES`]. Later computations find the plan made here.
fn on_large_stack(
    load: impl FnOnce() -> Result<Arc<dyn Graph>, BackendError> + Send,
) -> Result<Arc<dyn Graph>, BackendError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("rten-load".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn_scoped(scope, load);
        let loading = thread.map_err(|error| load_error(format!("no thread: {error}")))?;
        let loaded = loading.join();
        loaded.unwrap_or_else(|_| Err(load_error("a panic while loading".to_owned())))
    })
}

#[cfg(test)]
mod tests;
