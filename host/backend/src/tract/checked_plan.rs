//! A plan whose operators are checked before they compute, for the memory that they need and for cancellation.
//!
//! Sizes that follow from those of the inputs are known and bounded when a plan is built. The remaining
//! sizes follow from values, and a small request can contain any value: the end of `Range`, the `k` of
//! `TopK`, the repeats of `Tile`, and everything that is computed from their outputs. The output size of
//! each such operator is computed before it allocates. Its bytes are reserved, together with those of the
//! rest of the plan, in a budget that all computations share.
//!
//! The operators that need this are determined once for a plan; each of the others costs one comparison.

use super::guard::{Cancelled, GuardError, NoMemory, RefusedValue, guarded, without_operators};
use super::ml::output_bytes;
use crate::cancellation::Cancellation;
use crate::refusal::Refusal;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tract_onnx::prelude::{
    Datum, DatumType, ShapeFact, TDim, TValue, TVec, TractResult, TypedFact, TypedModel, TypedNode,
    TypedSimplePlan,
};
use tract_onnx::tract_core::internal::{EvalContext, Outlet, bail, ensure};
use tract_onnx::tract_core::ops::array::{DynTile, Gather, GatherNd, Range, Topk};
use tract_onnx::tract_core::ops::binary::{OptBinByScalar, OptBinUnicast, TypedBinOp};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::scan::OptScan;
use tract_onnx::tract_core::plan;
use wisp_tensor::memory_budget::{MemoryBudget, Reservation};

/// The first integer that is not the only one with its value as a float.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// A plan and the checks on its operators before they compute.
#[derive(Debug)]
pub(super) struct CheckedPlan {
    plan: Arc<TypedSimplePlan>,
    checks: Box<[NodeCheck]>,
    /// For each node, the nodes whose outputs are not read after it; empty if all sizes are known.
    released: Box<[TVec<usize>]>,
    /// The peak number of bytes of all values whose sizes are known.
    live_bytes: u64,
    /// The budget that all computations share.
    memory: Arc<MemoryBudget>,
}

/// The failure of a run.
#[derive(Debug)]
pub(super) struct RunFailure {
    pub(super) error: GuardError,
    /// The operator that was computing.
    pub(super) operator: Option<FailedOperator>,
}

/// An operator that failed.
#[derive(Debug)]
pub(super) struct FailedOperator {
    /// Its name in tract.
    pub(super) name: String,
    /// Set if an input is not constant and contains integers.
    pub(super) takes_numbers: bool,
}

/// The checks on an operator.
#[derive(Debug, Clone, Copy, Default)]
struct NodeCheck {
    kind: Kind,
    /// Set if an input is not constant and contains integers that the operator may refuse.
    takes_numbers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Nothing,
    /// The sizes of its outputs follow from values, or the outputs are strings, which may be repeated.
    Size,
    /// Its indices must be within the axis.
    Indices,
    /// Its divisor must not be zero.
    Divisor,
}

/// One run of a plan.
struct Run<'a> {
    plan: &'a CheckedPlan,
    cancellation: &'a Cancellation,
    /// The operator that is computing.
    node: Cell<usize>,
    /// The message of an operator that failed, without tract's additions.
    message: RefCell<String>,
    reserved: RefCell<Reserved>,
    capacity: u64,
}

/// The memory that a run has reserved.
struct Reserved {
    all: Reservation,
    /// The bytes of outputs whose sizes follow from values, by node.
    nodes: Vec<(usize, usize)>,
}

impl CheckedPlan {
    /// Returns the checks for `plan`. Its values of known size take at most `live_bytes` of `memory`.
    pub(super) fn new(
        plan: Arc<TypedSimplePlan>,
        live_bytes: u64,
        memory: &Arc<MemoryBudget>,
    ) -> TractResult<CheckedPlan> {
        let model = plan.model();
        check_bodies(model)?;
        let checks = model.nodes().iter().map(|node| NodeCheck::of(model, node));
        let checks = checks.collect::<TractResult<Box<[NodeCheck]>>>()?;
        let is_open = checks.iter().any(|check| check.kind == Kind::Size);
        let released = match is_open {
            true => released(&plan)?,
            false => Box::default(),
        };
        Ok(CheckedPlan {
            plan,
            checks,
            released,
            live_bytes,
            memory: Arc::clone(memory),
        })
    }

