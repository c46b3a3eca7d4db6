//! Reductions of tensors along axes, which keep the reduced axes with the size 1.
//!
//! Sums and products of integers wrap in their type, as in numpy. What is a floating-point number before it is
//! rounded to the type (means, norms, logarithms) is computed exactly or in f64 from the integers themselves.

use tract_onnx::prelude::tract_ndarray::{ArrayD, ArrayViewD, Axis};
use tract_onnx::prelude::tract_num_traits::{AsPrimitive, PrimInt, WrappingAdd, WrappingMul};
use tract_onnx::prelude::{Datum, IntoTensor, Tensor, TractResult};

/// A reduction of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum IntegerFold {
    /// The sum of the absolute values.
    L1,
    /// The square root of the sum of the squares.
    L2,
    /// The logarithm of the sum.
    LogSum,
    Max,
    /// The mean, rounded towards zero.
    Mean,
    Min,
    Prod,
    Sum,
    SumSquare,
}

impl IntegerFold {
    /// Returns the reduction of the operator with this name.
    pub(super) fn of(op_type: &str) -> Option<IntegerFold> {
        Some(match op_type {
            "ReduceL1" => IntegerFold::L1,
            "ReduceL2" => IntegerFold::L2,
            "ReduceLogSum" => IntegerFold::LogSum,
            "ReduceMax" => IntegerFold::Max,
            "ReduceMean" => IntegerFold::Mean,
            "ReduceMin" => IntegerFold::Min,
            "ReduceProd" => IntegerFold::Prod,
            "ReduceSum" => IntegerFold::Sum,
            "ReduceSumSquare" => IntegerFold::SumSquare,
            _ => return None,
        })
    }

    /// Returns `input` with `axes` reduced.
    pub(super) fn reduce<T>(self, input: &Tensor, axes: &[usize]) -> TractResult<Tensor>
    where
        T: Datum + PrimInt + WrappingAdd + WrappingMul + AsPrimitive<f64> + AsPrimitive<i128>,
        i128: AsPrimitive<T>,
        f64: AsPrimitive<T>,
    {
        let numbers = input.to_plain_array_view::<T>()?;
        Ok(reduced(&numbers, axes, |numbers| self.fold(&numbers)))
    }

    fn fold<T>(self, numbers: &ArrayViewD<T>) -> T
    where
        T: Datum + PrimInt + WrappingAdd + WrappingMul + AsPrimitive<f64> + AsPrimitive<i128>,
        i128: AsPrimitive<T>,
        f64: AsPrimitive<T>,
    {
        let wide = |x: &T| AsPrimitive::<i128>::as_(*x);
        let double = |x: &T| AsPrimitive::<f64>::as_(*x);
        let absolute = |x: &T| match *x < T::zero() {
            true => T::zero().wrapping_add(&(!*x)).wrapping_add(&T::one()),
            false => *x,
        };
        let sum = |sum: T, x: T| sum.wrapping_add(&x);
        // The processor's conversion of NaN, as for a cast.
        let whole = |x: f64| match x.is_nan() {
            true => T::min_value(),
            false => AsPrimitive::<T>::as_(x),
        };
        match self {
            IntegerFold::L1 => numbers.iter().map(absolute).fold(T::zero(), sum),
            IntegerFold::L2 => {
                let squares = numbers.iter().map(|x| double(x) * double(x));
                whole(squares.sum::<f64>().sqrt())
            }
            IntegerFold::LogSum => whole(numbers.iter().map(double).sum::<f64>().ln()),
            IntegerFold::Max => numbers.iter().copied().fold(T::min_value(), T::max),
            IntegerFold::Mean => {
                let sum = numbers.iter().map(wide).fold(0i128, i128::wrapping_add);
                let count = i128::try_from(numbers.len()).unwrap_or(i128::MAX);
                AsPrimitive::<T>::as_(sum / count.max(1))
            }
            IntegerFold::Min => numbers.iter().copied().fold(T::max_value(), T::min),
            IntegerFold::Prod => {
                let numbers = numbers.iter();
                numbers.fold(T::one(), |product, x| product.wrapping_mul(x))
            }
            IntegerFold::Sum => numbers.iter().copied().fold(T::zero(), sum),
            IntegerFold::SumSquare => {
                let squares = numbers.iter().map(|x| x.wrapping_mul(x));
                squares.fold(T::zero(), sum)
            }
        }
    }
}

