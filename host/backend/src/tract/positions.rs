//! `GatherND` with negative indices, and `OneHot` with indices beyond the depth.
//!
//! A negative index counts from the end of its axis. An index beyond the depth of OneHot selects nothing, so that
//! its elements are all off. tract reads other memory, or refuses both. Everything else is tract's.

use super::guard::RefusedValue;
use tract_onnx::prelude::{
    DatumType, IntoTValue, TValue, TVec, Tensor, TractResult, TypedFact, TypedOp, tvec,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, as_op, bail, ensure, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::array::{GatherNd, OneHot};

/// A gather of slices whose positions are tuples of indices.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SignedGather(pub(super) GatherNd);

/// The vectors that are on at one index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BoundedOneHot(pub(super) OneHot);

impl SignedGather {
    /// Returns the indices with negative ones counted from the start.
    fn positions(&self, data: &Tensor, indices: &Tensor) -> TractResult<Tensor> {
        let mut positions = indices.cast_to::<i64>()?.into_owned();
        let length = indices.shape().last().copied().unwrap_or_default();
        let sizes = data.shape().get(self.0.batch_dims..).unwrap_or_default();
        ensure!(length <= sizes.len(), "GatherND has more indices than axes");
        if length == 0 {
            return Ok(positions);
        }
        let mut plain = positions.try_as_plain_ram_mut()?;
        for tuple in plain.as_slice_mut::<i64>()?.chunks_exact_mut(length) {
            for (index, &size) in tuple.iter_mut().zip(sizes) {
                let size = i64::try_from(size)?;
                let position = if *index < 0 { *index + size } else { *index };
                // tract continues with 32 bits.
                if !(0..size).contains(&position) || i32::try_from(position).is_err() {
                    return Err(RefusedValue::new(format!(
                        "an index is out of range: {index} is not within an axis of {size} \
                         elements"
                    ))
                    .into());
                }
                *index = position;
            }
        }
        Ok(positions)
    }
}

impl Op for SignedGather {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for SignedGather {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [data, indices] = inputs.as_slice() else {
            bail!("GatherND of {} inputs", inputs.len());
        };
        let positions = self.positions(data, indices)?;
        let data = data.clone();
        self.0.eval(context, tvec!(data, positions.into_tvalue()))
    }
}

impl TypedOp for SignedGather {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    as_op!();
}

impl BoundedOneHot {
    /// Returns the position of each index, which is the depth for one beyond it.
    fn positions(&self, indices: &Tensor) -> TractResult<Tensor> {
        let depth = i64::try_from(self.0.dim)?;
        let is_float = indices.datum_type().is_float();
        let mut positions = match is_float {
            true => truncated(indices)?,
            false => indices.cast_to::<i64>()?.into_owned(),
        };
        let mut plain = positions.try_as_plain_ram_mut()?;
        for index in plain.as_slice_mut::<i64>()? {
            let position = if *index < 0 {
                index.saturating_add(depth)
            } else {
                *index
            };
            *index = match (0..depth).contains(&position) {
                true => position,
                false => depth,
            };
        }
        Ok(positions)
    }
}

/// Returns floats as integers. NaN is the smallest one, which is beyond any depth.
fn truncated(numbers: &Tensor) -> TractResult<Tensor> {
    let numbers = numbers.cast_to::<f64>()?;
    let mut whole = Tensor::zero_dt(DatumType::I64, numbers.shape())?;
    let numbers = numbers.try_as_plain_ram()?;
    let mut plain = whole.try_as_plain_ram_mut()?;
    let places = plain.as_slice_mut::<i64>()?.iter_mut();
    for (place, &number) in places.zip(numbers.as_slice::<f64>()?) {
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        let truncated = number as i64;
        *place = if number.is_nan() { i64::MIN } else { truncated };
    }
    Ok(whole)
}

impl Op for BoundedOneHot {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for BoundedOneHot {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(indices) = inputs.first() else {
            bail!("OneHot needs indices");
        };
        let positions = self.positions(indices)?;
        let Some(wider) = self.0.dim.checked_add(1) else {
            bail!("OneHot is too deep");
        };
        // The last place is for the indices beyond the depth, and is cut off.
        let wider = OneHot {
            dim: wider,
            ..self.0.clone()
        };
        let vectors = wider.eval(context, tvec!(positions.into_tvalue()))?;
        let vectors = vectors[0].slice(self.0.axis, 0, self.0.dim)?;
        Ok(tvec!(vectors.into_tvalue()))
    }
}

impl TypedOp for BoundedOneHot {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tract_onnx::prelude::{tensor0, tensor1, tensor2};

    fn evaluated(operator: &dyn EvalOp, inputs: &[Tensor]) -> TractResult<Tensor> {
        let inputs = inputs.iter().cloned().map(TValue::from).collect();
        let outputs = operator.eval(&EvalContext::out_of_plan(), inputs)?;
        Ok((*outputs[0]).clone())
    }

    #[test]
    fn a_negative_index_counts_from_the_end_of_its_axis() -> TractResult<()> {
        let data = tensor2(&[[1f32, 2.0], [3.0, 4.0]]);
        let gather = SignedGather(GatherNd::new(0));
        let indices = tensor2(&[[-1i64, 0], [0, -1]]);
        let gathered = evaluated(&gather, &[data.clone(), indices])?;
        assert_eq!(gathered, tensor1(&[3f32, 2.0]));
        for index in [2, -3, i64::MIN, i64::MAX] {
            let indices = tensor2(&[[0i64, index]]);
            let refused = evaluated(&gather, &[data.clone(), indices]).unwrap_err();
            assert!(refused.is::<RefusedValue>(), "{index}: {refused:?}");
        }
        Ok(())
    }

    #[test]
    fn an_index_beyond_the_depth_turns_nothing_on() -> TractResult<()> {
        let operator = BoundedOneHot(OneHot {
            axis: 1,
            dim: 2,
            off: Arc::new(tensor0(0f32)),
            on: Arc::new(tensor0(1f32)),
        });
        let expected = tensor2(&[[0f32, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]);
        let found = evaluated(&operator, &[tensor1(&[1i64, -1, 2, i64::MIN])])?;
        assert_eq!(found, expected);
        let found = evaluated(&operator, &[tensor1(&[1.5f32, -1.0, 7.0, f32::NAN])])?;
        assert_eq!(found, expected);
        Ok(())
    }
}
