//! `ReduceMax` and `ReduceMin` of floats as ONNX defines them: the maximum of no elements, or only of
//! negative infinities, is negative infinity.
//!
//! tract's reductions start at the smallest finite number instead. Attention without any key compares the
//! maximum score with negative infinity, and then computes NaN. Everything but the computation is tract's.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::tract_ndarray::Axis;
use tract_onnx::prelude::{
    Datum, DatumType, IntoTensor, SpecialOps, TValue, TVec, Tensor, TractResult, TypedFact,
    TypedModel, TypedNode, TypedOp, f16, tvec,
};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, EvalContext, EvalOp, InOut, Op, OutletId,
    StaticName, as_op, bail, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// An operator of tract whose reductions are replaced.
#[derive(Debug, Clone)]
struct Expanded(Box<dyn Expansion>);

/// The reduction itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ReduceMinMax(Reduce);

/// Registers the two operators of this module.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("ReduceMax", build);
    onnx.op_register.insert("ReduceMin", build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let onnx = tract_onnx::onnx();
    let Some(theirs) = onnx.op_register.0.get(&node.op_type) else {
        bail!("tract has no {}", node.op_type);
    };
    let (operator, closures) = theirs(context, node)?;
    let operator: Box<dyn Op> = operator;
    match operator.downcast::<Box<dyn Expansion>>() {
        Ok(expansion) => Ok((expand(Expanded(*expansion)), closures)),
        Err(_) => bail!("tract's {} is no expansion", node.op_type),
    }
}

impl Expansion for Expanded {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        // Wired first in a separate model without the value of the input, since tract would
        // compute small constants at once.
        let mut draft = TypedModel {
            symbols: model.symbols.clone(),
            ..TypedModel::default()
        };
        let mut placed: Vec<OutletId> = Vec::new();
        for (position, &input) in inputs.iter().enumerate() {
            let fact = model.outlet_fact(input)?;
            let fact = match position {
                0 => fact.without_value(),
                _ => fact.clone(),
            };
            draft.add_source(format!("{prefix}.input_{position}"), fact)?;
            placed.push(input);
        }
        let sources = draft.inputs.clone();
        let outputs = self.0.wire(prefix, &mut draft, &sources)?;
        for node in &draft.nodes()[sources.len()..] {
            let inputs: TVec<OutletId> = node.inputs.iter().map(|i| placed[i.node]).collect();
            let operator: Box<dyn TypedOp> = match node.op_as::<Reduce>() {
                Some(reduce) if is_min_or_max(reduce, node) => {
                    Box::new(ReduceMinMax(reduce.clone()))
                }
                _ => node.op.clone(),
            };
            placed.push(model.wire_node(&node.name, operator, &inputs)?[0]);
        }
        Ok(outputs.iter().map(|output| placed[output.node]).collect())
    }
}

fn is_min_or_max(reduce: &Reduce, node: &TypedNode) -> bool {
    matches!(reduce.reducer, Reducer::Max | Reducer::Min)
        && node.outputs[0].fact.datum_type.is_float()
}

impl Op for ReduceMinMax {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for ReduceMinMax {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(input) = inputs.first() else {
            bail!("{} needs an input", self.name());
        };
        let output = match input.datum_type() {
            DatumType::F16 => self.reduce::<f16>(input, f16::INFINITY, f16::NEG_INFINITY),
            DatumType::F32 => self.reduce::<f32>(input, f32::INFINITY, f32::NEG_INFINITY),
            DatumType::F64 => self.reduce::<f64>(input, f64::INFINITY, f64::NEG_INFINITY),
            other => bail!("{} of {other:?}", self.name()),
        };
        Ok(tvec!(output?.into()))
    }
}

impl ReduceMinMax {
    fn reduce<T: Datum + Copy + PartialOrd>(
        &self,
        input: &Tensor,
        highest: T,
        lowest: T,
    ) -> TractResult<Tensor> {
        let (start, better): (T, fn(&T, &T) -> bool) = match self.0.reducer {
            Reducer::Min => (highest, |new, best| new < best),
            _ => (lowest, |new, best| new > best),
        };
        let mut array = input.to_plain_array_view::<T>()?.to_owned();
        for &axis in &self.0.axes {
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
}

impl TypedOp for ReduceMinMax {
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
        let Some(mut consequence) = self.0.change_axes(model, node, io, change)? else {
            return Ok(None);
        };
        consequence.substitute_op = match consequence.substitute_op {
            Some(operator) => match operator.downcast_ref::<Reduce>() {
                Some(reduce) => Some(Box::new(ReduceMinMax(reduce.clone()))),
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
    use tract_onnx::prelude::{tensor1, tensor2};

    fn extreme(reducer: Reducer, axes: &[usize], input: Tensor) -> Tensor {
        let reduce = Reduce::new(axes.into(), reducer);
        let outputs = ReduceMinMax(reduce).eval(&EvalContext::out_of_plan(), tvec!(input.into()));
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
