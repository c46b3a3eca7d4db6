//! `Sigmoid` for f64 as well. tract's own operator does not support f64, and the binary classifiers that
//! skl2onnx exports for f64 end in it.

use super::operator::{Built, Fact, Kernel, MlOperator, elements, filled};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    DatumType, SpecialOps, TValue, TVec, Tensor, TractResult, TypedModel, tvec,
};
use tract_onnx::tract_core::internal::{OutletId, StaticName};
use tract_onnx::tract_core::ops::nn::sigmoid;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};

/// Either of the two implementations, chosen when the model is typed.
#[derive(Debug, Clone)]
struct Sigmoid;

/// The implementation for f64.
struct DoubleSigmoid;

pub(super) fn build(_context: &ParsingContext, _node: &NodeProto) -> Built {
    Ok((expand(Sigmoid), vec![]))
}

impl Expansion for Sigmoid {
    fn name(&self) -> StaticName {
        "Sigmoid".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        if let ([input], [output]) = (inputs, outputs) {
            solver.equals(&input.datum_type, &output.datum_type)?;
            return solver.equals(&input.shape, &output.shape);
        }
        tract_onnx::tract_core::internal::bail!("Sigmoid takes one input and has one output")
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        match model.outlet_fact(inputs[0])?.datum_type {
            DatumType::F64 => model.wire_node(prefix, MlOperator::single(DoubleSigmoid), inputs),
            _ => model.wire_node(prefix, sigmoid(), inputs),
        }
    }
}

impl Kernel for DoubleSigmoid {
    fn name(&self) -> &'static str {
        "Sigmoid"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        Ok(inputs.iter().cloned().collect())
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = elements::<f64>(&inputs[0])?;
        let output = filled(inputs[0].shape(), |output: &mut [f64]| {
            for (to, x) in output.iter_mut().zip(input) {
                *to = 1.0 / (1.0 + (-x).exp());
            }
            Ok(())
        })?;
        Ok(tvec![output])
    }
}
