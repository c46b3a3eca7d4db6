//! `If` whose outputs are never taken for constants.
//!
//! tract's own operator has the facts of its first branch. If an output of that branch is constant, what
//! follows is computed from it when the graph is optimised, whichever branch the condition selects later.

use tract_onnx::prelude::{TValue, TVec, TractResult, TypedFact, TypedModel, TypedNode, TypedOp};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, TypedModelPatch, as_op, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::logic::IfThenElse;

/// The operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conditional(pub(super) IfThenElse);

impl Op for Conditional {
    fn name(&self) -> StaticName {
        "If".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Conditional {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(context, inputs)
    }
}

impl TypedOp for Conditional {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let facts = self.0.output_facts(inputs)?;
        Ok(facts.iter().map(TypedFact::without_value).collect())
    }

    fn declutter(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        self.0.declutter(model, node)
    }

    as_op!();
}
