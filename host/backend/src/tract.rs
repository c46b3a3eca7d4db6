//! The embedded engine: tract, pure Rust, natively and in Wasm.
//!
//! A file is read once into a typed model with symbols for its variable axes ([`model`]). tract is
//! several times faster when it knows all sizes, so no symbolic plan is ever run: the first request
//! of each set of sizes specialises and optimises the model, and the plan is kept ([`plan_cache`]),
//! with checks of what values in a request would make of it ([`checked_plan`]).
//! Every call that handles what others wrote goes through [`guard`]. Computing stays on the
//! calling thread; tract's own threads are not used.
//!
//! Invariant: whatever a run needs to remember is made for that run and dropped with it, so nothing
//! of one request is there for the next, recurrent operators included.

mod checked_plan;
mod convert;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "tract/without_cuda.rs"]
mod cuda;
mod extreme;
mod guard;
mod known_faults;
mod known_size;
mod ml;
mod model;
mod nnef;
mod operators;
mod plan_cache;
mod plan_cost;
mod stored_tensor;

use self::checked_plan::CheckedPlan;
use self::convert::{from_tract, to_tract};
use self::guard::{Fault, guarded};
use self::model::SymbolicModel;
use self::plan_cache::PlanCache;
use self::plan_cost::check_plan_cost;
use crate::onnx;
use crate::ordered::in_order;
use crate::probe::{TimeLimit, probe};
use crate::sample::Sample;
use crate::{Backend, BackendError, Cancellation, Device, Format, Graph, LoadOptions, memory};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{IntoRunnable, SymbolValues, TVec, TractResult, TypedModel};
use tract_onnx::tract_core::internal::{ensure, format_err};
use tract_onnx::tract_core::runtime::Runtime;
use wisp_tensor::memory_budget::MemoryBudget;
use wisp_tensor::{NamedTensor, Signature, Tensor, TensorError};

const ENGINE: &str = "tract";

/// As in the lock file, which a test compares.
const VERSION: &str = "0.23.9";

/// Memory that one graph's plans may take together, counted as their constants: each plan packs the
/// weights anew for its own kernels.
const PLAN_BYTES: usize = 256 << 20;

/// Plans a graph has however large it is: a batch of one, a full batch, and two in between.
const MIN_PLANS: usize = 4;

/// Plans a graph has however small it is: every batch size up to 32, at two sequence lengths.
const MAX_PLANS: usize = 64;

/// The most bytes a single value inside a plan may take, where there is memory for more. Beyond it sits a
/// request whose sizes multiply (attention over a million tokens), and a failed allocation would end the
/// process.
const MAX_VALUE_BYTES: i64 = 4 << 30;

/// The most bytes of all values of one computation together, where there is memory for more.
const MAX_LIVE_BYTES: u64 = 8 << 30;

type Plan = Result<Arc<CheckedPlan>, Fault>;

/// The tract engine. Lifetime: the process.
#[derive(Debug)]
pub struct Tract {
    memory: Arc<MemoryBudget>,
}

/// A model loaded by [`Tract`]. Lifetime: a model version.
#[derive(Debug)]
struct TractGraph {
    symbolic: SymbolicModel,
    plans: PlanCache<Plan>,
    /// What it was found to compute.
    sample: Sample,
    /// What makes its plans, where that is not the processor's own.
    runtime: Option<&'static dyn Runtime>,
    /// What all computations of the engine may take together.
    memory: Arc<MemoryBudget>,
}

// === impl Tract ===

impl Default for Tract {
    fn default() -> Tract {
        Tract::new()
    }
}

impl Tract {
    /// The engine, whose computations may take what [`memory::compute_budget`] gives.
    pub fn new() -> Tract {
        Tract::with_memory(memory::compute_budget())
    }

    /// The engine, whose computations together may take what `memory` has, and each value half of it.
    pub fn with_memory(memory: Arc<MemoryBudget>) -> Tract {
        Tract { memory }
    }

