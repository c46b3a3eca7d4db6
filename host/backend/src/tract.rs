//! The embedded backend: tract, which is pure Rust, natively and in Wasm.
//!
//! A file is read once into a typed model with symbols for its variable axes ([`model`]). tract is
//! several times faster with all sizes given, so a symbolic plan is never run. The first request of each
//! set of sizes specialises and optimises the model, and the plan is kept ([`plan_cache`]) with checks on
//! values in requests ([`checked_plan`]). Plans share equal constants ([`shared_constants`]). Nodes that tract reads wrongly are rewritten first
//! ([`equivalents`]), and before a plan is optimised, operators whose results are wrong or whose
//! kernels are slow are replaced ([`corrections`]). Every call that processes untrusted data goes through
//! [`guard`]. Computations stay on the calling thread; tract's own threads are not used.
//!
//! Invariant: all state of a run is created for that run and dropped with it, so no data of one request
//! is available to the next, not even in recurrent operators.

mod branches;
mod cast;
mod checked_plan;
mod conditional;
mod convert;
mod corrections;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "tract/without_cuda.rs"]
mod cuda;
mod dequantize;
mod draft;
mod equivalents;
mod extremum;
mod float_function;
mod global_norm;
mod guard;
mod initializer;
mod inner_gather;
mod integer_math;
mod ml;
mod model;
mod model_signature;
mod nnef;
mod node_check;
mod open_slices;
mod operators;
mod output_volume;
mod parse;
mod plan_cost;
mod pool_maximum;
mod positions;
mod quantize;
mod recurrence;
mod recurrent_cell;
mod reduce;
mod replacement;
mod scatter_extremum;
mod shared_constants;
mod size_limits;
mod sized_condition;
mod sized_deconvolution;
mod softmax;
mod symbolic_equal;
mod unsupported_ops;
mod variable_axis;
mod zero_product;

use self::checked_plan::{CheckedPlan, RunFailure};
use self::convert::{from_tract, to_tract};
use self::corrections::before_optimization;
use self::guard::{GuardError, guarded};
use self::model::SymbolicModel;
use self::node_check::check_broadcasts;
use self::plan_cost::check_plan_cost;
use self::shared_constants::SharedConstants;
use self::size_limits::{MAX_LIVE_BYTES, MAX_VALUE_BYTES, check_value_sizes};
use crate::backend::{Backend, LoadOptions};
use crate::cancellation::Cancellation;
use crate::device::Device;
use crate::error::BackendError;
use crate::format::Format;
use crate::graph::Graph;
use crate::input_order::in_signature_order;
use crate::memory;
use crate::model_folder::ModelFolder;
use crate::model_source::ModelSource;
use crate::observed_shapes::contradictions;
use crate::onnx::{self, OperatorInputs};
use crate::plan_cache::PlanCache;
use crate::probe::{TimeLimit, probe};
use crate::refusal::Refusal;
use crate::rows::Rows;
use crate::sample::Sample;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{IntoRunnable, SymbolValues, TValue, TVec, TractError, TractResult};
use tract_onnx::tract_core::internal::{ensure, format_err};
use tract_onnx::tract_core::runtime::Runtime;
use wisp_tensor::memory_budget::MemoryBudget;
use wisp_tensor::{NamedTensor, Signature, Tensor, TensorError};

const NAME: &str = "tract";

/// The version in the lock file; a test compares the two.
const VERSION: &str = "0.23.9";

/// The memory of one graph's plans together, in bytes of constants, if each had its own. Plans whose kernels are the same
/// share their packed weights ([`shared_constants`]).
const PLAN_BYTES: usize = 256 << 20;

/// The minimum number of plans of a graph, however large its constants are: a batch of one, a full batch, and two in
/// between.
const MIN_PLANS: usize = 4;

/// The maximum number of plans of a graph: every batch size up to 32, at two sequence lengths. The automatic choice of
/// batching takes only sizes whose plans fit ([`Graph::preparation_capacity`]).
const MAX_PLANS: usize = 64;

type Plan = Result<Arc<CheckedPlan>, GuardError>;

/// The tract backend. Lifetime: the process.
#[derive(Debug)]
pub struct Tract {
    memory: Arc<MemoryBudget>,
}

