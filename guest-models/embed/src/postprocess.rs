//! Reduces the model's output per token to one embedding per text.

use crate::WIDTH;
use crate::preprocess::Batch;
use wisp_handler::{GraphOutputs, Response, Result, Tensor, math};

/// Returns the mean over each text's own tokens, scaled to length 1.
pub(crate) fn embeddings(outputs: &GraphOutputs, batch: &Batch) -> Result<Response> {
    let shape = [
        i64::try_from(batch.rows.len())?,
        i64::try_from(batch.length)?,
        i64::try_from(WIDTH)?,
    ];
    let hidden = outputs.tensor("last_hidden_state")?.view::<f32>(&shape)?;
    let mut embeddings = vec![0.0; batch.rows.len() * WIDTH];
    for ((embedding, hidden), ids) in embeddings
        .chunks_exact_mut(WIDTH)
        .zip(hidden.rows())
        .zip(&batch.rows)
    {
        for token in hidden.chunks_exact(WIDTH).take(ids.len()) {
            embedding
                .iter_mut()
                .zip(token)
                .for_each(|(sum, value)| *sum += value);
        }
        // The sum and the mean have the same direction, so the sum is enough for a vector of length 1.
        math::normalise_l2(embedding);
    }
    response(&embeddings)
}

pub(crate) fn response(embeddings: &[f32]) -> Result<Response> {
    let shape = [embeddings.len() / WIDTH, WIDTH];
    Ok(Response::new().with_output(Tensor::new("embedding", &shape, embeddings)?))
}