    /// Load the ONNX model in `content`, which has all its data inside.
    pub fn load_bytes(&self, content: &[u8]) -> Result<Arc<dyn Graph>, BackendError> {
        let symbolic = of_onnx(onnx::decode(content, ENGINE)?, None);
        self.serve(symbolic.map_err(load_error)?, None)
    }

    /// A graph that has been tried; `runtime` runs it elsewhere than on the processor.
    fn serve(
        &self,
        symbolic: SymbolicModel,
        runtime: Option<&'static dyn Runtime>,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let capacity = PLAN_BYTES / symbolic.constant_bytes().max(1);
        let mut graph = TractGraph {
            symbolic,
            plans: PlanCache::new(capacity.clamp(MIN_PLANS, MAX_PLANS)),
            sample: Sample::default(),
            runtime,
            memory: Arc::clone(&self.memory),
        };
        graph.probe()?;
        Ok(Arc::new(graph))
    }
}

impl Backend for Tract {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn load(&self, path: &Path, options: &LoadOptions) -> Result<Arc<dyn Graph>, BackendError> {
        let runtime = match options.device {
            Device::Cpu => None,
            Device::Cuda(index) => {
                let found = cuda::runtime(index);
                Some(found.map_err(|reason| BackendError::Unavailable {
                    engine: ENGINE,
                    reason,
                })?)
            }
        };
        let symbolic = match Format::of(path) {
            Some((Format::Nnef, _)) => nnef::load(path).and_then(SymbolicModel::of_nnef),
            _ => of_onnx(onnx::read(path, ENGINE)?, path.parent()),
        };
        let graph = self.serve(symbolic.map_err(load_error)?, runtime)?;
        #[cfg(feature = "threads")]
        let graph = crate::rows::split_where_faster(graph, options.threads)?;
        Ok(graph)
    }
}

/// The model in `proto`, whose external data lies in `folder`, with types and symbols.
fn of_onnx(mut proto: ModelProto, folder: Option<&Path>) -> Result<SymbolicModel, Fault> {
    onnx::check_counts(&proto).map_err(Fault::Refused)?;
    onnx::prepare(&mut proto);
    SymbolicModel::load(&proto, folder)
}

fn load_error(fault: Fault) -> BackendError {
    BackendError::Load {
        engine: ENGINE,
        reason: fault.into_reason(),
    }
}

fn inputs_error(reason: String) -> BackendError {
    BackendError::Inputs {
        engine: ENGINE,
        reason,
    }
}

fn compute_error(fault: Fault) -> BackendError {
    match fault {
        Fault::Value(reason) | Fault::Numbers(reason) => inputs_error(reason),
        Fault::NoMemory(reason) => BackendError::Overloaded {
            engine: ENGINE,
            reason,
        },
        Fault::Cancelled => BackendError::Cancelled,
        fault => BackendError::Compute {
            engine: ENGINE,
            reason: fault.into_reason(),
        },
    }
}

// === impl TractGraph ===

impl TractGraph {
    /// Compute once, so that a model tract types but cannot run fails when it is deployed: zeros, or
    /// ones where the graph divides by what it is given.
    ///
    /// A graph that computes at none of the sizes tried is refused, because they fit what people
    /// deploy, while an operator that fails at every size is the likelier cause.
    fn probe(&mut self) -> Result<(), BackendError> {
        let found = probe(&self.symbolic.signature, |inputs| {
            let ordered = in_order(self.signature(), inputs).map_err(inputs_error)?;
            let plan = self.plan(&self.sizes(&ordered))?;
            // Preparing is not counted.
            let limit = TimeLimit::start();
            match self.run(&plan, &ordered, limit.cancellation()) {
                // Encoders may refuse zeros and empty strings; of the operators, nothing is amiss.
                Ok(_) | Err(Fault::Value(_)) => Ok(()),
                Err(fault) => Err(compute_error(fault)),
            }
        });
        self.sample = found.map_err(|unprobed| BackendError::Load {
            engine: ENGINE,
            reason: unprobed.into_reason(),
        })?;
        Ok(())
    }

