//! Triton's generate extension: a request and its response are flat JSON objects, without datatypes and shapes.
//!
//! A member of the request with the name of an input is its value, without the batch axis: an element, or
//! arrays of them as in the predict API. `id` is repeated in the response; any other member is a parameter, and
//! so are the members of the object `parameters`. In the response, an output with a single element is written as
//! this element, and any other as a flat array.
//!
//! As in Triton, a request has one row, and `null` is the same as an absent member, as is an empty `id`. The
//! response to `generate_stream` is a stream with a single event.

use super::limits::{MAX_ID_BYTES, MAX_NAME_BYTES, MAX_PARAMETERS, ReservedParameter};
use crate::call::{InferRequest, InferResponse, ModelDescription, Scheduling};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::encoded_response::EncodedResponse;
use crate::error::{ErrorKind, HasErrorKind};
use crate::json_size;
use crate::json_text::json_text;
use crate::quoted::Quoted;
use crate::relaxed_json::{
    ArrayForm, EncodeError, OutputWriter, Reader, SyntaxError, ValueError, ValueKind, members,
    read_tensor, write_element, write_json,
};
use bytes::Bytes;
use serde_json::Value;
use wisp_tensor::{
    ElementType, NamedTensor, Parameter, ParameterValue, Shape, Tensor, TensorError, TensorSpec,
};

/// The form of the response to a generate request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerateForm {
    /// One JSON object.
    Object,
    /// Server-sent events with an object each.
    Events,
}

/// The decoder for the body of one generate request. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateDecoder {
    form: GenerateForm,
}

/// The encoder for the response to one generate request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateEncoder {
    id: Option<String>,
    form: GenerateForm,
}

/// The reason that a body cannot be decoded. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum DecodeError {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not valid JSON: {0}")]
    Syntax(#[from] SyntaxError),
    #[error("the body is not an object with a value for each input")]
    NoObject,
    #[error("no member of the body is an input, expected one of: {expected}")]
    NoInput { expected: Box<str> },
    #[error("{0} is given twice")]
    Repeated(Quoted),
    #[error("input {name}: {error}")]
    Input { name: Quoted, error: ValueError },
    #[error("`id` is not a string of at most {limit} bytes")]
    Id { limit: usize },
    #[error("`parameters` is not an object")]
    Parameters,
    #[error(
        "{name} is not an input, expected one of: {expected}; as a parameter it must be true, false, a \
         number or a string"
    )]
    Parameter { name: Quoted, expected: Box<str> },
    #[error("the name of a parameter is longer than {limit} bytes")]
    LongName { limit: usize },
    #[error("more than {limit} parameters")]
    ManyParameters { limit: usize },
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

// === impl GenerateDecoder ===

impl GenerateDecoder {
    /// Returns the decoder for requests whose responses have this form.
    pub fn new(form: GenerateForm) -> GenerateDecoder {
        GenerateDecoder { form }
    }
}

impl RequestDecoder for GenerateDecoder {
    type Source = Bytes;
    type Encoder = GenerateEncoder;

    fn text_bytes(&self, body: &Bytes) -> usize {
        body.len()
    }

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        json_size::decoded_bytes(body)
    }

    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, GenerateEncoder), CodecError> {
        let Members {
            inputs,
            parameters,
            id,
            ..
        } = Members::decode(&body, model)?;
        let request = InferRequest {
            inputs,
            parameters,
            outputs: Vec::new(),
            scheduling: Scheduling::default(),
        };
        let encoder = GenerateEncoder {
            id: id.filter(|id| !id.is_empty()),
            form: self.form,
        };
        Ok((request, encoder))
    }
}

/// The members of a request read so far. Lifetime: one request.
struct Members<'m> {
    model: &'m ModelDescription,
    inputs: Vec<NamedTensor>,
    parameters: Vec<Parameter>,
    id: Option<String>,
}

