//! The bounds of the outputs of operators, given the bounds of their inputs.
//!
//! Floats are followed too, since many sizes are computed in floats. An operator without an entry may
//! return any number.

use super::bound::Bound;
use crate::onnx::node_parts::{attribute, is_onnx, is_onnx_domain};
use crate::onnx::values::{Site, floats, integers, is_integer};
use crate::pb::{NodeProto, TensorProto};

/// The maximum number of elements along an axis, or in a sum, if the file does not fix it.
pub(super) const MAX_ELEMENTS: f64 = 16_777_216.0;

/// The maximum number of elements of a constant of floats whose bound is determined.
const MAX_FLOATS: usize = 4096;

/// The number of operators between a shape and the product of its sizes.
const MAX_STEPS: u8 = 8;

/// The bound of a number of elements. A tensor with more is refused before it is computed, and a product of
/// sizes that is no such number ends in an error, since rten's arithmetic is checked.
const SIZE: Bound = Bound::between(0.0, 2_147_483_647.0);

/// A node and the bounds of its inputs.
pub(super) struct Operation<'a> {
    pub(super) site: Site<'a>,
    pub(super) inputs: &'a [Bound],
}

impl Operation<'_> {
    /// Returns the bound of an input.
    fn input(&self, position: usize) -> Bound {
        match self.site.input(position) {
            "" => Bound::UNKNOWN,
            _ => self.inputs.get(position).copied().unwrap_or(Bound::UNKNOWN),
        }
    }

    /// Returns a result that may be any number.
    fn unknown(&self) -> Bound {
        let joined = self.inputs.iter().copied().reduce(Bound::or);
        joined.map_or(Bound::UNKNOWN, |joined| {
            joined.with(f64::NEG_INFINITY, f64::INFINITY)
        })
    }

    /// Returns the bound of a combination of all inputs.
    fn combined(&self, combine: fn(Bound, Bound) -> Bound) -> Bound {
        let inputs = self.inputs.iter().copied();
        inputs.reduce(combine).unwrap_or(Bound::UNKNOWN)
    }

    fn has(&self, position: usize) -> bool {
        !self.site.input(position).is_empty()
    }

    /// Returns the bound of an output. Bounds of types are applied afterwards.
    pub(super) fn output(&self, position: usize) -> Bound {
        let first = self.input(0);
        match self.site.node.op_type.as_str() {
            _ if !is_onnx_domain(&self.site.node.domain) => self.unknown(),
            "Cast" | "CastLike" | "DepthToSpace" | "Expand" | "Flatten" | "Gather"
            | "GatherElements" | "GatherND" | "Identity" | "Reshape" | "ReverseSequence"
            | "Slice" | "Split" | "Squeeze" | "Tile" | "Transpose" | "Unsqueeze" | "Upsample"
            | "Resize" | "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMax" | "ReduceMean"
            | "ReduceMin" | "SequenceAt" | "SequenceErase" | "SplitToSequence"
            | "ConcatFromSequence" => first,
            "TopK" | "MaxPool" if position == 0 => first,
            "Concat" | "Mean" | "SequenceConstruct" => self.combined(Bound::or),
            "SequenceInsert" => first.or(self.input(1)),
            "SequenceEmpty" => Bound::between(0.0, 0.0),
            "Max" => self.combined(Bound::greater),
            "Min" => self.combined(Bound::lesser),
            "Sum" => self.combined(Bound::plus),
            "Add" => first.plus(self.input(1)),
            "Sub" => first.minus(self.input(1)),
            "Mul" if self.multiplies_sizes() => SIZE,
            "Mul" => first.times(self.input(1)),
            "Div" if self.is_integer() => first.over_integer(self.input(1)),
            "Div" => first.over(self.input(1)),
            "Mod" => first.modulo(self.input(1)),
            "Pow" => self.power(),
            "Neg" => first.with(-first.high, -first.low),
            "Abs" => first.with(0.0, first.magnitude()),
            "Ceil" | "Floor" | "Round" => first.with(first.low.floor(), first.high.ceil()),
            "Relu" => first.greater(Bound::between(0.0, 0.0)),
            "Sqrt" => first.with(0.0, first.high.max(0.0).sqrt()),
            "Exp" => first.with(0.0, first.high.exp()),
            "Log" => first.with(f64::NEG_INFINITY, first.high.max(0.0).ln()),
            "Erf" | "Sign" | "Sin" | "Cos" | "Softsign" | "Tanh" => first.symmetric(1.0),
            "And" | "Or" | "Not" | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less"
            | "LessOrEqual" | "IsInf" | "IsNaN" | "EyeLike" | "HardSigmoid" | "Sigmoid"
            | "Softmax" => Bound::UNIT,
            "Clip" => self.clip(),
            "Where" => self.input(1).or(self.input(2)),
            "OneHot" => self.input(2),
            "Trilu" | "AveragePool" => first.or(Bound::between(0.0, 0.0)),
            "Pad" if self.has(2) => first.or(self.input(2)),
            "Pad" => match attribute(self.site.node, "value") {
                Some(value) => first.or(exactly(f64::from(value.f))),
                None => first.or(exactly(0.0)),
            },
            "Scatter" | "ScatterElements" | "ScatterND" => self.scatter(),
            "Shape" | "ArgMax" | "ArgMin" | "NonZero" | "TopK" | "NonMaxSuppression"
            | "SequenceLength" => Bound::between(0.0, MAX_ELEMENTS),
            "Size" => SIZE,
            "Range" => self.range(),
            "ReduceSum" | "CumSum" => first.summed(self.count()),
            "ReduceL1" => first.with(0.0, first.magnitude()).summed(self.count()),
            "ReduceSumSquare" => {
                let square = first.symmetric(first.magnitude());
                let square = square.times(square);
                square.with(0.0, square.high).summed(self.count())
            }
            "ReduceProd" if first.magnitude() <= 1.0 => first.symmetric(1.0),
            "ReduceProd" if self.is_size(self.site.input(0), MAX_STEPS) => SIZE,
            "MatMul" => first.times(self.input(1)).summed(MAX_ELEMENTS),
            "Constant" => constant(self.site.node),
            "ConstantOfShape" => {
                let value = attribute(self.site.node, "value").and_then(|found| found.t.as_ref());
                value.map_or(exactly(0.0), of_tensor)
            }
            _ => self.unknown(),
        }
    }

    fn is_integer(&self) -> bool {
        self.site.input_type(0).is_some_and(is_integer)
    }

    fn multiplies_sizes(&self) -> bool {
        [0, 1]
            .iter()
            .all(|&position| self.is_size(self.site.input(position), MAX_STEPS))
    }

    /// Returns whether a value consists of sizes of tensors.
    fn is_size(&self, name: &str, steps: u8) -> bool {
        let Some((node, steps)) = self.site.values.producer(name).zip(steps.checked_sub(1)) else {
            return false;
        };
        let input = |position: usize| node.input.get(position).map_or("", String::as_str);
        if is_onnx(node, &["Shape", "Size"]) {
            return true;
        }
        if is_onnx(node, &["Mul"]) {
            return self.is_size(input(0), steps) && self.is_size(input(1), steps);
        }
        let moves = [
            "Cast",
            "Gather",
            "Identity",
            "ReduceProd",
            "Reshape",
            "Slice",
            "Squeeze",
            "Unsqueeze",
        ];
        is_onnx(node, &moves) && self.is_size(input(0), steps)
    }

    fn power(&self) -> Bound {
        let (base, exponent) = (self.input(0), self.input(1));
        let result = base.or(exponent);
        let greatest = base.magnitude().max(1.0).powf(exponent.high.max(0.0));
        if exponent.low < 0.0 || greatest.is_nan() {
            return result.with(f64::NEG_INFINITY, f64::INFINITY);
        }
        match base.low >= 0.0 {
            true => result.with(0.0, greatest),
            false => result.with(-greatest, greatest),
        }
    }

    fn clip(&self) -> Bound {
        let limit = |position: usize, name: &str| match self.has(position) {
            true => Some(self.input(position)),
            false => attribute(self.site.node, name).map(|found| exactly(f64::from(found.f))),
        };
        let mut clipped = self.input(0);
        if let Some(least) = limit(1, "min") {
            clipped = clipped.greater(least);
        }
        if let Some(greatest) = limit(2, "max") {
            clipped = clipped.lesser(greatest);
        }
        clipped
    }

    fn scatter(&self) -> Bound {
        let (data, updates) = (self.input(0), self.input(2));
        match self.site.text("reduction") {
            b"add" => data.plus(updates.summed(MAX_ELEMENTS)),
            b"mul" => self.unknown(),
            _ => data.or(updates),
        }
    }

    /// Returns the bound of a range, which lies between its ends and has a limited number of elements.
    fn range(&self) -> Bound {
        let (start, limit) = (self.input(0), self.input(1));
        let steps = self.input(2).summed(MAX_ELEMENTS);
        let (reached, between) = (start.plus(steps), start.or(limit));
        reached
            .or(between)
            .with(reached.low.max(between.low), reached.high.min(between.high))
    }

    /// Returns the number of elements that a reduction combines.
    fn count(&self) -> f64 {
        let Some(shape) = self.site.values.shape(self.site.input(0)) else {
            return MAX_ELEMENTS;
        };
        let axes = match attribute(self.site.node, "axes") {
            Some(axes) => Some(axes.ints.clone()),
            None => self.site.values.integers(self.site.input(1)),
        };
        // Without axes, or with unknown ones, all axes may be reduced.
        let axes = axes.filter(|axes| !axes.is_empty());
        let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
        let is_reduced = |position: usize| {
            axes.as_ref().is_none_or(|axes| {
                let position = i64::try_from(position).unwrap_or(i64::MAX);
                axes.iter()
                    .any(|&axis| axis == position || axis == position - rank)
            })
        };
        let mut count = 1.0;
        for (_, size) in shape
            .iter()
            .enumerate()
            .filter(|&(position, _)| is_reduced(position))
        {
            match size {
                Some(size) => count *= *size as f64,
                None => return MAX_ELEMENTS,
            }
        }
        count
    }
}

