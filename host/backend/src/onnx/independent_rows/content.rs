//! The knowledge of tensors in the file.

use super::product::Product;
use super::value::{MAX_ELEMENTS, Sizes, Tensor, Value};
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::{NodeProto, TensorProto};

/// Returns the knowledge of a tensor: the elements of a short vector of integers, or the sizes.
pub(super) fn of_tensor(tensor: &TensorProto) -> Value {
    let sizes = tensor.dims.iter().map(|&size| Product::of(size));
    let known = integers(tensor)
        .and_then(|numbers| Sizes::of_numbers(&numbers, tensor.dims.is_empty()))
        .map(Value::Sizes);
    known
        .or_else(|| Tensor::new(sizes.collect()).map(Value::Tensor))
        .unwrap_or(Value::Constant)
}

/// Returns the knowledge of the output of a node `Constant`.
pub(super) fn of_constant_node(node: &NodeProto) -> Value {
    let [attribute] = node.attribute.as_slice() else {
        return Value::Constant;
    };
    let vector = |length: usize| {
        let length = i64::try_from(length).ok()?;
        Tensor::new(vec![Product::of(length)]).map(Value::Tensor)
    };
    let value = match (attribute.name.as_str(), &attribute.t) {
        ("value", Some(tensor)) => Some(of_tensor(tensor)),
        ("value_int", _) => Sizes::of_numbers(&[attribute.i], true).map(Value::Sizes),
        ("value_ints", _) => match Sizes::of_numbers(&attribute.ints, false) {
            Some(sizes) => Some(Value::Sizes(sizes)),
            None => vector(attribute.ints.len()),
        },
        ("value_float" | "value_string", _) => Tensor::new(Vec::new()).map(Value::Tensor),
        ("value_floats", _) => vector(attribute.floats.len()),
        ("value_strings", _) => vector(attribute.strings.len()),
        _ => None,
    };
    value.unwrap_or(Value::Constant)
}

/// Returns the elements of a scalar or short vector of integers or bools.
pub(super) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let count = match tensor.dims.as_slice() {
        [] => 1,
        [size] => usize::try_from(*size).ok()?,
        _ => return None,
    };
    let is_external = tensor.data_location == Some(DataLocation::External as i32);
    if count > MAX_ELEMENTS || is_external {
        return None;
    }
    let raw = tensor.raw_data.as_slice();
    let is_raw = !raw.is_empty();
    let numbers: Vec<i64> = match DataType::try_from(tensor.data_type).ok()? {
        DataType::Int64 if is_raw => {
            let (numbers, _) = raw.as_chunks();
            numbers
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect()
        }
        DataType::Int64 => tensor.int64_data.clone(),
        DataType::Int32 if is_raw => {
            let (numbers, _) = raw.as_chunks();
            let numbers = numbers.iter().map(|bytes| i32::from_le_bytes(*bytes));
            numbers.map(i64::from).collect()
        }
        DataType::Bool if is_raw => raw.iter().map(|&byte| i64::from(byte != 0)).collect(),
        DataType::Int32 => tensor.int32_data.iter().copied().map(i64::from).collect(),
        DataType::Bool => {
            let flags = tensor.int32_data.iter().map(|&flag| i64::from(flag != 0));
            flags.collect()
        }
        _ => return None,
    };
    (numbers.len() == count).then_some(numbers)
}
