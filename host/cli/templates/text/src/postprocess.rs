//! Converts the graph's logits to labels and scores.

use wisp_handler::{GraphOutputs, Response, Result, Tensor, math};

/// The labels, in the order of the graph's output.
const LABELS: [&str; 2] = ["negative", "positive"];

/// Returns the more probable label of each text, and the scores of both labels, which sum to 1.
pub(crate) fn labels(outputs: &GraphOutputs) -> Result<Response> {
    let logits = outputs.tensor("logits")?.view::<f32>(&[-1, 2])?;
    let mut scores = logits.to_vec();
    let mut labels = Vec::with_capacity(logits.row_count());
    for row in scores.chunks_exact_mut(LABELS.len()) {
        math::softmax(row);
        labels.extend(math::top_k(row, 1).iter().map(|(label, _)| LABELS[*label]));
    }
    Ok(Response::new()
        .with_output(Tensor::bytes("label", &[labels.len()], labels)?)
        .with_output(Tensor::new("scores", logits.shape(), &scores)?))
}
