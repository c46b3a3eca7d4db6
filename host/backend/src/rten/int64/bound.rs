//! Bounds of the numbers that a value may contain.

use crate::pb::tensor_proto::DataType;

/// The number of inputs of a graph that are distinguished. [`crate::onnx::check_counts`] admits no more.
const MAX_INPUTS: usize = 1024;

/// The smallest and the largest 32-bit number.
const WORD: (f64, f64) = (-2_147_483_648.0, 2_147_483_647.0);

/// A set of inputs of the main graph.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(super) struct InputSet([u64; MAX_INPUTS / 64]);

/// The least and the greatest number of a value, and the inputs on which they depend.
///
/// f64 is exact far beyond 32 bits, which is sufficient, and has infinity for a missing bound.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bound {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) inputs: InputSet,
}

// === impl InputSet ===

impl InputSet {
    pub(super) fn of(input: usize) -> InputSet {
        let mut set = InputSet::default();
        if let Some(word) = set.0.get_mut(input / 64) {
            *word |= 1 << (input % 64);
        }
        set
    }

    pub(super) fn union(self, other: InputSet) -> InputSet {
        let mut union = self;
        for (word, more) in union.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        union
    }

    pub(super) fn contains(&self, input: usize) -> bool {
        let word = self.0.get(input / 64);
        word.is_some_and(|word| word >> (input % 64) & 1 == 1)
    }
}

// === impl Bound ===

impl Bound {
    pub(super) const UNKNOWN: Bound = Bound::between(f64::NEG_INFINITY, f64::INFINITY);

    /// The bound of bools.
    pub(super) const UNIT: Bound = Bound::between(0.0, 1.0);

    pub(super) const fn between(low: f64, high: f64) -> Bound {
        Bound {
            low,
            high,
            inputs: InputSet([0; MAX_INPUTS / 64]),
        }
    }

    /// Returns the bound of all numbers of a type, as rten has them.
    pub(super) fn of_type(data_type: Option<DataType>) -> Bound {
        match data_type {
            Some(DataType::Bool) => Bound::UNIT,
            Some(DataType::Uint8) => Bound::between(0.0, 255.0),
            Some(DataType::Int8) => Bound::between(-128.0, 127.0),
            Some(DataType::Int32 | DataType::Int64) => Bound::between(WORD.0, WORD.1),
            _ => Bound::UNKNOWN,
        }
    }

    /// Returns whether all numbers have 32 bits.
    pub(super) fn fits(&self) -> bool {
        WORD.0 <= self.low && self.high <= WORD.1
    }

    /// Returns the bound within `other`.
    pub(super) fn clamped(self, other: Bound) -> Bound {
        self.with(
            self.low.clamp(other.low, other.high),
            self.high.clamp(other.low, other.high),
        )
    }

