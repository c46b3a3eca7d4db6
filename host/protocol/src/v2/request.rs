//! Decoding of the JSON of an inference request.
//!
//! Unknown members are ignored, since the kserve client adds some. Members given twice are errors,
//! since two parsers could each use a different one. `null` is the same as an absent member, as clients
//! that serialize optional fields send it, except as the value of a parameter.

mod member;

use super::error::{InputProblem, Reason};
use super::response::{Form, Reply};
use super::{binary, json};
use crate::call::{InferRequest, ModelDescription};
use crate::classification::TopClasses;
use crate::label::Label;
use crate::outline::Outline;
use bytes::Bytes;
use member::{ClassCount, Input, Object, Output, OutputParameters, Request};
pub(crate) use member::{MAX_PARAMETERS, MAX_TENSORS, is_reserved};
use serde::Deserialize;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor, TensorError};

/// The maximum length of the name of an input, output or parameter: more than any model needs, and
/// short enough to pass on.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// The maximum length of the id of a request, which its response repeats.
pub(crate) const MAX_ID_BYTES: usize = 1024;

/// Decodes a request from `text`, the JSON of the body, and `rest`, the bytes after it.
pub(super) fn decode(
    text: &[u8],
    rest: Bytes,
    model: &ModelDescription,
) -> Result<(InferRequest, Reply), Reason> {
    let text = utf8(text)?;
    if let Some(outline) = Outline::new(text)
        && let Ok(decoded) = decode_text(&outline.text, Some(&outline), rest.clone(), model)
    {
        return Ok(decoded);
    }
    decode_text(text, None, rest, model)
}

/// Decodes a request from `text`. With an outline, `text` is the outline's, and on any error the
/// caller must decode the whole text instead.
pub(super) fn decode_text(
    text: &str,
    outline: Option<&Outline>,
    rest: Bytes,
    model: &ModelDescription,
) -> Result<(InferRequest, Reply), Reason> {
    let Request {
        id,
        parameters,
        inputs,
        outputs,
    } = parse(text)?;
    if id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(Reason::LongId {
            limit: MAX_ID_BYTES,
        });
    }
    let parameters = parameters.unwrap_or_default();
    let inputs = decode_inputs(inputs.0, outline, rest, model)?;
    let outputs = outputs.map(|list| list.0).unwrap_or_default();
    let Wanted {
        names,
        forms,
        classes,
    } = decode_outputs(outputs, model)?;
    let default = match parameters.binary_data_output {
        Some(true) => Form::Binary,
        Some(false) | None => Form::Json,
    };
    let reply = Reply {
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
    Ok((request, reply))
}

/// Checks that the whole text is UTF-8, since serde_json does not check strings that it skips.
fn utf8(text: &[u8]) -> Result<&str, Reason> {
    str::from_utf8(text).map_err(|_| Reason::Syntax("it is not UTF-8".into()))
}

/// Parses `text`, which must be exactly one JSON object.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Reason> {
    parse(utf8(text)?)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Reason> {
    match serde_json::from_str(text) {
        Ok(Object(value)) => Ok(value),
        Err(error) => Err(Reason::json(&error)),
    }
}

fn decode_inputs(
    inputs: Vec<Input>,
    outline: Option<&Outline>,
    rest: Bytes,
    model: &ModelDescription,
) -> Result<Vec<NamedTensor>, Reason> {
    let (expected, actual) = (model.signature.inputs.len(), inputs.len());
    if actual > expected {
        return Err(Reason::TooManyInputs { expected, actual });
    }
    let is_apart = |input: &&Input| {
        let list = outline.zip(input.data);
        list.is_some_and(|(outline, data)| outline.list(data.get()).is_some())
    };
    if inputs.iter().filter(is_apart).count() != outline.map_or(0, Outline::count) {
        return Err(Reason::Outline);
    }
    let sizes: Vec<Option<u64>> = inputs.iter().map(binary_size).collect();
    let sections = binary::split(rest, &sizes)?;
    let mut tensors: Vec<NamedTensor> = Vec::with_capacity(actual);
    for (input, section) in inputs.into_iter().zip(sections) {
        if tensors.iter().any(|tensor| tensor.name == input.name) {
            return Err(Reason::RepeatedInput(Label::new(&input.name)));
        }
        match decode_input(&input, outline, section) {
            Ok(tensor) => tensors.push(NamedTensor {
                name: input.name,
                tensor,
            }),
            Err(problem) => {
                let name = Label::new(&input.name);
                return Err(Reason::Input { name, problem });
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
    outline: Option<&Outline>,
    section: Option<Bytes>,
) -> Result<Tensor, InputProblem> {
    if input.name.len() > MAX_NAME_BYTES {
        return Err(InputProblem::LongName {
            limit: MAX_NAME_BYTES,
        });
    }
    if let Some(Object(parameters)) = &input.parameters
        && parameters.shared_memory_region.is_some()
    {
        return Err(InputProblem::SharedMemory);
    }
    let element_type = ElementType::from_name(&input.datatype)
        .ok_or_else(|| InputProblem::Datatype(Label::new(&input.datatype)))?;
    let shape = Shape::new(input.shape.0.clone()).map_err(TensorError::from)?;
    let content = match (section, input.data) {
        (Some(section), None) => section,
        (None, Some(data)) => match outline.and_then(|outline| outline.list(data.get())) {
            Some(list) => json::decode_numbers(list, element_type, &shape)
                .ok_or_else(|| InputProblem::Nesting(shape.clone()))?,
            None => json::decode(data.get(), element_type, &shape)?,
        },
        (Some(_), Some(_)) => return Err(InputProblem::TwoContents),
        (None, None) => return Err(InputProblem::NoContent),
    };
    Ok(Tensor::new(element_type, shape, content)?)
}

/// The requested outputs, with the forms and classifications requested for some of them.
struct Wanted {
    names: Vec<String>,
    forms: Vec<(String, Form)>,
    classes: Vec<TopClasses>,
}

fn decode_outputs(outputs: Vec<Output>, model: &ModelDescription) -> Result<Wanted, Reason> {
    let (expected, actual) = (model.signature.outputs.len(), outputs.len());
    if actual > expected {
        return Err(Reason::TooManyOutputs { expected, actual });
    }
    let mut names: Vec<String> = Vec::with_capacity(actual);
    let mut forms = Vec::new();
    let mut classes = Vec::new();
    for Output { name, parameters } in outputs {
        if names.contains(&name) {
            return Err(Reason::RepeatedOutput(Label::new(&name)));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(Reason::LongOutputName {
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
                classes.push(
                    TopClasses::new(&name, Some(count), model).map_err(|problem| {
                        let name = Label::new(&name);
                        Reason::Classification { name, problem }
                    })?,
                );
            }
            if shared_memory_region.is_some() {
                return Err(Reason::SharedMemory(Label::new(&name)));
            }
            match binary_data {
                Some(true) => forms.push((name.clone(), Form::Binary)),
                Some(false) => forms.push((name.clone(), Form::Json)),
                None => {}
            }
        }
        names.push(name);
    }
    Ok(Wanted {
        names,
        forms,
        classes,
    })
}
