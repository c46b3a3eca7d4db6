//! Decoding of the JSON of an inference request.
//!
//! Unknown members are ignored, since the kserve client adds some. Members given twice are errors,
//! since two parsers could each use a different one. `null` is the same as an absent member, as clients
//! that serialize optional fields send it, except as the value of a parameter.

mod member;

use super::error::{DecodeError, InputError};
use super::limits::{MAX_ID_BYTES, MAX_NAME_BYTES};
use super::response::{OutputForm, V2Encoder};
use super::{binary, json};
use crate::array_extraction::ArrayExtraction;
use crate::call::{InferRequest, ModelDescription};
use crate::classification::TopClasses;
use crate::quoted::Quoted;
use bytes::Bytes;
use member::{ClassCount, Input, Object, Output, OutputParameters, Request};
use serde::Deserialize;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor, TensorError};

/// Decodes a request from `text`, the JSON of the body, and `rest`, the bytes after it.
pub(super) fn decode(
    text: &[u8],
    rest: Bytes,
    model: &ModelDescription,
) -> Result<(InferRequest, V2Encoder), DecodeError> {
    let text = utf8(text)?;
    if let Some(extraction) = ArrayExtraction::new(text)
        && let Ok(decoded) = decode_text(&extraction.text, Some(&extraction), rest.clone(), model)
    {
        return Ok(decoded);
    }
    decode_text(text, None, rest, model)
}

/// Decodes a request from `text`. With an extraction, `text` is the extraction's, and on any error the
/// caller must decode the whole text instead.
pub(super) fn decode_text(
    text: &str,
    extraction: Option<&ArrayExtraction>,
    rest: Bytes,
    model: &ModelDescription,
) -> Result<(InferRequest, V2Encoder), DecodeError> {
    let Request {
        id,
        parameters,
        inputs,
        outputs,
    } = parse(text)?;
    if id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(DecodeError::LongId {
            limit: MAX_ID_BYTES,
        });
    }
    let parameters = parameters.unwrap_or_default();
    let inputs = decode_inputs(inputs.0, extraction, rest, model)?;
    let outputs = outputs.map(|list| list.0).unwrap_or_default();
    let RequestedOutputs {
        names,
        forms,
        classes,
    } = decode_outputs(outputs, model)?;
    let default = match parameters.binary_data_output {
        Some(true) => OutputForm::Binary,
        Some(false) | None => OutputForm::Json,
    };
    let encoder = V2Encoder {
        id,
        default,
        forms,
        classes,
    };
    let request = InferRequest {
        inputs,
        parameters: parameters.own,
        outputs: names,
    };
    Ok((request, encoder))
}

/// Checks that the whole text is UTF-8, since serde_json does not check strings that it skips.
fn utf8(text: &[u8]) -> Result<&str, DecodeError> {
    str::from_utf8(text).map_err(|_| DecodeError::Syntax("it is not UTF-8".into()))
}

/// Parses `text`, which must be exactly one JSON object.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, DecodeError> {
    parse(utf8(text)?)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    match serde_json::from_str(text) {
        Ok(Object(value)) => Ok(value),
        Err(error) => Err(DecodeError::json(&error)),
    }
}

fn decode_inputs(
    inputs: Vec<Input>,
    extraction: Option<&ArrayExtraction>,
    rest: Bytes,
    model: &ModelDescription,
) -> Result<Vec<NamedTensor>, DecodeError> {
    let (expected, actual) = (model.signature.inputs.len(), inputs.len());
    if actual > expected {
        return Err(DecodeError::TooManyInputs { expected, actual });
    }
    let is_apart = |input: &&Input| {
        let list = extraction.zip(input.data);
        list.is_some_and(|(extraction, data)| extraction.array(data.get()).is_some())
    };
    if inputs.iter().filter(is_apart).count() != extraction.map_or(0, ArrayExtraction::count) {
        return Err(DecodeError::MisplacedArray);
    }
    let sizes: Vec<Option<u64>> = inputs.iter().map(binary_size).collect();
    let sections = binary::split(rest, &sizes)?;
    let mut tensors: Vec<NamedTensor> = Vec::with_capacity(actual);
    for (input, section) in inputs.into_iter().zip(sections) {
        if tensors.iter().any(|tensor| tensor.name == input.name) {
            return Err(DecodeError::RepeatedInput(Quoted::new(&input.name)));
        }
        match decode_input(&input, extraction, section) {
            Ok(tensor) => tensors.push(NamedTensor {
                name: input.name,
                tensor,
            }),
            Err(error) => {
                let name = Quoted::new(&input.name);
                return Err(DecodeError::Input { name, error });
            }
        }
    }
    Ok(tensors)
}

