//! `MaxPool` of negative infinities, whose maximum is negative infinity.
//!
//! tract's maximum starts at the lowest finite number. If an output has that number, the pool is computed once more
//! on an input in which no element is it: what then has that number is the maximum of infinities alone. Other
//! inputs take a look at the output. Everything else is tract's.

use tract_onnx::prelude::tract_num_traits::Float;
use tract_onnx::prelude::{
    Datum, DatumType, IntoTValue, IntoTensor, TValue, TVec, Tensor, TractResult, TypedFact,
    TypedOp, tvec,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, as_op, bail, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::cnn::{MaxPool, OptMaxPool};

/// A pool of floats with an input of known size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PoolMaximum(OptMaxPool);

impl PoolMaximum {
    /// Returns the operator that replaces one of tract, if there is one.
    pub(super) fn replacing(pool: &MaxPool, input: &TypedFact) -> TractResult<Option<PoolMaximum>> {
        let is_float = matches!(input.datum_type, DatumType::F32 | DatumType::F64);
        let Some(sizes) = input.shape.as_concrete().filter(|_| is_float) else {
            return Ok(None);
        };
        let geometry = pool.pool_spec.compute_geo(&input.shape)?;
        Ok(Some(PoolMaximum(OptMaxPool {
            pool_spec: pool.pool_spec.clone(),
            with_index_outputs: pool.with_index_outputs,
            geometry: geometry.optimize_if(Some(sizes))?,
        })))
    }

    /// Returns the maxima for `input` if they are not those in `output`. `above` is the number after the lowest.
    fn corrected<T: Datum + Float>(
        &self,
        context: &EvalContext,
        (input, output): (&Tensor, &Tensor),
        above: T,
    ) -> TractResult<Option<Tensor>> {
        let lowest = T::min_value();
        let maxima = output.to_plain_array_view::<T>()?;
        if !maxima.iter().any(|x| *x == lowest) {
            return Ok(None);
        }
        let raised = input.to_plain_array_view::<T>()?;
        let raised = raised.map(|x| if *x == lowest { above } else { *x });
        let raised = self
            .0
            .eval(context, tvec!(raised.into_tensor().into_tvalue()))?;
        let raised = raised[0].to_plain_array_view::<T>()?;
        let mut corrected = maxima.to_owned();
        for (x, raised) in corrected.iter_mut().zip(&raised) {
            if *x == lowest && *raised == lowest {
                *x = T::neg_infinity();
            }
        }
        Ok(Some(corrected.into_tensor()))
    }
}

impl Op for PoolMaximum {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for PoolMaximum {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(input) = inputs.first().cloned() else {
            bail!("MaxPool needs an input");
        };
        let mut outputs = self.0.eval(context, inputs)?;
        let tensors = (&*input, &*outputs[0]);
        let corrected = match input.datum_type() {
            DatumType::F32 => self.corrected(context, tensors, f32::MIN.next_up())?,
            DatumType::F64 => self.corrected(context, tensors, f64::MIN.next_up())?,
            other => bail!("MaxPool of {other:?}"),
        };
        if let Some(corrected) = corrected {
            outputs[0] = corrected.into_tvalue();
        }
        Ok(outputs)
    }
}

impl TypedOp for PoolMaximum {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    as_op!();
}
