//! `Gather` in a graph inside the graph, with indices that are checked.
//!
//! The nodes of inner graphs compute within a node of the graph around them, so that
//! [`super::checked_plan`] does not check their inputs. tract would compute the position of an index that is
//! out of range with arithmetic that wraps around, and may find another element there. Everything else is
//! tract's.

use super::guard::RefusedValue;
use super::replacement::{self, Built};
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{TValue, TVec, TractResult, TypedFact, TypedNode, TypedOp};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, as_op, bail, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::array::Gather;

/// A gather that refuses indices out of range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InnerGather(Gather);

/// Registers the operator of this module.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Gather", build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    // The main graph itself is the first of these.
    match context.parent_graphs.len() {
        0 | 1 => replacement::theirs(context, node),
        _ => replacement::built(context, node, replaced),
    }
}

fn replaced(node: &TypedNode) -> Option<Box<dyn TypedOp>> {
    let gather = node.op_as::<Gather>()?;
    Some(Box::new(InnerGather(gather.clone())))
}

fn check_indices(data: &TValue, indices: &TValue, axis: usize) -> TractResult<()> {
    let size = data.shape().get(axis).copied().unwrap_or_default();
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let indices = indices.try_as_plain_ram()?;
    let mut indices = indices.as_slice::<i64>()?.iter();
    match indices.find(|&&index| index < -size || index >= size) {
        None => Ok(()),
        Some(index) => Err(RefusedValue::new(format!(
            "index {index} is not within an axis of {size} elements"
        ))
        .into()),
    }
}

impl Op for InnerGather {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for InnerGather {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [data, indices] = inputs.as_slice() else {
            bail!("Gather of {} inputs", inputs.len());
        };
        check_indices(data, indices, self.0.axis)?;
        self.0.eval(context, inputs)
    }
}

impl TypedOp for InnerGather {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor1;

    fn gathered(indices: &[i64]) -> TractResult<TVec<TValue>> {
        let inputs = [tensor1(&[7f32, 8.0]), tensor1(indices)].map(TValue::from);
        InnerGather(Gather::new(0)).eval(&EvalContext::out_of_plan(), inputs.into_iter().collect())
    }

    #[test]
    fn an_index_out_of_range_is_refused() -> TractResult<()> {
        assert_eq!(*gathered(&[-1, 0, -2])?[0], tensor1(&[8f32, 7.0, 7.0]));
        for index in [2, -3, i64::MIN, i64::MAX] {
            let refused = gathered(&[0, index]).unwrap_err();
            assert!(refused.is::<RefusedValue>(), "{index}: {refused:?}");
        }
        Ok(())
    }
}
