//! Bodies of V2 that consist of JSON only, also read as generate requests.
//!
//! An accepted body is JSON for another parser too, apart from bare words and a byte order mark, and that
//! parser reads the same numbers. A decoded request can be encoded and decoded again. The size of tensors is proportional to the text.

use super::models::{check_memory, check_refusal, echo, models};
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use wisp_protocol::call::ModelDescription;
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::v2::{GenerateDecoder, GenerateForm, V2Decoder};
use wisp_tensor::{ElementType, NamedTensor};

/// Checks one input.
pub fn run(text: &[u8]) {
    let body = Bytes::copy_from_slice(text);
    for model in models() {
        match V2Decoder::default().decode(body.clone(), model) {
            Ok((request, encoder)) => {
                // The three bytes of an empty string and its comma become four bytes of length; the two
                // of a digit and a comma become eight.
                check_memory(&request, 4 * text.len() + 8);
                let _ = encoder.encode(echo(&request), model);
                if !body.is_empty() {
                    check_numbers(text, &request.inputs);
                    check_identity(&request.inputs, model);
                }
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
        match GenerateDecoder::new(GenerateForm::Events).decode(body.clone(), model) {
            Ok((request, encoder)) => {
                check_memory(&request, 4 * text.len() + 8);
                let _ = encoder.encode(echo(&request), model);
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
    }
}

/// Checks the round trip. The outputs of a response have the members of a request's inputs.
fn check_identity(inputs: &[NamedTensor], model: &ModelDescription) {
    let empty = Bytes::from_static(br#"{"inputs":[]}"#);
    let (mut request, encoder) = V2Decoder::default()
        .decode(empty, model)
        .expect("it is valid");
    request.inputs = inputs.to_vec();
    let encoded = encoder.encode(echo(&request), model);
    let chunks = encoded.expect("what came as JSON has a form in it").chunks;
    let text = String::from_utf8(chunks.concat()).expect("JSON is UTF-8");
    let again = Bytes::from(text.replacen(r#""outputs":["#, r#""inputs":["#, 1));
    let (again, _) = V2Decoder::default()
        .decode(again, model)
        .expect("it was read before");
    assert_eq!(again.inputs, inputs);
}

fn check_numbers(text: &[u8], inputs: &[NamedTensor]) {
    // The other parser accepts neither bare words nor a byte order mark.
    let has_word = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if has_word(b"NaN") || has_word(b"Infinity") || text.starts_with("\u{feff}".as_bytes()) {
        return;
    }
    let Ok(document) = serde_json::from_slice::<Value>(text) else {
        // Half a surrogate pair in a string that is ignored: valid in JSON's grammar, but not
        // representable as a value.
        let text: Result<&RawValue, _> = serde_json::from_slice(text);
        text.expect("what is taken is JSON");
        return;
    };
    for (position, NamedTensor { tensor, .. }) in inputs.iter().enumerate() {
        let mut numbers = Vec::new();
        flatten(&document["inputs"][position]["data"], &mut numbers);
        let content = tensor.content();
        match tensor.element_type() {
            ElementType::Fp32 => {
                let read = content
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| f32::from_le_bytes(bytes));
                assert_eq!(read.len(), numbers.len());
                for (single, number) in read.zip(numbers) {
                    if number.is_null() {
                        assert!(single.is_nan(), "{single} is a missing value");
                        continue;
                    }
                    // Rounded twice, the number may be the adjacent f32.
                    let twice = number.as_f64().expect("a number") as f32;
                    let beside = single.to_bits().abs_diff(twice.to_bits());
                    assert!(beside <= 1, "{single} is not {number}");
                }
            }
            ElementType::Fp64 => {
                let read = content
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| f64::from_le_bytes(bytes));
                let read: Vec<u64> = read.map(f64::to_bits).collect();
                let numbers = numbers
                    .iter()
                    .map(|number| number.as_f64().unwrap_or(f64::NAN));
                assert_eq!(read, numbers.map(f64::to_bits).collect::<Vec<_>>());
            }
            ElementType::Int64 => {
                let read = content
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| i64::from_le_bytes(bytes));
                let numbers = numbers.iter().map(|number| number.as_i64().or(Some(0)));
                assert_eq!(
                    read.map(Some).collect::<Vec<_>>(),
                    numbers.collect::<Vec<_>>()
                );
            }
            ElementType::Uint64 => {
                let read = content
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&bytes| u64::from_le_bytes(bytes));
                let numbers = numbers.iter().map(|number| number.as_u64());
                assert_eq!(
                    read.map(Some).collect::<Vec<_>>(),
                    numbers.collect::<Vec<_>>()
                );
            }
            _ => assert_eq!(tensor.shape().elements(), numbers.len()),
        }
    }
}

fn flatten<'a>(value: &'a Value, numbers: &mut Vec<&'a Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| flatten(value, numbers)),
        other => numbers.push(other),
    }
}
