//! A payload as a CloudEvent (version 1.0) in structured mode: one JSON object.
//!
//! The types are the same as in KServe's payload logger, and both events of a call have the same id, so that what reads its
//! events reads these. The data are the members of a V2 request or response.

use super::timestamp::rfc3339;
use serde_json::{Map, Value, json};
use wisp_protocol::v2::{payload_parameters, payload_tensors};
use wisp_serving::payload_log::{PayloadEvent, PayloadHalf, TensorOutline};

/// The media type of an event.
pub(super) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

const REQUEST: &str = "org.kubeflow.serving.inference.request";
const RESPONSE: &str = "org.kubeflow.serving.inference.response";

/// Returns the text of an event, without line breaks.
pub(super) fn text(event: &PayloadEvent) -> Vec<u8> {
    let mut text = attributes(event).to_string().into_bytes();
    // Continues the object.
    text.pop();
    text.extend_from_slice(b",\"data\":{");
    text.extend_from_slice(&data(event));
    text.extend_from_slice(b"}}");
    text
}

/// Returns the attributes of an event. The names of extensions have lower-case letters only.
fn attributes(event: &PayloadEvent) -> Value {
    let (model, version) = (event.model.as_str(), event.version.to_string());
    let mut attributes = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": format!("/v2/models/{model}/versions/{version}"),
        "type": match event.half {
            PayloadHalf::Request => REQUEST,
            PayloadHalf::Response => RESPONSE,
        },
        "time": rfc3339(event.time),
        "datacontenttype": "application/json",
        "inferenceservicename": model,
        "component": "predictor",
        "modelversion": version,
    });
    if let Some(id) = &event.request_id {
        attributes["requestid"] = Value::from(id.as_str());
    }
    if event.is_left_out {
        attributes["leftout"] = Value::Bool(true);
    }
    attributes
}

/// Returns the members of the data.
fn data(event: &PayloadEvent) -> Vec<u8> {
    let mut head = Map::new();
    let tensors = match event.half {
        PayloadHalf::Request => "inputs",
        PayloadHalf::Response => {
            head.insert("model_name".to_owned(), event.model.as_str().into());
            head.insert("model_version".to_owned(), event.version.to_string().into());
            "outputs"
        }
    };
    if !event.parameters.is_empty() {
        let parameters = payload_parameters(&event.parameters);
        head.insert("parameters".to_owned(), Value::Object(parameters));
    }
    if !event.requested.is_empty() {
        let requested = event.requested.iter().map(|name| json!({ "name": name }));
        head.insert("outputs".to_owned(), requested.collect());
    }
    let mut text = Vec::new();
    for (name, value) in head {
        text.extend_from_slice(Value::from(name).to_string().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.to_string().as_bytes());
        text.push(b',');
    }
    text.extend_from_slice(format!("\"{tensors}\":").as_bytes());
    match event.is_left_out {
        false => text.extend_from_slice(&payload_tensors(&event.tensors)),
        true => {
            let outlines: Value = event.outlines.iter().map(outline).collect();
            text.extend_from_slice(outlines.to_string().as_bytes());
        }
    }
    text
}

fn outline(outline: &TensorOutline) -> Value {
    json!({
        "name": outline.name,
        "datatype": outline.datatype,
        "shape": outline.shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};
    use wisp_protocol::call::{ModelName, Version};
    use wisp_tensor::{NamedTensor, Parameter, ParameterValue, Tensor};

    fn event(half: PayloadHalf) -> anyhow::Result<PayloadEvent> {
        Ok(PayloadEvent {
            id: "a-1".to_owned(),
            half,
            model: ModelName::new("wine")?,
            version: Version::FIRST,
            request_id: Some("r1".to_owned()),
            time: UNIX_EPOCH + Duration::from_micros(951_782_400_000_001),
            tensors: vec![NamedTensor {
                name: "t".to_owned(),
                tensor: Tensor::from_elements([b"a\nb".as_slice()].into_iter())?,
            }],
            is_left_out: false,
            outlines: Vec::new(),
            parameters: Vec::new(),
            requested: Vec::new(),
        })
    }

    fn parsed(event: &PayloadEvent) -> anyhow::Result<Value> {
        let text = text(event);
        assert!(!text.contains(&b'\n'));
        Ok(serde_json::from_slice(&text)?)
    }

    #[test]
    fn a_request_has_the_members_of_v2() -> anyhow::Result<()> {
        let mut request = event(PayloadHalf::Request)?;
        request.requested = vec!["y".to_owned()];
        request.parameters = vec![Parameter {
            name: "p".to_owned(),
            value: ParameterValue::Int64(1),
        }];
        let expected = json!({
            "specversion": "1.0",
            "id": "a-1",
            "source": "/v2/models/wine/versions/1",
            "type": "org.kubeflow.serving.inference.request",
            "time": "2000-02-29T00:00:00.000001Z",
            "datacontenttype": "application/json",
            "inferenceservicename": "wine",
            "component": "predictor",
            "modelversion": "1",
            "requestid": "r1",
            "data": {
                "parameters": {"p": 1},
                "outputs": [{"name": "y"}],
                "inputs": [{"name": "t", "datatype": "BYTES", "shape": [1], "data": ["a\nb"]}],
            },
        });
        assert_eq!(parsed(&request)?, expected);
        Ok(())
    }

    #[test]
    fn a_response_names_its_model_in_its_data() -> anyhow::Result<()> {
        let response = parsed(&event(PayloadHalf::Response)?)?;
        assert_eq!(response["type"], RESPONSE);
        assert_eq!(response["data"]["model_name"], "wine");
        assert_eq!(response["data"]["model_version"], "1");
        assert_eq!(response["data"]["outputs"][0]["data"], json!(["a\nb"]));
        Ok(())
    }

    #[test]
    fn tensors_that_are_left_out_have_a_name_a_type_and_a_shape() -> anyhow::Result<()> {
        let request = PayloadEvent {
            tensors: Vec::new(),
            is_left_out: true,
            outlines: vec![TensorOutline {
                name: "x".to_owned(),
                datatype: "FP32",
                shape: vec![1, 3],
            }],
            ..event(PayloadHalf::Request)?
        };
        let request = parsed(&request)?;
        assert_eq!(request["leftout"], true);
        let expected = json!([{"name": "x", "datatype": "FP32", "shape": [1, 3]}]);
        assert_eq!(request["data"]["inputs"], expected);
        Ok(())
    }
}
