//! Example requests, generated from the signature alone: one row of zeros.
//!
//! A handler may require more than the signature declares and refuse the example. There is no example for
//! a model that requires strings or types without a JSON form: a signature does not determine which
//! strings are meaningful.

use crate::call::ModelDescription;
use crate::v2::sample::SampleInput;
use serde_json::{Map, Value, json};
use wisp_tensor::{ElementType, TensorSpec};

/// The limit for example inputs: there is none for an input whose non-empty axes have a product above
/// it.
const MAX_ELEMENTS: usize = 1024;

/// Returns the body of a V2 inference.
pub(super) fn v2(model: &ModelDescription) -> Option<Value> {
    let zeros = zeros(model)?;
    let inputs: Vec<Value> = zeros.iter().map(SampleInput::to_json).collect();
    Some(json!({ "inputs": inputs }))
}

/// Returns one row of inputs without the batch axis: a bare value for one input, an object for several.
pub(super) fn row(model: &ModelDescription) -> Option<Value> {
    by_name(model, |input| input.nested(1))
}

/// Returns one row of inputs as an object by name.
pub(super) fn named_row(model: &ModelDescription) -> Option<Value> {
    let inputs = zeros(model)?.into_iter();
    let members = inputs.map(|input| (input.spec.name.clone(), input.nested(1)));
    Some(Value::Object(members.collect()))
}

/// Returns all inputs with all of their axes: a bare value for one input, an object for several.
pub(super) fn columns(model: &ModelDescription) -> Option<Value> {
    by_name(model, |input| input.nested(0))
}

fn by_name(model: &ModelDescription, value: impl Fn(&SampleInput) -> Value) -> Option<Value> {
    let inputs = zeros(model)?;
    match inputs.as_slice() {
        [input] => Some(value(input)),
        several => {
            let members = several.iter();
            let members: Map<_, _> = members
                .map(|input| (input.spec.name.clone(), value(input)))
                .collect();
            Some(Value::Object(members))
        }
    }
}

/// Returns the zeros of the required inputs; `None` if there are none, or if one has no example.
fn zeros(model: &ModelDescription) -> Option<Vec<SampleInput<'_>>> {
    let inputs = model.signature.inputs.iter();
    let required = inputs.filter(|input| !input.optional);
    let zeros: Vec<SampleInput> = required.map(zeros_of).collect::<Option<_>>()?;
    (!zeros.is_empty()).then_some(zeros)
}

fn zeros_of(spec: &TensorSpec) -> Option<SampleInput<'_>> {
    match spec.element_type {
        ElementType::Bytes => None,
        _ => SampleInput::new(spec, MAX_ELEMENTS),
    }
}
