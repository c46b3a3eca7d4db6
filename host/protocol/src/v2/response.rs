//! Encoding of an `InferResponse` as the body of an HTTP response.
//!
//! The JSON is written into one buffer. Each binary tensor follows as its own chunk, without a copy. serde
//! writes all members but `data`, since its floats may be bare words, which serde_json does not write.

use super::error::EncodeError;
use super::json::Elements;
use crate::call::{InferResponse, ModelDescription, Version};
use crate::classification::{self, TopClasses};
use crate::codec::{CodecError, ResponseEncoder};
use crate::encoded_response::EncodedResponse;
use crate::json_size;
use crate::relaxed_json::write_json;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use wisp_tensor::{NamedTensor, Parameter, ParameterValue};

/// The encoder for the response that one request asks for. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V2Encoder {
    pub(super) id: Option<String>,
    /// The form of outputs that the request gives no form for.
    pub(super) default: OutputForm,
    pub(super) forms: Vec<(String, OutputForm)>,
    /// The outputs to replace with their classes.
    pub(super) classes: Vec<TopClasses>,
}

/// The encoding of an output. The default is taken for responses to raw requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OutputForm {
    Json,
    #[default]
    Binary,
}

/// The members of a response before `outputs`.
#[derive(Serialize)]
struct Head<'a> {
    model_name: &'a str,
    #[serde(serialize_with = "as_string")]
    model_version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(
        skip_serializing_if = "<[Parameter]>::is_empty",
        serialize_with = "as_object"
    )]
    parameters: &'a [Parameter],
}

/// The members of an output before `data`, which a binary output does not have.
#[derive(Serialize)]
struct OutputHead<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinaryParameters>,
}

#[derive(Serialize)]
struct BinaryParameters {
    binary_data_size: usize,
}

impl V2Encoder {
    /// Returns the format for a request without JSON: all outputs in one form.
    pub(super) fn for_raw_request(form: OutputForm) -> V2Encoder {
        V2Encoder {
            id: None,
            default: form,
            forms: Vec::new(),
            classes: Vec::new(),
        }
    }

    /// Returns the outputs that are written as JSON.
    fn json_outputs<'a>(
        &self,
        response: &'a InferResponse,
    ) -> impl Iterator<Item = &'a NamedTensor> {
        let outputs = response.outputs.iter();
        outputs.filter(|output| self.form(&output.name) == OutputForm::Json)
    }

    fn encode_outputs(
        &self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, EncodeError> {
        check_parameters(&response.parameters)?;
        let response = classification::classify(&self.classes, response, model)?;
        let mut size = 256;
        let mut elements = Vec::with_capacity(response.outputs.len());
        for output in &response.outputs {
            let list = match self.form(&output.name) {
                OutputForm::Json => Some(Elements::new(output)?),
                OutputForm::Binary => None,
            };
            size += list.as_ref().map_or(0, Elements::text_size) + 128;
            elements.push(list);
        }
        let mut text = Vec::with_capacity(size);
        open_object(
            &mut text,
            &Head {
                model_name: model.model.as_str(),
                model_version: model.version,
                id: self.id.as_deref(),
                parameters: &response.parameters,
            },
        );
        text.extend_from_slice(b",\"outputs\":[");
        for (position, (output, elements)) in response.outputs.iter().zip(&elements).enumerate() {
            if position > 0 {
                text.push(b',');
            }
            write_output(&mut text, output, elements.as_ref());
        }
        text.extend_from_slice(b"]}");
        Ok(self.join(text, response.outputs))
    }

    fn join(&self, text: Vec<u8>, outputs: Vec<NamedTensor>) -> EncodedResponse {
        let is_binary = |output: &NamedTensor| self.form(&output.name) == OutputForm::Binary;
        if !outputs.iter().any(is_binary) {
            return EncodedResponse {
                content_type: "application/json",
                header_length: None,
                chunks: vec![Bytes::from(text)],
            };
        }
        let header_length = Some(text.len());
        let binary = outputs.into_iter().filter(is_binary);
        let contents = binary.map(|output| output.tensor.into_content());
        let chunks = std::iter::once(Bytes::from(text)).chain(contents);
        EncodedResponse {
            content_type: "application/octet-stream",
            header_length,
            chunks: chunks.filter(|chunk| !chunk.is_empty()).collect(),
        }
    }

    fn form(&self, output: &str) -> OutputForm {
        let asked = self.forms.iter().find(|(name, _)| name == output);
        asked.map_or(self.default, |&(_, form)| form)
    }
}

impl ResponseEncoder for V2Encoder {
    type Encoded = EncodedResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        let json = json_size::text_bytes(self.json_outputs(response));
        json.saturating_add(classification::text_bytes(&self.classes, response))
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        json_size::encoded_bytes(self.json_outputs(response))
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        Ok(self.encode_outputs(response, model)?)
    }
}

/// Writes an output with these elements, or without elements if it is binary.
fn write_output(text: &mut Vec<u8>, output: &NamedTensor, elements: Option<&Elements>) {
    let NamedTensor { name, tensor } = output;
    let parameters = match elements {
        Some(_) => None,
        None => Some(BinaryParameters {
            binary_data_size: tensor.content().len(),
        }),
    };
    open_object(
        text,
        &OutputHead {
            name,
            datatype: tensor.element_type().name(),
            shape: tensor.shape().dimensions(),
            parameters,
        },
    );
    if let Some(elements) = elements {
        text.extend_from_slice(b",\"data\":");
        elements.write(text);
    }
    text.push(b'}');
}

/// Writes an object without its closing brace.
fn open_object(text: &mut Vec<u8>, object: &impl Serialize) {
    write_json(text, object);
    text.pop();
}

fn check_parameters(parameters: &[Parameter]) -> Result<(), EncodeError> {
    for Parameter { name, value } in parameters {
        if let ParameterValue::Double(number) = value
            && !number.is_finite()
        {
            let parameter = name.clone();
            return Err(EncodeError::Parameter { parameter });
        }
    }
    Ok(())
}

fn as_string<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(version)
}

fn as_object<S: Serializer>(parameters: &[Parameter], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for Parameter { name, value } in parameters {
        match value {
            ParameterValue::Bool(value) => map.serialize_entry(name, value)?,
            ParameterValue::Int64(value) => map.serialize_entry(name, value)?,
            ParameterValue::Uint64(value) => map.serialize_entry(name, value)?,
            ParameterValue::Double(value) => map.serialize_entry(name, value)?,
            ParameterValue::String(value) => map.serialize_entry(name, value)?,
        }
    }
    map.end()
}
