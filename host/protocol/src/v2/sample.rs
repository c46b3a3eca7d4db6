//! Sample inputs in JSON, generated from a signature alone: zeros, or empty strings.
//!
//! A handler may require more than its signature declares and refuse such inputs.

use crate::call::ModelDescription;
use serde_json::{Value, json};
use wisp_tensor::{Dimension, ElementType, Shape, TensorSpec};

/// The sample of one input, with size 1 along every variable axis.
#[derive(Debug)]
pub(crate) struct SampleInput<'a> {
    pub(crate) spec: &'a TensorSpec,
    pub(crate) element: Value,
    pub(crate) shape: Shape,
}

/// Returns a request with a sample of every required input. Returns `None` if there is one whose non-empty
/// axes have a product above `max_elements`, or one without a JSON form.
pub fn sample_request(model: &ModelDescription, max_elements: usize) -> Option<Value> {
    let required = model.signature.inputs.iter().filter(|spec| !spec.optional);
    let inputs = required.map(|spec| Some(SampleInput::new(spec, max_elements)?.to_json()));
    let inputs: Vec<Value> = inputs.collect::<Option<_>>()?;
    Some(json!({ "inputs": inputs }))
}

/// Returns the product of the axes, with an empty one counted as 1: each position of an axis beside an empty one is
/// an array. `None` if it overflows.
pub(crate) fn positions(shape: &Shape) -> Option<usize> {
    let sizes = shape.dimensions().iter();
    let mut sizes = sizes.map(|&size| size.max(1) as usize);
    sizes.try_fold(1usize, |positions, size| positions.checked_mul(size))
}

impl<'a> SampleInput<'a> {
    /// Returns `None` for an input whose non-empty axes have a product above `max_elements`, or one without
    /// a JSON form.
    pub(crate) fn new(spec: &'a TensorSpec, max_elements: usize) -> Option<SampleInput<'a>> {
        let element = match spec.element_type {
            ElementType::Fp16 | ElementType::Bf16 => return None,
            ElementType::Bytes => json!(""),
            ElementType::Bool => json!(false),
            ElementType::Fp32 | ElementType::Fp64 => json!(0.0),
            _ => json!(0),
        };
        let shape = Dimension::resolve(&spec.shape, 1).ok()?;
        // Checked before any element is created: a full-size picture would take a gigabyte of `Value`s.
        let values = positions(&shape)?;
        (values <= max_elements).then_some(SampleInput {
            spec,
            element,
            shape,
        })
    }

    /// Returns the input of a V2 request.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.spec.name,
            "datatype": self.spec.element_type.name(),
            "shape": self.shape.dimensions(),
            "data": vec![&self.element; self.shape.elements()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{model, spec};

    fn request(element_type: ElementType, shape: &[i64]) -> Option<Value> {
        let optional = TensorSpec {
            optional: true,
            ..spec("o", ElementType::Fp16, &[1])
        };
        let inputs = vec![spec("x", element_type, shape), optional];
        sample_request(&model(inputs, Vec::new()), 4)
    }

    #[test]
    fn a_sample_request_has_the_required_inputs_in_the_declared_shape() {
        let input = json!({"name": "x", "datatype": "INT8", "shape": [1, 3], "data": [0, 0, 0]});
        let expected = json!({ "inputs": [input] });
        assert_eq!(request(ElementType::Int8, &[-1, 3]), Some(expected));
    }

    #[test]
    fn an_input_that_is_large_or_has_no_json_form_has_no_sample() {
        let shapes: [&[i64]; 4] = [&[5], &[2, 3], &[i64::from(u32::MAX); 3], &[1 << 31, 0]];
        for shape in shapes {
            assert_eq!(request(ElementType::Bytes, shape), None, "{shape:?}");
        }
        for element_type in [ElementType::Fp16, ElementType::Bf16] {
            assert_eq!(request(element_type, &[1]), None);
        }
    }
}
