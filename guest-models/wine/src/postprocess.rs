//! Converts the graph's probabilities to named classes.

use wisp_handler::{GraphOutputs, Response, Result, Tensor, math};

/// The classes, in the order of the graph's output.
const CLASSES: [&str; 3] = ["class_0", "class_1", "class_2"];

/// Returns the most probable class of each row, and the unchanged probabilities.
pub(crate) fn classes(outputs: &GraphOutputs) -> Result<Response> {
    let probabilities = outputs.tensor("probabilities")?.view::<f32>(&[-1, 3])?;
    let best = probabilities
        .rows()
        .filter_map(math::argmax)
        .map(|class| CLASSES[class]);
    Ok(Response::new()
        .with_output(Tensor::bytes("class", &[probabilities.row_count()], best)?)
        .with_output(Tensor::new(
            "probabilities",
            probabilities.shape(),
            &probabilities,
        )?))
}
