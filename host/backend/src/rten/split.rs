//! The split of a model into a graph and its weights, which rten then uses where they are in memory.
//!
//! The graph has been checked and rewritten, and contains the shapes of outputs that a trial computation has
//! shown. Large tensors are external data of the name [`WEIGHTS_NAME`]. Those that rten would convert while it
//! loads them are not, except for FP16, which is converted here.

use super::encode::{WEIGHTS_NAME, encode};
use super::graph::RtenGraph;
use super::operator_set::is_small;
use super::stored_properties;
use crate::graph::Graph;
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::tensor_shape_proto::{self, dimension};
use crate::pb::{
    GraphProto, ModelProto, StringStringEntryProto, TensorProto, TensorShapeProto, ValueInfoProto,
    type_proto,
};
use half::f16;
use std::mem::take;
use wisp_tensor::Dimension;

/// The minimum size of a tensor among the weights, in bytes. Smaller ones stay in the graph.
const MIN_BYTES: usize = 64 << 10;

/// The alignment of each tensor, relative to the first byte of the weights: a line of the cache.
const ALIGNMENT: usize = 64;

/// A model for [`super::Rten::load_split`]. Lifetime: the making of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitModel {
    /// The bytes of an ONNX file without large tensors.
    pub graph: Vec<u8>,
    /// The large tensors; empty if the model has none. In memory, they have to be aligned to 64 bytes.
    pub weights: Vec<u8>,
    /// Set if [`super::OperatorSet::small`] contains its operators.
    pub is_small: bool,
}

/// Splits `model`, which is loaded as `loaded`.
pub(super) fn split(mut model: ModelProto, loaded: &RtenGraph) -> Result<SplitModel, String> {
    let mut weights = Vec::new();
    if let Some(graph) = &mut model.graph {
        for (output, spec) in graph.output.iter_mut().zip(&loaded.signature().outputs) {
            declare_shape(output, &spec.shape);
        }
        move_tensors(graph, &mut weights);
    }
    let is_small = is_small(&model);
    model.metadata_props = stored_properties::entries(&loaded.limits, loaded.hides_nan);
    Ok(SplitModel {
        graph: encode(model)?,
        weights,
        is_small,
    })
}

/// Declares the sizes of a value. The names of variable axes stay.
fn declare_shape(value: &mut ValueInfoProto, sizes: &[Dimension]) {
    let declared = value.r#type.as_mut().and_then(|found| found.value.as_mut());
    let Some(type_proto::Value::TensorType(tensor)) = declared else {
        return;
    };
    let old = tensor.shape.take().unwrap_or_default().dim;
    let dim = sizes.iter().enumerate().map(|(axis, size)| match size {
        Dimension::Fixed(size) => tensor_shape_proto::Dimension {
            value: Some(dimension::Value::DimValue(i64::from(*size))),
            ..Default::default()
        },
        Dimension::Variable => {
            let named = old.get(axis).filter(|old| {
                old.value
                    .as_ref()
                    .is_some_and(|value| matches!(value, dimension::Value::DimParam(_)))
            });
            named.cloned().unwrap_or_default()
        }
    });
    tensor.shape = Some(TensorShapeProto { dim: dim.collect() });
}

/// Moves the large tensors of a graph and of those inside it. The recursion depth is bounded by the decoder's
/// limit on nested messages.
fn move_tensors(graph: &mut GraphProto, weights: &mut Vec<u8>) {
    for tensor in &mut graph.initializer {
        move_tensor(tensor, weights);
    }
    for node in &mut graph.node {
        // rten reads external data of these only.
        let is_constant = node.op_type == "Constant";
        for attribute in &mut node.attribute {
            if let Some(tensor) = attribute.t.as_mut().filter(|_| is_constant) {
                move_tensor(tensor, weights);
            }
            let inner = attribute.g.iter_mut().chain(&mut attribute.graphs);
            inner.for_each(|graph| move_tensors(graph, weights));
        }
    }
}

fn move_tensor(tensor: &mut TensorProto, weights: &mut Vec<u8>) {
    let element_bytes = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Uint8 | DataType::Int8) => 1,
        _ => size_of::<f32>(),
    };
    let mut sizes = tensor.dims.iter().map(|&size| usize::try_from(size).ok());
    let bytes = sizes.try_fold(element_bytes, |product, size| product.checked_mul(size?));
    if bytes.is_none_or(|bytes| bytes < MIN_BYTES) {
        return;
    }
    let Some((data_type, bytes)) = stored(tensor) else {
        return;
    };
    weights.resize(weights.len().next_multiple_of(ALIGNMENT), 0);
    let entries = [
        ("location", WEIGHTS_NAME.to_owned()),
        ("offset", weights.len().to_string()),
        ("length", bytes.len().to_string()),
    ];
    let entries = entries.map(|(key, value)| StringStringEntryProto {
        key: key.to_owned(),
        value,
    });
    weights.extend_from_slice(&bytes);
    *tensor = TensorProto {
        name: take(&mut tensor.name),
        dims: take(&mut tensor.dims),
        data_type: data_type as i32,
        data_location: Some(DataLocation::External as i32),
        external_data: entries.into(),
        ..Default::default()
    };
}

/// Returns the elements of a tensor as rten has them in memory, with their type, or `None` for a type that rten
/// would convert.
fn stored(tensor: &mut TensorProto) -> Option<(DataType, Vec<u8>)> {
    let raw = take(&mut tensor.raw_data);
    let is_raw = !raw.is_empty();
    let integers = &tensor.int32_data;
    let data_type = DataType::try_from(tensor.data_type).ok();
    let bytes = match data_type {
        Some(DataType::Float16) => {
            let halves: Vec<u16> = match is_raw {
                true => raw
                    .as_chunks()
                    .0
                    .iter()
                    .copied()
                    .map(u16::from_le_bytes)
                    .collect(),
                false => integers.iter().map(low_half).collect(),
            };
            let numbers = halves.into_iter().map(|bits| f16::from_bits(bits).to_f32());
            let bytes = numbers.flat_map(f32::to_le_bytes).collect();
            return Some((DataType::Float, bytes));
        }
        Some(DataType::Float | DataType::Int32 | DataType::Uint8 | DataType::Int8) if is_raw => raw,
        Some(DataType::Float) => {
            let numbers = tensor.float_data.iter();
            numbers.flat_map(|number| number.to_le_bytes()).collect()
        }
        Some(DataType::Int32) => {
            let numbers = integers.iter();
            numbers.flat_map(|number| number.to_le_bytes()).collect()
        }
        Some(DataType::Uint8 | DataType::Int8) => {
            let numbers = integers.iter();
            numbers.map(|number| number.to_le_bytes()[0]).collect()
        }
        _ => {
            tensor.raw_data = raw;
            return None;
        }
    };
    Some((data_type?, bytes))
}

/// Returns the bits of a half-precision number that is listed as an integer.
fn low_half(number: &i32) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests;
