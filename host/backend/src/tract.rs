//! The embedded engine: tract, pure Rust, natively and in Wasm.
//!
//! A file is read once into a typed model with symbols for its variable axes ([`model`]). tract is
//! several times faster when it knows all sizes, so no symbolic plan is ever run: the first request
//! of each set of sizes specialises and optimises the model, and the plan is kept ([`plan_cache`]).
//! Every call that handles what others wrote goes through [`guard`]. Computing stays on the
//! calling thread; tract's own threads are not used.
//!
//! Invariant: whatever a run needs to remember is made for that run and dropped with it, so nothing
//! of one request is there for the next, recurrent operators included.

mod convert;
mod extreme;
mod guard;
mod known_faults;
mod known_size;
mod model;
mod onnx_graph;
mod plan_cache;
mod plan_cost;
mod stored_tensor;

use self::convert::{from_tract, to_tract};
use self::guard::{Fault, guarded};
use self::model::SymbolicModel;
use self::plan_cache::PlanCache;
use self::plan_cost::check_plan_cost;
use crate::sample::{Element, sample_inputs_of};
use crate::{Backend, BackendError, Graph};
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    Framework, IntoRunnable, SymbolValues, TVec, TractResult, TypedModel, TypedSimplePlan,
};
use tract_onnx::tract_core::internal::ensure;
use wisp_tensor::{Dimension, NamedTensor, Signature, Tensor, TensorError};

const ENGINE: &str = "tract";

/// Memory that one graph's plans may take together, counted as their constants: each plan packs the
/// weights anew for its own kernels.
const PLAN_BYTES: usize = 256 << 20;

/// Plans a graph has however large it is: a batch of one, a full batch, and two in between.
const MIN_PLANS: usize = 4;

/// Plans a graph has however small it is: every batch size up to 32, at two sequence lengths.
const MAX_PLANS: usize = 64;

/// The most bytes a single value inside a plan may take. Beyond it sits a request whose sizes
/// multiply (attention over a million tokens), and a failed allocation would end the process.
const MAX_VALUE_BYTES: i64 = 4 << 30;

/// Sizes tried for variable axes other than the batch when a graph is loaded. Graphs over tokens
/// or columns take 1; those that shrink images by strides take 32, or 224 as most were trained
/// with; those over sound need hundreds of samples.
const PROBE_SIZES: [u32; 4] = [1, 32, 224, 1024];

/// Elements beyond which an input is not tried: a 1024 x 1024 image says nothing that 224 did not.
const MAX_PROBE_ELEMENTS: usize = 1 << 20;

/// The most bytes of a file: no message of its format has more.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

type Plan = Result<Arc<TypedSimplePlan>, Fault>;

/// The tract engine.
#[derive(Debug, Default)]
pub struct Tract;

/// A model loaded by [`Tract`]. Lifetime: a model version.
#[derive(Debug)]
struct TractGraph {
    symbolic: SymbolicModel,
    plans: PlanCache<Plan>,
    /// The entry of [`PROBE_SIZES`] that computed.
    probe_size: u32,
    /// What it computed with.
    probe_element: Element,
}

// === impl Tract ===

impl Tract {
    /// The engine; it has no state and no settings.
    pub fn new() -> Tract {
        Tract
    }

    /// Load the ONNX model in `content`, which has all its data inside.
    pub fn load_bytes(&self, mut content: &[u8]) -> Result<Arc<dyn Graph>, BackendError> {
        load(&mut content, None)
    }
}

impl Backend for Tract {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn load(&self, path: &Path) -> Result<Arc<dyn Graph>, BackendError> {
        // Before it is opened: opening a pipe waits for whoever writes to it, and a device never ends.
        let file = path.metadata().map_err(BackendError::Read)?;
        if file.is_dir() {
            return Err(BackendError::Read(ErrorKind::IsADirectory.into()));
        }
        if !file.is_file() {
            let reason = "it is not a regular file";
            return Err(BackendError::Read(Error::new(
                ErrorKind::InvalidInput,
                reason,
            )));
        }
        if file.len() > MAX_FILE_BYTES {
            return Err(load_error(Fault::Refused(format!(
                "the file has {} bytes, more than the 2 GiB of an ONNX file: weights beyond it belong \
                 beside it, as external data",
                file.len()
            ))));
        }
        let mut file = File::open(path).map_err(BackendError::Read)?;
        load(&mut file, path.parent())
    }
}

