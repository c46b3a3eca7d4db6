//! `If` whose branches are plans, made once.
//!
//! tract plans a branch anew for each run, without optimising it, and packs the weights that it uses.
//! An `If` whose condition follows from the sizes has been replaced by one of its branches by now
//! ([`super::sized_condition`]).

use std::sync::Arc;
use tract_onnx::prelude::{TValue, TVec, TractResult, TypedFact, TypedOp, TypedSimplePlan};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, as_op, bail, op_as_typed_op, op_out_of_plan,
};

/// The operator, for one set of sizes.
#[derive(Debug, Clone)]
pub(super) struct Branches {
    pub(super) then_branch: Branch,
    pub(super) else_branch: Branch,
    /// The outputs, which are the same for both branches.
    pub(super) outputs: TVec<TypedFact>,
}

/// One of the two branches.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) plan: Arc<TypedSimplePlan>,
    /// The position of each of its inputs among those of the operator.
    pub(super) inputs: Vec<usize>,
}

impl PartialEq for Branches {
    fn eq(&self, other: &Branches) -> bool {
        let is_same = |one: &Branch, other: &Branch| Arc::ptr_eq(&one.plan, &other.plan);
        is_same(&self.then_branch, &other.then_branch)
            && is_same(&self.else_branch, &other.else_branch)
    }
}

impl Eq for Branches {}

impl Op for Branches {
    fn name(&self) -> StaticName {
        "If".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Branches {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(condition) = inputs.first() else {
            bail!("If needs a condition");
        };
        let branch = match condition.cast_to_scalar::<bool>()? {
            true => &self.then_branch,
            false => &self.else_branch,
        };
        let inputs = branch.inputs.iter().map(|&input| inputs[input].clone());
        branch.plan.run(inputs.collect())
    }
}

impl TypedOp for Branches {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.clone())
    }

    as_op!();
}
