//! A model that serves requests.

use super::checked::{Checked, Properties};
use super::convert::{from_rten, to_rten};
use super::failure::{Failure, NAME, guarded, inputs_error, load_error, refused_run};
use super::hidden_nan::contains_nan;
use super::int64::IntegerLimits;
use super::shared::Shared;
use super::sizes::{Cost, Outline};
use crate::error::BackendError;
use crate::graph::Graph;
use crate::input_order::in_signature_order;
use crate::observed_shapes::correct;
use crate::onnx::{OperatorInputs, with_values};
use crate::plan_cache::PlanCache;
use crate::probe::{probe, two_row_inputs};
use crate::rows::Rows;
use crate::sample::Sample;
use rten::{Model, NodeId, RunOptions, Value, ValueOrView};
use std::num::NonZeroUsize;
use std::sync::Arc;
use wisp_tensor::{ElementType, NamedTensor, Signature, Tensor, TensorError, TensorSpec};

/// The number of sets of input sizes whose costs are kept.
const MAX_COSTS: usize = 1024;

/// The maximum number of bytes of the values of one computation, if there is memory for more.
const MAX_LIVE_BYTES: u64 = 8 << 30;

/// The maximum number of multiplications. A computation cannot be interrupted, so its end has to be in sight:
/// this is a minute or two on a core.
const MAX_MULTIPLICATIONS: u64 = 1_000_000_000_000;

/// A model loaded by [`super::Rten`]. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct RtenGraph {
    model: Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    signature: Signature,
    rows: Rows,
    outline: Outline,
    pub(super) limits: IntegerLimits,
    /// Set if an operator computes a number from NaN, so that inputs must not contain it.
    pub(super) hides_nan: bool,
    operators: OperatorInputs,
    costs: PlanCache<Result<Cost, String>>,
    /// The number of threads of one computation.
    threads: NonZeroUsize,
    shared: Arc<Shared>,
    /// The sample inputs that the graph was found to compute.
    sample: Sample,
    /// The declarations of outputs in the file that computing has shown to be wrong.
    wrong_declarations: Vec<String>,
}

// === impl RtenGraph ===

impl RtenGraph {
    /// Returns the graph after a trial computation, which determines undeclared and wrong shapes of outputs.
    pub(super) fn new(
        model: Model,
        checked: Checked,
        (threads, shared): (NonZeroUsize, &Arc<Shared>),
    ) -> Result<RtenGraph, BackendError> {
        let Checked {
            properties,
            symbols,
            declared_outputs,
            values,
        } = checked;
        let mut graph = RtenGraph::untried(model, properties, (threads, shared))?;
        let compute = |inputs: &[NamedTensor]| {
            let inputs = with_values(inputs.to_vec(), &values);
            graph.compute(&inputs)
        };
        let probed = probe(&graph.signature, &symbols, compute);
        let (sample, outputs) = probed.map_err(|unprobed| load_error(unprobed.into_reason()))?;
        let mut computed = vec![outputs];
        let two_rows = two_row_inputs(&sample, &graph.signature, &symbols);
        computed.extend(two_rows.and_then(|inputs| compute(&inputs).ok()));
        graph.wrong_declarations = correct(&mut graph.signature, &declared_outputs, &computed);
        graph.sample = sample;
        Ok(graph)
    }

    /// Returns the graph without a trial computation, with the shapes of outputs that the file declares.
    pub(super) fn untried(
        model: Model,
        properties: Properties,
        (threads, shared): (NonZeroUsize, &Arc<Shared>),
    ) -> Result<RtenGraph, BackendError> {
        let Properties {
            signature,
            rows,
            outline,
            limits,
            hides_nan,
            operators,
        } = properties;
        let ids = |specs: &[TensorSpec]| {
            let ids = specs.iter().map(|spec| model.node_id(&spec.name));
            ids.collect::<Result<Vec<NodeId>, _>>()
                .map_err(|error| load_error(error.to_string()))
        };
        Ok(RtenGraph {
            inputs: ids(&signature.inputs)?,
            outputs: ids(&signature.outputs)?,
            model,
            signature,
            rows,
            outline,
            limits,
            hides_nan,
            operators,
            costs: PlanCache::new(MAX_COSTS),
            threads,
            shared: Arc::clone(shared),
            sample: Sample::default(),
            wrong_declarations: Vec::new(),
        })
    }

    /// Determines the cost of the sample inputs now, and not when the first request has their sizes.
    pub(super) fn prepare_sample(&self) {
        if let Ok(inputs) = self.sample_inputs()
            && let Ok(ordered) = in_signature_order(&self.signature, &inputs)
        {
            // A request with these sizes gets the same error.
            let _ = self.cost(&ordered);
        }
    }

    /// Returns the cost of computing inputs of these sizes, which is determined now if they are new.
    fn cost(&self, ordered: &[&Tensor]) -> Result<Cost, BackendError> {
        let slot = self.costs.slot(&sizes(ordered));
        let cost = slot.get_or_init(|| self.new_cost(ordered));
        cost.clone().map_err(inputs_error)
    }

