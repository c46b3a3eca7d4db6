//! Limits the graph's prediction to plausible values.

use std::ops::RangeInclusive;
use wisp_handler::{Error, GraphOutputs, Response, Result, Tensor};

/// The smallest and the largest observed progression; a linear model can exceed both.
const OBSERVED: RangeInclusive<f32> = 25.0..=346.0;

/// Returns the prediction for each row within the bounds, and a flag for each prediction outside of
/// them.
pub(crate) fn progression(outputs: &GraphOutputs) -> Result<Response> {
    let predicted = outputs.tensor("progression")?.view::<f32>(&[-1, 1])?;
    if predicted.iter().any(|value| value.is_nan()) {
        return Err(Error::handler("graph output `progression` is not a number"));
    }
    let shape = [predicted.row_count()];
    let bounded = predicted
        .iter()
        .map(|value| value.clamp(*OBSERVED.start(), *OBSERVED.end()));
    let corrected = predicted.iter().map(|value| !OBSERVED.contains(value));
    Ok(Response::new()
        .with_output(Tensor::collect("progression", &shape, bounded)?)
        .with_output(Tensor::collect("corrected", &shape, corrected)?))
}
