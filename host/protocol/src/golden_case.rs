//! The golden cases of a model: requests that are stored beside it, with their expected responses.
//!
//! `wisp check` runs them, and so does a server before it serves a new version. This module reads a case, compares its
//! expectation with an outcome, and provides its request as an example for the model's documentation.

use crate::call::{InferRequest, ModelDescription};
use crate::codec::RequestDecoder;
use crate::error::Party;
use crate::v2::V2Decoder;
use bytes::Bytes;
use serde_json::{Value, json};
use wisp_tensor::expected_outputs::check_outputs;
use wisp_tensor::signature::check_tensors;
use wisp_tensor::{NamedTensor, Tensor};

/// The tolerance for floats of a case that does not set one.
pub const DEFAULT_TOLERANCE: f64 = 1e-4;

/// One golden case of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenCase {
    pub request: InferRequest,
    expectation: Expectation,
}

/// The expected outcome of a request.
#[derive(Debug, Clone, PartialEq)]
enum Expectation {
    Outputs {
        outputs: Vec<NamedTensor>,
        tolerance: f64,
    },
    Failure {
        party: String,
        message: String,
    },
}

/// The failure of the request of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseFailure {
    pub party: Party,
    /// The message for the client.
    pub message: String,
}

/// A function that returns the content of a file beside the case, if it can be read.
pub type FileReader<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

impl GoldenCase {
    /// Reads a case of this model. The error is the reason that it is invalid.
    pub fn parse(
        text: &[u8],
        model: &ModelDescription,
        read: FileReader<'_>,
    ) -> Result<GoldenCase, String> {
        let case: Value =
            serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let mut document = case.get("request").cloned().ok_or("it has no `request`")?;
        let files = take_files(&mut document, read)?;
        let mut request = decode(&document, model)?;
        for (name, content) in files {
            let tensor = Tensor::from_elements([content.as_slice()].into_iter());
            let tensor = tensor.map_err(|error| format!("input `{name}`: {error}"))?;
            request.inputs.push(NamedTensor { name, tensor });
        }
        let expect = case.get("expect").ok_or("it has no `expect`")?;
        let text = |key: &str| expect.get(key).and_then(Value::as_str).map(str::to_owned);
        let expectation = match (expect.get("outputs"), text("failure")) {
            (Some(outputs), None) => Expectation::Outputs {
                outputs: decode_outputs(outputs, model)?,
                tolerance: expect
                    .get("tolerance")
                    .and_then(Value::as_f64)
                    .unwrap_or(DEFAULT_TOLERANCE),
            },
            (None, Some(party)) => Expectation::Failure {
                party,
                message: text("message").unwrap_or_default(),
            },
            _ => return Err("`expect` needs either `outputs` or `failure`".to_owned()),
        };
        Ok(GoldenCase {
            request,
            expectation,
        })
    }

    /// Compares the outcome of the request with the expectation. An error is the difference.
    pub fn check(&self, outcome: Result<&[NamedTensor], &CaseFailure>) -> Result<(), String> {
        match (&self.expectation, outcome) {
            (Expectation::Outputs { outputs, tolerance }, Ok(actual)) => {
                check_outputs(outputs, actual, *tolerance).map_err(|error| error.to_string())
            }
            (Expectation::Outputs { .. }, Err(failure)) => Err(format!(
                "expected outputs, got a failure: {}",
                failure.message
            )),
            (Expectation::Failure { .. }, Ok(_)) => {
                Err("expected a failure, got outputs".to_owned())
            }
            (Expectation::Failure { party, message }, Err(failure)) => {
                let at_fault = party_name(failure.party);
                if at_fault != party {
                    return Err(format!(
                        "expected a failure of the {party}, got one of the {at_fault}: {}",
                        failure.message
                    ));
                }
                match failure.message.contains(message.as_str()) {
                    true => Ok(()),
                    false => Err(format!(
                        "expected a failure whose message contains `{message}`, got: {}",
                        failure.message
                    )),
                }
            }
        }
    }
}