/// A model loaded by [`Tract`]. Lifetime: a model version.
#[derive(Debug)]
struct TractGraph {
    symbolic: SymbolicModel,
    rows: Rows,
    plans: PlanCache<Plan>,
    constants: SharedConstants,
    /// The sample inputs that the graph was found to compute.
    sample: Sample,
    /// The declarations of outputs in the file that typing has shown to be wrong.
    wrong_declarations: Vec<String>,
    /// The runtime that prepares its plans, if it is not the CPU's.
    runtime: Option<&'static dyn Runtime>,
    /// The memory budget of all computations of the backend.
    memory: Arc<MemoryBudget>,
}

// === impl Tract ===

impl Default for Tract {
    fn default() -> Tract {
        Tract::new()
    }
}

impl Tract {
    /// Returns the backend with the memory budget of [`memory::compute_budget`].
    pub fn new() -> Tract {
        Tract::with_memory(memory::compute_budget())
    }

    /// Returns the backend with a budget for all its computations together. Each value may take half of it.
    pub fn with_memory(memory: Arc<MemoryBudget>) -> Tract {
        Tract { memory }
    }

    /// Returns the graph after a trial computation, with these values of inputs. `runtime` computes it on
    /// another device than the CPU.
    fn serve(
        &self,
        (symbolic, rows): (SymbolicModel, Rows),
        runtime: Option<&'static dyn Runtime>,
        values: &[NamedTensor],
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let capacity = PLAN_BYTES / symbolic.constant_bytes().max(1);
        let mut graph = TractGraph {
            symbolic,
            rows,
            plans: PlanCache::new(capacity.clamp(MIN_PLANS, MAX_PLANS)),
            constants: SharedConstants::default(),
            sample: Sample::default(),
            wrong_declarations: Vec::new(),
            runtime,
            memory: Arc::clone(&self.memory),
        };
        graph.probe(values)?;
        graph.wrong_declarations = contradictions(&graph.symbolic.declared, graph.signature());
        Ok(Arc::new(graph))
    }
}

/// Returns the content of an ONNX file with the data of other files in it, for a tract that has no files.
///
/// # Errors
/// Fails if the data cannot be read, or if the file with its data has more than 2 GiB.
pub fn self_contained(source: ModelSource<'_>) -> Result<Vec<u8>, BackendError> {
    crate::self_contained::self_contained(source, NAME)
}

impl Backend for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    /// Returns `true`, since tract fuses convolutions only for a batch of one.
    fn rows_may_be_faster(&self) -> bool {
        true
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let runtime = match options.device {
            Device::Cpu => None,
            Device::Cuda(index) => {
                let found = cuda::runtime(index);
                Some(found.map_err(|reason| BackendError::Unavailable {
                    backend: NAME,
                    reason,
                })?)
            }
        };
        if source.format() == Format::Nnef {
            if !options.shapes.is_empty() {
                let reason = "the shapes of inputs can be set for ONNX files only".to_owned();
                return Err(load_error(GuardError::Refused(reason)));
            }
            let symbolic = nnef::load(source).and_then(SymbolicModel::of_nnef);
            let symbolic = symbolic.map_err(load_error)?;
            return self.serve((symbolic, nnef::rows()), runtime, &[]);
        }
        let mut proto = onnx::read(source, NAME)?;
        let fixed = onnx::fix_shapes(&mut proto, &options.shapes).map_err(GuardError::Refused);
        fixed.map_err(load_error)?;
        let folder = source.folder();
        onnx::load_with_defaults(proto, |proto, values| {
            let loaded = of_onnx(proto, folder.as_ref()).map_err(load_error)?;
            self.serve(loaded, runtime, values)
        })
    }
}

/// Returns the model in `proto` with types and symbols, and the relation between its rows. Its external data is
/// in `folder`.
fn of_onnx(
    mut proto: ModelProto,
    folder: Option<&ModelFolder>,
) -> Result<(SymbolicModel, Rows), GuardError> {
    onnx::check_counts(&proto).map_err(GuardError::Refused)?;
    // Before the rewrites, so that errors have the names of the file.
    let operators = OperatorInputs::of(&proto);
    // tract follows no links out of the folder.
    if onnx::has_linked_data(&proto, folder) {
        onnx::read_external_tensors(&mut proto, folder).map_err(GuardError::Refused)?;
    }
    onnx::widen_half_precision(&mut proto, folder).map_err(GuardError::Refused)?;
    onnx::prepare(&mut proto);
    let rows = onnx::rows(&proto);
    onnx::equivalents::rewrite(&mut proto);
    equivalents::rewrite(&mut proto);
    let mut symbolic = SymbolicModel::load(&proto, folder)?;
    symbolic.operators = operators;
    Ok((symbolic, rows))
}

fn load_error(error: GuardError) -> BackendError {
    BackendError::Load {
        backend: NAME,
        reason: error.into_reason(),
    }
}

