//! The enumerations of wasi:nn. The order of their cases is part of the ABI.

use wasmtime::component::{ComponentType, Lift, Lower};
use wisp_tensor::ElementType;

/// `wasi:nn/tensor.tensor-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum TensorType {
    #[component(name = "FP16")]
    Fp16,
    #[component(name = "FP32")]
    Fp32,
    #[component(name = "FP64")]
    Fp64,
    #[component(name = "BF16")]
    Bf16,
    #[component(name = "U8")]
    U8,
    #[component(name = "I32")]
    I32,
    #[component(name = "I64")]
    I64,
}

impl TensorType {
    pub(crate) fn element_type(self) -> ElementType {
        match self {
            TensorType::Fp16 => ElementType::Fp16,
            TensorType::Fp32 => ElementType::Fp32,
            TensorType::Fp64 => ElementType::Fp64,
            TensorType::Bf16 => ElementType::Bf16,
            TensorType::U8 => ElementType::Uint8,
            TensorType::I32 => ElementType::Int32,
            TensorType::I64 => ElementType::Int64,
        }
    }

    pub(crate) fn from_element_type(element_type: ElementType) -> Option<TensorType> {
        match element_type {
            ElementType::Fp16 => Some(TensorType::Fp16),
            ElementType::Fp32 => Some(TensorType::Fp32),
            ElementType::Fp64 => Some(TensorType::Fp64),
            ElementType::Bf16 => Some(TensorType::Bf16),
            ElementType::Uint8 => Some(TensorType::U8),
            ElementType::Int32 => Some(TensorType::I32),
            ElementType::Int64 => Some(TensorType::I64),
            ElementType::Bool
            | ElementType::Uint16
            | ElementType::Uint32
            | ElementType::Uint64
            | ElementType::Int8
            | ElementType::Int16
            | ElementType::Bytes => None,
        }
    }
}

/// `wasi:nn/errors.error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(
    dead_code,
    reason = "the interface defines all of them, the order is part of the ABI"
)]
pub(crate) enum ErrorCode {
    #[component(name = "invalid-argument")]
    InvalidArgument,
    #[component(name = "invalid-encoding")]
    InvalidEncoding,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "runtime-error")]
    RuntimeError,
    #[component(name = "unsupported-operation")]
    UnsupportedOperation,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "security")]
    Security,
    #[component(name = "unknown")]
    Unknown,
}

/// `wasi:nn/graph.graph-encoding`. Decoded only to be refused: graphs are loaded by name.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting only")]
pub(crate) enum GraphEncoding {
    #[component(name = "openvino")]
    Openvino,
    #[component(name = "onnx")]
    Onnx,
    #[component(name = "tensorflow")]
    Tensorflow,
    #[component(name = "pytorch")]
    Pytorch,
    #[component(name = "tensorflowlite")]
    Tensorflowlite,
    #[component(name = "ggml")]
    Ggml,
    #[component(name = "autodetect")]
    Autodetect,
}

/// `wasi:nn/graph.execution-target`. Decoded only to be refused: graphs are loaded by name.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting only")]
pub(crate) enum ExecutionTarget {
    #[component(name = "cpu")]
    Cpu,
    #[component(name = "gpu")]
    Gpu,
    #[component(name = "tpu")]
    Tpu,
}
