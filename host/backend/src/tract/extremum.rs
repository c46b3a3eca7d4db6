//! Maximum and minimum of floats in which NaN stays NaN, as in numpy and onnxruntime.
//!
//! tract returns the other operand, so `Relu(NaN)` is 0 and `Clip(NaN)` a bound. Relu, Clip, Celu and
//! HardSigmoid are compositions of the two. tract fuses its own operators into the matrix products before
//! them, which is lost here: one more pass over the output.

use tract_onnx::prelude::tract_ndarray::Zip;
use tract_onnx::prelude::tract_num_traits::Float;
use tract_onnx::prelude::{Datum, DatumType, Tensor, TractResult, f16};
use tract_onnx::tract_core::internal::bail;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::math;

/// The two operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extremum {
    Max,
    Min,
}

impl Extremum {
    /// Returns the operator that replaces one of tract on elements of this type, if there is one.
    pub(super) fn replacing(operator: &TypedBinOp, datum_type: DatumType) -> Option<TypedBinOp> {
        let TypedBinOp(operator, output) = operator;
        let extremum = if operator.is::<math::Max>() {
            Extremum::Max
        } else if operator.is::<math::Min>() {
            Extremum::Min
        } else {
            return None;
        };
        datum_type
            .is_float()
            .then(|| TypedBinOp(Box::new(extremum), *output))
    }

    /// Returns one of two numbers, and NaN if one of them is.
    pub(super) fn pick<T: Float>(self, a: T, b: T) -> T {
        // A comparison with NaN is false, so that `b` is returned if it is NaN.
        let is_better = match self {
            Extremum::Max => a > b,
            Extremum::Min => a < b,
        };
        if is_better || a.is_nan() { a } else { b }
    }

    /// Replaces the numbers beyond `bound` by it. Negative zero is not beyond zero.
    fn bounded<T: Float>(self, numbers: &mut [T], bound: T) {
        if bound.is_nan() {
            numbers.fill(bound);
            return;
        }
        // One instruction each for several numbers, since a comparison with NaN is false.
        match self {
            Extremum::Max => {
                for x in numbers {
                    *x = if *x < bound { bound } else { *x };
                }
            }
            Extremum::Min => {
                for x in numbers {
                    *x = if *x > bound { bound } else { *x };
                }
            }
        }
    }

    fn in_first<T: Datum + Float>(self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        let is_same_shape = a.shape() == b.shape();
        let others = b.try_as_plain_ram()?.as_slice::<T>()?;
        let mut plain = a.try_as_plain_ram_mut()?;
        if let [bound] = others {
            self.bounded(plain.as_slice_mut::<T>()?, *bound);
        } else if is_same_shape {
            for (x, y) in plain.as_slice_mut::<T>()?.iter_mut().zip(others) {
                *x = self.pick(*x, *y);
            }
        } else {
            let others = b.to_plain_array_view::<T>()?;
            Zip::from(plain.to_array_view_mut::<T>()?)
                .and_broadcast(others)
                .for_each(|x, y| *x = self.pick(*x, *y));
        }
        Ok(())
    }

    fn in_third<T: Datum + Float>(
        self,
        c: &mut Tensor,
        (a, b): (&Tensor, &Tensor),
    ) -> TractResult<()> {
        let (a, b) = (a.to_plain_array_view::<T>()?, b.to_plain_array_view::<T>()?);
        let mut plain = c.try_as_plain_ram_mut()?;
        Zip::from(plain.to_array_view_mut::<T>()?)
            .and_broadcast(a)
            .and_broadcast(b)
            .for_each(|c, a, b| *c = self.pick(*a, *b));
        Ok(())
    }
}

impl BinMiniOp for Extremum {
    fn name(&self) -> &'static str {
        match self {
            Extremum::Max => "Max",
            Extremum::Min => "Min",
        }
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        self.operating_datum_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        match a.datum_type() {
            DatumType::F16 => self.in_first::<f16>(a, b),
            DatumType::F32 => self.in_first::<f32>(a, b),
            DatumType::F64 => self.in_first::<f64>(a, b),
            other => bail!("{} of {other:?}", self.name()),
        }
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        match c.datum_type() {
            DatumType::F16 => self.in_third::<f16>(c, (a, b)),
            DatumType::F32 => self.in_third::<f32>(c, (a, b)),
            DatumType::F64 => self.in_third::<f64>(c, (a, b)),
            other => bail!("{} of {other:?}", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{IntoTValue, tensor1, tensor2};

    const NAN: f32 = f32::NAN;

    fn extremum(extremum: Extremum, a: Tensor, b: Tensor) -> Vec<f32> {
        let output = extremum.eval(a.into_tvalue(), b.into_tvalue(), DatumType::F32);
        let output = output.unwrap();
        let plain = output.try_as_plain_ram().unwrap();
        plain.as_slice::<f32>().unwrap().to_vec()
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    #[test]
    fn a_bound_keeps_nan_and_negative_zero() {
        let numbers = tensor1(&[NAN, -1.0, -0.0, 0.0, 2.0, f32::INFINITY]);
        let relu = extremum(Extremum::Max, numbers.clone(), tensor1(&[0f32]));
        assert!(relu[0].is_nan());
        assert_eq!(
            bits(&relu[1..]),
            bits(&[0.0, -0.0, 0.0, 2.0, f32::INFINITY])
        );
        let capped = extremum(Extremum::Min, numbers, tensor1(&[1f32]));
        assert!(capped[0].is_nan());
        assert_eq!(bits(&capped[1..]), bits(&[-1.0, -0.0, 0.0, 1.0, 1.0]));
    }

    #[test]
    fn nan_in_either_operand_stays_nan() {
        for kind in [Extremum::Max, Extremum::Min] {
            let a = tensor1(&[NAN, 1.0, NAN, 2.0]);
            let b = tensor1(&[1.0, NAN, NAN, 3.0]);
            let output = extremum(kind, a, b);
            assert!(output[..3].iter().all(|number| number.is_nan()));
            let expected = if kind == Extremum::Max { 3.0 } else { 2.0 };
            assert_eq!(output[3], expected);
        }
        let nothing = extremum(Extremum::Max, tensor1(&[1f32, 2.0]), tensor1(&[NAN]));
        assert!(nothing.iter().all(|number| number.is_nan()));
    }

    #[test]
    fn operands_are_broadcast_against_each_other() {
        let column = tensor2(&[[1f32], [NAN]]);
        let row = tensor2(&[[0f32, 2.0]]);
        let output = extremum(Extremum::Max, column, row.clone());
        assert_eq!(output[..2], [1.0, 2.0]);
        assert!(output[2].is_nan() && output[3].is_nan());
        let table = tensor2(&[[5f32, 1.0], [-1.0, 3.0]]);
        assert_eq!(extremum(Extremum::Max, table, row), [5.0, 2.0, 0.0, 3.0]);
    }
}
