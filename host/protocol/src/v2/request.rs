//! Decoding of the JSON of an inference request.
//!
//! Unknown members are ignored, since the kserve client adds some. Members given twice are errors,
//! since two parsers could each use a different one. `null` is the same as an absent member, as clients
//! that serialize optional fields send it, except as the value of a parameter. So is an empty `id`. An output
//! that is requested twice is returned once, in the form of the first request, as in Triton.

mod member;

use super::error::{DecodeError, InputError};
use super::limits::{MAX_ID_BYTES, MAX_NAME_BYTES};
use super::masked_text::MaskedText;
use super::response::{OutputForm, V2Encoder};
use super::{binary, json};
use crate::array_extraction::ArrayExtraction;
use crate::call::{InferRequest, ModelDescription};
use crate::classification::TopClasses;
use crate::json_text::json_text;
use crate::quoted::Quoted;
use bytes::Bytes;
use member::{ClassCount, Input, Object, Output, OutputParameters, Request, TensorParameters};
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
        && let Ok(decoded) = decode_text(
            &extraction.text,
            Source::Extracted(&extraction),
            rest.clone(),
            model,
        )
    {
        return Ok(decoded);
    }
    let error = match decode_text(text, Source::Whole, rest.clone(), model) {
        Err(error @ DecodeError::Syntax(_)) => error,
        decoded => return decoded,
    };
    let Some(masked) = MaskedText::new(text) else {
        return Err(error);
    };
    match decode_text(&masked.text, Source::Masked(&masked), rest, model) {
        Err(DecodeError::Misplaced) => Err(error),
        decoded => decoded,
    }
}

/// The origin of the text that a request is decoded from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The whole text that the client sent.
    Whole,
    /// The text of an extraction. On any error, the caller must decode the whole text instead.
    Extracted(&'a ArrayExtraction<'a>),
    /// The text without its bare words.
    Masked(&'a MaskedText<'a>),
}

impl Source<'_> {
    /// Returns whether all that the text replaces is in these slices of it.
    fn has_replacements_only_in<'s>(self, slices: impl Iterator<Item = &'s str>) -> bool {
        match self {
            Source::Whole => true,
            Source::Extracted(extraction) => {
                let arrays = slices.filter(|slice| extraction.array(slice).is_some());
                arrays.count() == extraction.count()
            }
            Source::Masked(masked) => masked.has_words_only_in(slices),
        }
    }

    /// Decodes the elements that a slice of the text contains or replaces.
    fn decode_elements(
        self,
        slice: &str,
        element_type: ElementType,
        shape: &Shape,
    ) -> Result<Bytes, InputError> {
        match self {
            Source::Whole => json::decode(slice, element_type, shape),
            Source::Extracted(extraction) => match extraction.array(slice) {
                Some(array) => {
                    json::decode_numbers(array, element_type, shape).ok_or(InputError::NotAnArray)
                }
                None => json::decode(slice, element_type, shape),
            },
            Source::Masked(masked) => {
                let original = masked.original(slice).unwrap_or(slice);
                json::decode(original, element_type, shape)
            }
        }
    }
}

/// Decodes a request from `text`, which comes from this source.
pub(super) fn decode_text(
    text: &str,
    source: Source,
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
    let inputs = decode_inputs(inputs.0, source, rest, model)?;
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
        id: id.filter(|id| !id.is_empty()),
        default,
        forms,
        classes,
    };
    let request = InferRequest {
        inputs,
        parameters: parameters.own,
        outputs: names,
        scheduling: parameters.scheduling,
    };
    Ok((request, encoder))
}

/// Checks that the whole text is UTF-8, since serde_json does not check strings that it skips. Removes a
/// byte order mark.
fn utf8(text: &[u8]) -> Result<&str, DecodeError> {
    json_text(text).map_err(|_| DecodeError::Syntax("it is not UTF-8".into()))
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
    source: Source,
    rest: Bytes,
    model: &ModelDescription,
) -> Result<Vec<NamedTensor>, DecodeError> {
    let (expected, actual) = (model.signature.inputs.len(), inputs.len());
    if actual > expected {
        return Err(DecodeError::TooManyInputs { expected, actual });
    }
    let lists = inputs.iter().filter_map(|input| Some(input.data?.get()));
    if !source.has_replacements_only_in(lists) {
        return Err(DecodeError::Misplaced);
    }
    let sizes: Vec<Option<u64>> = inputs.iter().map(binary_size).collect();
    let sections = binary::split(rest, &sizes)?;
    let mut tensors: Vec<NamedTensor> = Vec::with_capacity(actual);
    for (input, section) in inputs.into_iter().zip(sections) {
        if tensors.iter().any(|tensor| tensor.name == input.name) {
            return Err(DecodeError::RepeatedInput(Quoted::new(&input.name)));
        }
        match decode_input(&input, source, section) {
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
    source: Source,
    section: Option<Bytes>,
) -> Result<Tensor, InputError> {
    if input.name.len() > MAX_NAME_BYTES {
        return Err(InputError::LongName {
            limit: MAX_NAME_BYTES,
        });
    }
    if let Some(TensorParameters(parameters)) = &input.parameters
        && parameters.shared_memory_region.is_some()
    {
        return Err(InputError::SharedMemory);
    }
    let element_type = ElementType::from_name(&input.datatype)
        .ok_or_else(|| InputError::Datatype(Quoted::new(&input.datatype)))?;
    let shape = Shape::new(input.shape.0.clone()).map_err(TensorError::from)?;
    let content = match (section, input.data) {
        (Some(section), None) => section,
        (None, Some(data)) => source.decode_elements(data.get(), element_type, &shape)?,
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
    let mut names: Vec<String> = Vec::with_capacity(actual.min(expected));
    let mut forms = Vec::new();
    let mut classes = Vec::new();
    for Output { name, parameters } in outputs {
        if names.contains(&name) {
            continue;
        }
        if names.len() == expected {
            return Err(DecodeError::TooManyOutputs { expected, actual });
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(DecodeError::LongOutputName {
                limit: MAX_NAME_BYTES,
            });
        }
        if let Some(TensorParameters(parameters)) = parameters {
            let OutputParameters {
                binary_data,
                classification,
                shared_memory_region,
            } = parameters;
            // No classes means the output itself, as in Triton.
            if let Some(ClassCount(count @ 1..)) = classification {
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
