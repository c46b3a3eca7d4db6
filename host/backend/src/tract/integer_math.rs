//! `Pow` and `BitShift` of integers as ONNX Runtime computes them.
//!
//! tract takes a negative exponent for a large positive one, replaces squares by an operator that has no
//! integers, and shifts by the remainder of the distance and the width of the type. Everything but the
//! computation is tract's. Powers wrap around, as all integer arithmetic in a model does.

use super::guard::RefusedValue;
use super::replacement::{self, Built};
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumType, Tensor, TractResult, TypedNode, TypedOp};
use tract_onnx::tract_core::internal::{bail, ensure};
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::math::{Pow, ShiftLeft, ShiftRight};

/// A power of an integer with an exponent of the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IntegerPow;

/// A shift of an integer by a distance of the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shift {
    Left,
    Right,
}

/// Registers the two operators of this module.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("BitShift", build);
    onnx.op_register.insert("Pow", build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    replacement::built(context, node, replaced)
}

fn replaced(node: &TypedNode) -> Option<Box<dyn TypedOp>> {
    let TypedBinOp(operator, _) = node.op_as::<TypedBinOp>()?;
    let is_integer = node.outputs[0].fact.datum_type.is_integer();
    let ours: Box<dyn BinMiniOp> = if operator.is::<Pow>() && is_integer {
        Box::new(IntegerPow)
    } else if operator.is::<ShiftLeft>() {
        Box::new(Shift::Left)
    } else if operator.is::<ShiftRight>() {
        Box::new(Shift::Right)
    } else {
        return None;
    };
    Some(Box::new(TypedBinOp(ours, None)))
}

/// Returns the power modulo 2^64.
fn power(base: i64, exponent: i64) -> TractResult<i64> {
    if exponent < 0 {
        // The fraction is cut off.
        return match base {
            0 => Err(RefusedValue::new("zero is raised to a negative power").into()),
            1 => Ok(1),
            -1 if exponent % 2 == 0 => Ok(1),
            -1 => Ok(-1),
            _ => Ok(0),
        };
    }
    let (mut result, mut square, mut left) = (1i64, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    Ok(result)
}

/// Computes `output` element by element from two tensors that are broadcast to its shape.
fn combine<T: Datum + Copy>(
    output: &mut Tensor,
    (a, b): (&Tensor, &Tensor),
    operation: impl Fn(T, T) -> TractResult<T>,
) -> TractResult<()> {
    let shape = output.shape().to_vec();
    let (a, b) = (a.to_plain_array_view::<T>()?, b.to_plain_array_view::<T>()?);
    let broadcast = (a.broadcast(shape.as_slice()), b.broadcast(shape.as_slice()));
    let (Some(first), Some(second)) = broadcast else {
        bail!("the operands cannot be broadcast to {shape:?}");
    };
    let mut plain = output.try_as_plain_ram_mut()?;
    let results = plain.as_slice_mut::<T>()?.iter_mut();
    for ((result, &a), &b) in results.zip(first.iter()).zip(second.iter()) {
        *result = operation(a, b)?;
    }
    Ok(())
}

/// Computes in a new tensor, since the first operand is read while results are written.
fn replace_first(operator: &dyn BinMiniOp, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
    let mut output = Tensor::zero_dt(a.datum_type(), a.shape())?;
    operator.eval_out_of_place(&mut output, a, b)?;
    *a = output;
    Ok(())
}

fn common_type(a: DatumType, b: DatumType) -> TractResult<DatumType> {
    ensure!(a == b, "the operands are {a:?} and {b:?}");
    Ok(a)
}

impl BinMiniOp for IntegerPow {
    fn name(&self) -> &'static str {
        "IntegerPow"
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        common_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        replace_first(self, a, b)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "powers wrap around, in any number of bits"
    )]
    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        match c.datum_type() {
            DatumType::I32 => combine::<i32>(c, (a, b), |a, b| {
                Ok(power(i64::from(a), i64::from(b))? as i32)
            }),
            DatumType::I64 => combine::<i64>(c, (a, b), power),
            other => bail!("{} of {other:?}", self.name()),
        }
    }

    fn is_commutative(&self) -> bool {
        false
    }
}

impl Shift {
    fn shifted(&self, number: u64, distance: u64) -> u64 {
        let distance = u32::try_from(distance).unwrap_or(u32::MAX);
        let shifted = match self {
            Shift::Left => number.checked_shl(distance),
            Shift::Right => number.checked_shr(distance),
        };
        shifted.unwrap_or(0)
    }

    /// Returns the shifted number, with its sign in the place of bits that a shift to the right leaves open.
    fn shifted_signed(&self, number: i64, distance: i64) -> TractResult<i64> {
        let Ok(distance) = u32::try_from(distance.min(64)) else {
            return Err(RefusedValue::new("a number is shifted by a negative distance").into());
        };
        Ok(match self {
            Shift::Left => number.checked_shl(distance).unwrap_or(0),
            Shift::Right => number >> distance.min(63),
        })
    }
}