    /// Computes the result of `inputs` within the available memory, and returns the result of `outputs` on it.
    pub(super) fn run<T>(
        &self,
        cancellation: &Cancellation,
        inputs: impl FnOnce() -> TractResult<TVec<TValue>>,
        outputs: impl FnOnce(TVec<TValue>) -> TractResult<T>,
    ) -> Result<T, RunFailure> {
        let run = Run {
            plan: self,
            cancellation,
            node: Cell::new(usize::MAX),
            message: RefCell::default(),
            reserved: RefCell::new(Reserved {
                all: self.memory.reservation(),
                nodes: Vec::new(),
            }),
            capacity: u64::try_from(self.memory.capacity()).unwrap_or(u64::MAX),
        };
        let error = match guarded(|| {
            run.reserve(self.live_bytes, "the graph")?;
            // A new state for each run, although a stored one would save 1.5 of 9.5 us. tract keeps
            // scratch memory per state and thread, and frees it only on the thread that drops the state.
            // States that move between threads would leak it, and states in thread locals would access it
            // after it has been freed at the end of the thread.
            let mut state = self.plan.spawn()?;
            let computed =
                state.run_plan_with_eval(inputs()?, |context, op_state, node, inputs| {
                    run.check(context, node, &inputs)?;
                    let computed = plan::eval(context, op_state, node, inputs);
                    let computed = computed.inspect_err(|error| {
                        run.message.replace(without_operators(error));
                    })?;
                    run.release_after(node);
                    TractResult::Ok(computed)
                })?;
            run.node.set(usize::MAX);
            outputs(computed)
        }) {
            Ok(outputs) => return Ok(outputs),
            Err(error) => error,
        };
        let Some(check) = self.checks.get(run.node.get()) else {
            let operator = None;
            return Err(RunFailure { error, operator });
        };
        let takes_numbers = check.takes_numbers;
        // The graph computes other inputs, so an operator that refuses these fails because of the request.
        let error = match error {
            GuardError::Refused(reason) => {
                GuardError::Inputs(Refusal::of_message(reason, &run.message.take()))
            }
            GuardError::Panicked(reason) if takes_numbers => {
                GuardError::Inputs(Refusal::new(reason))
            }
            error => error,
        };
        let name = self.plan.model().node(run.node.get()).name.clone();
        Err(RunFailure {
            error,
            operator: Some(FailedOperator {
                name,
                takes_numbers,
            }),
        })
    }
}

/// Returns, for each node by its number, the nodes whose outputs no later node reads.
fn released(plan: &TypedSimplePlan) -> TractResult<Box<[TVec<usize>]>> {
    let model = plan.model();
    let outputs = model.output_outlets()?;
    let mut released = vec![TVec::new(); model.nodes().len()];
    let mut seen = vec![false; model.nodes().len()];
    for output in outputs {
        seen[output.node] = true;
    }
    for &id in plan.order_without_consts().iter().rev() {
        for input in &model.node(id).inputs {
            if !std::mem::replace(&mut seen[input.node], true) {
                released[id].push(input.node);
            }
        }
        // An output without readers is released at once.
        if !seen[id] {
            released[id].push(id);
        }
    }
    Ok(released.into())
}

