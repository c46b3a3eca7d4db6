//! Example requests in the forms of all protocols, made from one request that the version accepts.
//!
//! The request is taken from a golden case, or has inputs that the graph computes. Without one, as for a handler
//! without golden cases, it is one row of zeros, which the handler may refuse. Then there is no example for a
//! model that requires strings, since a signature does not determine which ones are meaningful.

use super::element::Axes;
use crate::call::{InferRequest, ModelDescription};
use crate::relaxed_json::write_element;
use crate::v2::sample::{SampleInput, positions};
use serde_json::{Map, Value, json};
use wisp_tensor::{ElementType, NamedTensor, Parameter, ParameterValue, TensorSpec};

/// The limit on the elements of an example, and on the product of an input's non-empty axes.
const MAX_ELEMENTS: usize = 1024;

/// A request that a version accepts.
pub(super) struct Example<'a> {
    model: &'a ModelDescription,
    inputs: Vec<ExampleInput<'a>>,
    parameters: &'a [Parameter],
}

/// The value of one input.
struct ExampleInput<'a> {
    spec: &'a TensorSpec,
    shape: Vec<u32>,
    elements: Vec<Value>,
}

// === impl Example ===

impl<'a> Example<'a> {
    /// Returns `request` as an example, or one row of zeros. Returns `None` if it is too long to be shown or has
    /// elements without a form in JSON.
    pub(super) fn new(
        model: &'a ModelDescription,
        request: Option<&'a InferRequest>,
    ) -> Option<Example<'a>> {
        let specs = &model.signature.inputs;
        let (inputs, parameters) = match request {
            Some(request) => {
                let inputs = request.inputs.iter();
                let inputs = inputs.map(|input| ExampleInput::of(input, specs));
                (inputs.collect::<Option<Vec<_>>>()?, &request.parameters[..])
            }
            None => {
                let required = specs.iter().filter(|spec| !spec.optional);
                let inputs = required.map(ExampleInput::zeros);
                (inputs.collect::<Option<Vec<_>>>()?, Default::default())
            }
        };
        let elements: usize = inputs.iter().map(|input| input.elements.len()).sum();
        let is_shown = !inputs.is_empty() && elements <= MAX_ELEMENTS;
        is_shown.then_some(Example {
            model,
            inputs,
            parameters,
        })
    }

    /// Returns the body of a V2 inference; `None` if an input has no form in V2's JSON.
    pub(super) fn v2(&self) -> Option<Value> {
        let has_no_form = |input: &ExampleInput| {
            matches!(
                input.spec.element_type,
                ElementType::Fp16 | ElementType::Bf16
            )
        };
        if self.inputs.iter().any(has_no_form) {
            return None;
        }
        let inputs = self.inputs.iter().map(|input| {
            json!({
                "name": input.spec.name,
                "datatype": input.spec.element_type.name(),
                "shape": input.shape,
                "data": input.elements,
            })
        });
        let mut body = json!({"inputs": inputs.collect::<Vec<_>>()});
        if !self.parameters.is_empty() {
            body["parameters"] = Value::Object(self.parameters().collect());
        }
        Some(body)
    }

    /// Returns the body of a generate request, which has one row.
    pub(super) fn generate(&self) -> Option<Value> {
        let inputs = self.inputs.iter().map(|input| {
            let is_row = self.has_rows() && !input.spec.is_parameter();
            let value = match is_row {
                true => input.first_row()?,
                false => input.whole(),
            };
            Some((input.spec.name.clone(), value))
        });
        let members = inputs.collect::<Option<Map<_, _>>>()?;
        let parameters = self.parameters();
        Some(Value::Object(
            members.into_iter().chain(parameters).collect(),
        ))
    }

    /// Returns one row without the batch axis, or everything if there is none: a bare value for the model's only
    /// input, or an object for several.
    pub(super) fn row(&self) -> Option<Value> {
        self.bare_or_named(self.named_row()?)
    }

    /// Returns one row as an object by name.
    pub(super) fn named_row(&self) -> Option<Map<String, Value>> {
        if !self.has_rows() {
            return Some(self.columns_by_name());
        }
        let inputs = self.inputs.iter();
        // Inputs without a batch axis belong to no row.
        let inputs = inputs.filter(|input| !input.spec.is_parameter());
        let members = inputs.map(|input| Some((input.spec.name.clone(), input.first_row()?)));
        members.collect()
    }

    /// Returns all inputs with all of their axes: a bare value for the model's only input, or an object for
    /// several.
    pub(super) fn columns(&self) -> Option<Value> {
        self.bare_or_named(self.columns_by_name())
    }

    fn columns_by_name(&self) -> Map<String, Value> {
        let inputs = self.inputs.iter();
        inputs
            .map(|input| (input.spec.name.clone(), input.whole()))
            .collect()
    }

    fn bare_or_named(&self, mut members: Map<String, Value>) -> Option<Value> {
        match self.model.signature.inputs.as_slice() {
            [only] => members.remove(&only.name),
            _ => Some(Value::Object(members)),
        }
    }

    fn has_rows(&self) -> bool {
        Axes::of_rows(self.model) == Axes::Row
    }

    fn parameters(&self) -> impl Iterator<Item = (String, Value)> {
        self.parameters.iter().map(|Parameter { name, value }| {
            let value = match value {
                ParameterValue::Bool(value) => json!(value),
                ParameterValue::Int64(value) => json!(value),
                ParameterValue::Uint64(value) => json!(value),
                ParameterValue::Double(value) => json!(value),
                ParameterValue::String(value) => json!(value),
            };
            (name.clone(), value)
        })
    }
}

