//! Converts the graph's logits to labels, the most probable first.

use wisp_handler::{GraphOutputs, Response, Result, Tensor, math};

/// The labels, in the order of the graph's output.
const LABELS: [&str; 3] = ["red", "green", "blue"];

/// Returns the labels of each picture with their scores, which sum to 1.
pub(crate) fn ranking(outputs: &GraphOutputs) -> Result<Response> {
    let logits = outputs.tensor("logits")?.view::<f32>(&[-1, 3])?;
    let mut labels = Vec::with_capacity(logits.len());
    let mut scores = Vec::with_capacity(logits.len());
    for row in logits.rows() {
        let mut row = row.to_vec();
        math::softmax(&mut row);
        for (label, score) in math::top_k(&row, LABELS.len()) {
            labels.push(LABELS[label]);
            scores.push(score);
        }
    }
    Ok(Response::new()
        .with_output(Tensor::bytes("label", logits.shape(), labels)?)
        .with_output(Tensor::new("score", logits.shape(), &scores)?))
}