impl NodeCheck {
    fn of(model: &TypedModel, node: &TypedNode) -> TractResult<NodeCheck> {
        if node.op_is::<Const>() || node.inputs.is_empty() {
            return Ok(NodeCheck::default());
        }
        let inputs = model.node_input_facts(node.id)?;
        let is_number = |datum_type: DatumType| datum_type.is_integer() || datum_type.is_tdim();
        let takes_numbers = inputs
            .iter()
            .any(|fact| fact.konst.is_none() && is_number(fact.datum_type));
        let is_sized = |output: &Outlet<TypedFact>| output.fact.shape.as_concrete().is_some();
        let is_string = |output: &Outlet<TypedFact>| output.fact.datum_type == DatumType::String;
        let kind = if !node.outputs.iter().all(is_sized) || node.outputs.iter().any(is_string) {
            Kind::Size
        } else if !takes_numbers {
            Kind::Nothing
        } else if node.op_is::<Gather>() || node.op_is::<GatherNd>() {
            Kind::Indices
        } else if divides(node) && is_number(inputs[0].datum_type) {
            Kind::Divisor
        } else {
            Kind::Nothing
        };
        Ok(NodeCheck {
            kind,
            takes_numbers,
        })
    }
}

/// Returns the name of an operator on two tensors that are broadcast together.
fn binary_operator(node: &TypedNode) -> Option<&'static str> {
    if let Some(TypedBinOp(operator, _)) = node.op_as::<TypedBinOp>() {
        Some(operator.name())
    } else if let Some(operator) = node.op_as::<OptBinByScalar>() {
        Some(operator.binop.name())
    } else {
        let operator = node.op_as::<OptBinUnicast>()?;
        Some(operator.binop.name())
    }
}

/// Returns whether the operator divides its first input by its second.
fn divides(node: &TypedNode) -> bool {
    matches!(binary_operator(node), Some("Div" | "Rem"))
}

/// Refuses a model with sizes in which operands cannot be broadcast together. tract takes an axis of size 0
/// for one that fits any other, and some operators then read beyond the end of an operand.
pub(super) fn check_broadcasts(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        if binary_operator(node).is_some() {
            check_broadcast(node, &model.node_input_facts(node.id)?)?;
        }
    }
    Ok(())
}

fn check_broadcast(node: &TypedNode, inputs: &[&TypedFact]) -> TractResult<()> {
    let sizes = |position: usize| inputs.get(position)?.shape.as_concrete();
    if let (Some(a), Some(b)) = (sizes(0), sizes(1))
        && a.iter()
            .rev()
            .zip(b.iter().rev())
            .any(|(&a, &b)| a != b && a != 1 && b != 1)
    {
        bail!(
            "the operands of `{}` cannot be broadcast: {a:?} and {b:?}",
            node.name
        );
    }
    Ok(())
}

/// Refuses inner graphs with sizes that follow from values, since their operators are
/// not checked while they compute.
fn check_bodies(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        let Some(scan) = node.op_as::<OptScan>() else {
            continue;
        };
        let body = scan.plan.model();
        for inner in body.nodes() {
            let grows = inner.op_is::<Range>() || inner.op_is::<Topk>() || inner.op_is::<DynTile>();
            let is_sized = |outlet: usize| inner.outputs[outlet].fact.shape.as_concrete().is_some();
            ensure!(
                !grows || (0..inner.outputs.len()).all(is_sized),
                "`{}` in a graph inside the graph makes a size of a value",
                inner.name
            );
        }
        check_bodies(body)?;
    }
    Ok(())
}

