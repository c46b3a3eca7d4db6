//! The reductions of ONNX, where tract computes others.
//!
//! tract folds integers in 32 bits, or with functions of floats. Its maxima and minima of floats start at the
//! smallest finite number, although the maximum of no elements, or only of negative infinities, is negative
//! infinity: attention without any key compares the maximum score with it, and then computes NaN. Everything but
//! the computation ([`fold`]) is tract's.

mod fold;

use self::fold::{IntegerFold, extreme};
use super::draft::{Draft, build_theirs};
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    DatumType, IntoTValue, SpecialOps, TValue, TVec, Tensor, TractResult, TypedFact, TypedModel,
    TypedNode, TypedOp, f16, tvec,
};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, Cost, EvalContext, EvalOp, InOut, Op, OutletId,
    StaticName, TDim, as_op, bail, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};

/// The operators that differ from those of tract. `ReduceLogSumExp` is one of [`super::ml`].
const OPERATORS: [&str; 9] = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

/// An operator of tract whose reductions are replaced.
#[derive(Debug, Clone)]
struct Reduction {
    theirs: Box<dyn Expansion>,
    /// The reduction for integers.
    fold: IntegerFold,
}

/// The reduction itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OwnReduce {
    /// The operator of tract, for axes and shapes.
    reduce: Reduce,
    /// The reduction for integers.
    fold: IntegerFold,
}

/// Registers the operators of this module.
pub(super) fn register(onnx: &mut Onnx) {
    for operator in OPERATORS {
        onnx.op_register.insert(operator, build);
    }
}

fn build(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (theirs, closures) = build_theirs(context, node)?;
    let Some(fold) = IntegerFold::of(&node.op_type) else {
        bail!("{} is no reduction", node.op_type);
    };
    Ok((expand(Reduction { theirs, fold }), closures))
}

impl Expansion for Reduction {
    fn name(&self) -> StaticName {
        self.theirs.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.theirs.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let Some(input) = inputs.first() else {
            bail!("{} needs an input", self.name());
        };
        let datum_type = model.outlet_fact(*input)?.datum_type;
        let is_integer = datum_type.is_tdim() || is_plain_integer(datum_type);
        let is_extreme = matches!(self.fold, IntegerFold::Max | IntegerFold::Min);
        let is_ours = is_integer || (is_extreme && datum_type.is_float());
        if !is_ours {
            return self.theirs.wire(prefix, model, inputs);
        }
        let draft = Draft::of(&*self.theirs, prefix, model, inputs)?;
        // The outlet for each node of the draft; constants have none.
        let mut placed: Vec<Option<OutletId>> = inputs.iter().copied().map(Some).collect();
        for node in draft.nodes() {
            let source = node.inputs.first().and_then(|source| placed[source.node]);
            placed.push(match source {
                Some(source) => Some(self.place(node, model, source)?),
                None => None,
            });
        }
        let outputs = draft.outputs().iter().map(|output| placed[output.node]);
        match outputs.collect::<Option<TVec<OutletId>>>() {
            Some(outputs) => Ok(outputs),
            None => bail!("{} has a constant output", self.name()),
        }
    }
}

impl Reduction {
    /// Adds a node of tract's operator, or its replacement, on `source`. Returns `source` for a step of tract's
    /// formula that the replacement contains.
    fn place(
        &self,
        node: &TypedNode,
        model: &mut TypedModel,
        source: OutletId,
    ) -> TractResult<OutletId> {
        let operator: Box<dyn TypedOp> = match node.op_as::<Reduce>() {
            Some(reduce) => Box::new(OwnReduce {
                reduce: reduce.clone(),
                fold: self.fold,
            }),
            None if node.op_is::<AxisOp>() || node.op_is::<Cast>() => node.op.clone(),
            None => return Ok(source),
        };
        Ok(model.wire_node(&node.name, operator, &[source])?[0])
    }
}

fn is_plain_integer(datum_type: DatumType) -> bool {
    datum_type.is_integer() && !datum_type.is_quantized()
}

impl Op for OwnReduce {
    fn name(&self) -> StaticName {
        self.reduce.name()
    }

    op_as_typed_op!();
}

impl EvalOp for OwnReduce {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(input) = inputs.first() else {
            bail!("{} needs an input", self.name());
        };
        Ok(tvec!(self.compute(input)?.into_tvalue()))
    }
}

