//! Converts logits to the most probable digits.

use wisp_handler::{Error, GraphOutputs, Request, Response, Result, Tensor, math};

/// The digits, in the order of the graph's output.
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Returns the number of digits that the client requests with the parameter `top_k`.
pub(crate) fn top_k(request: &Request) -> Result<usize> {
    let wanted = request.parameter::<i64>("top_k")?.unwrap_or(3);
    match usize::try_from(wanted) {
        Ok(count @ 1..=10) => Ok(count),
        _ => Err(Error::client(format_args!(
            "parameter `top_k` is {wanted}, outside 1 to 10"
        ))),
    }
}

/// Returns the `count` most probable digits of each picture with their probabilities, in descending
/// order.
pub(crate) fn ranking(outputs: &GraphOutputs, count: usize) -> Result<Response> {
    let logits = outputs.tensor("logits")?.view::<f32>(&[-1, 10])?;
    let shape = [logits.row_count(), count];
    let mut ranked = Vec::with_capacity(shape[0] * shape[1]);
    for row in logits.rows() {
        let mut row = row.to_vec();
        math::softmax(&mut row);
        ranked.extend(math::top_k(&row, count));
    }
    Ok(Response::new()
        .with_output(Tensor::bytes(
            "label",
            &shape,
            ranked.iter().map(|(digit, _)| DIGITS[*digit]),
        )?)
        .with_output(Tensor::collect(
            "score",
            &shape,
            ranked.iter().map(|(_, score)| *score),
        )?))
}