impl Run<'_> {
    /// Checks a node before it computes.
    fn check(&self, context: &EvalContext, node: &TypedNode, inputs: &[TValue]) -> TractResult<()> {
        if self.cancellation.is_cancelled() {
            return Err(Cancelled.into());
        }
        self.node.set(node.id);
        match self.plan.checks[node.id].kind {
            Kind::Nothing => Ok(()),
            Kind::Size => self.check_size(context, node, inputs),
            Kind::Indices => check_indices(node, inputs),
            Kind::Divisor => check_divisor(&inputs[1]),
        }
    }

    fn reserve(&self, bytes: u64, name: &str) -> TractResult<usize> {
        let reservation = &mut self.reserved.borrow_mut().all;
        match usize::try_from(bytes) {
            Ok(bytes) if reservation.grow(bytes) => Ok(bytes),
            _ => Err(NoMemory(name.to_owned()).into()),
        }
    }

    /// Releases the memory of outputs that are not read after this node.
    fn release_after(&self, node: &TypedNode) {
        let Some(nodes) = self.plan.released.get(node.id) else {
            return;
        };
        let Reserved {
            all,
            nodes: reserved,
        } = &mut *self.reserved.borrow_mut();
        reserved.retain(|(node, bytes)| {
            let is_released = nodes.contains(node);
            if is_released {
                all.shrink(*bytes);
            }
            !is_released
        });
    }

    /// Reserves the memory of a node's outputs whose size follows from values.
    fn check_size(
        &self,
        context: &EvalContext,
        node: &TypedNode,
        inputs: &[TValue],
    ) -> TractResult<()> {
        let bytes = match output_bytes(node, inputs)? {
            Some(bytes) => bytes,
            None => volume_bytes(context, node, inputs)?,
        };
        let held = u64::try_from(self.reserved.borrow().all.bytes()).unwrap_or(u64::MAX);
        if bytes > self.capacity / 2 || held.saturating_add(bytes) > self.capacity {
            return Err(RefusedValue::new(format!(
                "the output would take {bytes} bytes with these values"
            ))
            .into());
        }
        let bytes = self.reserve(bytes, &node.name)?;
        self.reserved.borrow_mut().nodes.push((node.id, bytes));
        Ok(())
    }
}

/// Returns the bytes of all outputs, from their numbers of elements.
fn volume_bytes(context: &EvalContext, node: &TypedNode, inputs: &[TValue]) -> TractResult<u64> {
    let known = output_volume(context, node, inputs)?;
    let mut bytes = 0u64;
    for output in &node.outputs {
        let volume = known
            .or_else(|| evaluated_volume(context, &output.fact.shape))
            .unwrap_or_else(|| taken_volume(node, inputs));
        let size = output.fact.datum_type.size_of();
        let size = match output.fact.datum_type {
            DatumType::String => size.saturating_add(longest_string(inputs)?),
            _ => size,
        };
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(volume.saturating_mul(size));
    }
    Ok(bytes)
}

/// Returns the number of elements of each output, for operators that derive it from values.
fn output_volume(
    context: &EvalContext,
    node: &TypedNode,
    inputs: &[TValue],
) -> TractResult<Option<u64>> {
    if node.op_is::<Range>() {
        let number = |input: &TValue| scalar(context, input);
        let (start, end, step) = (
            number(&inputs[0])?,
            number(&inputs[1])?,
            number(&inputs[2])?,
        );
        // The length of a range of integers is computed with floats.
        let is_exact = |number: f64| number.abs() < FIRST_INEXACT;
        let is_integer = inputs[0].datum_type().is_integer();
        if is_integer && ![start, end, step].into_iter().all(is_exact) {
            return Err(RefusedValue::new(format!(
                "the range from {start} to {end} by {step} has numbers of more than 53 bits"
            ))
            .into());
        }
        let length = ((end - start) / step).ceil();
        if !length.is_finite() {
            return Err(RefusedValue::new(format!(
                "there is no range from {start} to {end} by {step}"
            ))
            .into());
        }
        // Steps away from the end produce an empty range.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates"
        )]
        let length = length.abs() as u64;
        return Ok(Some(length));
    }
    if let Some(top) = node.op_as::<Topk>() {
        let k = inputs[1].cast_to_scalar::<i64>()?;
        let size = inputs[0].shape()[top.axis];
        if !usize::try_from(k).is_ok_and(|k| k <= size) {
            return Err(
                RefusedValue::new(format!("k is {k}, but the axis has {size} elements")).into(),
            );
        }
        return Ok(Some(volume(inputs[0].shape().iter().copied())));
    }
    if node.op_is::<DynTile>() {
        let repeats = numbers(context, &inputs[1])?;
        if let Some(repeat) = repeats.iter().find(|&&repeat| repeat < 0) {
            return Err(
                RefusedValue::new(format!("nothing can be repeated {repeat} times")).into(),
            );
        }
        let repeats = repeats
            .iter()
            .map(|&n| usize::try_from(n).unwrap_or(usize::MAX));
        let sizes = inputs[0].shape().iter().zip(repeats);
        return Ok(Some(volume(sizes.map(|(size, n)| size.saturating_mul(n)))));
    }
    Ok(None)
}

