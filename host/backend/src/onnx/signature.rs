//! The inputs and outputs that an ONNX file declares.

use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::dimension;
use crate::pb::{GraphProto, TensorShapeProto, ValueInfoProto, type_proto};
#[cfg(feature = "rten")]
use std::collections::HashSet;
#[cfg(feature = "rten")]
use wisp_tensor::Signature;
use wisp_tensor::{Dimension, ElementType, TensorSpec};

/// The signature of a graph, as far as its file declares it, for a backend that does not report it itself.
#[cfg(feature = "rten")]
#[derive(Debug)]
pub(crate) struct DeclaredSignature {
    /// The signature. Outputs without a declared shape have no axes.
    pub(crate) signature: Signature,
}

#[cfg(feature = "rten")]
impl DeclaredSignature {
    /// Reads the signature of `graph`. Errors contain the name of the input or output that cannot be served.
    pub(crate) fn of(graph: &GraphProto) -> Result<DeclaredSignature, String> {
        // Since version 4 of the format, an input with an initializer has a default; before, it was a weight.
        let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph.input.iter();
        let inputs = inputs.filter(|value| !weights.contains(value.name.as_str()));
        let inputs = inputs.map(|value| {
            let (spec, has_shape) = spec(value, "input")?;
            match has_shape {
                true => Ok(spec),
                false => Err(format!("input `{}` has no declared rank", value.name)),
            }
        });
        let outputs = graph.output.iter();
        let outputs = outputs.map(|value| spec(value, "output").map(|(spec, _)| spec));
        let signature = Signature {
            inputs: inputs.collect::<Result<Vec<_>, String>>()?,
            outputs: outputs.collect::<Result<Vec<_>, String>>()?,
        };
        for specs in [&signature.inputs, &signature.outputs] {
            let names: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            if names.len() != specs.len() {
                return Err("two tensors have the same name".to_owned());
            }
        }
        match signature.outputs.is_empty() {
            true => Err("the graph has no outputs".to_owned()),
            false => Ok(DeclaredSignature { signature }),
        }
    }
}

/// Returns the shape of each output, if it is declared and possible.
pub(crate) fn declared_outputs(graph: &GraphProto) -> Vec<Option<Vec<Dimension>>> {
    let outputs = graph.output.iter().map(|value| {
        let (spec, has_shape) = spec(value, "output").ok()?;
        has_shape.then_some(spec.shape)
    });
    outputs.collect()
}

/// Returns the element type for a type in a file, if V2 has it.
pub(crate) fn element_type(data_type: i32) -> Option<ElementType> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Bool => ElementType::Bool,
        DataType::Uint8 => ElementType::Uint8,
        DataType::Uint16 => ElementType::Uint16,
        DataType::Uint32 => ElementType::Uint32,
        DataType::Uint64 => ElementType::Uint64,
        DataType::Int8 => ElementType::Int8,
        DataType::Int16 => ElementType::Int16,
        DataType::Int32 => ElementType::Int32,
        DataType::Int64 => ElementType::Int64,
        DataType::Float16 => ElementType::Fp16,
        DataType::Bfloat16 => ElementType::Bf16,
        DataType::Float => ElementType::Fp32,
        DataType::Double => ElementType::Fp64,
        DataType::String => ElementType::Bytes,
        _ => return None,
    })
}

/// Returns the declaration of a value, and whether it has a shape.
pub(super) fn spec(value: &ValueInfoProto, role: &str) -> Result<(TensorSpec, bool), String> {
    let name = &value.name;
    let declared = value.r#type.as_ref().and_then(|found| found.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = declared else {
        return Err(format!("{role} `{name}` is not a tensor"));
    };
    let element_type = element_type(tensor.elem_type)
        .ok_or_else(|| format!("{role} `{name}` has a type that no protocol supports"))?;
    let shape = match &tensor.shape {
        None => Vec::new(),
        Some(shape) => dimensions(shape)
            .ok_or_else(|| format!("{role} `{name}` has an axis of an impossible size"))?,
    };
    let spec = TensorSpec {
        name: name.clone(),
        element_type,
        shape,
        optional: false,
    };
    Ok((spec, tensor.shape.is_some()))
}

fn dimensions(shape: &TensorShapeProto) -> Option<Vec<Dimension>> {
    let dimensions = shape.dim.iter().map(|dimension| match dimension.value {
        Some(dimension::Value::DimValue(size)) if size >= 0 => Dimension::from_wire(size),
        _ => Some(Dimension::Variable),
    });
    dimensions.collect()
}

#[cfg(all(test, feature = "rten"))]
mod tests {
    use super::*;
    use crate::pb::{TensorProto, TypeProto, tensor_shape_proto};

    fn value(name: &str, data_type: DataType, shape: Option<&[i64]>) -> ValueInfoProto {
        let dimension = |&size: &i64| tensor_shape_proto::Dimension {
            value: Some(match size {
                ..0 => dimension::Value::DimParam("n".to_owned()),
                size => dimension::Value::DimValue(size),
            }),
            ..Default::default()
        };
        let shape = shape.map(|shape| TensorShapeProto {
            dim: shape.iter().map(dimension).collect(),
        });
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: data_type as i32,
                    shape,
                })),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn inputs_with_initializers_are_weights_and_names_of_axes_are_variable() -> anyhow::Result<()> {
        let graph = GraphProto {
            input: vec![
                value("x", DataType::Float, Some(&[-1, 3])),
                value("w", DataType::Float, Some(&[3])),
            ],
            initializer: vec![TensorProto {
                name: "w".to_owned(),
                ..Default::default()
            }],
            output: vec![value("y", DataType::Int64, None)],
            ..Default::default()
        };
        let declared = DeclaredSignature::of(&graph).map_err(anyhow::Error::msg)?;
        let [input] = declared.signature.inputs.as_slice() else {
            anyhow::bail!("{:?}", declared.signature.inputs);
        };
        assert_eq!(input.name, "x");
        assert_eq!(input.shape, [Dimension::Variable, Dimension::Fixed(3)]);
        assert_eq!(
            declared.signature.outputs[0].element_type,
            ElementType::Int64
        );
        assert!(declared.signature.outputs[0].shape.is_empty());
        assert_eq!(declared_outputs(&graph), [None]);
        Ok(())
    }

    #[test]
    fn inputs_and_outputs_that_cannot_be_served_are_named() {
        let output = value("y", DataType::Float, Some(&[1]));
        let refusal = |input: ValueInfoProto, output: Vec<ValueInfoProto>| {
            let graph = GraphProto {
                input: vec![input],
                output,
                ..Default::default()
            };
            DeclaredSignature::of(&graph).err().unwrap_or_default()
        };
        let rankless = value("x", DataType::Float, None);
        assert!(refusal(rankless, vec![output.clone()]).contains("`x` has no declared rank"));
        let complex = value("x", DataType::Complex64, Some(&[1]));
        assert!(refusal(complex, vec![output.clone()]).contains("`x` has a type"));
        let x = value("x", DataType::Float, Some(&[1]));
        assert!(refusal(x.clone(), vec![]).contains("no outputs"));
        assert!(refusal(x, vec![output.clone(), output]).contains("same name"));
    }
}