impl<'m> Members<'m> {
    fn decode(body: &[u8], model: &'m ModelDescription) -> Result<Members<'m>, DecodeError> {
        let text = json_text(body).map_err(|_| DecodeError::NotUtf8)?;
        if Reader::new(text).kind()? != ValueKind::Object {
            return Err(DecodeError::NoObject);
        }
        let mut found = Members {
            model,
            inputs: Vec::new(),
            parameters: Vec::new(),
            id: None,
        };
        members(text, |name, value| found.add(name, value))?;
        if found.inputs.is_empty() && !model.signature.inputs.is_empty() {
            return Err(DecodeError::NoInput {
                expected: found.input_names(),
            });
        }
        Ok(found)
    }

    /// Adds the member with this name and the text of its value.
    fn add(&mut self, name: &str, value: &str) -> Result<(), DecodeError> {
        if value == "null" {
            return Ok(());
        }
        let mut specs = self.model.signature.inputs.iter();
        match (specs.find(|spec| spec.name == name), name) {
            (Some(spec), _) => self.add_input(spec, value),
            (None, "id") => self.add_id(value),
            (None, "parameters") => {
                if Reader::new(value).kind()? != ValueKind::Object {
                    return Err(DecodeError::Parameters);
                }
                members(value, |name, value| match value {
                    "null" => Ok(()),
                    value => self.add_parameter(name, value),
                })
            }
            (None, name) => self.add_parameter(name, value),
        }
    }

    fn add_input(&mut self, spec: &TensorSpec, value: &str) -> Result<(), DecodeError> {
        let name = || Quoted::new(&spec.name);
        if self.inputs.iter().any(|input| input.name == spec.name) {
            return Err(DecodeError::Repeated(name()));
        }
        let tensor = read_input(spec, value, self.model).map_err(|error| DecodeError::Input {
            name: name(),
            error,
        })?;
        self.inputs.push(NamedTensor {
            name: spec.name.clone(),
            tensor,
        });
        Ok(())
    }

    fn add_id(&mut self, value: &str) -> Result<(), DecodeError> {
        let mut reader = Reader::new(value);
        let id = reader.string().filter(|id| id.len() <= MAX_ID_BYTES);
        let id = id.ok_or(DecodeError::Id {
            limit: MAX_ID_BYTES,
        })?;
        match self.id.replace(id.to_owned()) {
            None => Ok(()),
            Some(_) => Err(DecodeError::Repeated(Quoted::new("id"))),
        }
    }

    fn add_parameter(&mut self, name: &str, value: &str) -> Result<(), DecodeError> {
        if ReservedParameter::from_name(name).is_some() || name == "binary_data_output" {
            return Ok(());
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(DecodeError::LongName {
                limit: MAX_NAME_BYTES,
            });
        }
        if self.parameters.iter().any(|other| other.name == name) {
            return Err(DecodeError::Repeated(Quoted::new(name)));
        }
        if self.parameters.len() == MAX_PARAMETERS {
            return Err(DecodeError::ManyParameters {
                limit: MAX_PARAMETERS,
            });
        }
        let value = parameter_value(value).ok_or_else(|| DecodeError::Parameter {
            name: Quoted::new(name),
            expected: self.input_names(),
        })?;
        let name = name.to_owned();
        self.parameters.push(Parameter { name, value });
        Ok(())
    }

    fn input_names(&self) -> Box<str> {
        let inputs = self.model.signature.inputs.iter();
        let names: Vec<&str> = inputs.map(|spec| spec.name.as_str()).collect();
        names.join(", ").into()
    }
}

/// Reads the value of an input, which lacks the batch axis if the model and the input have one.
fn read_input(
    spec: &TensorSpec,
    value: &str,
    model: &ModelDescription,
) -> Result<Tensor, ValueError> {
    let is_row = model.max_batch_size > 0 && !spec.is_parameter();
    let (rows, shape) = match spec.shape.split_first() {
        Some((_, row)) if is_row => (Some(1), row),
        _ => (None, spec.shape.as_slice()),
    };
    let mut content = Vec::new();
    let declared = (spec.element_type, shape);
    let mut reader = Reader::new(value);
    let sizes = read_tensor(&mut reader, declared, ArrayForm::Any, &mut content)?;
    let dimensions = rows.into_iter().chain(sizes).collect();
    let shape = Shape::new(dimensions).map_err(TensorError::from)?;
    Ok(Tensor::new(spec.element_type, shape, Bytes::from(content))?)
}

/// Returns the value of a parameter; `None` if its text is not a bool, a number or a string.
fn parameter_value(text: &str) -> Option<ParameterValue> {
    if text.starts_with(['[', '{']) {
        return None;
    }
    Some(match serde_json::from_str::<Value>(text).ok()? {
        Value::Bool(value) => ParameterValue::Bool(value),
        Value::String(value) => ParameterValue::String(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ParameterValue::Int64(value),
            (None, Some(value)) => ParameterValue::Uint64(value),
            (None, None) => ParameterValue::Double(number.as_f64()?),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}

// === impl GenerateEncoder ===

impl ResponseEncoder for GenerateEncoder {
    type Encoded = EncodedResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        json_size::text_bytes(response.outputs.iter())
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        json_size::encoded_bytes(response.outputs.iter())
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        let mut text = Vec::with_capacity(256);
        match self.form {
            GenerateForm::Object => {
                self.write(&mut text, &response, model)?;
                Ok(EncodedResponse::json(text))
            }
            GenerateForm::Events => {
                text.extend_from_slice(b"data: ");
                self.write(&mut text, &response, model)?;
                text.extend_from_slice(b"\n\n");
                Ok(EncodedResponse {
                    content_type: "text/event-stream; charset=utf-8",
                    header_length: None,
                    chunks: vec![Bytes::from(text)],
                })
            }
        }
    }
}

impl GenerateEncoder {
    /// Writes the response as one object, on one line. An output takes precedence over a member of the protocol
    /// with the same name.
    fn write(
        &self,
        text: &mut Vec<u8>,
        response: &InferResponse,
        model: &ModelDescription,
    ) -> Result<(), EncodeError> {
        text.push(b'{');
        let version = model.version.to_string();
        let own = [
            ("id", self.id.as_deref()),
            ("model_name", Some(model.model.as_str())),
            ("model_version", Some(version.as_str())),
        ];
        let outputs = &response.outputs;
        let is_output = |name: &str| outputs.iter().any(|output| output.name == name);
        for (name, value) in own {
            if let Some(value) = value
                && !is_output(name)
            {
                write_name(text, name);
                write_json(text, value);
            }
        }
        for output in outputs {
            write_name(text, &output.name);
            write_output(text, output)?;
        }
        if !response.parameters.is_empty() && !is_output("parameters") {
            write_name(text, "parameters");
            text.push(b'{');
            for Parameter { name, value } in &response.parameters {
                write_name(text, name);
                write_parameter(text, value);
            }
            text.push(b'}');
        }
        text.push(b'}');
        Ok(())
    }
}

/// Writes the name of the next member of the object at the end of `text`.
fn write_name(text: &mut Vec<u8>, name: &str) {
    if text.last() != Some(&b'{') {
        text.push(b',');
    }
    write_json(text, name);
    text.push(b':');
}

fn write_output(text: &mut Vec<u8>, output: &NamedTensor) -> Result<(), EncodeError> {
    let mut elements = OutputWriter::new(output)?;
    let count = output.tensor.shape().elements();
    if count == 1 {
        elements.write_one(text);
        return Ok(());
    }
    text.push(b'[');
    for position in 0..count {
        if position > 0 {
            text.push(b',');
        }
        elements.write_one(text);
    }
    text.push(b']');
    Ok(())
}

fn write_parameter(text: &mut Vec<u8>, value: &ParameterValue) {
    match value {
        ParameterValue::Bool(value) => write_json(text, value),
        ParameterValue::Int64(value) => write_json(text, value),
        ParameterValue::Uint64(value) => write_json(text, value),
        // It may be NaN or infinite, which are bare words here.
        ParameterValue::Double(value) => {
            write_element(text, ElementType::Fp64, &value.to_le_bytes());
        }
        ParameterValue::String(value) => write_json(text, value),
    }
}

#[cfg(test)]
mod tests;
