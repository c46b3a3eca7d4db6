//! Example requests, generated from the signature alone: one row of zeros.
//!
//! A handler may require more than the signature declares and refuse the example. There is no example for
//! a model that requires strings or types without a JSON form: a signature does not determine which
//! strings are meaningful.

use crate::call::ModelDescription;
use serde_json::{Map, Value, json};
use wisp_tensor::{Dimension, ElementType, TensorSpec};

/// The maximum number of elements in an example input.
const MAX_ELEMENTS: u32 = 1024;

/// The zeros of one input.
struct Zeros<'a> {
    spec: &'a TensorSpec,
    zero: Value,
    sizes: Vec<u32>,
}

/// Returns the body of a V2 inference.
pub(super) fn v2(model: &ModelDescription) -> Option<Value> {
    let inputs = zeros(model)?.into_iter().map(|input| {
        let elements = input.sizes.iter().product::<u32>() as usize;
        json!({
            "name": input.spec.name,
            "datatype": input.spec.element_type.name(),
            "shape": input.sizes,
            "data": vec![input.zero; elements],
        })
    });
    Some(json!({"inputs": inputs.collect::<Vec<_>>()}))
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

fn by_name(model: &ModelDescription, value: impl Fn(&Zeros) -> Value) -> Option<Value> {
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
fn zeros(model: &ModelDescription) -> Option<Vec<Zeros<'_>>> {
    let inputs = model.signature.inputs.iter();
    let required = inputs.filter(|input| !input.optional);
    let zeros: Vec<Zeros> = required.map(Zeros::new).collect::<Option<_>>()?;
    (!zeros.is_empty()).then_some(zeros)
}

impl<'a> Zeros<'a> {
    fn new(spec: &'a TensorSpec) -> Option<Zeros<'a>> {
        let zero = match spec.element_type {
            ElementType::Bytes | ElementType::Fp16 | ElementType::Bf16 => return None,
            ElementType::Bool => json!(false),
            ElementType::Fp32 | ElementType::Fp64 => json!(0.0),
            _ => json!(0),
        };
        let sizes = spec.shape.iter().map(|size| match size {
            Dimension::Fixed(size) => *size,
            Dimension::Variable => 1,
        });
        let sizes: Vec<u32> = sizes.collect();
        let elements = sizes
            .iter()
            .try_fold(1u32, |all, size| all.checked_mul(*size));
        elements.filter(|&elements| elements <= MAX_ELEMENTS)?;
        Some(Zeros { spec, zero, sizes })
    }

    /// Nests the zeros in one array per axis, leaving out the first `dropped` axes.
    fn nested(&self, dropped: usize) -> Value {
        let axes = self.sizes.iter().skip(dropped).rev();
        axes.fold(self.zero.clone(), |inner, &size| {
            Value::Array(vec![inner; size as usize])
        })
    }
}
