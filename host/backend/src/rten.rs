//! The second embedded backend: rten, which is pure Rust and computes many graphs that tract does not.
//!
//! rten has four element types, and neither limits nor cancellation. [`unsupported`] refuses files that it
//! would compute differently from ONNX Runtime, [`int64`] finds the integers that stay within its 32 bits,
//! [`equivalents`], [`integer_products`] and [`softmax`] rewrite operators that it computes wrongly,
//! [`inner_nan`] keeps NaN that arises in a graph, [`hidden_nan`] finds graphs whose inputs must not contain it, and [`sizes`] determines the memory and the
//! work of a computation before it begins. [`checked`] does all this, [`encode`] writes the file that rten
//! reads, [`graph`] serves the model on threads of [`thread_pools`], and [`convert`] converts tensors.
//!
//! A model can also be split into a graph and its weights, with all checks and rewrites ([`mod@split`]). It is then
//! loaded without a copy of the weights, and without the properties being determined again that depend on
//! them ([`stored_properties`]).
//!
//! Invariant: nothing is computed, not even a constant while loading, before its size is known.

mod checked;
mod convert;
mod encode;
mod equivalents;
mod failure;
mod graph;
mod hidden_nan;
mod inner_nan;
mod int64;
mod integer_products;
mod operator_set;
mod saturation;
mod shared;
mod sizes;
mod softmax;
#[cfg(feature = "threads")]
mod split;
mod stored_properties;
#[cfg(feature = "threads")]
mod thread_pools;
#[cfg(not(feature = "threads"))]
#[path = "rten/without_threads.rs"]
mod thread_pools;
mod unsupported;

pub use self::operator_set::OperatorSet;
#[cfg(feature = "threads")]
pub use self::split::SplitModel;

use self::checked::{Checked, check};
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
use crate::model_source::ModelSource;
use crate::onnx;
use crate::pb::ModelProto;
use rten::ModelOptions;
use std::num::NonZeroUsize;
use std::sync::Arc;
use wisp_tensor::memory_budget::MemoryBudget;

/// The version in the lock file; a test compares the two.
const VERSION: &str = "0.27.0";

/// The stack on which a model is loaded, in bytes.
#[cfg(feature = "threads")]
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
        let model = read(source, options)?;
        let folder = source.folder();
        onnx::load_with_defaults(model, |mut model, values| {
            let checked = check(&mut model, folder.as_ref(), values).map_err(load_error)?;
            let graph = self.load_checked(model, checked, options.threads)?;
            Ok(Arc::new(graph) as Arc<dyn Graph>)
        })
    }
}

impl Rten {
    /// Loads the result of [`split()`], without a trial computation, for computations on one thread.
    ///
    /// The weights are used where they are, and have to be aligned to 64 bytes. All operators of the graph have to be
    /// among `operators`.
    pub fn load_split(
        &self,
        graph: &'static [u8],
        weights: &'static [u8],
        operators: OperatorSet,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let properties = stored_properties::read(&onnx::decode(graph, NAME)?);
        let properties = properties.map_err(load_error)?;
        on_large_stack(|| {
            // Packed weights would be a second copy of them.
            let mut loading = ModelOptions::with_ops((operators.registry)());
            loading.external_data_static(encode::WEIGHTS_NAME, weights);
            let loaded = guarded(|| {
                let loaded = loading.load_static_slice(graph);
                loaded.map_err(|error| error.to_string())
            });
            let loaded = loaded.map_err(|failure| load_error(failure.into_reason()))?;
            let threads = (NonZeroUsize::MIN, &self.shared);
            let graph = RtenGraph::untried(loaded, properties, threads)?;
            graph.prepare_sample();
            Ok(Arc::new(graph) as Arc<dyn Graph>)
        })
    }

    /// Loads a model that has been checked, for computations on a number of threads.
    fn load_checked(
        &self,
        model: ModelProto,
        checked: Checked,
        threads: NonZeroUsize,
    ) -> Result<RtenGraph, BackendError> {
        // Constants are folded while the model is loaded, so their sizes are known by now.
        let content = encode::encode(model).map_err(load_error)?;
        on_large_stack(|| {
            let mut loading = ModelOptions::with_all_ops();
            loading.prepack_weights(true);
            let loaded = guarded(|| loading.load(content).map_err(|error| error.to_string()));
            let loaded = loaded.map_err(|failure| load_error(failure.into_reason()))?;
            RtenGraph::new(loaded, checked, (threads, &self.shared))
        })
    }
}

/// Splits a model into a graph and its weights, for [`Rten::load_split`]. It is loaded on the way, so that
/// everything is refused that [`Backend::load`] refuses.
#[cfg(feature = "threads")]
pub fn split(source: ModelSource<'_>, options: &LoadOptions) -> Result<SplitModel, BackendError> {
    let mut model = read(source, options)?;
    if let Some(input) = onnx::optional_inputs(&model).first() {
        let name = &input.spec.name;
        return Err(load_error(format!(
            "input `{name}` has a default, which a graph without its weights cannot have"
        )));
    }
    let folder = source.folder();
    let checked = check(&mut model, folder.as_ref(), &[]).map_err(load_error)?;
    let loaded = Rten::new().load_checked(model.clone(), checked, options.threads)?;
    split::split(model, &loaded).map_err(load_error)
}

/// Reads a model, with the shapes of its settings.
fn read(source: ModelSource<'_>, options: &LoadOptions) -> Result<ModelProto, BackendError> {
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
    Ok(model)
}

/// Calls `load` on a thread with a stack of [`STACK_BYTES`]. Later computations find the plan made here.
#[cfg(feature = "threads")]
fn on_large_stack<T: Send>(
    load: impl FnOnce() -> Result<T, BackendError> + Send,
) -> Result<T, BackendError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("rten-load".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn_scoped(scope, load);
        let loading = thread.map_err(|error| load_error(format!("no thread: {error}")))?;
        let loaded = loading.join();
        loaded.unwrap_or_else(|_| Err(load_error("a panic while loading".to_owned())))
    })
}

/// Calls `load` on this thread, whose stack the linker has made large enough.
#[cfg(not(feature = "threads"))]
fn on_large_stack<T>(load: impl FnOnce() -> Result<T, BackendError>) -> Result<T, BackendError> {
    load()
}

#[cfg(test)]
mod tests;
