//! The response of a bundle to an inference: the outputs, in JSON or binary, or the failure.

use crate::cases::{CaseFailure, decode_outputs};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;
use wisp_protocol::call::ModelDescription;
use wisp_protocol::error::Party;
use wisp_protocol::v2::HEADER_LENGTH;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// Returns the outputs in a response, or the failure of the request.
///
/// # Errors
/// Fails if the response is not one of V2.
pub(super) fn outcome(
    response: Response<Bytes>,
    model: &ModelDescription,
) -> anyhow::Result<Result<Vec<NamedTensor>, CaseFailure>> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let document: Value = serde_json::from_slice(&body)
            .with_context(|| format!("the response has status {} and no JSON", head.status))?;
        let message = document["error"].as_str().unwrap_or_default().to_owned();
        return Ok(Err(CaseFailure {
            party: party(head.status),
            causes: vec![format!("status {}: {message}", head.status)],
            message,
        }));
    }
    let length = match head.headers.get(HEADER_LENGTH) {
        Some(length) => length.to_str()?.parse::<usize>().context(HEADER_LENGTH)?,
        None => body.len(),
    };
    ensure!(length <= body.len(), "{HEADER_LENGTH} is beyond the body");
    let (text, binary) = (body.slice(..length), body.slice(length..));
    let document: Value = serde_json::from_slice(&text).context("the response is not JSON")?;
    let outputs = document["outputs"]
        .as_array()
        .context("the response has no outputs")?;
    Ok(Ok(decode(outputs, binary, model)?))
}

/// Returns the party at fault for a failure with this status, according to the table of the protocols.
fn party(status: StatusCode) -> Party {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Party::Handler,
        StatusCode::SERVICE_UNAVAILABLE => Party::Capacity,
        status if status.is_client_error() => Party::Client,
        _ => Party::Host,
    }
}

fn decode(
    outputs: &[Value],
    mut binary: Bytes,
    model: &ModelDescription,
) -> anyhow::Result<Vec<NamedTensor>> {
    let mut decoded = Vec::with_capacity(outputs.len());
    for output in outputs {
        let Some(size) = output["parameters"]["binary_data_size"].as_u64() else {
            let output = Value::Array(vec![output.clone()]);
            decoded.extend(decode_outputs(&output, model)?);
            continue;
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        ensure!(size <= binary.len(), "the response lacks binary data");
        decoded.push(binary_output(output, binary.split_to(size))?);
    }
    Ok(decoded)
}

fn binary_output(output: &Value, content: Bytes) -> anyhow::Result<NamedTensor> {
    let element_type = output["datatype"].as_str().and_then(ElementType::from_name);
    let element_type = element_type.context("an output has no known datatype")?;
    let sizes: Vec<u32> = serde_json::from_value(output["shape"].clone())?;
    Ok(NamedTensor {
        name: output["name"].as_str().unwrap_or_default().to_owned(),
        tensor: Tensor::new(element_type, Shape::new(sizes)?, content)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_tensor::{Dimension, Signature, TensorSpec};

    fn model() -> anyhow::Result<ModelDescription> {
        let output = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Int8,
            shape: vec![Dimension::Variable],
            optional: false,
        };
        Ok(ModelDescription {
            model: ModelName::new("m")?,
            version: Version::FIRST,
            platform: "rten_onnx".to_owned(),
            signature: Signature {
                inputs: Vec::new(),
                outputs: vec![output("a"), output("b")],
            },
            max_batch_size: 0,
            max_rows: None,
            class_labels: BTreeMap::new(),
            properties: BTreeMap::new(),
            configuration: Default::default(),
        })
    }

    #[test]
    fn outputs_are_read_from_json_and_from_the_bytes_after_it() -> anyhow::Result<()> {
        let text = r#"{"outputs":[
            {"name":"a","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}},
            {"name":"b","datatype":"INT8","shape":[1],"data":[7]}]}"#;
        let body = [text.as_bytes(), &[5, 6]].concat();
        let response = Response::builder()
            .header(HEADER_LENGTH, text.len())
            .body(Bytes::from(body))?;
        let outputs = outcome(response, &model()?)?;
        let outputs = outputs.ok().context("it is a failure")?;
        let contents = outputs.iter().map(|output| &**output.tensor.content());
        assert!(contents.eq([[5, 6].as_slice(), &[7]]));
        assert_eq!(outputs[1].name, "b");
        Ok(())
    }

    #[test]
    fn a_failure_has_the_text_and_the_party_of_its_status() -> anyhow::Result<()> {
        for (status, at_fault) in [(400, "client"), (502, "handler"), (500, "host")] {
            let body = Bytes::from_static(br#"{"error":"no"}"#);
            let response = Response::builder().status(status).body(body)?;
            let failure = outcome(response, &model()?)?.err().context("it is none")?;
            assert_eq!(failure.at_fault(), at_fault);
            assert_eq!(failure.message, "no");
        }
        let other = Response::builder().status(500).body(Bytes::new())?;
        assert!(outcome(other, &model()?).is_err());
        Ok(())
    }
}
