//! Sends a case to a server: all tensors in both directions are bytes of V2's binary extension.

use super::case::{Content, Stored};
use crate::harness::{Response, TestServer};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use wisp_tensor::{NamedTensor, Shape, Tensor};

/// Sends the inputs of a case to a model, and fails if the outputs are not the expected ones.
pub(crate) fn check(
    server: &TestServer,
    model: &str,
    content: &Content,
    tensors: &Bytes,
) -> Result<()> {
    let outputs = infer(server, model, content, tensors)?;
    let fault = content.fault(&outputs, tensors)?;
    ensure!(fault.is_none(), "{fault:?}");
    Ok(())
}

/// Returns a model's outputs for the inputs of a case, whose bytes are slices of `tensors`.
pub(crate) fn infer(
    server: &TestServer,
    model: &str,
    content: &Content,
    tensors: &Bytes,
) -> Result<Vec<NamedTensor>> {
    let (head, body) = request(content, tensors)?;
    let length = head.len().to_string();
    let response = server.request(
        &format!("POST /v2/models/{model}/infer"),
        &[("inference-header-content-length", &length)],
        &[head, body].concat(),
    )?;
    outputs(&response)
}

/// Returns the JSON that declares the inputs, and the bytes that follow it.
fn request(content: &Content, tensors: &Bytes) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut body = Vec::new();
    let inputs = content.inputs.iter().map(|input| {
        let bytes = input.content(tensors);
        body.extend_from_slice(&bytes);
        json!({
            "name": input.name, "datatype": input.datatype, "shape": input.shape,
            "parameters": { "binary_data_size": bytes.len() },
        })
    });
    let inputs: Vec<Value> = inputs.collect();
    let head = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
    Ok((serde_json::to_vec(&head)?, body))
}

/// Returns the outputs of a binary response, in its order.
fn outputs(response: &Response) -> Result<Vec<NamedTensor>> {
    let told = || String::from_utf8_lossy(&response.body).into_owned();
    ensure!(response.status == 200, "{}: {}", response.status, told());
    let length = response.header("inference-header-content-length");
    let length = length.with_context(told)?.parse()?;
    let (head, body) = response.body.split_at(length);
    let head: Value = serde_json::from_slice(head)?;
    let mut rest = Bytes::copy_from_slice(body);
    let outputs = head["outputs"].as_array().with_context(told)?;
    let outputs = outputs.iter().map(|output| {
        let size = output["parameters"]["binary_data_size"].as_u64();
        let declared = Stored::declared(output)?;
        let shape = Shape::new(declared.shape.clone())?;
        let content = rest.split_to(usize::try_from(size.context("not binary")?)?);
        Ok(NamedTensor {
            tensor: Tensor::new(declared.element_type()?, shape, content)?,
            name: declared.name,
        })
    });
    let outputs = outputs.collect::<Result<_>>()?;
    ensure!(rest.is_empty(), "{} bytes are left", rest.len());
    Ok(outputs)
}