/// Returns the maximum or minimum of floats: `better` returns whether its first argument is preferred, and
/// `start` is the result for no elements.
pub(super) fn extreme<T: Datum + Copy + PartialOrd>(
    input: &Tensor,
    axes: &[usize],
    (start, better): (T, fn(&T, &T) -> bool),
) -> TractResult<Tensor> {
    let mut array = input.to_plain_array_view::<T>()?.to_owned();
    for &axis in axes {
        let axis = Axis(axis);
        array = array
            .fold_axis(axis, start, |best, new| {
                // A NaN compares as unordered with itself and is kept.
                match better(new, best) || new.partial_cmp(new).is_none() {
                    true => *new,
                    false => *best,
                }
            })
            .insert_axis(axis);
    }
    Ok(array.into_tensor())
}

/// Returns the result of `fold` on the elements that differ only along `axes`.
fn reduced<T: Datum>(
    input: &ArrayViewD<T>,
    axes: &[usize],
    fold: impl Fn(ArrayViewD<T>) -> T,
) -> Tensor {
    let mut shape = input.shape().to_vec();
    for &axis in axes {
        shape[axis] = 1;
    }
    let output = ArrayD::from_shape_fn(shape, |index| {
        let mut numbers = input.view();
        for axis in (0..input.ndim()).filter(|axis| !axes.contains(axis)) {
            numbers.collapse_axis(Axis(axis), index[axis]);
        }
        fold(numbers)
    });
    output.into_tensor()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{tensor1, tensor2};

    fn folded(fold: IntegerFold, numbers: &[i64]) -> i64 {
        let reduced = fold.reduce::<i64>(&tensor1(numbers), &[0]).unwrap();
        reduced.to_plain_array_view::<i64>().unwrap()[0]
    }

    #[test]
    fn integers_of_64_bits_are_not_folded_in_32() {
        let large = [1i64 << 31, 1 << 31, 5, 1];
        assert_eq!(folded(IntegerFold::Sum, &large), 4_294_967_302);
        assert_eq!(folded(IntegerFold::L1, &[-(1 << 40), 3]), (1 << 40) + 3);
        assert_eq!(folded(IntegerFold::Mean, &large), 1_073_741_825);
        assert_eq!(folded(IntegerFold::Max, &large), 1 << 31);
        assert_eq!(folded(IntegerFold::Min, &[i64::MAX, 1 << 40]), 1 << 40);
        assert_eq!(folded(IntegerFold::SumSquare, &[1 << 20, 3]), (1 << 40) + 9);
        assert_eq!(folded(IntegerFold::L2, &[3 << 32, 4 << 32]), 5 << 32);
        // The logarithm of 4294967302 is 22.18.
        assert_eq!(folded(IntegerFold::LogSum, &large), 22);
        assert_eq!(folded(IntegerFold::Prod, &[1 << 31, 1 << 20]), 1 << 51);
    }

    #[test]
    fn sums_wrap_and_means_do_not() {
        assert_eq!(folded(IntegerFold::Sum, &[i64::MAX, 1]), i64::MIN);
        assert_eq!(folded(IntegerFold::Mean, &[i64::MAX, i64::MAX]), i64::MAX);
        assert_eq!(folded(IntegerFold::Mean, &[-1, -2, -3, -4]), -2);
        assert_eq!(folded(IntegerFold::L1, &[i64::MIN]), i64::MIN);
        assert_eq!(folded(IntegerFold::Sum, &[]), 0);
        let rows = tensor2(&[[1i32 << 30, 1 << 30, 1 << 30, 1], [7, -8, 9, 10]]);
        let means = IntegerFold::Mean.reduce::<i32>(&rows, &[1]).unwrap();
        assert_eq!(means, tensor2(&[[805_306_368i32], [4]]));
        let sums = IntegerFold::Sum.reduce::<i32>(&rows, &[1]).unwrap();
        assert_eq!(sums, tensor2(&[[-1_073_741_823i32], [18]]));
        let all = IntegerFold::Max.reduce::<i32>(&rows, &[0, 1]).unwrap();
        assert_eq!(all, tensor2(&[[1i32 << 30]]));
    }
}