fn evaluated_volume(context: &EvalContext, shape: &ShapeFact) -> Option<u64> {
    let mut product = 1u64;
    for dimension in shape.iter() {
        let size = dimension.eval(context.symbols).to_i64().ok()?;
        product = product.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX));
    }
    Some(product)
}

/// Returns the number of elements of the inputs. Operators whose output size is found while they
/// compute return no more than that.
fn taken_volume(node: &TypedNode, inputs: &[TValue]) -> u64 {
    let volumes = inputs.iter().map(|input| {
        // The position of each element found has as many numbers as there are axes.
        let numbers = match &*node.op.name() {
            "NonZero" => input.rank(),
            _ => 1,
        };
        volume(input.shape().iter().copied().chain([numbers]))
    });
    volumes.fold(0, u64::saturating_add)
}

fn longest_string(inputs: &[TValue]) -> TractResult<usize> {
    let mut longest = 0;
    for input in inputs
        .iter()
        .filter(|input| input.datum_type() == DatumType::String)
    {
        let strings = input.try_as_plain_ram()?;
        let strings = strings.as_slice::<String>()?.iter();
        longest = strings.map(String::len).fold(longest, usize::max);
    }
    Ok(longest)
}

fn volume(sizes: impl Iterator<Item = usize>) -> u64 {
    sizes.fold(1, |product, size| {
        product.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX))
    })
}

/// Returns the number in a tensor of one element.
fn scalar(context: &EvalContext, value: &TValue) -> TractResult<f64> {
    if value.datum_type() == TDim::datum_type() {
        let number = numbers(context, value)?
            .first()
            .copied()
            .unwrap_or_default();
        return Ok(number as f64);
    }
    value.cast_to_scalar::<f64>()
}

fn numbers(context: &EvalContext, value: &TValue) -> TractResult<Vec<i64>> {
    let sizes = value.cast_to::<TDim>()?;
    let sizes = sizes.try_as_plain_ram()?;
    let sizes = sizes.as_slice::<TDim>()?.iter();
    sizes
        .map(|size| Ok(size.eval(context.symbols).to_i64()?))
        .collect()
}

fn check_indices(node: &TypedNode, inputs: &[TValue]) -> TractResult<()> {
    let (data, indices) = (&inputs[0], &inputs[1]);
    if indices.datum_type() != DatumType::I64 {
        return Ok(());
    }
    // tract truncates the indices of GatherNd to 32 bits.
    let (least, end) = match node.op_as::<Gather>() {
        Some(gather) => {
            let size = i64::try_from(data.shape()[gather.axis]).unwrap_or(i64::MAX);
            (-size, size)
        }
        None => (0, i64::from(i32::MAX)),
    };
    let indices = indices.try_as_plain_ram()?;
    let indices = indices.as_slice::<i64>()?;
    match indices.iter().find(|&&index| index < least || index >= end) {
        None => Ok(()),
        Some(index) => Err(RefusedValue::new(format!(
            "an index is out of range: {index} is not within an axis of {end} elements"
        ))
        .into()),
    }
}

fn check_divisor(divisor: &TValue) -> TractResult<()> {
    // In every integer type, the bytes of zero are zero.
    let size = divisor.datum_type().size_of();
    let plain = divisor.is_plain_ram() && divisor.datum_type() != DatumType::TDim;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    if plain && size > 0 && divisor.as_bytes().chunks_exact(size).any(is_zero) {
        return Err(RefusedValue::new("an integer is divided by zero").into());
    }
    Ok(())
}
