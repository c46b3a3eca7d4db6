//! JSON bodies of the predict API. The first byte selects the verb.
//!
//! A batch gets an object for each of its rows, whether or not they were computed.

use super::models::{answer, check_memory, check_refusal, models};
use bytes::Bytes;
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::predict::{PredictDecoder, Verb};

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((verb, body)) = input.split_first() else {
        return;
    };
    let verb = [Verb::Predict, Verb::BatchPredict][usize::from(verb % 2)];
    for model in models() {
        match PredictDecoder::new(verb).decode(Bytes::copy_from_slice(body), model) {
            Ok((request, encoder)) => {
                check_memory(&request, 4 * body.len() + 8);
                match encoder.encode(answer(&request, model), model) {
                    Ok(encoded) => check_answer(verb, &encoded.chunks.concat()),
                    Err(error) => check_refusal(error.kind(), &error.to_string()),
                }
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
    }
}

fn check_answer(verb: Verb, text: &[u8]) {
    let text = str::from_utf8(text).expect("JSON is UTF-8");
    // NaN and infinities are written as bare words, which this parser does not accept.
    if text.contains("NaN") || text.contains("Infinity") {
        return;
    }
    let document: serde_json::Value = serde_json::from_str(text).expect("an answer is JSON");
    assert_eq!(document["model_version"], "1");
    match verb {
        Verb::Predict => assert!(document.get("prediction").is_some(), "{text}"),
        Verb::BatchPredict => {
            for row in document["predictions"].as_array().expect("a list") {
                let members = ["prediction", "error"].map(|name| row.get(name).is_some());
                assert!(members[0] != members[1], "{text}");
            }
        }
    }
}
