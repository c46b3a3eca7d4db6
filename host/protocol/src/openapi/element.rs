//! JSON schemas of tensors: their elements, the arrays around them, and their shapes.

use crate::call::ModelDescription;
use serde_json::{Value, json};
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{Dimension, ElementType, TensorSpec};

/// The smallest f64 that is out of range for FP32. It lies just above the midpoint between the greatest
/// f32 and the next step, from which on decimals round to infinity and are refused.
const FP32_BOUND: f64 = 3.402_823_567_797_337e38;

/// The JSON notation of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    V2,
    /// The notation of the other protocols, in which bytes may be `{"b64": "..."}`.
    Relaxed,
}

/// The axes of a tensor that a value includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axes {
    All,
    /// All axes except the first, which is the batch.
    Row,
}

impl Axes {
    /// Returns the axes of one row of this model; without a batch axis, a row is the whole tensor.
    pub(super) fn of_rows(model: &ModelDescription) -> Axes {
        match model.max_batch_size {
            0 => Axes::All,
            _ => Axes::Row,
        }
    }

    /// Returns the sizes along these axes.
    pub(super) fn of(self, spec: &TensorSpec) -> &[Dimension] {
        match self {
            Axes::All => &spec.shape,
            Axes::Row => spec.shape.get(1..).unwrap_or_default(),
        }
    }
}

/// Returns the schema of an element in a request; `None` if the type has no JSON form. A float may be `null`,
/// a missing value. The bare words `NaN` and `Infinity` are not JSON, so no schema describes them.
pub(super) fn element(element_type: ElementType, notation: Notation) -> Option<Value> {
    Some(match element_type {
        ElementType::Bool => json!({"type": "boolean"}),
        ElementType::Uint8 => integer(u8::MIN, u8::MAX),
        ElementType::Uint16 => integer(u16::MIN, u16::MAX),
        ElementType::Uint32 => integer(u32::MIN, u32::MAX),
        ElementType::Uint64 => integer(u64::MIN, u64::MAX),
        ElementType::Int8 => integer(i8::MIN, i8::MAX),
        ElementType::Int16 => integer(i16::MIN, i16::MAX),
        ElementType::Int32 => integer(i32::MIN, i32::MAX),
        ElementType::Int64 => integer(i64::MIN, i64::MAX),
        ElementType::Fp16 | ElementType::Bf16 => return None,
        ElementType::Fp32 => {
            json!({
                "type": ["number", "null"],
                "exclusiveMinimum": -FP32_BOUND,
                "exclusiveMaximum": FP32_BOUND,
                "examples": [0.5],
            })
        }
        ElementType::Fp64 => json!({"type": ["number", "null"]}),
        ElementType::Bytes => match notation {
            Notation::V2 => json!({"type": "string"}),
            Notation::Relaxed => json!({"anyOf": [{"type": "string"}, base64()]}),
        },
    })
}

/// Returns the schema of an element in a response of the protocols other than V2.
pub(super) fn response_element(element_type: ElementType) -> Value {
    // These protocols also write types that they do not read; bare NaN and Infinity count as numbers.
    let element = element(element_type, Notation::Relaxed);
    element
        .filter(|_| !matches!(element_type, ElementType::Fp32 | ElementType::Fp64))
        .unwrap_or_else(|| json!({"type": "number"}))
}

/// Nests the elements in one array per axis.
pub(super) fn nested(element: Value, shape: &[Dimension]) -> Value {
    let axes = shape.iter().rev();
    axes.fold(element, |inner, &size| list(inner, size))
}

/// Returns the schema of V2's `data`: the elements in one flat array, or in one array per axis. Other arrays
/// with as many elements are accepted too, as in Triton, but a schema cannot count the elements in them.
pub(super) fn flat_or_nested(element: Value, shape: &[Dimension]) -> Value {
    match shape.len() {
        1 => nested(element, shape),
        0 => json!({"anyOf": [list(element.clone(), Dimension::Fixed(1)), element]}),
        _ => {
            let flat = list(element.clone(), count(shape));
            json!({"anyOf": [nested(element, shape), flat]})
        }
    }
}