    fn new_cost(&self, ordered: &[&Tensor]) -> Result<Cost, String> {
        let names = self.signature.inputs.iter().map(|spec| spec.name.as_str());
        let shapes = ordered.iter().map(|tensor| tensor.shape().dimensions());
        let inputs: Vec<(&str, &[u32])> = names.zip(shapes).collect();
        let cost = guarded(|| self.outline.cost(&inputs)).map_err(Failure::into_reason)?;
        let capacity = u64::try_from(self.shared.memory.capacity()).unwrap_or(u64::MAX);
        if cost.live_bytes > MAX_LIVE_BYTES.min(capacity) {
            return Err(format!(
                "the values would take too much memory with these sizes: {} bytes",
                cost.live_bytes
            ));
        }
        if cost.multiplications > MAX_MULTIPLICATIONS {
            return Err(format!(
                "it would take too long with these sizes: {} multiplications",
                cost.multiplications
            ));
        }
        Ok(cost)
    }

    fn run(&self, ordered: &[&Tensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let cost = self.cost(ordered)?;
        let mut reservation = self.shared.memory.reservation();
        if !reservation.grow(usize::try_from(cost.live_bytes).unwrap_or(usize::MAX)) {
            return Err(BackendError::Overloaded {
                backend: NAME,
                reason: format!(
                    "other computations hold the memory, {} bytes",
                    cost.live_bytes
                ),
            });
        }
        let inputs = self.values(ordered).map_err(inputs_error)?;
        let run = |options: RunOptions| {
            guarded(|| {
                let run = self.model.run(inputs, &self.outputs, Some(options));
                run.map_err(|error| error.to_string())
            })
        };
        match self.shared.pools.with_options(self.threads, run) {
            Ok(values) => self.named(values),
            // The graph computes other inputs, so the values or sizes of these are at fault.
            Err(Failure::Refused(reason)) => Err(refused_run(reason, &self.operators)),
            Err(Failure::Panicked(message)) if is_arithmetic(&message) => Err(refused_run(
                format!("an integer is out of range: {message}"),
                &self.operators,
            )),
            Err(failure @ Failure::Panicked(_)) => Err(compute_error(failure.into_reason())),
        }
    }

    fn values(&self, ordered: &[&Tensor]) -> Result<Vec<(NodeId, ValueOrView<'static>)>, String> {
        let mut values = Vec::with_capacity(ordered.len());
        for (input, tensor) in ordered.iter().enumerate() {
            let name = &self.signature.inputs[input].name;
            if tensor.element_type() == ElementType::Int64 {
                let numbers = tensor.content().as_chunks().0.iter();
                let numbers = numbers.map(|bytes| i64::from_le_bytes(*bytes));
                self.limits.check(input, numbers)?;
            }
            if self.hides_nan && contains_nan(tensor) {
                return Err(format!(
                    "`{name}` contains NaN, which this backend does not pass on"
                ));
            }
            let value = to_rten(tensor).map_err(|reason| format!("`{name}`: {reason}"))?;
            values.push((self.inputs[input], ValueOrView::from(value)));
        }
        Ok(values)
    }

    fn named(&self, values: Vec<Value>) -> Result<Vec<NamedTensor>, BackendError> {
        let named = self
            .signature
            .outputs
            .iter()
            .zip(values)
            .map(|(spec, value)| {
                let tensor = from_rten(value, spec.element_type)
                    .map_err(|reason| compute_error(format!("output `{}`: {reason}", spec.name)))?;
                Ok(NamedTensor {
                    name: spec.name.clone(),
                    tensor,
                })
            });
        named.collect()
    }
}

/// Returns the sizes of all axes.
fn sizes(ordered: &[&Tensor]) -> Vec<u32> {
    let dimensions = ordered
        .iter()
        .flat_map(|tensor| tensor.shape().dimensions());
    dimensions.copied().collect()
}

/// Returns whether a panic comes from checked arithmetic, such as `attempt to add with overflow`.
///
/// rten's arithmetic is checked in every profile, since it computes INT64 with 32 bits: a number that does
/// not fit must not become another one. INT32 is refused with it where it would wrap around.
fn is_arithmetic(message: &str) -> bool {
    message.starts_with("attempt to ") && message.ends_with(" with overflow")
}

fn compute_error(reason: String) -> BackendError {
    BackendError::Compute {
        backend: NAME,
        reason,
    }
}

impl Graph for RtenGraph {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        self.rows.clone()
    }

    /// Computes as the trait describes. A computation that has begun is not interrupted.
    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let ordered = in_signature_order(&self.signature, inputs).map_err(inputs_error)?;
        self.run(&ordered)
    }

    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        let ordered = match in_signature_order(&self.signature, inputs) {
            Ok(ordered) => ordered,
            Err(reason) => return Some(Err(inputs_error(reason))),
        };
        self.costs.find(&sizes(&ordered))?.get()?;
        Some(self.run(&ordered))
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        self.sample.inputs(&self.signature)
    }

    fn wrong_declarations(&self) -> &[String] {
        &self.wrong_declarations
    }
}