fn inputs_error(reason: String) -> BackendError {
    BackendError::refused(NAME, Refusal::new(reason))
}

fn compute_error(error: GuardError) -> BackendError {
    match error {
        GuardError::Value(refusal) | GuardError::Inputs(refusal) => {
            BackendError::refused(NAME, refusal)
        }
        GuardError::NoMemory(reason) => BackendError::Overloaded {
            backend: NAME,
            reason,
        },
        GuardError::Cancelled => BackendError::Cancelled,
        error => BackendError::Compute {
            backend: NAME,
            reason: error.into_reason(),
        },
    }
}

// === impl TractGraph ===

impl TractGraph {
    /// Computes once, so that a model that tract types but cannot run fails when it is deployed. The
    /// inputs are zeros, or ones if the graph does not compute with zeros, except for those in `values`.
    ///
    /// A graph that computes at none of the sizes tried is refused: the sizes suit usual models, so an
    /// operator that fails at every size is the more likely cause.
    fn probe(&mut self, values: &[NamedTensor]) -> Result<(), BackendError> {
        let SymbolicModel {
            signature, symbols, ..
        } = &self.symbolic;
        let found = probe(signature, symbols, |inputs| {
            let inputs = onnx::with_values(inputs.to_vec(), values);
            let ordered = in_signature_order(signature, &inputs).map_err(inputs_error)?;
            let plan = self.plan(&self.sizes(&ordered))?;
            // The limit does not include the preparation.
            let limit = TimeLimit::start();
            match self.run(&plan, &ordered, limit.cancellation()) {
                // Encoders may refuse zeros and empty strings; the operators themselves are supported.
                Ok(_) | Err(GuardError::Value(_)) => Ok(()),
                Err(error) => Err(compute_error(error)),
            }
        });
        let (sample, ()) = found.map_err(|unprobed| BackendError::Load {
            backend: NAME,
            reason: unprobed.into_reason(),
        })?;
        self.sample = sample;
        Ok(())
    }

    /// Returns the sizes of the variable axes in these inputs.
    fn sizes(&self, ordered: &[&Tensor]) -> TVec<u32> {
        self.symbolic
            .variable_axes
            .iter()
            .map(|axis| ordered[axis.input].shape().dimensions()[axis.axis])
            .collect()
    }

    /// Returns the plan for these sizes of the variable axes, which is built now if they are new.
    fn plan(&self, sizes: &[u32]) -> Result<Arc<CheckedPlan>, BackendError> {
        if let Some(plan) = self.built_plan(sizes) {
            return plan;
        }
        // Checked before a slot is allocated: impossible sizes must not evict a plan that is in use.
        let values = self.symbolic.bind(sizes).map_err(inputs_error)?;
        let slot = self.plans.slot(sizes);
        let build = || match self.build(&values) {
            // tract checks few sizes for zero.
            Err(GuardError::Panicked(message)) if sizes.contains(&0) => {
                Err(GuardError::Refused(format!("an axis of size 0: {message}")))
            }
            plan => plan,
        };
        usable(slot.get_or_init(build))
    }

    fn built_plan(&self, sizes: &[u32]) -> Option<Result<Arc<CheckedPlan>, BackendError>> {
        self.plans.find(sizes)?.get().map(usable)
    }

    fn build(&self, values: &SymbolValues) -> Plan {
        let capacity = i64::try_from(self.memory.capacity()).unwrap_or(i64::MAX);
        guarded(|| {
            let sizes = values.to_dim_map();
            let mut concrete = self.symbolic.concrete(&sizes)?;
            check_broadcasts(&concrete)?;
            check_value_sizes(&concrete, MAX_VALUE_BYTES.min(capacity / 2))?;
            let max_live = MAX_LIVE_BYTES.min(capacity.unsigned_abs());
            let live = check_plan_cost(&concrete, max_live)?;
            let plan = match self.runtime {
                None => {
                    before_optimization(&mut concrete, &sizes)?;
                    let mut optimized = concrete.into_optimized()?;
                    self.constants.share(&mut optimized)?;
                    optimized.into_runnable()?
                }
                Some(runtime) => {
                    let prepared = runtime.prepare(concrete)?;
                    let plan = prepared.typed_plan().cloned();
                    plan.ok_or_else(|| format_err!("the runtime returned no plan"))?
                }
            };
            CheckedPlan::new(plan, live, &self.memory).map(Arc::new)
        })
    }