/// Returns the schema of `features`: the elements in one array per axis, in one flat array if that is
/// unambiguous, or bare if there may be exactly one.
pub(super) fn any_form(element: Value, shape: &[Dimension]) -> Value {
    let variable = shape.iter().filter(|&&size| size == Dimension::Variable);
    let may_be_one = shape
        .iter()
        .all(|size| matches!(size, Dimension::Variable | Dimension::Fixed(1)));
    let is_clear = variable.count() <= 1;
    let mut forms = vec![nested(element.clone(), shape)];
    if is_clear && shape.len() != 1 {
        forms.push(list(element.clone(), count(shape)));
    }
    if is_clear && may_be_one && !shape.is_empty() {
        forms.push(element);
    }
    match forms.len() {
        1 => forms.remove(0),
        _ => json!({"anyOf": forms}),
    }
}

/// Returns the schema of an input's `shape`, batch axis included.
pub(super) fn input_shape(input: &TensorSpec, model: &ModelDescription) -> Value {
    let sizes = input.shape.iter().enumerate();
    let max_rows = model.max_rows.filter(|_| model.max_batch_size > 0);
    let sizes = sizes.map(|(axis, &size)| match (axis, size, max_rows) {
        (0, Dimension::Variable, Some(most)) => integer(1, most),
        _ => one_size(size),
    });
    let sizes: Vec<Value> = sizes.collect();
    let rank = sizes.len();
    let mut shape = json!({"type": "array", "minItems": rank, "maxItems": rank});
    if rank > 0 {
        shape["prefixItems"] = Value::Array(sizes);
        shape["items"] = Value::Bool(false);
    }
    shape
}

/// Returns the schema of an output's `shape`. It fixes only the rank, because some tools fail on
/// `prefixItems` in responses.
pub(super) fn output_shape(output: &TensorSpec) -> Value {
    let rank = output.shape.len();
    let sizes = one_size(Dimension::Variable);
    json!({
        "type": "array",
        "description": DimensionList(&output.shape).to_string(),
        "items": sizes,
        "minItems": rank,
        "maxItems": rank,
    })
}

/// Returns the schema of base64 bytes in the protocols other than V2.
pub(super) fn base64() -> Value {
    json!({
        "type": "object",
        "required": ["b64"],
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        "additionalProperties": false,
    })
}

fn one_size(size: Dimension) -> Value {
    match size {
        Dimension::Fixed(size) => json!({"const": size}),
        Dimension::Variable => integer(u32::MIN, u32::MAX),
    }
}

fn list(items: Value, size: Dimension) -> Value {
    match size {
        Dimension::Fixed(size) => {
            json!({"type": "array", "items": items, "minItems": size, "maxItems": size})
        }
        Dimension::Variable => json!({"type": "array", "items": items}),
    }
}

/// Returns the number of elements of a shape, variable unless every axis is fixed.
fn count(shape: &[Dimension]) -> Dimension {
    let product = shape.iter().try_fold(1u32, |product, size| match size {
        Dimension::Fixed(size) => product.checked_mul(*size),
        Dimension::Variable => None,
    });
    product.map_or(Dimension::Variable, Dimension::Fixed)
}

fn integer<T: Into<serde_json::Number>>(minimum: T, maximum: T) -> Value {
    let (minimum, maximum) = (minimum.into(), maximum.into());
    // Tools would otherwise show one of the bounds.
    json!({"type": "integer", "minimum": minimum, "maximum": maximum, "examples": [1]})
}

/// Returns whether every required input of this model has a JSON form.
pub(super) fn takes_json(model: &ModelDescription) -> bool {
    let mut required = model
        .signature
        .inputs
        .iter()
        .filter(|input| !input.optional);
    required.all(|input| element(input.element_type, Notation::Relaxed).is_some())
}

/// Returns the schema of an object with one member per input. `value` builds each member from the
/// element's schema and the sizes along `axes`.
pub(super) fn by_name(
    model: &ModelDescription,
    axes: Axes,
    value: impl Fn(Value, &[Dimension]) -> Value,
) -> Value {
    let inputs = model.signature.inputs.iter();
    let members = inputs.clone().filter_map(|input| {
        let element = element(input.element_type, Notation::Relaxed)?;
        Some((input.name.clone(), value(element, axes.of(input))))
    });
    let members: serde_json::Map<_, _> = members.collect();
    let mut object = json!({
        "type": "object",
        "properties": members,
        "additionalProperties": false,
    });
    // An optional input may replace required ones; only the handler can decide.
    if inputs.clone().all(|input| !input.optional) {
        object["required"] = inputs.map(|input| input.name.as_str()).collect();
    }
    object
}