/// Returns the name of a party in golden cases.
pub fn party_name(party: Party) -> &'static str {
    match party {
        Party::Client => "client",
        Party::Handler => "handler",
        Party::Capacity => "capacity",
        Party::Host => "host",
    }
}

/// Removes the inputs that have a file from a request, and returns them with the content of the file.
fn take_files(
    document: &mut Value,
    read: FileReader<'_>,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let inputs = document.get_mut("inputs").and_then(Value::as_array_mut);
    let inputs = inputs.ok_or("`request.inputs` is not an array")?;
    let mut files = Vec::new();
    for input in inputs.iter() {
        if let Some(file) = input.get("file").and_then(Value::as_str) {
            let name = input.get("name").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            let content = read(file);
            let content =
                content.ok_or_else(|| format!("the file of input `{name}` cannot be read"))?;
            files.push((name, content));
        }
    }
    inputs.retain(|input| input.get("file").is_none());
    Ok(files)
}

fn decode(document: &Value, model: &ModelDescription) -> Result<InferRequest, String> {
    let body = Bytes::from(document.to_string());
    let decoded = V2Decoder::default().decode(body, model);
    let (request, _) = decoded.map_err(|error| format!("its request is not valid: {error}"))?;
    Ok(request)
}

/// Decodes outputs. They have the form of inputs, so they are decoded as inputs of a model whose inputs
/// are this model's outputs.
fn decode_outputs(outputs: &Value, model: &ModelDescription) -> Result<Vec<NamedTensor>, String> {
    let mut taker = model.clone();
    taker.signature.inputs = model.signature.outputs.clone();
    let body = Bytes::from(json!({ "inputs": outputs }).to_string());
    let decoded = V2Decoder::default().decode(body, &taker);
    let (request, _) =
        decoded.map_err(|error| format!("`expect.outputs` are not valid outputs: {error}"))?;
    Ok(request.inputs)
}

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

    fn parsed(expect: &str) -> Result<GoldenCase, String> {
        let text = format!(r#"{{"request":{{"inputs":[{INPUT}]}},"expect":{{{expect}}}}}"#);
        GoldenCase::parse(text.as_bytes(), &pairs(Vec::new()), &|_| None)
    }

    #[test]
    fn a_case_without_an_expectation_or_with_an_unreadable_file_is_none() {
        for expect in ["", r#""outputs":[],"failure":"client""#] {
            let error = parsed(expect).unwrap_err();
            assert!(error.contains("either `outputs` or `failure`"), "{error}");
        }
        let text =
            br#"{"request":{"inputs":[{"name":"x","file":"x.png"}]},"expect":{"outputs":[]}}"#;
        let error = GoldenCase::parse(text, &pairs(Vec::new()), &|_| None);
        let expected = "the file of input `x` cannot be read";
        assert_eq!(error.unwrap_err(), expected);
    }

    #[test]
    fn an_outcome_is_compared_with_the_expectation() {
        let failure = |party, message: &str| CaseFailure {
            party,
            message: message.to_owned(),
        };
        let case = parsed(r#""failure":"client","message":"too long""#).unwrap();
        let good = failure(Party::Client, "the text is too long");
        assert_eq!(case.check(Err(&good)), Ok(()));
        let none: &[NamedTensor] = &[];
        for (outcome, text) in [
            (Ok(none), "expected a failure, got outputs"),
            (
                Err(&failure(Party::Handler, "too long")),
                "expected a failure of the client, got one of the handler: too long",
            ),
            (
                Err(&failure(Party::Client, "other")),
                "expected a failure whose message contains `too long`, got: other",
            ),
        ] {
            assert_eq!(case.check(outcome).unwrap_err(), text);
        }
        let case = parsed(r#""outputs":[]"#).unwrap();
        assert_eq!(case.check(Ok(none)), Ok(()));
        assert!(case.check(Err(&good)).is_err());
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
