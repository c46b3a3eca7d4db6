//! The product with a constant zero, which is NaN for NaN and the infinities.
//!
//! tract replaces it by zeros.

use tract_onnx::prelude::{DatumType, Tensor, TractResult, TypedFact};
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::math::Mul;

/// tract's operator without its rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ZeroProduct;

impl ZeroProduct {
    /// Returns the operator that replaces one of tract with these inputs, if there is one.
    pub(super) fn replacing(operator: &TypedBinOp, inputs: &[&TypedFact]) -> Option<TypedBinOp> {
        let TypedBinOp(operator, output) = operator;
        let is_zero = |fact: &&TypedFact| {
            let number = fact.uniform.as_ref();
            let number = number.and_then(|number| number.cast_to_scalar::<f64>().ok());
            fact.datum_type.is_float() && number == Some(0.0)
        };
        (operator.is::<Mul>() && inputs.iter().any(is_zero))
            .then(|| TypedBinOp(Box::new(ZeroProduct), *output))
    }
}

impl BinMiniOp for ZeroProduct {
    fn name(&self) -> &'static str {
        "Mul"
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        Mul.result_datum_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        Mul.eval_in_a(a, b)
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        Mul.eval_out_of_place(c, a, b)
    }
}