    /// The sizes of the variable axes in these inputs.
    fn sizes(&self, ordered: &[&Tensor]) -> TVec<u32> {
        self.symbolic
            .variable_axes
            .iter()
            .map(|axis| ordered[axis.input].shape().dimensions()[axis.axis])
            .collect()
    }

    /// The plan for these sizes of the variable axes, built now if they are new.
    fn plan(&self, sizes: &[u32]) -> Result<Arc<CheckedPlan>, BackendError> {
        if let Some(plan) = self.built_plan(sizes) {
            return plan;
        }
        // Before a place is made for them: sizes that cannot be must not push out a plan that is used.
        let values = self.symbolic.bind(sizes).map_err(inputs_error)?;
        let slot = self.plans.slot(sizes);
        usable(slot.plan(|| self.build(&values)))
    }

    fn built_plan(&self, sizes: &[u32]) -> Option<Result<Arc<CheckedPlan>, BackendError>> {
        self.plans.find(sizes)?.built().map(usable)
    }

    fn build(&self, values: &SymbolValues) -> Plan {
        let capacity = i64::try_from(self.memory.capacity()).unwrap_or(i64::MAX);
        guarded(|| {
            let concrete = self.symbolic.model.set_symbols(&values.to_dim_map())?;
            check_value_sizes(&concrete, MAX_VALUE_BYTES.min(capacity / 2))?;
            let max_live = MAX_LIVE_BYTES.min(capacity.unsigned_abs());
            let live = check_plan_cost(&concrete, max_live)?;
            let plan = match self.runtime {
                None => concrete.into_optimized()?.into_runnable()?,
                Some(runtime) => {
                    let prepared = runtime.prepare(concrete)?;
                    let plan = prepared.typed_plan().cloned();
                    plan.ok_or_else(|| format_err!("the runtime makes no plan"))?
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
    ) -> Result<Vec<NamedTensor>, Fault> {
        let outputs = &self.symbolic.signature.outputs;
        let inputs = || {
            let pairs = ordered.iter().zip(&self.symbolic.input_types);
            let inputs = pairs.map(|(tensor, datum_type)| to_tract(tensor, *datum_type));
            inputs.collect::<TractResult<_>>()
        };
        plan.run(cancellation, inputs, |computed| {
            ensure!(
                computed.len() == outputs.len(),
                "{} outputs came",
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
        })
    }

    /// Compute, on a plan that is built if need be.
    fn try_compute(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Result<Vec<NamedTensor>, Fault>, BackendError> {
        let ordered = in_order(self.signature(), inputs).map_err(inputs_error)?;
        let plan = self.plan(&self.sizes(&ordered))?;
        Ok(self.run(&plan, &ordered, cancellation))
    }
}

/// A plan as it stands in its slot. A failure stays there like a plan: asking again would fail again,
/// at the same cost.
fn usable(plan: &Plan) -> Result<Arc<CheckedPlan>, BackendError> {
    match plan {
        Ok(plan) => Ok(Arc::clone(plan)),
        Err(Fault::Refused(reason) | Fault::Value(reason)) => Err(inputs_error(reason.clone())),
        Err(other) => Err(compute_error(other.clone())),
    }
}

impl Graph for TractGraph {
    fn signature(&self) -> &Signature {
        &self.symbolic.signature
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
        let ordered = match in_order(self.signature(), inputs) {
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
}

/// Check that no value of known shape in the model takes more than `max_bytes`.
fn check_value_sizes(model: &TypedModel, max_bytes: i64) -> TractResult<()> {
    for node in model.nodes() {
        for output in &node.outputs {
            let Some(shape) = output.fact.shape.as_concrete() else {
                continue;
            };
            let bytes = shape
                .iter()
                .try_fold(output.fact.datum_type.size_of(), |product, &size| {
                    product.checked_mul(size)
                })
                .and_then(|bytes| i64::try_from(bytes).ok());
            ensure!(
                bytes.is_some_and(|bytes| bytes <= max_bytes),
                "`{}` would take too much memory with these sizes: {shape:?}",
                node.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