/// Read, type, specialise and try the model in `content`, whose external data lies in `folder`.
fn load(content: &mut dyn Read, folder: Option<&Path>) -> Result<Arc<dyn Graph>, BackendError> {
    let proto = decode(content)?;
    let symbolic = SymbolicModel::load(&proto, folder).map_err(load_error)?;
    drop(proto);
    let capacity = PLAN_BYTES / symbolic.constant_bytes().max(1);
    let mut graph = TractGraph {
        symbolic,
        plans: PlanCache::new(capacity.clamp(MIN_PLANS, MAX_PLANS)),
        probe_size: PROBE_SIZES[0],
        probe_element: Element::Zero,
    };
    graph.probe()?;
    Ok(Arc::new(graph))
}

fn decode(content: &mut dyn Read) -> Result<ModelProto, BackendError> {
    let mut read_error = None;
    let decoded = guarded(|| {
        tract_onnx::onnx()
            .proto_model_for_read(content)
            .inspect_err(|error| {
                read_error = error
                    .downcast_ref::<std::io::Error>()
                    .map(|error| error.kind());
            })
    });
    match read_error {
        Some(kind) => Err(BackendError::Read(kind.into())),
        None => decoded.map_err(load_error),
    }
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
    BackendError::Compute {
        engine: ENGINE,
        reason: fault.into_reason(),
    }
}

// === impl TractGraph ===

impl TractGraph {
    /// Compute once, so that a model tract types but cannot run fails when it is deployed: zeros, or
    /// ones where the graph divides by what it is given.
    ///
    /// Batch axes are 1. Other variable axes may not take that: a graph that no size of
    /// [`PROBE_SIZES`] suits is refused too, because the sizes fit what people deploy, while an
    /// operator that fails at every size is the likelier cause.
    fn probe(&mut self) -> Result<(), BackendError> {
        let signature = &self.symbolic.signature;
        let only_batch = signature
            .inputs
            .iter()
            .all(|spec| !spec.shape.iter().skip(1).any(|d| *d == Dimension::Variable));
        let sizes = match only_batch {
            true => &PROBE_SIZES[..1],
            false => &PROBE_SIZES[..],
        };
        let mut first_reason = None;
        let probes = sizes
            .iter()
            .flat_map(|&size| [(size, Element::Zero), (size, Element::One)]);
        for (size, element) in probes {
            let inputs = match sample_inputs_of(signature, size, element) {
                Ok(inputs) => inputs,
                Err(error) => {
                    first_reason.get_or_insert(format!("an input cannot be made: {error}"));
                    break;
                }
            };
            let elements = |input: &NamedTensor| input.tensor.shape().elements();
            if size > 1 && inputs.iter().any(|i| elements(i) > MAX_PROBE_ELEMENTS) {
                break;
            }
            match self.compute(&inputs) {
                Ok(_) => {
                    self.probe_size = size;
                    self.probe_element = element;
                    return Ok(());
                }
                Err(BackendError::Inputs { reason, .. } | BackendError::Compute { reason, .. }) => {
                    first_reason.get_or_insert(reason);
                }
                Err(error) => return Err(error),
            }
        }
        Err(BackendError::Load {
            engine: ENGINE,
            reason: first_reason.unwrap_or_default(),
        })
    }

