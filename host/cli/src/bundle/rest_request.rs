//! A request of the Open Inference Protocol (V2), as a client sends it to a bundle.

use crate::cases::Case;
use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use serde_json::{Value, json};
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::v2::HEADER_LENGTH;
use wisp_tensor::{ElementType, NamedTensor};

/// The host that requests name. No name is resolved.
const AUTHORITY: &str = "bundle.invalid";

/// The body of an inference: JSON, and the bytes of binary tensors after it.
#[derive(Debug)]
pub(super) struct RestRequest {
    document: Value,
    binary: Vec<u8>,
}

impl RestRequest {
    /// Returns the request of a golden case. An input with a file is binary, the others are as in the case.
    pub(super) fn of_case(case: &Case, model: &ModelDescription) -> anyhow::Result<RestRequest> {
        let (document, files) = case.split_files()?;
        let mut request = RestRequest {
            document,
            binary: Vec::new(),
        };
        // The forms of outputs are no part of a case, whose outputs are compared as they are computed.
        let outputs = request.document.get_mut("outputs");
        for output in outputs.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(output) = output.as_object_mut() {
                output.remove("parameters");
            }
        }
        for (name, content) in files {
            let length = u32::try_from(content.len()).context("a file of 4 GiB or more")?;
            let mut element = length.to_le_bytes().to_vec();
            element.extend(content);
            let declaration = json!({ "name": name, "datatype": "BYTES", "shape": [1] });
            request.add_binary(declaration, &element)?;
        }
        // These have no form in JSON.
        let is_half = |element_type| matches!(element_type, ElementType::Fp16 | ElementType::Bf16);
        let mut outputs = model.signature.outputs.iter();
        if outputs.any(|output| is_half(output.element_type)) {
            request.ask_for_binary_outputs();
        }
        Ok(request)
    }

    /// Returns the request with all inputs and outputs in binary.
    pub(super) fn of_inputs(request: &InferRequest) -> anyhow::Result<RestRequest> {
        let mut encoded = RestRequest {
            document: json!({ "inputs": [] }),
            binary: Vec::new(),
        };
        for NamedTensor { name, tensor } in &request.inputs {
            let declaration = json!({
                "name": name,
                "datatype": tensor.element_type().name(),
                "shape": tensor.shape().dimensions(),
            });
            encoded.add_binary(declaration, tensor.content())?;
        }
        encoded.ask_for_binary_outputs();
        Ok(encoded)
    }

    fn add_binary(&mut self, mut declaration: Value, content: &[u8]) -> anyhow::Result<()> {
        declaration["parameters"] = json!({ "binary_data_size": content.len() });
        let inputs = self.document["inputs"].as_array_mut();
        inputs
            .context("`request.inputs` is not an array")?
            .push(declaration);
        self.binary.extend(content);
        Ok(())
    }

    fn ask_for_binary_outputs(&mut self) {
        self.document["parameters"]["binary_data_output"] = Value::Bool(true);
    }

    /// Returns the HTTP request to infer with this model.
    pub(super) fn into_http(self, model: &ModelDescription) -> anyhow::Result<Request<Bytes>> {
        let mut body = serde_json::to_vec(&self.document)?;
        let path = format!("/v2/models/{}/infer", model.model);
        let mut request = head(Method::POST, &path).header(CONTENT_TYPE, "application/json");
        if !self.binary.is_empty() {
            request = request.header(HEADER_LENGTH, body.len());
            body.extend(self.binary);
        }
        Ok(request.body(Bytes::from(body))?)
    }
}

/// Returns a request without a body.
pub(super) fn get(path: &str) -> anyhow::Result<Request<Bytes>> {
    Ok(head(Method::GET, path).body(Bytes::new())?)
}

fn head(method: Method, path: &str) -> http::request::Builder {
    let uri = format!("http://{AUTHORITY}{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header(HOST, AUTHORITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::Scheduling;
    use wisp_tensor::Tensor;

    #[test]
    fn binary_inputs_follow_the_json() -> anyhow::Result<()> {
        let request = InferRequest {
            inputs: vec![NamedTensor {
                name: "text".to_owned(),
                tensor: Tensor::from_elements([b"ab".as_slice()].into_iter())?,
            }],
            parameters: Vec::new(),
            outputs: Vec::new(),
            scheduling: Scheduling::default(),
        };
        let RestRequest { document, binary } = RestRequest::of_inputs(&request)?;
        assert_eq!(binary, [2, 0, 0, 0, b'a', b'b']);
        let expected = json!({
            "inputs": [{
                "name": "text",
                "datatype": "BYTES",
                "shape": [1],
                "parameters": { "binary_data_size": 6 },
            }],
            "parameters": { "binary_data_output": true },
        });
        assert_eq!(document, expected);
        Ok(())
    }
}