fn binary_size(input: &Input) -> Option<u64> {
    let parameters = input.parameters.as_ref()?;
    parameters.0.binary_data_size.as_ref().map(|size| size.0)
}

fn decode_input(
    input: &Input,
    extraction: Option<&ArrayExtraction>,
    section: Option<Bytes>,
) -> Result<Tensor, InputError> {
    if input.name.len() > MAX_NAME_BYTES {
        return Err(InputError::LongName {
            limit: MAX_NAME_BYTES,
        });
    }
    if let Some(Object(parameters)) = &input.parameters
        && parameters.shared_memory_region.is_some()
    {
        return Err(InputError::SharedMemory);
    }
    let element_type = ElementType::from_name(&input.datatype)
        .ok_or_else(|| InputError::Datatype(Quoted::new(&input.datatype)))?;
    let shape = Shape::new(input.shape.0.clone()).map_err(TensorError::from)?;
    let content = match (section, input.data) {
        (Some(section), None) => section,
        (None, Some(data)) => {
            match extraction.and_then(|extraction| extraction.array(data.get())) {
                Some(list) => json::decode_numbers(list, element_type, &shape)
                    .ok_or_else(|| InputError::Nesting(shape.clone()))?,
                None => json::decode(data.get(), element_type, &shape)?,
            }
        }
        (Some(_), Some(_)) => return Err(InputError::TwoContents),
        (None, None) => return Err(InputError::NoContent),
    };
    Ok(Tensor::new(element_type, shape, content)?)
}

/// The requested outputs, with the forms and classifications requested for some of them.
struct RequestedOutputs {
    names: Vec<String>,
    forms: Vec<(String, OutputForm)>,
    classes: Vec<TopClasses>,
}

fn decode_outputs(
    outputs: Vec<Output>,
    model: &ModelDescription,
) -> Result<RequestedOutputs, DecodeError> {
    let (expected, actual) = (model.signature.outputs.len(), outputs.len());
    if actual > expected {
        return Err(DecodeError::TooManyOutputs { expected, actual });
    }
    let mut names: Vec<String> = Vec::with_capacity(actual);
    let mut forms = Vec::new();
    let mut classes = Vec::new();
    for Output { name, parameters } in outputs {
        if names.contains(&name) {
            return Err(DecodeError::RepeatedOutput(Quoted::new(&name)));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(DecodeError::LongOutputName {
                limit: MAX_NAME_BYTES,
            });
        }
        if let Some(Object(parameters)) = parameters {
            let OutputParameters {
                binary_data,
                classification,
                shared_memory_region,
            } = parameters;
            if let Some(ClassCount(count)) = classification {
                classes.push(TopClasses::new(&name, Some(count), model).map_err(|error| {
                    let name = Quoted::new(&name);
                    DecodeError::Classification { name, error }
                })?);
            }
            if shared_memory_region.is_some() {
                return Err(DecodeError::SharedMemory(Quoted::new(&name)));
            }
            match binary_data {
                Some(true) => forms.push((name.clone(), OutputForm::Binary)),
                Some(false) => forms.push((name.clone(), OutputForm::Json)),
                None => {}
            }
        }
        names.push(name);
    }
    Ok(RequestedOutputs {
        names,
        forms,
        classes,
    })
}
