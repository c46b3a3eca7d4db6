//! Inputs and outputs as JSON for logs: the members of a V2 request or response.
//!
//! Unlike a response, the text is strict JSON, so that every program can read it. A tensor without a strict form (half
//! precision, NaN or infinite floats, bytes that are not UTF-8) has its bytes in V2's binary layout, in Base64, as
//! `data_base64` in place of `data`.

use super::json::Elements;
use crate::relaxed_json::write_json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use wisp_tensor::{ElementType, NamedTensor, Parameter, ParameterValue};

/// Returns the text of an array with these tensors.
pub fn payload_tensors(tensors: &[NamedTensor]) -> Vec<u8> {
    let mut text = vec![b'['];
    for (position, tensor) in tensors.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        write_tensor(&mut text, tensor);
    }
    text.push(b']');
    text
}

/// Returns parameters as an object. A number that JSON does not have becomes null.
pub fn payload_parameters(parameters: &[Parameter]) -> Map<String, Value> {
    let pairs = parameters.iter().map(|Parameter { name, value }| {
        let value = match value {
            ParameterValue::Bool(value) => Value::Bool(*value),
            ParameterValue::Int64(value) => Value::from(*value),
            ParameterValue::Uint64(value) => Value::from(*value),
            ParameterValue::Double(value) => {
                Number::from_f64(*value).map_or(Value::Null, Value::Number)
            }
            ParameterValue::String(value) => Value::from(value.as_str()),
        };
        (name.clone(), value)
    });
    pairs.collect()
}

fn write_tensor(text: &mut Vec<u8>, named: &NamedTensor) {
    let NamedTensor { name, tensor } = named;
    text.extend_from_slice(b"{\"name\":");
    write_json(text, name);
    text.extend_from_slice(b",\"datatype\":");
    write_json(text, &tensor.element_type().name());
    text.extend_from_slice(b",\"shape\":");
    write_json(text, &tensor.shape().dimensions());
    match strict_elements(named) {
        Some(elements) => {
            text.extend_from_slice(b",\"data\":");
            elements.write(text);
        }
        None => {
            text.extend_from_slice(b",\"data_base64\":\"");
            text.extend_from_slice(STANDARD.encode(tensor.content()).as_bytes());
            text.push(b'"');
        }
    }
    text.push(b'}');
}

/// Returns the elements if they have a form in strict JSON.
fn strict_elements(named: &NamedTensor) -> Option<Elements<'_>> {
    let content = named.tensor.content();
    let is_finite = match named.tensor.element_type() {
        ElementType::Fp32 => {
            let (numbers, _) = content.as_chunks::<4>();
            numbers
                .iter()
                .all(|&bytes| f32::from_le_bytes(bytes).is_finite())
        }
        ElementType::Fp64 => {
            let (numbers, _) = content.as_chunks::<8>();
            numbers
                .iter()
                .all(|&bytes| f64::from_le_bytes(bytes).is_finite())
        }
        _ => true,
    };
    Elements::new(named).ok().filter(|_| is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::floats;
    use serde_json::json;
    use wisp_tensor::Tensor;

    fn parsed(tensors: &[NamedTensor]) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&payload_tensors(tensors))?)
    }

    #[test]
    fn tensors_are_those_of_v2() -> anyhow::Result<()> {
        let text = NamedTensor {
            name: "\"t\"".to_owned(),
            tensor: Tensor::from_elements([b"a".as_slice(), "é\n".as_bytes()].into_iter())?,
        };
        let expected = json!([
            {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]},
            {"name": "\"t\"", "datatype": "BYTES", "shape": [2], "data": ["a", "é\n"]},
        ]);
        assert_eq!(
            parsed(&[floats("x", &[1, 2], &[1.5, -2.0]), text])?,
            expected
        );
        assert_eq!(parsed(&[])?, json!([]));
        Ok(())
    }

    #[test]
    fn values_that_json_does_not_have_are_bytes() -> anyhow::Result<()> {
        let bytes = NamedTensor {
            name: "t".to_owned(),
            tensor: Tensor::from_elements([b"\xff".as_slice()].into_iter())?,
        };
        let parsed = parsed(&[floats("x", &[1], &[f32::INFINITY]), bytes])?;
        assert_eq!(parsed[0]["data_base64"], "AACAfw==");
        assert_eq!(parsed[1]["data_base64"], "AQAAAP8=");
        assert_eq!(parsed[0].get("data"), None);
        Ok(())
    }

    #[test]
    fn parameters_keep_their_types() {
        let parameter = |name: &str, value| Parameter {
            name: name.to_owned(),
            value,
        };
        let parameters = payload_parameters(&[
            parameter("b", ParameterValue::Bool(true)),
            parameter("i", ParameterValue::Int64(-1)),
            parameter("u", ParameterValue::Uint64(u64::MAX)),
            parameter("d", ParameterValue::Double(f64::NAN)),
            parameter("s", ParameterValue::String("x".to_owned())),
        ]);
        let expected = json!({"b": true, "i": -1, "u": u64::MAX, "d": null, "s": "x"});
        assert_eq!(Value::Object(parameters), expected);
    }
}
