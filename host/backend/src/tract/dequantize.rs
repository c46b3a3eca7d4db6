//! `DequantizeLinear` whose quantized result tract does not replace by a table.
//!
//! Between a dequantization and the next quantization, tract replaces all operators that keep the shape by a
//! table of 256 values, which it computes from the numbers of all 256 bytes at once. For a Softmax, a
//! normalisation or another operator that mixes elements the table is nonsense, and it is read with the wrong
//! sign if only one of the two sides is signed. This operator has no such rewrite; otherwise it is tract's.

use tract_onnx::prelude::{TValue, TVec, TractResult, TypedFact, TypedModel, TypedNode, TypedOp};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, EvalContext, EvalOp, InOut, Op, StaticName, as_op,
    op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;

/// The operator of tract without its rewrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dequantize(pub(super) DequantizeLinearF32);

impl Op for Dequantize {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for Dequantize {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.eval(context, inputs)
    }
}

impl TypedOp for Dequantize {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn axes_mapping(
        &self,
        inputs: &[&TypedFact],
        outputs: &[&TypedFact],
    ) -> TractResult<AxesMapping> {
        self.0.axes_mapping(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        self.0.change_axes(model, node, io, change)
    }

    as_op!();
}
