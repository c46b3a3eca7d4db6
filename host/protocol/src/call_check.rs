//! Checks of a decoded request, and of the outputs for it, against the description of the model.
//!
//! Decoders check only what they need to decode. These checks are common to all protocols, and to everything
//! that serves a model: the server, and an edge bundle.

use crate::call::{InferRequest, ModelDescription};
use crate::error::{ErrorKind, HasErrorKind};
use wisp_tensor::signature::{check_complete, check_tensors, check_types};
use wisp_tensor::{NamedTensor, SpecError, TensorSpec};

/// The part of a model that answers its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A graph, which needs all required inputs, and whose computed shapes are right whatever its file declares.
    Graph,
    /// A handler, which checks completeness itself, since one input may replace another.
    Handler,
}

/// The mismatch between a request and the signature. The message is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("input {0}")]
    Input(SpecError),
    #[error("the request has no inputs")]
    NoInputs,
    #[error("unknown output `{name}`, expected one of: {}", expected.join(", "))]
    UnknownOutput { name: String, expected: Vec<String> },
    #[error("output `{name}` is requested twice")]
    DuplicateOutput { name: String },
    #[error("the batch (axis 0) of `{name}` is {size}, expected 1 to {max_rows}")]
    BatchSize {
        name: String,
        size: u32,
        max_rows: u32,
    },
    #[error("the batch (axis 0) of `{name}` is {size}, that of `{other}` is {other_size}")]
    BatchMismatch {
        name: String,
        size: u32,
        other: String,
        other_size: u32,
    },
}

impl HasErrorKind for RequestError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

/// Checks the inputs and the requested outputs of a request.
pub fn check_request(
    model: &ModelDescription,
    kind: ModelKind,
    request: &InferRequest,
) -> Result<(), RequestError> {
    let signature = &model.signature;
    if request.inputs.is_empty() && !signature.inputs.is_empty() {
        return Err(RequestError::NoInputs);
    }
    check_tensors(&signature.inputs, &request.inputs).map_err(RequestError::Input)?;
    if kind == ModelKind::Graph {
        check_complete(&signature.inputs, &request.inputs).map_err(RequestError::Input)?;
    }
    check_batch(model, &request.inputs)?;
    for (position, name) in request.outputs.iter().enumerate() {
        if !signature.outputs.iter().any(|output| output.name == *name) {
            return Err(RequestError::UnknownOutput {
                name: name.clone(),
                expected: signature.outputs.iter().map(|o| o.name.clone()).collect(),
            });
        }
        if request.outputs[..position].contains(name) {
            return Err(RequestError::DuplicateOutput { name: name.clone() });
        }
    }
    Ok(())
}

/// Checks all outputs and returns the selected ones, in the order of the selection.
pub fn select_outputs(
    model: &ModelDescription,
    kind: ModelKind,
    mut outputs: Vec<NamedTensor>,
    selected: &[String],
) -> Result<Vec<NamedTensor>, SpecError> {
    let specs = &model.signature.outputs;
    match kind {
        ModelKind::Graph => check_types(specs, &outputs)?,
        ModelKind::Handler => check_tensors(specs, &outputs)?,
    }
    if selected.is_empty() {
        check_complete(specs, &outputs)?;
        return Ok(outputs);
    }
    let mut chosen = Vec::with_capacity(selected.len());
    for name in selected {
        let position = outputs
            .iter()
            .position(|output| output.name == *name)
            .ok_or_else(|| SpecError::Missing { name: name.clone() })?;
        chosen.push(outputs.swap_remove(position));
    }
    Ok(chosen)
}

/// Returns the batch size of a request, or 1 if the model has no batch axis.
pub fn batch_size(model: &ModelDescription, request: &InferRequest) -> u32 {
    let mut batched = (request.inputs.iter()).filter(|input| !is_parameter(model, &input.name));
    match model.max_batch_size {
        0 => 1,
        _ => batched.find_map(rows).unwrap_or(1),
    }
}

/// Checks that axis 0, if it is a batch, has the same number of rows in every input, and that the number is
/// within the limit, if there is one.
fn check_batch(model: &ModelDescription, inputs: &[NamedTensor]) -> Result<(), RequestError> {
    if model.max_batch_size == 0 {
        return Ok(());
    }
    let batched = inputs
        .iter()
        .filter(|input| !is_parameter(model, &input.name))
        .filter_map(|input| Some((input, rows(input)?)));
    let mut first: Option<(&NamedTensor, u32)> = None;
    for (input, size) in batched {
        let spec = input_spec(model, &input.name);
        let is_variable = spec.is_some_and(TensorSpec::has_variable_first_axis);
        if let Some(max_rows) = model.max_rows
            && is_variable
            && !(1..=max_rows).contains(&size)
        {
            return Err(RequestError::BatchSize {
                name: input.name.clone(),
                size,
                max_rows,
            });
        }
        match first {
            Some((other, other_size)) if other_size != size => {
                return Err(RequestError::BatchMismatch {
                    name: input.name.clone(),
                    size,
                    other: other.name.clone(),
                    other_size,
                });
            }
            Some(_) => {}
            None => first = Some((input, size)),
        }
    }
    Ok(())
}

/// Returns the size of axis 0, if there is one.
fn rows(input: &NamedTensor) -> Option<u32> {
    input.tensor.shape().dimensions().first().copied()
}

fn input_spec<'m>(model: &'m ModelDescription, name: &str) -> Option<&'m TensorSpec> {
    let mut inputs = model.signature.inputs.iter();
    inputs.find(|spec| spec.name == name)
}

fn is_parameter(model: &ModelDescription, name: &str) -> bool {
    input_spec(model, name).is_some_and(TensorSpec::is_parameter)
}
