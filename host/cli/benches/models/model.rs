//! A model on disk as written by `make_models.py`, and a request for it in each server's protocol.

use crate::load::Request;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The model name that is used with every server of protocol V2.
pub(crate) const SERVED: &str = "model";

const INFER: &str = "/v2/models/model/infer";

pub(crate) struct Model {
    inputs: Vec<Input>,
}

/// One input, with the bytes of one row.
#[derive(Deserialize)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Model {
    pub(crate) fn open(directory: &Path) -> Result<Model> {
        let described = std::fs::read(directory.join("inputs.json"))?;
        let mut inputs: Vec<Input> = serde_json::from_slice(&described)?;
        let bytes = std::fs::read(directory.join("inputs.bin"))?;
        let mut rest = &bytes[..];
        for input in &mut inputs {
            let length = input.shape.iter().product::<usize>() * input.element_size()?;
            let (own, others) = rest.split_at_checked(length).context("too few bytes")?;
            input.bytes = own.to_vec();
            rest = others;
        }
        ensure!(rest.is_empty(), "{} bytes too many", rest.len());
        Ok(Model { inputs })
    }

    /// Returns a request of V2 with the binary extension, with binary outputs too.
    pub(crate) fn v2_binary(&self, batch: usize) -> Request {
        let described = self.inputs.iter().map(|input| {
            let size = input.bytes.len() * batch;
            input.described(batch, "parameters", json!({ "binary_data_size": size }))
        });
        let described: Vec<Value> = described.collect();
        let wanted = json!({ "binary_data_output": true });
        let head = json!({ "parameters": wanted, "inputs": described }).to_string();
        let headers = format!(
            "inference-header-content-length: {}\r\ncontent-type: application/octet-stream\r\n",
            head.len()
        );
        let body = [head.as_bytes(), &self.concatenated(batch)].concat();
        Request::post(INFER, &headers, &body)
    }

    /// Returns a request of V2 in JSON only, with one row.
    pub(crate) fn v2_json(&self) -> Result<Request> {
        let described = self
            .inputs
            .iter()
            .map(|input| Ok(input.described(1, "data", input.numbers()?)));
        let described: Vec<Value> = described.collect::<Result<_>>()?;
        let body = json!({ "inputs": described }).to_string();
        Ok(Request::json(INFER, &body))
    }

    /// Returns the request that `fastapi_model.py` accepts at `/bytes`.
    pub(crate) fn bytes(&self, batch: usize) -> Request {
        let headers = "content-type: application/octet-stream\r\n";
        Request::post("/bytes", headers, &self.concatenated(batch))
    }

    /// Returns the request that `fastapi_model.py` accepts at `/lists`, with one row.
    pub(crate) fn lists(&self) -> Result<Request> {
        let lists = self
            .inputs
            .iter()
            .map(|input| Ok((input.name.clone(), input.numbers()?)));
        let lists: Map<String, Value> = lists.collect::<Result<_>>()?;
        Ok(Request::json("/lists", &Value::from(lists).to_string()))
    }

    /// Returns the row of each input, repeated `batch` times, one input after the other.
    fn concatenated(&self, batch: usize) -> Vec<u8> {
        let inputs = self.inputs.iter();
        inputs.flat_map(|input| input.bytes.repeat(batch)).collect()
    }
}

// === impl Input ===

impl Input {
    fn element_size(&self) -> Result<usize> {
        match self.datatype.as_str() {
            "FP32" | "INT32" => Ok(4),
            "INT64" => Ok(8),
            other => anyhow::bail!("no input of this benchmark is {other}"),
        }
    }

    /// Returns an input of protocol V2, with one additional member.
    fn described(&self, batch: usize, member: &str, value: Value) -> Value {
        let mut shape = self.shape.clone();
        // A model that is only asked for one row may have an input without a batch.
        if batch > 1 {
            shape[0] = batch;
        }
        json!({ "name": self.name, "datatype": self.datatype, "shape": shape, member: value })
    }

    /// Returns the elements of one row as numbers, with no more digits than their type has.
    fn numbers(&self) -> Result<Value> {
        let elements = self.bytes.chunks_exact(self.element_size()?);
        elements
            .map(|bytes| match *bytes {
                [a, b, c, d] if self.datatype == "INT32" => {
                    Ok(json!(i32::from_le_bytes([a, b, c, d])))
                }
                [a, b, c, d] => {
                    // Parsed from the shortest decimal form: an f32 widened to f64 would print with 17
                    // digits.
                    let text = f32::from_le_bytes([a, b, c, d]).to_string();
                    Ok(json!(text.parse::<f64>()?))
                }
                _ => Ok(json!(i64::from_le_bytes(bytes.try_into()?))),
            })
            .collect()
    }
}
