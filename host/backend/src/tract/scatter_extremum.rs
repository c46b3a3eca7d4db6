//! `ScatterElements` that keeps the maximum or minimum of floats, in which NaN stays NaN.
//!
//! tract ignores updates that are NaN. Other reductions and types are tract's.

use super::extremum::Extremum;
use super::guard::RefusedValue;
use tract_onnx::prelude::tract_num_traits::Float;
use tract_onnx::prelude::{
    Datum, DatumType, IntoTValue, IntoTensor, TValue, TVec, Tensor, TractResult, TypedFact,
    TypedOp, f16, tvec,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, as_op, bail, ensure, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::array::{ScatterElements, ScatterReduction};

/// The operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ScatterExtremum(ScatterElements);

impl ScatterExtremum {
    /// Returns the operator that replaces one of tract on elements of this type, if there is one.
    pub(super) fn replacing(
        scatter: &ScatterElements,
        datum_type: DatumType,
    ) -> Option<ScatterExtremum> {
        let is_extreme = matches!(
            scatter.reduction,
            ScatterReduction::Max | ScatterReduction::Min
        );
        (is_extreme && datum_type.is_float()).then(|| ScatterExtremum(scatter.clone()))
    }

    fn scattered<T: Datum + Float>(
        &self,
        data: &Tensor,
        (indices, updates): (&Tensor, &Tensor),
    ) -> TractResult<Tensor> {
        let axis = self.0.axis;
        let kept = match self.0.reduction {
            ScatterReduction::Min => Extremum::Min,
            _ => Extremum::Max,
        };
        ensure!(axis < data.rank(), "ScatterElements along a missing axis");
        let size = i64::try_from(data.shape()[axis])?;
        let indices = indices.to_plain_array_view::<i64>()?;
        let updates = updates.to_plain_array_view::<T>()?;
        ensure!(
            indices.shape() == updates.shape() && updates.ndim() == data.rank(),
            "ScatterElements has indices and updates of different shapes"
        );
        let mut elements = data.to_plain_array_view::<T>()?.to_owned();
        for (mut place, update) in updates.indexed_iter() {
            let index = indices[&place];
            let position = if index < 0 { index + size } else { index };
            if !(0..size).contains(&position) {
                return Err(RefusedValue::new(format!(
                    "index {index} is not within an axis of {size} elements"
                ))
                .into());
            }
            place[axis] = usize::try_from(position)?;
            let Some(element) = elements.get_mut(&place) else {
                bail!("ScatterElements has more updates than elements along an axis");
            };
            *element = kept.pick(*element, *update);
        }
        Ok(elements.into_tensor())
    }
}

impl Op for ScatterExtremum {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for ScatterExtremum {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [data, indices, updates] = inputs.as_slice() else {
            bail!("ScatterElements of {} inputs", inputs.len());
        };
        let indices = indices.cast_to::<i64>()?;
        let rest = (&*indices, &**updates);
        let scattered = match data.datum_type() {
            DatumType::F16 => self.scattered::<f16>(data, rest)?,
            DatumType::F32 => self.scattered::<f32>(data, rest)?,
            DatumType::F64 => self.scattered::<f64>(data, rest)?,
            other => bail!("ScatterElements of {other:?}"),
        };
        Ok(tvec!(scattered.into_tvalue()))
    }
}

impl TypedOp for ScatterExtremum {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::tensor1;

    fn scattered(reduction: ScatterReduction, indices: &[i64]) -> TractResult<Vec<f32>> {
        let scatter = ScatterElements { axis: 0, reduction };
        let operator = ScatterExtremum::replacing(&scatter, DatumType::F32).unwrap();
        let updates = tensor1(&[f32::NAN, 5.0, -5.0]);
        let inputs = [tensor1(&[1f32, 2.0, f32::NAN]), tensor1(indices), updates];
        let inputs = inputs.into_iter().map(TValue::from).collect();
        let outputs = operator.eval(&EvalContext::out_of_plan(), inputs)?;
        Ok(outputs[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }

    #[test]
    fn nan_of_the_data_or_of_an_update_is_kept() -> TractResult<()> {
        let greatest = scattered(ScatterReduction::Max, &[0, 1, -1])?;
        assert!(greatest[0].is_nan() && greatest[2].is_nan());
        assert_eq!(greatest[1], 5.0);
        let least = scattered(ScatterReduction::Min, &[0, 1, 1])?;
        assert_eq!(least[1], -5.0);
        Ok(())
    }

    #[test]
    fn an_index_out_of_range_is_refused() {
        for index in [3, -4, i64::MIN, i64::MAX] {
            let refused = scattered(ScatterReduction::Max, &[index, 0, 0]).unwrap_err();
            assert!(refused.is::<RefusedValue>(), "{index}: {refused:?}");
        }
    }

    #[test]
    fn other_reductions_and_types_are_those_of_tract() {
        let replaced = |reduction, datum_type| {
            let scatter = ScatterElements { axis: 0, reduction };
            ScatterExtremum::replacing(&scatter, datum_type).is_some()
        };
        assert!(replaced(ScatterReduction::Min, DatumType::F64));
        assert!(!replaced(ScatterReduction::Add, DatumType::F32));
        assert!(!replaced(ScatterReduction::Max, DatumType::I32));
    }
}