// === impl ExampleInput ===

impl<'a> ExampleInput<'a> {
    /// Returns `None` for an input without a declaration, and for elements without a form in JSON.
    fn of(input: &NamedTensor, specs: &'a [TensorSpec]) -> Option<ExampleInput<'a>> {
        let NamedTensor { name, tensor } = input;
        let element_type = tensor.element_type();
        let value = |element: &[u8]| {
            let mut text = Vec::new();
            write_element(&mut text, element_type, element);
            // NaN and infinities are bare words, and bytes that are not UTF-8 an object.
            let value: Value = serde_json::from_slice(&text).ok()?;
            (!value.is_object()).then_some(value)
        };
        if positions(tensor.shape())? > MAX_ELEMENTS {
            return None;
        }
        let elements: Option<Vec<Value>> = match element_type.size() {
            Some(size) => tensor.content().chunks_exact(size).map(value).collect(),
            None => tensor.elements().map(value).collect(),
        };
        Some(ExampleInput {
            spec: specs.iter().find(|spec| spec.name == *name)?,
            shape: tensor.shape().dimensions().to_vec(),
            elements: elements?,
        })
    }

    fn zeros(spec: &'a TensorSpec) -> Option<ExampleInput<'a>> {
        if spec.element_type == ElementType::Bytes {
            return None;
        }
        let sample = SampleInput::new(spec, MAX_ELEMENTS)?;
        Some(ExampleInput {
            spec,
            shape: sample.shape.dimensions().to_vec(),
            elements: vec![sample.element; sample.shape.elements()],
        })
    }

    /// Returns the elements in one array per axis.
    fn whole(&self) -> Value {
        nested(&mut self.elements.iter(), &self.shape)
    }

    /// Returns the elements of the first row in one array per axis, without the batch axis; `None` if there is no
    /// row.
    fn first_row(&self) -> Option<Value> {
        let (&rows, sizes) = self.shape.split_first()?;
        (rows > 0).then(|| nested(&mut self.elements.iter(), sizes))
    }
}

/// Returns the next elements in one array for each of these sizes.
fn nested(elements: &mut std::slice::Iter<Value>, sizes: &[u32]) -> Value {
    match sizes.split_first() {
        None => elements.next().cloned().unwrap_or_default(),
        Some((&size, inner)) => (0..size).map(|_| nested(elements, inner)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Scheduling;
    use crate::fixture::{floats, model, spec};

    #[test]
    fn a_request_with_many_empty_rows_is_no_example() {
        let model = model(vec![spec("x", ElementType::Fp32, &[-1, -1])], Vec::new());
        let is_shown = |rows| {
            let request = InferRequest {
                inputs: vec![floats("x", &[rows, 0], &[])],
                parameters: Vec::new(),
                outputs: Vec::new(),
                scheduling: Scheduling::default(),
            };
            Example::new(&model, Some(&request)).is_some()
        };
        assert!(is_shown(2));
        assert!(!is_shown(u32::MAX));
    }
}