impl OwnReduce {
    fn compute(&self, input: &Tensor) -> TractResult<Tensor> {
        let OwnReduce { reduce, fold } = self;
        let axes = reduce.axes.as_slice();
        let is_min = reduce.reducer == Reducer::Min;
        match input.datum_type() {
            DatumType::F16 if is_min => extreme(input, axes, (f16::INFINITY, less)),
            DatumType::F16 => extreme(input, axes, (f16::NEG_INFINITY, greater)),
            DatumType::F32 if is_min => extreme(input, axes, (f32::INFINITY, less)),
            DatumType::F32 => extreme(input, axes, (f32::NEG_INFINITY, greater)),
            DatumType::F64 if is_min => extreme(input, axes, (f64::INFINITY, less)),
            DatumType::F64 => extreme(input, axes, (f64::NEG_INFINITY, greater)),
            DatumType::I8 => fold.reduce::<i8>(input, axes),
            DatumType::I16 => fold.reduce::<i16>(input, axes),
            DatumType::I32 => fold.reduce::<i32>(input, axes),
            DatumType::I64 => fold.reduce::<i64>(input, axes),
            DatumType::U8 => fold.reduce::<u8>(input, axes),
            DatumType::U16 => fold.reduce::<u16>(input, axes),
            DatumType::U32 => fold.reduce::<u32>(input, axes),
            DatumType::U64 => fold.reduce::<u64>(input, axes),
            other => bail!("{} of {other:?}", self.name()),
        }
    }
}

fn greater<T: PartialOrd>(new: &T, best: &T) -> bool {
    new > best
}

fn less<T: PartialOrd>(new: &T, best: &T) -> bool {
    new < best
}

impl TypedOp for OwnReduce {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.reduce.output_facts(inputs)
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        self.reduce.cost(inputs)
    }

    fn axes_mapping(
        &self,
        inputs: &[&TypedFact],
        outputs: &[&TypedFact],
    ) -> TractResult<AxesMapping> {
        self.reduce.axes_mapping(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        let changed = self.reduce.change_axes(model, node, io, change)?;
        let Some(mut consequence) = changed else {
            return Ok(None);
        };
        consequence.substitute_op = match consequence.substitute_op {
            Some(operator) => match operator.downcast_ref::<Reduce>() {
                Some(reduce) => Some(Box::new(OwnReduce {
                    reduce: reduce.clone(),
                    fold: self.fold,
                })),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(consequence))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{IntoTensor, tensor1, tensor2};

    fn extreme(reducer: Reducer, axes: &[usize], input: Tensor) -> Tensor {
        let fold = match reducer {
            Reducer::Min => IntegerFold::Min,
            _ => IntegerFold::Max,
        };
        let reduce = Reduce::new(axes.into(), reducer);
        let reduce = OwnReduce { reduce, fold };
        let outputs = reduce.eval(&EvalContext::out_of_plan(), tvec!(input.into()));
        outputs.unwrap().remove(0).into_tensor()
    }

    #[test]
    fn the_maximum_of_infinities_or_of_no_elements_is_infinite() {
        let lowest = f32::NEG_INFINITY;
        let rows = tensor2(&[[lowest, lowest], [lowest, f32::MIN]]);
        let greatest = extreme(Reducer::Max, &[1], rows);
        assert_eq!(greatest, tensor2(&[[lowest], [f32::MIN]]));
        let nothing = extreme(Reducer::Min, &[0], tensor1::<f64>(&[]));
        assert_eq!(nothing, tensor1(&[f64::INFINITY]));
    }

    #[test]
    fn several_axes_are_reduced_and_nan_is_kept() {
        let table = tensor2(&[[3f32, -1.0], [2.0, 7.0]]);
        let greatest = extreme(Reducer::Max, &[0, 1], table.clone());
        assert_eq!(greatest, tensor2(&[[7f32]]));
        assert_eq!(extreme(Reducer::Min, &[0], table), tensor2(&[[2f32, -1.0]]));
        let rotten = extreme(Reducer::Max, &[0], tensor1(&[1f32, f32::NAN, 2.0]));
        assert!(rotten.to_plain_array_view::<f32>().unwrap()[0].is_nan());
    }
}
