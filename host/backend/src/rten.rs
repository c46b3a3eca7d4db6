//! The second embedded backend: rten, which is pure Rust and computes many graphs that tract does not.
//!
//! rten has four element types, and neither limits nor cancellation. [`unsupported`] refuses files that it
//! would compute differently from ONNX Runtime, [`int64`] finds the integers that stay within its 32 bits,
//! [`equivalents`],
//! [`integer_products`] and [`softmax`] rewrite operators that it computes wrongly, and [`sizes`] determines the
//! memory and the work of a computation before it begins. [`encode`] writes the file that rten reads,
//! [`graph`] serves the model, and [`convert`] converts tensors.
//!
//! Invariant: nothing is computed, not even a constant while loading, before its size is known.

mod convert;
mod encode;
mod equivalents;
mod graph;
mod int64;
mod integer_products;
mod rewriter;
mod sizes;
mod softmax;
#[cfg(test)]
mod test_graphs;
mod unsupported;
mod values;

use self::graph::RtenGraph;
use self::int64::IntegerLimits;
use self::sizes::Outline;
use crate::backend::{Backend, LoadOptions};
use crate::device::Device;
use crate::error::BackendError;
use crate::format::Format;
use crate::graph::Graph;
use crate::memory;
use crate::model_folder::ModelFolder;
use crate::model_source::ModelSource;
use crate::onnx::{self, AxisSymbols, DeclaredSignature, OperatorInputs};
use crate::panic::catch;
use crate::refusal::Refusal;
use crate::rows::Rows;
use rten::ModelOptions;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use wisp_tensor::memory_budget::MemoryBudget;
use wisp_tensor::sanitize::shorten;
use wisp_tensor::{Dimension, NamedTensor};

const NAME: &str = "rten";

/// The version in the lock file; a test compares the two.
const VERSION: &str = "0.27.0";

/// The maximum length of a reason. rten's own messages may contain lists of shapes.
const MAX_REASON_CHARS: usize = 300;

/// The rten backend. Lifetime: the process.
#[derive(Debug)]
pub struct Rten {
    memory: Arc<MemoryBudget>,
}

/// The failure of a call into rten. The messages are for the log.
enum Failure {
    /// rten returned an error.
    Refused(String),
    /// rten panicked.
    Panicked(String),
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
        Rten { memory }
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
        let mut loading = ModelOptions::with_all_ops();
        loading.prepack_weights(true);
        let loaded = guarded(|| loading.load(content).map_err(|error| error.to_string()));
        let loaded = loaded.map_err(|failure| load_error(failure.into_reason()))?;
        let graph = RtenGraph::new(loaded, checked, (threads, &self.memory))?;
        Ok(Arc::new(graph))
    }
}

/// A model as far as it is known before rten loads it.
struct Checked {
    declared: DeclaredSignature,
    rows: Rows,
    outline: Outline,
    limits: IntegerLimits,
    operators: OperatorInputs,
    symbols: AxisSymbols,
    /// The shapes of outputs that the file declares.
    declared_outputs: Vec<Option<Vec<Dimension>>>,
    /// The values of inputs for a trial computation.
    values: Vec<NamedTensor>,
}

/// Checks the model in `model`, whose external data is in `folder`, and rewrites it for rten. `values` are
/// those of inputs for a trial computation.
fn check(
    model: &mut ModelProto,
    folder: Option<&ModelFolder>,
    values: &[NamedTensor],
) -> Result<Checked, String> {
    onnx::check_counts(model)?;
    // Before the rewrites, so that errors have the names of the file.
    let operators = OperatorInputs::of(model);
    onnx::prepare(model);
    let rows = onnx::rows(model);
    onnx::remove_value_info(model);
    softmax::rewrite(model);
    integer_products::rewrite(model);
    equivalents::rewrite(model);
    unsupported::check(model)?;
    onnx::read_external_tensors(model, folder)?;
    let graph = (model.graph.as_ref()).ok_or("the file contains no graph")?;
    let checked = guarded(|| {
        Ok(Checked {
            declared: DeclaredSignature::of(graph)?,
            rows,
            outline: Outline::new(model)?,
            limits: IntegerLimits::of(model)?,
            operators,
            symbols: AxisSymbols::of(graph),
            declared_outputs: onnx::declared_outputs(graph),
            values: values.to_vec(),
        })
    });
    checked.map_err(Failure::into_reason)
}

/// Calls `f` and turns its error or panic into a [`Failure`].
///
/// Catching the unwinding is safe here: everything that `f` leaves half done is dropped with it, and
/// computing does not change the model that it reads.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, Failure> {
    match catch(f) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(Failure::Refused(shorten(&reason, MAX_REASON_CHARS))),
        Err(message) => Err(Failure::Panicked(shorten(&message, MAX_REASON_CHARS))),
    }
}

impl Failure {
    /// Returns the message, with a panic marked as one.
    fn into_reason(self) -> String {
        match self {
            Failure::Refused(reason) => reason,
            Failure::Panicked(message) => format!("panic: {message}"),
        }
    }
}

fn load_error(reason: String) -> BackendError {
    BackendError::Load {
        backend: NAME,
        reason,
    }
}

fn inputs_error(reason: String) -> BackendError {
    BackendError::refused(NAME, Refusal::new(reason))
}

/// Returns the error for a run that an operator has refused with this message.
fn refused_run(message: String, operators: &OperatorInputs) -> BackendError {
    let refusal = match failed_operator(&message) {
        Some((name, said)) => {
            Refusal::of_message(message.clone(), said).at(&operators.find(name, ""))
        }
        None => Refusal::new(message),
    };
    BackendError::refused(NAME, refusal)
}

/// Returns the name of the innermost operator that failed, and its own message.
fn failed_operator(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.rsplit_once("operator \"")?;
    let (name, said) = rest.split_once("\" failed: ")?;
    // The shapes of the inputs follow.
    let said = said
        .split_once(". Inputs were")
        .map_or(said, |(said, _)| said);
    Some((name, said))
}

#[cfg(test)]
mod tests;
