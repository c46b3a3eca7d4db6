//! Bodies of TF Serving's REST protocol. The first byte selects the verb.
//!
//! A response that returns a prediction's inputs can be sent again as a request. The model's response is
//! encoded, or is refused as the client's mistake. The size of tensors is proportional to the text, plus
//! the size to which a context may be repeated.

use super::models::{answer, check_memory, check_refusal, echo, models, plain};
use bytes::Bytes;
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::tfs::{TfsDecoder, TfsEncoder, Verb};

/// The limit in bytes to which the values of a `context` may grow when repeated for each example.
const CONTEXT_BYTES: usize = 16 << 20;

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((verb, body)) = input.split_first() else {
        return;
    };
    let verb = [Verb::Predict, Verb::Classify, Verb::Regress][usize::from(verb % 3)];
    for model in models() {
        match TfsDecoder::new(verb).decode(Bytes::copy_from_slice(body), model) {
            Ok((request, encoder)) => {
                let context = if verb == Verb::Predict {
                    0
                } else {
                    CONTEXT_BYTES
                };
                check_memory(&request, 4 * body.len() + 8 + context);
                if let Err(error) = encoder.clone().encode(answer(&request, model), model) {
                    check_refusal(error.kind(), &error.to_string());
                }
                if verb == Verb::Predict {
                    check_identity(&encoder, &request, model);
                }
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
    }
}

fn check_identity(encoder: &TfsEncoder, request: &InferRequest, model: &ModelDescription) {
    // A single output is encoded without its name, which identifies the input only if the model has one
    // input.
    if request.inputs.len() == 1 && model.signature.inputs.len() > 1 {
        return;
    }
    let encoded = match encoder.clone().encode(echo(request), model) {
        Ok(encoded) => encoded,
        // A response without tensors is not valid, and there may be too many empty arrays.
        Err(error) if request.inputs.is_empty() => return drop(error),
        Err(error) => return check_refusal(error.kind(), &error.to_string()),
    };
    let text = String::from_utf8(encoded.chunks.concat()).expect("JSON is UTF-8");
    let again = match text.strip_prefix(r#"{"predictions":"#) {
        Some(rest) => format!(r#"{{"instances":{rest}"#),
        None => text.replacen(r#"{"outputs":"#, r#"{"inputs":"#, 1),
    };
    let decoder = TfsDecoder::new(Verb::Predict);
    let (again, _) = decoder
        .decode(Bytes::from(again), model)
        .expect("it was read before");
    assert_eq!(plain(&again.inputs), plain(&request.inputs));
}
