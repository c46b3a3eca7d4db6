//! The request and response types of `wisp:handler/model@0.1.0`, as wasmtime lowers and lifts them.
//!
//! A request is borrowed and copied once, into the guest's memory; a response is copied once, out of it,
//! and then checked.

use super::call::HandlerCall;
use crate::text::shown;
use bytes::Bytes;
use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc};
use wisp_tensor::response_names::{ResponseNamesError, check_response_names};
use wisp_tensor::{ElementType, NamedTensor, Parameter, Shape, Tensor, TensorError};

pub(super) type Infer<'a> = TypedFunc<(Request<'a>,), (Result<Response, Failure>,)>;

/// The error for a guest's response that violates the contract. Names are shortened.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("output `{name}`: {source}")]
    Tensor { name: String, source: TensorError },
    #[error(transparent)]
    Names(ResponseNamesError),
}

#[derive(Debug, Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Datatype {
    #[component(name = "bool")]
    Bool,
    #[component(name = "uint8")]
    Uint8,
    #[component(name = "uint16")]
    Uint16,
    #[component(name = "uint32")]
    Uint32,
    #[component(name = "uint64")]
    Uint64,
    #[component(name = "int8")]
    Int8,
    #[component(name = "int16")]
    Int16,
    #[component(name = "int32")]
    Int32,
    #[component(name = "int64")]
    Int64,
    #[component(name = "fp16")]
    Fp16,
    #[component(name = "bf16")]
    Bf16,
    #[component(name = "fp32")]
    Fp32,
    #[component(name = "fp64")]
    Fp64,
    #[component(name = "bytes")]
    Bytes,
}

#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct TensorRef<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: &'a [u32],
    data: &'a [u8],
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct TensorValue {
    name: String,
    datatype: Datatype,
    shape: Vec<u32>,
    data: Bytes,
}

#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum ParameterValue {
    #[component(name = "bool")]
    Bool(bool),
    #[component(name = "s64")]
    S64(i64),
    #[component(name = "u64")]
    U64(u64),
    #[component(name = "f64")]
    F64(f64),
    #[component(name = "string")]
    String(String),
}

#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct WireParameter {
    name: String,
    value: ParameterValue,
}

#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct Request<'a> {
    inputs: Vec<TensorRef<'a>>,
    parameters: Vec<WireParameter>,
    outputs: &'a [String],
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct Response {
    outputs: Vec<TensorValue>,
    parameters: Vec<WireParameter>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(super) enum Failure {
    #[component(name = "client")]
    Client(String),
    #[component(name = "handler")]
    Handler(String),
}

// === conversions, in the order of a call ===

impl<'a> From<HandlerCall<'a>> for Request<'a> {
    fn from(call: HandlerCall<'a>) -> Request<'a> {
        let inputs = call.inputs.iter().map(|input| TensorRef {
            name: &input.name,
            datatype: input.tensor.element_type().into(),
            shape: input.tensor.shape().dimensions(),
            data: input.tensor.content(),
        });
        Request {
            inputs: inputs.collect(),
            parameters: call.parameters.iter().cloned().map(Into::into).collect(),
            outputs: call.outputs,
        }
    }
}

impl TryFrom<Response> for (Vec<NamedTensor>, Vec<Parameter>) {
    type Error = WireError;

    fn try_from(response: Response) -> Result<Self, WireError> {
        let outputs = response.outputs.iter().map(|output| &*output.name);
        let parameters = response.parameters.iter().map(|value| &*value.name);
        let (outputs, parameters): (Vec<_>, Vec<_>) = (outputs.collect(), parameters.collect());
        check_response_names(&outputs, &parameters).map_err(WireError::Names)?;
        let outputs = response.outputs.into_iter().map(NamedTensor::try_from);
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let parameters = response.parameters.into_iter().map(Into::into).collect();
        Ok((outputs, parameters))
    }
}

impl TryFrom<TensorValue> for NamedTensor {
    type Error = WireError;

    fn try_from(value: TensorValue) -> Result<NamedTensor, WireError> {
        let TensorValue {
            name,
            datatype,
            shape,
            data,
        } = value;
        let tensor = Shape::new(shape)
            .map_err(TensorError::from)
            .and_then(|shape| Tensor::new(datatype.into(), shape, data));
        match tensor {
            Ok(tensor) => Ok(NamedTensor { name, tensor }),
            Err(source) => Err(WireError::Tensor {
                name: shown(&name),
                source,
            }),
        }
    }
}

impl From<Parameter> for WireParameter {
    fn from(parameter: Parameter) -> WireParameter {
        use wisp_tensor::ParameterValue as Value;
        let value = match parameter.value {
            Value::Bool(value) => ParameterValue::Bool(value),
            Value::Int64(value) => ParameterValue::S64(value),
            Value::Uint64(value) => ParameterValue::U64(value),
            Value::Double(value) => ParameterValue::F64(value),
            Value::String(value) => ParameterValue::String(value),
        };
        WireParameter {
            name: parameter.name,
            value,
        }
    }
}

impl From<WireParameter> for Parameter {
    fn from(parameter: WireParameter) -> Parameter {
        use wisp_tensor::ParameterValue as Value;
        let value = match parameter.value {
            ParameterValue::Bool(value) => Value::Bool(value),
            ParameterValue::S64(value) => Value::Int64(value),
            ParameterValue::U64(value) => Value::Uint64(value),
            ParameterValue::F64(value) => Value::Double(value),
            ParameterValue::String(value) => Value::String(value),
        };
        Parameter {
            name: parameter.name,
            value,
        }
    }
}

impl From<ElementType> for Datatype {
    fn from(element_type: ElementType) -> Datatype {
        match element_type {
            ElementType::Bool => Datatype::Bool,
            ElementType::Uint8 => Datatype::Uint8,
            ElementType::Uint16 => Datatype::Uint16,
            ElementType::Uint32 => Datatype::Uint32,
            ElementType::Uint64 => Datatype::Uint64,
            ElementType::Int8 => Datatype::Int8,
            ElementType::Int16 => Datatype::Int16,
            ElementType::Int32 => Datatype::Int32,
            ElementType::Int64 => Datatype::Int64,
            ElementType::Fp16 => Datatype::Fp16,
            ElementType::Bf16 => Datatype::Bf16,
            ElementType::Fp32 => Datatype::Fp32,
            ElementType::Fp64 => Datatype::Fp64,
            ElementType::Bytes => Datatype::Bytes,
        }
    }
}

impl From<Datatype> for ElementType {
    fn from(datatype: Datatype) -> ElementType {
        match datatype {
            Datatype::Bool => ElementType::Bool,
            Datatype::Uint8 => ElementType::Uint8,
            Datatype::Uint16 => ElementType::Uint16,
            Datatype::Uint32 => ElementType::Uint32,
            Datatype::Uint64 => ElementType::Uint64,
            Datatype::Int8 => ElementType::Int8,
            Datatype::Int16 => ElementType::Int16,
            Datatype::Int32 => ElementType::Int32,
            Datatype::Int64 => ElementType::Int64,
            Datatype::Fp16 => ElementType::Fp16,
            Datatype::Bf16 => ElementType::Bf16,
            Datatype::Fp32 => ElementType::Fp32,
            Datatype::Fp64 => ElementType::Fp64,
            Datatype::Bytes => ElementType::Bytes,
        }
    }
}