impl BinMiniOp for Shift {
    fn name(&self) -> &'static str {
        match self {
            Shift::Left => "ShiftLeft",
            Shift::Right => "ShiftRight",
        }
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        common_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        replace_first(self, a, b)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "bits beyond the type are shifted out"
    )]
    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        match c.datum_type() {
            DatumType::U8 => combine::<u8>(c, (a, b), |number, distance| {
                Ok(self.shifted(u64::from(number), u64::from(distance)) as u8)
            }),
            DatumType::U16 => combine::<u16>(c, (a, b), |number, distance| {
                Ok(self.shifted(u64::from(number), u64::from(distance)) as u16)
            }),
            DatumType::U32 => combine::<u32>(c, (a, b), |number, distance| {
                Ok(self.shifted(u64::from(number), u64::from(distance)) as u32)
            }),
            DatumType::U64 => combine::<u64>(c, (a, b), |number, distance| {
                Ok(self.shifted(number, distance))
            }),
            DatumType::I8 => combine::<i8>(c, (a, b), |number, distance| {
                Ok(self.shifted_signed(i64::from(number), i64::from(distance))? as i8)
            }),
            DatumType::I16 => combine::<i16>(c, (a, b), |number, distance| {
                Ok(self.shifted_signed(i64::from(number), i64::from(distance))? as i16)
            }),
            DatumType::I32 => combine::<i32>(c, (a, b), |number, distance| {
                Ok(self.shifted_signed(i64::from(number), i64::from(distance))? as i32)
            }),
            DatumType::I64 => combine::<i64>(c, (a, b), |number, distance| {
                self.shifted_signed(number, distance)
            }),
            other => bail!("{} of {other:?}", self.name()),
        }
    }

    fn is_commutative(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{tensor1, tensor2};

    fn computed(operator: &dyn BinMiniOp, a: Tensor, b: Tensor) -> TractResult<Tensor> {
        let datum_type = operator.result_datum_type(a.datum_type(), b.datum_type())?;
        operator.eval(a.into(), b.into(), datum_type)
    }

    #[test]
    fn powers_wrap_around() -> TractResult<()> {
        let bases = tensor1(&[2i32, 3, -2, i32::MIN, 0, 46_341]);
        let exponents = tensor1(&[31i32, 21, 31, 2, 0, 2]);
        let expected = tensor1(&[
            i32::MIN,
            3i32.wrapping_pow(21),
            i32::MIN,
            0,
            1,
            -2_147_479_015,
        ]);
        assert_eq!(computed(&IntegerPow, bases, exponents)?, expected);
        let bases = tensor1(&[3i64, 1, -1]);
        let expected = tensor1(&[3i64.wrapping_pow(41), 1, -1]);
        assert_eq!(
            computed(&IntegerPow, bases, tensor1(&[41i64, i64::MAX, i64::MAX]))?,
            expected
        );
        Ok(())
    }

    #[test]
    fn negative_powers_are_cut_off_and_refused_for_zero() -> TractResult<()> {
        let bases = tensor1(&[2i64, 1, -1, -1, i64::MIN]);
        let exponents = tensor1(&[-1i64, -5, -3, -4, i64::MIN]);
        assert_eq!(
            computed(&IntegerPow, bases, exponents)?,
            tensor1(&[0i64, 1, -1, 1, 0])
        );
        let refused = computed(&IntegerPow, tensor1(&[0i64]), tensor1(&[-1i64])).unwrap_err();
        assert!(refused.is::<RefusedValue>(), "{refused:?}");
        Ok(())
    }

    #[test]
    fn a_shift_beyond_the_width_leaves_nothing() -> TractResult<()> {
        let distances = tensor1(&[0u8, 1, 7, 8, 200]);
        let ones = tensor1(&[129u8; 5]);
        assert_eq!(
            computed(&Shift::Left, ones.clone(), distances.clone())?,
            tensor1(&[129u8, 2, 128, 0, 0])
        );
        assert_eq!(
            computed(&Shift::Right, ones, distances)?,
            tensor1(&[129u8, 64, 1, 0, 0])
        );
        let negative = tensor1(&[-128i8, -1, 64]);
        let shifted = computed(&Shift::Right, negative.clone(), tensor1(&[2i8, 100, 3]))?;
        assert_eq!(shifted, tensor1(&[-32i8, -1, 8]));
        let shifted = computed(&Shift::Left, negative.clone(), tensor1(&[1i8, 100, 1]))?;
        assert_eq!(shifted, tensor1(&[0i8, 0, -128]));
        let refused = computed(&Shift::Left, negative, tensor1(&[-1i8; 3])).unwrap_err();
        assert!(refused.is::<RefusedValue>(), "{refused:?}");
        let far = computed(&Shift::Left, tensor1(&[1u64; 2]), tensor1(&[63, u64::MAX]))?;
        assert_eq!(far, tensor1(&[1u64 << 63, 0]));
        Ok(())
    }

    #[test]
    fn operands_are_broadcast() -> TractResult<()> {
        let column = tensor2(&[[2i64], [3]]);
        let row = tensor2(&[[0i64, 1, 2]]);
        assert_eq!(
            computed(&IntegerPow, column, row)?,
            tensor2(&[[1i64, 2, 4], [1, 3, 9]])
        );
        Ok(())
    }
}
