//! The protocol's names of datatypes and of version states.

use crate::call::VersionState;
use wisp_tensor::ElementType;

/// Returns TensorFlow's name of an element type.
pub(crate) fn data_type(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "DT_BOOL",
        ElementType::Uint8 => "DT_UINT8",
        ElementType::Uint16 => "DT_UINT16",
        ElementType::Uint32 => "DT_UINT32",
        ElementType::Uint64 => "DT_UINT64",
        ElementType::Int8 => "DT_INT8",
        ElementType::Int16 => "DT_INT16",
        ElementType::Int32 => "DT_INT32",
        ElementType::Int64 => "DT_INT64",
        ElementType::Fp16 => "DT_HALF",
        ElementType::Bf16 => "DT_BFLOAT16",
        ElementType::Fp32 => "DT_FLOAT",
        ElementType::Fp64 => "DT_DOUBLE",
        ElementType::Bytes => "DT_STRING",
    }
}

/// Returns TensorFlow Serving's name of a state, and the reason why a version cannot be served.
pub(crate) fn state(state: &VersionState) -> (&'static str, Option<&str>) {
    match state {
        VersionState::Loading => ("LOADING", None),
        VersionState::Ready | VersionState::Dormant => ("AVAILABLE", None),
        VersionState::Unloading => ("UNLOADING", None),
        VersionState::Unloaded => ("END", None),
        VersionState::Failed(reason) => ("END", Some(reason)),
    }
}
