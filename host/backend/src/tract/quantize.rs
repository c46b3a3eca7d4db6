//! `QuantizeLinear` of numbers far outside the range of 8 bits.
//!
//! tract adds the zero point to an integer of 32 bits, which overflows for quotients near its ends. Here, the
//! quotient is limited before. Otherwise, the operator is tract's.

use tract_onnx::prelude::{Datum, DatumType, Tensor, TractResult};
use tract_onnx::tract_core::internal::bail;
use tract_onnx::tract_core::ops::element_wise::ElementWiseMiniOp;
use tract_onnx::tract_core::ops::quant::{
    QuantizeLinearI8, QuantizeLinearU8, quantize_linear_f32_i8, quantize_linear_f32_u8,
};

/// The quotient beyond which all results are bounds of the range for any zero point.
const LIMIT: f32 = 1024.0;

/// A quantization of f32 to 8 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Quantize {
    Signed(QuantizeLinearI8),
    Unsigned(QuantizeLinearU8),
}

impl Quantize {
    /// Returns the replacement for an operator of tract that quantizes f32.
    pub(super) fn replacing(
        operator: &dyn ElementWiseMiniOp,
        datum_type: DatumType,
    ) -> Option<Quantize> {
        if datum_type != DatumType::F32 {
            return None;
        }
        if let Some(signed) = operator.downcast_ref::<QuantizeLinearI8>() {
            return Some(Quantize::Signed(signed.clone()));
        }
        let unsigned = operator.downcast_ref::<QuantizeLinearU8>();
        unsigned.map(|unsigned| Quantize::Unsigned(unsigned.clone()))
    }
}

impl ElementWiseMiniOp for Quantize {
    fn name(&self) -> String {
        "Quantize".to_owned()
    }

    fn output_type(&self, _: DatumType) -> Option<DatumType> {
        Some(match self {
            Quantize::Signed(_) => i8::datum_type(),
            Quantize::Unsigned(_) => u8::datum_type(),
        })
    }

    fn eval_out_of_place(&self, input: &Tensor, _: Option<DatumType>) -> TractResult<Tensor> {
        let plain = input.try_as_plain_ram()?;
        let numbers = plain.as_slice::<f32>()?.iter();
        match self {
            Quantize::Signed(QuantizeLinearI8 { scale, zero_point }) => {
                let quantize = |x: &f32| {
                    // The scale is the reciprocal of the file's.
                    let quotient = (x * scale).clamp(-LIMIT, LIMIT);
                    quantize_linear_f32_i8(quotient, 1.0, i32::from(*zero_point))
                };
                shaped(&numbers.map(quantize).collect::<Vec<i8>>(), input)
            }
            Quantize::Unsigned(QuantizeLinearU8 { scale, zero_point }) => {
                let quantize = |x: &f32| {
                    let quotient = (x * scale).clamp(-LIMIT, LIMIT);
                    quantize_linear_f32_u8(quotient, 1.0, i32::from(*zero_point))
                };
                shaped(&numbers.map(quantize).collect::<Vec<u8>>(), input)
            }
        }
    }

    fn eval_in_place(&self, _: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        bail!("the result has another type")
    }
}

fn shaped<T: Datum + Copy>(numbers: &[T], input: &Tensor) -> TractResult<Tensor> {
    Tensor::from_shape(input.shape(), numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor1;

    #[test]
    fn numbers_out_of_range_become_the_ends_of_the_range() -> TractResult<()> {
        let input = tensor1(&[
            -1e30_f32,
            -3.0,
            0.0,
            3.0,
            1e30,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ]);
        let unsigned = Quantize::Unsigned(QuantizeLinearU8 {
            scale: 2.0,
            zero_point: 10,
        });
        let expected = tensor1(&[0_u8, 4, 10, 16, 255, 255, 0]);
        assert_eq!(unsigned.eval_out_of_place(&input, None)?, expected);
        let signed = Quantize::Signed(QuantizeLinearI8 {
            scale: 2.0,
            zero_point: -10,
        });
        let expected = tensor1(&[-128_i8, -16, -10, -4, 127, 127, -128]);
        assert_eq!(signed.eval_out_of_place(&input, None)?, expected);
        Ok(())
    }
}
