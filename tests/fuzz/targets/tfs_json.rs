//! Bodies of TF Serving's REST dialect. The first byte is the verb.
//!
//! An answer that gives a prediction's inputs back can be asked again; what the model says is written, or
//! refused as the client's to ask for otherwise; tensors are in proportion to the text and what a context
//! may be repeated to.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wisp_fuzz::{answer, check_memory, check_refusal, echo, models, plain};
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::tfs::{Codec, Reply, Verb};

/// What the values of a `context` may grow to, repeated for each example.
const CONTEXT_BYTES: usize = 16 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((verb, body)) = input.split_first() else {
        return;
    };
    let verb = [Verb::Predict, Verb::Classify, Verb::Regress][usize::from(verb % 3)];
    for model in models() {
        match Codec::new(verb).decode(Bytes::copy_from_slice(body), model) {
            Ok((request, reply)) => {
                let context = if verb == Verb::Predict {
                    0
                } else {
                    CONTEXT_BYTES
                };
                check_memory(&request, 4 * body.len() + 8 + context);
                if let Err(error) = reply.encode(answer(&request, model), model) {
                    check_refusal(error.kind(), &error.to_string());
                }
                if verb == Verb::Predict {
                    check_identity(&reply, &request, model);
                }
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
    }
});

fn check_identity(reply: &Reply, request: &InferRequest, model: &ModelDescription) {
    // One output is answered bare, which says which input it is only where one is meant.
    if request.inputs.len() == 1 && model.signature.inputs.len() > 1 {
        return;
    }
    let encoded = match reply.encode(echo(request), model) {
        Ok(encoded) => encoded,
        // An answer without any tensor is no answer, and there may be too many empty lists.
        Err(error) if request.inputs.is_empty() => return drop(error),
        Err(error) => return check_refusal(error.kind(), &error.to_string()),
    };
    let text = String::from_utf8(encoded.chunks.concat()).expect("JSON is UTF-8");
    let again = match text.strip_prefix(r#"{"predictions":"#) {
        Some(rest) => format!(r#"{{"instances":{rest}"#),
        None => text.replacen(r#"{"outputs":"#, r#"{"inputs":"#, 1),
    };
    let codec = Codec::new(Verb::Predict);
    let (again, _) = codec
        .decode(Bytes::from(again), model)
        .expect("it was read before");
    assert_eq!(plain(&again.inputs), plain(&request.inputs));
}
