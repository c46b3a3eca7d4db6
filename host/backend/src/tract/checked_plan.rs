//! A plan whose operators are checked before they compute, for the memory that they need and for cancellation.
//!
//! Sizes that follow from those of the inputs are known and bounded when a plan is built. The remaining
//! sizes follow from values, and a small request can contain any value: the end of `Range`, the `k` of
//! `TopK`, the repeats of `Tile`, and everything that is computed from their outputs. The output size of
//! each such operator is computed before it allocates. Its bytes are reserved, together with those of the
//! rest of the plan, in a budget that all computations share.
//!
//! The operators that need this are determined once for a plan (`node_check`); each of the others costs one comparison.

use super::guard::{Cancelled, GuardError, NoMemory, RefusedValue, guarded, without_operators};
use super::ml::output_bytes;
use super::node_check::{Kind, NodeCheck, check_bodies, check_divisor, check_indices};
use super::output_volume::volume_bytes;
use crate::cancellation::Cancellation;
use crate::refusal::Refusal;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tract_onnx::prelude::{TValue, TVec, TractResult, TypedNode, TypedSimplePlan};
use tract_onnx::tract_core::internal::EvalContext;
use tract_onnx::tract_core::plan;
use wisp_tensor::memory_budget::{MemoryBudget, Reservation};

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
