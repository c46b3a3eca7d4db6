//! The sizes and the small contents of the tensors in a file, as rten converts them.

use super::known::{Known, MAX_ELEMENTS, Numbers, count, size_of};
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::{AttributeProto, NodeProto, TensorProto};
use half::f16;
use rten_shape_inference::SymExpr;
use wisp_tensor::shape::MAX_RANK;

/// Returns the sizes of a tensor in the file, and its elements if they are few.
pub(super) fn of_tensor(tensor: &TensorProto) -> Result<Known, String> {
    let refused = |reason: &str| format!("tensor `{}` {reason}", tensor.name);
    if tensor.dims.len() > MAX_RANK {
        return Err(refused(&format!(
            "has {} axes, the limit is {MAX_RANK}",
            tensor.dims.len()
        )));
    }
    let sizes = tensor
        .dims
        .iter()
        .map(|&size| size_of(usize::try_from(size).ok()?));
    let sizes: Option<Vec<SymExpr>> = sizes.collect();
    let sizes = sizes.ok_or_else(|| refused("has a negative size, or one beyond 32 bits"))?;
    let is_small = count(&sizes).is_some_and(|elements| elements <= MAX_ELEMENTS);
    let external = tensor.data_location == Some(DataLocation::External as i32);
    let numbers = match is_small && !external {
        true => numbers(tensor).filter(|numbers| Some(numbers.len()) == count(&sizes)),
        false => None,
    };
    Ok(match numbers {
        Some(numbers) => Known::of_numbers(sizes, numbers),
        None => Known::of_sizes(sizes),
    })
}

/// Returns the output of a node `Constant`, or `None` if it has no value that rten reads.
pub(super) fn of_constant_node(node: &NodeProto) -> Result<Option<Known>, String> {
    let [attribute] = node.attribute.as_slice() else {
        return Ok(None);
    };
    let AttributeProto {
        i,
        f,
        ints,
        floats,
        t,
        ..
    } = attribute;
    Ok(match (attribute.name.as_str(), t) {
        ("value", Some(tensor)) => Some(of_tensor(tensor)?),
        ("value_int", _) => Some(Known::of_integer(narrow(*i))),
        ("value_float", _) => Some(Known::of_numbers(Vec::new(), Numbers::Floats(vec![*f]))),
        ("value_ints", _) => list(narrowed(ints)),
        ("value_floats", _) => list(Numbers::Floats(floats.clone())),
        _ => None,
    })
}

/// Returns a vector of these numbers.
pub(super) fn list(numbers: Numbers) -> Option<Known> {
    let sizes = vec![size_of(numbers.len())?];
    Some(match numbers.len() <= MAX_ELEMENTS {
        true => Known::of_numbers(sizes, numbers),
        false => Known::of_sizes(sizes),
    })
}

/// Returns the integers as rten stores them.
pub(super) fn narrowed(integers: &[i64]) -> Numbers {
    Numbers::Integers(integers.iter().copied().map(narrow).collect())
}

/// Converts an integer to 32 bits with saturation, as rten does. Slices end at the largest integer.
pub(super) fn narrow(integer: i64) -> i32 {
    i32::try_from(integer).unwrap_or(match integer < 0 {
        true => i32::MIN,
        false => i32::MAX,
    })
}

/// Returns the elements of a tensor of a type that can contain sizes.
fn numbers(tensor: &TensorProto) -> Option<Numbers> {
    let raw = tensor.raw_data.as_slice();
    let is_raw = !raw.is_empty();
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Int64 if is_raw => narrowed(&elements(raw, i64::from_le_bytes)),
        DataType::Int64 => narrowed(&tensor.int64_data),
        DataType::Int32 if is_raw => Numbers::Integers(elements(raw, i32::from_le_bytes)),
        DataType::Int32 => Numbers::Integers(tensor.int32_data.clone()),
        DataType::Bool if is_raw => {
            Numbers::Integers(raw.iter().map(|&byte| i32::from(byte != 0)).collect())
        }
        DataType::Bool => {
            let flags = tensor.int32_data.iter().map(|&flag| i32::from(flag != 0));
            Numbers::Integers(flags.collect())
        }
        DataType::Uint8 if is_raw => {
            Numbers::Integers(raw.iter().copied().map(i32::from).collect())
        }
        DataType::Int8 if is_raw => {
            let bytes = elements(raw, i8::from_le_bytes);
            Numbers::Integers(bytes.into_iter().map(i32::from).collect())
        }
        DataType::Float if is_raw => Numbers::Floats(elements(raw, f32::from_le_bytes)),
        DataType::Float => Numbers::Floats(tensor.float_data.clone()),
        DataType::Float16 if is_raw => {
            let halves = elements(raw, f16::from_le_bytes);
            Numbers::Floats(halves.into_iter().map(f16::to_f32).collect())
        }
        DataType::Double if is_raw => Numbers::Floats(singles(&elements(raw, f64::from_le_bytes))),
        DataType::Double => Numbers::Floats(singles(&tensor.double_data)),
        _ => return None,
    })
}

fn elements<T, const N: usize>(raw: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = raw.as_chunks();
    elements.iter().map(|bytes| element(*bytes)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "rten computes in f32")]
fn singles(doubles: &[f64]) -> Vec<f32> {
    doubles.iter().map(|&double| double as f32).collect()
}