fn exactly(number: f64) -> Bound {
    match number.is_nan() {
        true => Bound::UNKNOWN,
        false => Bound::between(number, number),
    }
}

/// Returns the bound of a constant node.
fn constant(node: &NodeProto) -> Bound {
    let mut attributes = node.attribute.iter();
    let bound = attributes.find_map(|attribute| match attribute.name.as_str() {
        "value" => attribute.t.as_ref().map(of_tensor),
        "value_int" => Some(exactly(attribute.i as f64)),
        "value_ints" => Some(of_integers(&attribute.ints)),
        "value_float" => Some(exactly(f64::from(attribute.f))),
        "value_floats" => Some(of_floats(&attribute.floats)),
        _ => None,
    });
    bound.unwrap_or(Bound::UNKNOWN)
}

/// Returns the bound of the numbers in a tensor.
pub(super) fn of_tensor(tensor: &TensorProto) -> Bound {
    if let Some(numbers) = integers(tensor) {
        return of_integers(&numbers);
    }
    // Weights are not copied for this.
    let elements = tensor.raw_data.len() / size_of::<f32>() + tensor.float_data.len();
    match elements > MAX_FLOATS {
        true => Bound::UNKNOWN,
        false => floats(tensor).map_or(Bound::UNKNOWN, |numbers| of_floats(&numbers)),
    }
}

fn of_integers(numbers: &[i64]) -> Bound {
    let least = numbers.iter().min().map_or(0.0, |&least| least as f64);
    let greatest = numbers
        .iter()
        .max()
        .map_or(0.0, |&greatest| greatest as f64);
    Bound::between(least, greatest)
}

fn of_floats(numbers: &[f32]) -> Bound {
    let bounds = numbers.iter().map(|&number| exactly(f64::from(number)));
    bounds.reduce(Bound::or).unwrap_or(exactly(0.0))
}
