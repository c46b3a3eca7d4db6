//! Checks that the tensors stored in an ONNX file match their declarations.
//!
//! tract checks most of this as well, but its errors name neither tensor nor file, and some are
//! assertions. Errors from here name the tensor, and no path of this machine.

use crate::model_folder::ModelFolder;
use crate::onnx::{ExternalBytes, MAX_FILE_BYTES, is_external, visit_tensors};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};
use wisp_tensor::shape::MAX_RANK;

/// Checks every tensor. External data must be in `folder` and not exceed the size of a file.
pub(super) fn check_initializers(
    graph: &GraphProto,
    folder: Option<&ModelFolder>,
) -> Result<(), String> {
    let mut checked = Ok(());
    let mut external_bytes = 0u64;
    visit_tensors(graph, &mut |tensor| {
        if checked.is_err() {
            return;
        }
        let bytes = check_tensor(tensor, folder).and_then(|bytes| {
            external_bytes = external_bytes.saturating_add(bytes);
            match external_bytes > MAX_FILE_BYTES {
                true => Err(format!(
                    "and those before it have more than the {MAX_FILE_BYTES} bytes of external data that \
                     tract loads"
                )),
                false => Ok(()),
            }
        });
        checked = bytes.map_err(|reason| format!("tensor `{}` {reason}", tensor.name));
    });
    checked
}

/// Checks a tensor and returns the number of its bytes outside the file.
fn check_tensor(tensor: &TensorProto, folder: Option<&ModelFolder>) -> Result<u64, String> {
    let Ok(data_type) = DataType::try_from(tensor.data_type) else {
        return Err(format!("is of unknown type {}", tensor.data_type));
    };
    if tensor.dims.len() > MAX_RANK {
        return Err(format!(
            "has {} axes, the limit is {MAX_RANK}",
            tensor.dims.len()
        ));
    }
    let elements = tensor.dims.iter().try_fold(1usize, |product, &size| {
        product.checked_mul(usize::try_from(size).ok()?)
    });
    let Some(elements) = elements else {
        return Err(format!("cannot have the shape {:?}", tensor.dims));
    };
    let bytes = element_bytes(data_type).map(|size| elements.checked_mul(size));
    let external = is_external(tensor);
    let expected_bytes = match bytes {
        Some(Some(bytes)) => Some(bytes),
        Some(None) => return Err(format!("cannot have the shape {:?}", tensor.dims)),
        None if external || !tensor.raw_data.is_empty() => {
            return Err(format!(
                "is of {} and stored as bytes",
                data_type.as_str_name()
            ));
        }
        None => None,
    };
    let length = |actual: usize, expected: usize, unit: &str| match actual == expected {
        true => Ok(()),
        false => Err(format!(
            "has {actual} {unit}, but its shape {:?} needs {expected}",
            tensor.dims
        )),
    };
    match expected_bytes {
        Some(bytes) if !tensor.raw_data.is_empty() => {
            length(tensor.raw_data.len(), bytes, "bytes")?;
        }
        Some(bytes) if external => {
            let stored = ExternalBytes::of(tensor, folder)?;
            length(stored.length, bytes, "bytes")
                .map_err(|reason| format!("in external data `{}` {reason}", stored.location()))?;
            return Ok(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        _ => {
            if let Some(listed) = listed_elements(tensor, data_type) {
                length(listed, elements, "elements")?;
            }
        }
    }
    Ok(0)
}

/// Returns the bytes per element of types whose elements are stored as separate bytes; `None`
/// for others, such as strings.
fn element_bytes(data_type: DataType) -> Option<usize> {
    match data_type {
        DataType::Bool | DataType::Uint8 | DataType::Int8 => Some(1),
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => Some(2),
        DataType::Uint32 | DataType::Int32 | DataType::Float => Some(4),
        DataType::Uint64 | DataType::Int64 | DataType::Double => Some(8),
        _ => None,
    }
}

/// Returns the number of elements in the typed field of the tensor; `None` for types
/// without a field that tract reads.
fn listed_elements(tensor: &TensorProto, data_type: DataType) -> Option<usize> {
    match data_type {
        DataType::Float => Some(tensor.float_data.len()),
        DataType::Double => Some(tensor.double_data.len()),
        DataType::Int64 => Some(tensor.int64_data.len()),
        DataType::String => Some(tensor.string_data.len()),
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Uint8
        | DataType::Uint16
        | DataType::Float16 => Some(tensor.int32_data.len()),
        _ => None,
    }
}