    /// The inputs in the signature's order, each meeting its declaration.
    fn in_order<'a>(&self, inputs: &'a [NamedTensor]) -> Result<TVec<&'a Tensor>, BackendError> {
        let specs = &self.symbolic.signature.inputs;
        let mut ordered = TVec::with_capacity(specs.len());
        for (position, spec) in specs.iter().enumerate() {
            // Most callers keep the signature's order.
            let found = match inputs.get(position) {
                Some(input) if input.name == spec.name => Some(input),
                _ => inputs.iter().find(|input| input.name == spec.name),
            };
            let Some(NamedTensor { tensor, .. }) = found else {
                return Err(inputs_error(format!("`{}` is missing", spec.name)));
            };
            spec.check(tensor)
                .map_err(|error| inputs_error(error.to_string()))?;
            ordered.push(tensor);
        }
        Ok(ordered)
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
    fn plan(&self, sizes: &[u32]) -> Result<Arc<TypedSimplePlan>, BackendError> {
        if let Some(plan) = self.built_plan(sizes) {
            return plan;
        }
        // Before a place is made for them: sizes that cannot be must not push out a plan that is used.
        let values = self.symbolic.bind(sizes).map_err(inputs_error)?;
        let slot = self.plans.slot(sizes);
        usable(slot.plan(|| self.build(&values)))
    }

    fn built_plan(&self, sizes: &[u32]) -> Option<Result<Arc<TypedSimplePlan>, BackendError>> {
        self.plans.find(sizes)?.built().map(usable)
    }

    fn build(&self, values: &SymbolValues) -> Plan {
        guarded(|| {
            let concrete = self.symbolic.model.set_symbols(&values.to_dim_map())?;
            check_value_sizes(&concrete)?;
            check_plan_cost(&concrete)?;
            concrete.into_optimized()?.into_runnable()
        })
    }

    fn run(
        &self,
        plan: &Arc<TypedSimplePlan>,
        ordered: &[&Tensor],
    ) -> Result<Vec<NamedTensor>, BackendError> {
        let computed = guarded(|| {
            let inputs = ordered
                .iter()
                .zip(&self.symbolic.input_types)
                .map(|(tensor, datum_type)| to_tract(tensor, *datum_type))
                .collect::<TractResult<_>>()?;
            // A state per run, although a kept one would save 1.5 of 9.5 us: tract notes scratch memory
            // per state and thread, and frees it on the thread that drops the state only. States
            // passed between threads would leak it, and states kept in thread locals would reach for
            // it after it is gone when the thread ends.
            let outputs = plan.run(inputs)?;
            ensure!(
                outputs.len() == self.symbolic.signature.outputs.len(),
                "{} outputs came",
                outputs.len()
            );
            outputs
                .into_iter()
                .zip(&self.symbolic.signature.outputs)
                .map(|(output, spec)| {
                    Ok(NamedTensor {
                        name: spec.name.clone(),
                        tensor: from_tract(output, spec.element_type)?,
                    })
                })
                .collect()
        });
        computed.map_err(compute_error)
    }
}

/// A plan as it stands in its slot. A failure stays there like a plan: asking again would fail again,
/// at the same cost.
fn usable(plan: &Plan) -> Result<Arc<TypedSimplePlan>, BackendError> {
    match plan {
        Ok(plan) => Ok(Arc::clone(plan)),
        Err(Fault::Refused(reason)) => Err(inputs_error(reason.clone())),
        Err(panicked) => Err(compute_error(panicked.clone())),
    }
}

impl Graph for TractGraph {
    fn signature(&self) -> &Signature {
        &self.symbolic.signature
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let ordered = self.in_order(inputs)?;
        let plan = self.plan(&self.sizes(&ordered))?;
        self.run(&plan, &ordered)
    }

    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        let ordered = match self.in_order(inputs) {
            Ok(ordered) => ordered,
            Err(error) => return Some(Err(error)),
        };
        let plan = self.built_plan(&self.sizes(&ordered))?;
        Some(plan.and_then(|plan| self.run(&plan, &ordered)))
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        sample_inputs_of(
            &self.symbolic.signature,
            self.probe_size,
            self.probe_element,
        )
    }
}

/// Check that no value of known shape in the model is beyond [`MAX_VALUE_BYTES`].
fn check_value_sizes(model: &TypedModel) -> TractResult<()> {
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
                bytes.is_some_and(|bytes| bytes <= MAX_VALUE_BYTES),
                "`{}` would take too much memory with these sizes: {shape:?}",
                node.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