    pub(super) fn magnitude(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// Returns other numbers that depend on the same inputs.
    pub(super) fn with(self, low: f64, high: f64) -> Bound {
        // The difference of two infinities is neither of the two.
        let ends = match low.is_nan() || high.is_nan() {
            true => Bound::UNKNOWN,
            false => Bound::between(low, high),
        };
        Bound {
            inputs: self.inputs,
            ..ends
        }
    }

    pub(super) fn symmetric(self, magnitude: f64) -> Bound {
        self.with(-magnitude, magnitude)
    }

    fn joined(self, other: Bound, (low, high): (f64, f64)) -> Bound {
        Bound {
            inputs: self.inputs.union(other.inputs),
            ..self.with(low, high)
        }
    }

    /// Returns the bound of values that are one or the other.
    pub(super) fn or(self, other: Bound) -> Bound {
        self.joined(other, (self.low.min(other.low), self.high.max(other.high)))
    }

    pub(super) fn lesser(self, other: Bound) -> Bound {
        self.joined(other, (self.low.min(other.low), self.high.min(other.high)))
    }

    pub(super) fn greater(self, other: Bound) -> Bound {
        self.joined(other, (self.low.max(other.low), self.high.max(other.high)))
    }

    pub(super) fn plus(self, other: Bound) -> Bound {
        self.joined(other, (self.low + other.low, self.high + other.high))
    }

    pub(super) fn minus(self, other: Bound) -> Bound {
        self.joined(other, (self.low - other.high, self.high - other.low))
    }

    pub(super) fn times(self, other: Bound) -> Bound {
        let product = |one: f64, other: f64| match one == 0.0 || other == 0.0 {
            true => 0.0,
            false => one * other,
        };
        self.joined(other, self.extremes(other, product))
    }

    /// Returns the bound of quotients of floats.
    pub(super) fn over(self, other: Bound) -> Bound {
        if other.low <= 0.0 && other.high >= 0.0 {
            return self.joined(other, (f64::NEG_INFINITY, f64::INFINITY));
        }
        let quotient = |one: f64, other: f64| match one == 0.0 || other.is_infinite() {
            true => 0.0,
            false => one / other,
        };
        self.joined(other, self.extremes(other, quotient))
    }

    /// Returns the bound of quotients of integers. A division by zero is an error.
    pub(super) fn over_integer(self, other: Bound) -> Bound {
        match other.low > 0.0 || other.high < 0.0 {
            true => self.over(other),
            false => self.joined(other, (-self.magnitude(), self.magnitude())),
        }
    }

    /// Returns the bound of remainders.
    pub(super) fn modulo(self, other: Bound) -> Bound {
        // The remainder has the sign of one of the two.
        let greatest = other.magnitude();
        let least = match self.low >= 0.0 && other.low >= 0.0 {
            true => 0.0,
            false => -greatest,
        };
        self.joined(other, (least, greatest))
    }

    /// Returns the least and the greatest result for the ends of two bounds.
    fn extremes(self, other: Bound, result: impl Fn(f64, f64) -> f64) -> (f64, f64) {
        let ends = [
            result(self.low, other.low),
            result(self.low, other.high),
            result(self.high, other.low),
            result(self.high, other.high),
        ];
        let least = ends.into_iter().fold(f64::INFINITY, f64::min);
        let greatest = ends.into_iter().fold(f64::NEG_INFINITY, f64::max);
        (least, greatest)
    }

    /// Returns the bound of sums of up to so many numbers.
    pub(super) fn summed(self, count: f64) -> Bound {
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        self.with(low, high).times(Bound::between(0.0, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_keeps_all_results_within_the_bound() {
        let (some, other) = (Bound::between(-2.0, 3.0), Bound::between(4.0, 5.0));
        for (result, low, high) in [
            (some.plus(other), 2.0, 8.0),
            (some.minus(other), -7.0, -1.0),
            (some.times(other), -10.0, 15.0),
            (some.over(other), -0.5, 0.75),
            (other.over_integer(some), -5.0, 5.0),
            (some.modulo(other), -5.0, 5.0),
            (other.modulo(other), 0.0, 5.0),
            (some.or(other), -2.0, 5.0),
            (some.lesser(other), -2.0, 3.0),
            (some.greater(other), 4.0, 5.0),
            (other.summed(10.0), 0.0, 50.0),
            (Bound::UNKNOWN.times(Bound::between(0.0, 0.0)), 0.0, 0.0),
        ] {
            assert_eq!((result.low, result.high), (low, high));
        }
        assert_eq!(some.over(some).high, f64::INFINITY);
        assert!(Bound::of_type(Some(DataType::Int64)).fits());
        assert!(!Bound::between(0.0, 2_147_483_648.0).fits());
    }

    #[test]
    fn a_bound_depends_on_the_inputs_of_both_operands() {
        let of = |input| Bound {
            inputs: InputSet::of(input),
            ..Bound::UNIT
        };
        let sum = of(3).plus(of(1000));
        assert!(sum.inputs.contains(3) && sum.inputs.contains(1000));
        assert!(!sum.inputs.contains(4) && !sum.inputs.contains(5000));
        assert_eq!(InputSet::of(5000), InputSet::default());
    }
}