    fn run(
        &self,
        plan: &CheckedPlan,
        ordered: &[&Tensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, GuardError> {
        let inputs = || {
            let specs = self.signature().inputs.iter();
            let specs = specs.zip(&self.symbolic.input_types);
            let inputs = ordered
                .iter()
                .zip(specs)
                .map(|(tensor, (spec, datum_type))| {
                    let of_input =
                        |error: TractError| error.context(format!("input `{}`", spec.name));
                    to_tract(tensor, *datum_type).map_err(of_input)
                });
            inputs.collect::<TractResult<_>>()
        };
        let outputs = |computed| self.named(computed);
        let is_empty = ordered.iter().any(|input| input.content().is_empty());
        let run = plan.run(cancellation, inputs, outputs);
        run.map_err(|failure| match self.explained(failure) {
            // tract checks few sizes for zero.
            GuardError::Panicked(message) if is_empty => {
                GuardError::Inputs(Refusal::of_message(message, "an input has no elements"))
            }
            error => error,
        })
    }

    /// Returns the outputs with their names.
    fn named(&self, computed: TVec<TValue>) -> TractResult<Vec<NamedTensor>> {
        let outputs = &self.symbolic.signature.outputs;
        ensure!(
            computed.len() == outputs.len(),
            "{} outputs were computed",
            computed.len()
        );
        computed
            .into_iter()
            .zip(outputs)
            .map(|(output, spec)| {
                Ok(NamedTensor {
                    name: spec.name.clone(),
                    tensor: from_tract(output, spec.element_type)?,
                })
            })
            .collect()
    }

    /// Adds the operator of the file at which a run failed.
    fn explained(&self, failure: RunFailure) -> GuardError {
        let RunFailure { error, operator } = failure;
        let Some(operator) = operator else {
            return error;
        };
        let at = |refusal: Refusal| {
            let operator = self.symbolic.operators.find(&operator.name, "");
            refusal.at(&operator)
        };
        match error {
            GuardError::Value(refusal) => GuardError::Value(at(refusal)),
            // Another device than the CPU may fail for reasons of its own.
            GuardError::Inputs(refusal) if self.runtime.is_some() && !operator.takes_numbers => {
                GuardError::Refused(refusal.reason)
            }
            GuardError::Inputs(refusal) => GuardError::Inputs(at(refusal)),
            error => error,
        }
    }

    /// Computes with a plan that is built if necessary.
    fn try_compute(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Result<Vec<NamedTensor>, GuardError>, BackendError> {
        let ordered = in_signature_order(self.signature(), inputs).map_err(inputs_error)?;
        let plan = self.plan(&self.sizes(&ordered))?;
        Ok(self.run(&plan, &ordered, cancellation))
    }
}

/// Returns the plan in a slot. A failure is stored like a plan, since another attempt would
/// fail again at the same cost.
fn usable(plan: &Plan) -> Result<Arc<CheckedPlan>, BackendError> {
    match plan {
        Ok(plan) => Ok(Arc::clone(plan)),
        Err(GuardError::Refused(reason)) => Err(inputs_error(reason.clone())),
        Err(other) => Err(compute_error(other.clone())),
    }
}

impl Graph for TractGraph {
    fn signature(&self) -> &Signature {
        &self.symbolic.signature
    }

    fn rows(&self) -> Rows {
        self.rows.clone()
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        self.compute_cancellable(inputs, &Cancellation::new())
    }

    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        self.compute_prepared_cancellable(inputs, &Cancellation::new())
    }

    fn compute_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        self.try_compute(inputs, cancellation)?
            .map_err(compute_error)
    }

    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        let ordered = match in_signature_order(self.signature(), inputs) {
            Ok(ordered) => ordered,
            Err(reason) => return Some(Err(inputs_error(reason))),
        };
        let plan = self.built_plan(&self.sizes(&ordered))?;
        let run = |plan: Arc<CheckedPlan>| {
            let outputs = self.run(&plan, &ordered, cancellation);
            outputs.map_err(compute_error)
        };
        Some(plan.and_then(run))
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        self.sample.inputs(&self.symbolic.signature)
    }

    fn forget_preparation(&self, inputs: &[NamedTensor]) {
        if let Ok(ordered) = in_signature_order(self.signature(), inputs) {
            self.plans.remove(&self.sizes(&ordered));
        }
    }

    fn preparation_capacity(&self) -> Option<NonZeroUsize> {
        Some(self.plans.capacity())
    }

    fn wrong_declarations(&self) -> &[String] {
        &self.wrong_declarations
    }
}

#[cfg(test)]
mod tests;
