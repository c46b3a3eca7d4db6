//! Converts the graph's logits to a class and probabilities.

use wisp_handler::{GraphOutputs, Response, Result, Tensor, math};

/// The classes, in the order of the graph's output.
const CLASSES: [&str; 3] = ["small", "medium", "large"];

/// Returns the most probable class of each row, and the probabilities of all classes.
pub(crate) fn classes(outputs: &GraphOutputs) -> Result<Response> {
    let logits = outputs.tensor("logits")?.view::<f32>(&[-1, 3])?;
    let mut probabilities = logits.to_vec();
    let mut classes = Vec::with_capacity(logits.row_count());
    for row in probabilities.chunks_exact_mut(CLASSES.len()) {
        math::softmax(row);
        classes.extend(math::top_k(row, 1).iter().map(|(class, _)| CLASSES[*class]));
    }
    Ok(Response::new()
        .with_output(Tensor::bytes("class", &[classes.len()], classes)?)
        .with_output(Tensor::new(
            "probabilities",
            logits.shape(),
            &probabilities,
        )?))
}
