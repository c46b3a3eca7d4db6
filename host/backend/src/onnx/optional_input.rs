//! Inputs with a default. Since version 4 of the format, an input that is also an initializer may be left out.

use super::external_tensor::is_external;
use super::signature::{element_type, spec};
use crate::pb::{ModelProto, TensorProto};
use bytes::Bytes;
use wisp_tensor::{Dimension, ElementType, Shape, Tensor, TensorSpec};

/// The first version of the format in which an input with an initializer has a default. Before, it was a weight.
const FIRST_VERSION: i64 = 4;

/// The maximum number of inputs with defaults. An exporter that keeps weights as inputs writes more of them,
/// and a client that must choose among hundreds of weights is not served by their names.
const MAX_OPTIONAL_INPUTS: usize = 16;

/// An input that a request may leave out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OptionalInput {
    pub(crate) spec: TensorSpec,
    /// The value without the input in a request.
    pub(crate) default: Tensor,
}

/// Returns the inputs of `model` with a default; none if there are so many that they are its weights.
/// Inputs whose default is in another file are weights as well.
pub(crate) fn optional_inputs(model: &ModelProto) -> Vec<OptionalInput> {
    let Some(graph) = model
        .graph
        .as_ref()
        .filter(|_| model.ir_version >= FIRST_VERSION)
    else {
        return Vec::new();
    };
    let optional = graph.input.iter().filter_map(|input| {
        let mut tensors = graph.initializer.iter();
        let tensor = tensors.find(|tensor| tensor.name == input.name)?;
        let default = stored_tensor(tensor)?;
        let (mut spec, has_shape) = spec(input, "input").ok()?;
        if !has_shape {
            spec.shape = vec![Dimension::Variable; default.shape().dimensions().len()];
        }
        spec.optional = true;
        spec.check(&default).ok()?;
        Some(OptionalInput { spec, default })
    });
    // One more than the maximum shows that there are too many.
    let optional: Vec<OptionalInput> = optional.take(MAX_OPTIONAL_INPUTS + 1).collect();
    match optional.len() > MAX_OPTIONAL_INPUTS {
        true => Vec::new(),
        false => optional,
    }
}

/// Returns a tensor in the file, if it is complete and of a type that V2 has.
fn stored_tensor(tensor: &TensorProto) -> Option<Tensor> {
    if is_external(tensor) {
        return None;
    }
    let element_type = element_type(tensor.data_type)?;
    let sizes = tensor.dims.iter().map(|&size| u32::try_from(size).ok());
    let shape = Shape::new(sizes.collect::<Option<Vec<u32>>>()?).ok()?;
    let content = match element_type.size() {
        None => {
            let strings = tensor.string_data.iter().map(Vec::as_slice);
            Tensor::from_elements(strings).ok()?.into_content()
        }
        Some(_) if !tensor.raw_data.is_empty() => Bytes::copy_from_slice(&tensor.raw_data),
        Some(size) => listed_numbers(tensor, element_type, size),
    };
    Tensor::new(element_type, shape, content).ok()
}

/// Returns the numbers in the field of the tensor for this element type, of `size` bytes each.
fn listed_numbers(tensor: &TensorProto, element_type: ElementType, size: usize) -> Bytes {
    let bytes: Vec<u8> = match element_type {
        ElementType::Fp32 => tensor
            .float_data
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect(),
        ElementType::Fp64 => tensor
            .double_data
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect(),
        ElementType::Int64 => tensor
            .int64_data
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect(),
        ElementType::Uint32 | ElementType::Uint64 => {
            let numbers = tensor.uint64_data.iter();
            numbers
                .flat_map(|n| n.to_le_bytes().into_iter().take(size))
                .collect()
        }
        // Halves are listed as the integers with the same bits.
        _ => {
            let numbers = tensor.int32_data.iter();
            numbers
                .flat_map(|n| n.to_le_bytes().into_iter().take(size))
                .collect()
        }
    };
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::tensor_proto::{DataLocation, DataType};
    use crate::pb::tensor_shape_proto::{self, dimension};
    use crate::pb::{GraphProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

    fn model(ir_version: i64, tensors: Vec<TensorProto>) -> ModelProto {
        let inputs = tensors.iter().map(|tensor| {
            let axes = tensor
                .dims
                .iter()
                .map(|&size| tensor_shape_proto::Dimension {
                    value: Some(dimension::Value::DimValue(size)),
                    ..Default::default()
                });
            let declared = type_proto::Tensor {
                elem_type: tensor.data_type,
                shape: Some(TensorShapeProto {
                    dim: axes.collect(),
                }),
            };
            ValueInfoProto {
                name: tensor.name.clone(),
                r#type: Some(TypeProto {
                    value: Some(type_proto::Value::TensorType(declared)),
                    ..Default::default()
                }),
                ..Default::default()
            }
        });
        let graph = GraphProto {
            input: inputs.collect(),
            initializer: tensors,
            ..Default::default()
        };
        ModelProto {
            ir_version,
            graph: Some(graph),
            ..Default::default()
        }
    }

    fn tensor(name: &str, data_type: DataType, dims: &[i64]) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: data_type as i32,
            ..Default::default()
        }
    }

    #[test]
    fn an_input_with_an_initializer_has_its_value_as_default() -> anyhow::Result<()> {
        let mut numbers = tensor("numbers", DataType::Float, &[2]);
        numbers.float_data = vec![0.5, -1.0];
        let mut flags = tensor("flags", DataType::Bool, &[2]);
        flags.int32_data = vec![1, 0];
        let mut words = tensor("words", DataType::String, &[1]);
        words.string_data = vec![b"a".to_vec()];
        let mut raw = tensor("raw", DataType::Int64, &[]);
        raw.raw_data = vec![7, 0, 0, 0, 0, 0, 0, 0];
        let found = optional_inputs(&model(4, vec![numbers, flags, words, raw]));
        let names: Vec<&str> = found.iter().map(|input| input.spec.name.as_str()).collect();
        assert_eq!(names, ["numbers", "flags", "words", "raw"]);
        assert!(found.iter().all(|input| input.spec.optional));
        assert_eq!(
            found[0].default.content(),
            &[0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf][..]
        );
        assert_eq!(found[1].default.content(), &[1, 0][..]);
        assert_eq!(found[2].default.elements().collect::<Vec<_>>(), [b"a"]);
        assert_eq!(found[3].default.content(), &[7, 0, 0, 0, 0, 0, 0, 0][..]);
        Ok(())
    }

    #[test]
    fn weights_are_no_inputs() {
        let mut weight = tensor("w", DataType::Float, &[1]);
        weight.float_data = vec![1.0];
        assert!(optional_inputs(&model(3, vec![weight.clone()])).is_empty());
        let many = (0..=MAX_OPTIONAL_INPUTS).map(|n| TensorProto {
            name: n.to_string(),
            ..weight.clone()
        });
        assert!(optional_inputs(&model(8, many.collect())).is_empty());
        weight.data_location = Some(DataLocation::External as i32);
        assert!(optional_inputs(&model(8, vec![weight])).is_empty());
    }
}
