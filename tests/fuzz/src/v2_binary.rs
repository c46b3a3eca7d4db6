//! Bodies of V2 with binary tensors after the JSON, and raw bodies. The first two bytes are the length
//! of the JSON.
//!
//! Every byte after the JSON belongs to a tensor, tensors of numbers share the body's memory, except for
//! BOOLs with other bytes than 0 and 1, and a decoded request can be encoded and decoded again, for every datatype.

use super::models::{check_memory, check_refusal, echo, models};
use bytes::Bytes;
use http::{HeaderMap, Method};
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::codec::{CodecError, RequestDecoder, ResponseEncoder};
use wisp_protocol::rest::RestEncoder;
use wisp_protocol::route::{RestCall, route};
use wisp_protocol::v2::HEADER_LENGTH;
use wisp_tensor::{ElementType, NamedTensor};

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((length, body)) = input.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length));
    let body = Bytes::copy_from_slice(body);
    for model in models() {
        match decode(length, body.clone(), model) {
            Ok((request, encoder)) => {
                check_memory(&request, 4 * body.len() + 8);
                check_place(length, &body, &request);
                let _ = encoder.encode(echo(&request), model);
                check_identity(&request, model);
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
    }
}

fn decode(
    length: usize,
    body: Bytes,
    model: &ModelDescription,
) -> Result<(InferRequest, RestEncoder), CodecError> {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_LENGTH, length.into());
    match route(&Method::POST, "/v2/models/m/infer", &headers) {
        Ok(RestCall::Infer(call)) => call.decoder.decode(body, model),
        other => unreachable!("{other:?}"),
    }
}

/// Checks that the tensors that share the body's memory fill all of it after the JSON.
fn check_place(length: usize, body: &Bytes, request: &InferRequest) {
    let is_bool = |input: &NamedTensor| input.tensor.element_type() == ElementType::Bool;
    if length == 0 || request.inputs.iter().any(is_bool) {
        return;
    }
    let rest = body.slice(length..);
    let range = rest.as_ptr_range();
    let contents = request.inputs.iter().map(|input| input.tensor.content());
    let shared =
        contents.filter(|content| !content.is_empty() && range.contains(&content.as_ptr()));
    assert_eq!(
        shared.map(|content| content.len()).sum::<usize>(),
        rest.len()
    );
}

fn check_identity(request: &InferRequest, model: &ModelDescription) {
    let asking = br#"{"inputs":[],"parameters":{"binary_data_output":true}}"#;
    let (_, encoder) =
        decode(asking.len(), Bytes::from_static(asking), model).expect("it is valid");
    let encoded = encoder
        .encode(echo(request), model)
        .expect("all types have a binary form");
    let body = encoded.chunks.concat();
    let (text, rest) = body.split_at(encoded.header_length.unwrap_or(body.len()));
    let text = str::from_utf8(text).expect("JSON is UTF-8");
    let text = text.replacen(r#""outputs":["#, r#""inputs":["#, 1);
    let again = Bytes::from([text.as_bytes(), rest].concat());
    let (again, _) = decode(text.len(), again, model).expect("it was read before");
    assert_eq!(again.inputs, request.inputs);
}
