//! The golden cases of a model: requests that are stored beside it, with their expected responses.
//!
//! `wisp check` runs them. This module reads a case's request, as an example for the model's documentation.

use crate::call::{InferRequest, ModelDescription};
use crate::codec::RequestDecoder;
use crate::v2::V2Decoder;
use bytes::Bytes;
use serde_json::Value;
use wisp_tensor::signature::check_tensors;

/// Returns the request in the text of a case that expects outputs. Returns `None` for any other case, for one
/// whose inputs are files, and for one that does not fit the model's signature.
pub fn request(text: &[u8], model: &ModelDescription) -> Option<InferRequest> {
    let case: Value = serde_json::from_slice(text).ok()?;
    case.get("expect")?.get("outputs")?.as_array()?;
    let request = case.get("request")?;
    let mut inputs = request.get("inputs")?.as_array()?.iter();
    if inputs.any(|input| input.get("file").is_some()) {
        return None;
    }
    let body = Bytes::from(request.to_string());
    let (request, _) = V2Decoder::default().decode(body, model).ok()?;
    let inputs = &model.signature.inputs;
    check_tensors(inputs, &request.inputs).ok()?;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{floats, pairs};

    const INPUT: &str = r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}"#;

    fn case(input: &str, expect: &str) -> Option<InferRequest> {
        let text = format!(r#"{{"request":{{"inputs":[{input}]}},"expect":{{{expect}}}}}"#);
        request(text.as_bytes(), &pairs(Vec::new()))
    }

    #[test]
    fn the_request_of_a_case_that_expects_outputs_is_an_example() {
        let request = case(INPUT, r#""outputs":[]"#).unwrap();
        assert_eq!(request.inputs, [floats("x", &[1, 2], &[1.0, 2.0])]);
    }

    #[test]
    fn failures_files_and_other_signatures_are_no_examples() {
        for (input, expect) in [
            (INPUT, r#""failure":"client""#),
            (r#"{"name":"x","file":"x.png"}"#, r#""outputs":[]"#),
            (
                r#"{"name":"y","datatype":"FP32","shape":[1,2],"data":[1,2]}"#,
                r#""outputs":[]"#,
            ),
            (
                r#"{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}"#,
                r#""outputs":[]"#,
            ),
        ] {
            assert_eq!(case(input, expect), None, "{input} {expect}");
        }
        assert_eq!(request(b"{", &pairs(Vec::new())), None);
    }
}
