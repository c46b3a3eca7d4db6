//! Exports a [`Handler`] as a component: the bindings of `wit/`, and the conversion between its types and
//! those of this crate.
//!
//! Generated types are used in this module only. Names, shapes and bytes are moved, not copied, except
//! into and out of wasi:nn, which uses another memory. Compiled for Wasm only.

use crate::error::{Error, Fault, Result};
use crate::logging::{self, Level};
use crate::request::Declared;
use crate::tensor::Origin;
use crate::{
    Datatype, GraphOutputs, GraphSpec, Graphs, Handler, ParameterValue, Request, Response,
};
use crate::{Tensor, TensorSpec};
use std::fmt;
use std::marker::PhantomData;
use std::panic::PanicHookInfo;

#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        // The repository's `wit/`; `wisp new` copies both directories to the same relative places.
        path: "../../wit",
        world: "sdk-handler",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "wisp_handler::component::bindings",
        generate_all,
    });
}

use bindings::exports::wisp::handler::initialization;
use bindings::exports::wisp::handler::model as wire;
use bindings::wasi::logging::logging as host_log;
use bindings::wasi::nn::errors::{Error as NnError, ErrorCode};
use bindings::wasi::nn::graph::load_by_name;
use bindings::wasi::nn::inference::GraphExecutionContext;
use bindings::wasi::nn::tensor::{Tensor as NnTensor, TensorType};

#[doc(hidden)]
pub use bindings::export_component;

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// The implementation of the exported interfaces `model` and `initialization` for a [`Handler`].
#[derive(Debug)]
pub struct Component<H>(PhantomData<H>);

/// The graphs behind wasi:nn. Contexts are kept, so that a loop creates each only once.
struct WasiNn {
    contexts: Vec<(String, GraphExecutionContext)>,
}

// === impl Component ===

impl<H: Handler> wire::Guest for Component<H> {
    fn signature() -> wire::ModelSignature {
        logging::start();
        let signature = H::signature();
        wire::ModelSignature {
            inputs: to_wire_specs(signature.inputs),
            outputs: to_wire_specs(signature.outputs),
            graphs: signature.graphs.into_iter().map(to_wire_graph).collect(),
        }
    }

    fn infer(request: wire::Request) -> Result<wire::Response, wire::Failure> {
        logging::start();
        let request = Request {
            declared: Declared::by::<H>(),
            ..from_wire_request(request)
        };
        let answer = H::infer(
            &request,
            &mut WasiNn {
                contexts: Vec::new(),
            },
        );
        match answer.and_then(to_wire_response) {
            Ok(response) => Ok(response),
            Err(error) => Err(match error.fault() {
                Fault::Client => wire::Failure::Client(error.message().into()),
                Fault::Handler => wire::Failure::Handler(error.message().into()),
            }),
        }
    }
}

impl<H: Handler> initialization::Guest for Component<H> {
    fn init() -> Result<bool, String> {
        logging::start();
        match H::init() {
            Ok(()) => Ok(!crate::handler::has_no_init()),
            Err(error) => Err(error.message().into()),
        }
    }
}

// === impl WasiNn ===

impl Graphs for WasiNn {
    fn compute(&mut self, graph: &str, inputs: &[Tensor]) -> Result<GraphOutputs> {
        let inputs = inputs.iter().map(to_nn).collect::<Result<Vec<_>>>()?;
        let failed =
            |error: NnError| Error::handler(format_args!("graph `{graph}`: {}", text(&error)));
        let outputs = self
            .context(graph)
            .and_then(|context| context.compute(inputs))
            .map_err(failed)?;
        outputs
            .into_iter()
            .map(from_nn)
            .collect::<Result<Vec<_>>>()
            .map(GraphOutputs::new)
    }
}

impl WasiNn {
    fn context(&mut self, graph: &str) -> Result<&GraphExecutionContext, NnError> {
        let known = self.contexts.iter().position(|(name, _)| name == graph);
        let index = match known {
            Some(index) => index,
            None => {
                let context = load_by_name(graph)?.init_execution_context()?;
                self.contexts.push((graph.into(), context));
                self.contexts.len() - 1
            }
        };
        Ok(&self.contexts[index].1)
    }
}

// === wasi:logging ===

/// Passes a message to the host.
pub(crate) fn log(level: Level, topic: &str, message: fmt::Arguments<'_>) {
    let level = match level {
        Level::Error => host_log::Level::Error,
        Level::Warn => host_log::Level::Warn,
        Level::Info => host_log::Level::Info,
        Level::Debug => host_log::Level::Debug,
        Level::Trace => host_log::Level::Trace,
    };
    match message.as_str() {
        Some(text) => host_log::log(level, topic, text),
        None => host_log::log(level, topic, &message.to_string()),
    }
}

/// Passes the message and the place of a panic to the host, in the form that it expects before a trap.
pub(crate) fn report_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("no message");
    let text = match panic.location() {
        Some(place) => format!("{place}: {reason}"),
        None => reason.to_owned(),
    };
    host_log::log(host_log::Level::Critical, "panic", &text);
}

// === wasi:nn ===

fn to_nn(tensor: &Tensor) -> Result<(String, NnTensor)> {
    let element = match tensor.datatype {
        Datatype::Fp16 => TensorType::Fp16,
        Datatype::Fp32 => TensorType::Fp32,
        Datatype::Fp64 => TensorType::Fp64,
        Datatype::Bf16 => TensorType::Bf16,
        Datatype::Uint8 => TensorType::U8,
        Datatype::Int32 => TensorType::I32,
        Datatype::Int64 => TensorType::I64,
        other => return Err(tensor.error(format_args!("is {other}, unsupported by wasi:nn"))),
    };
    let shape = to_wire_shape(&tensor.shape)?;
    Ok((
        tensor.name.clone(),
        NnTensor::new(&shape, element, &tensor.data),
    ))
}

fn from_nn((name, tensor): (String, NnTensor)) -> Result<Tensor> {
    let datatype = match tensor.ty() {
        TensorType::Fp16 => Datatype::Fp16,
        TensorType::Fp32 => Datatype::Fp32,
        TensorType::Fp64 => Datatype::Fp64,
        TensorType::Bf16 => Datatype::Bf16,
        TensorType::U8 => Datatype::Uint8,
        TensorType::I32 => Datatype::Int32,
        TensorType::I64 => Datatype::Int64,
    };
    let shape = from_wire_shape(tensor.dimensions());
    Ok(Tensor {
        name,
        datatype,
        shape,
        data: tensor.data(),
        origin: Origin::Graph,
    })
}

fn text(error: &NnError) -> String {
    let code = match error.code() {
        ErrorCode::InvalidArgument => "invalid argument",
        ErrorCode::InvalidEncoding => "invalid encoding",
        ErrorCode::Timeout => "timed out",
        ErrorCode::RuntimeError => "failed",
        ErrorCode::UnsupportedOperation => "unsupported operation",
        ErrorCode::TooLarge => "too large",
        ErrorCode::NotFound => "not found",
        ErrorCode::Security => "not allowed",
        ErrorCode::Unknown => "unknown error",
    };
    let detail = error.data();
    if detail.is_empty() {
        code.into()
    } else {
        format!("{code}: {detail}")
    }
}

// === wisp:handler ===

fn from_wire_request(request: wire::Request) -> Request {
    let tensor = |tensor: wire::Tensor| Tensor {
        name: tensor.name,
        datatype: from_wire_datatype(tensor.datatype),
        shape: from_wire_shape(tensor.shape),
        data: tensor.data,
        origin: Origin::Request,
    };
    let parameter = |parameter: wire::Parameter| {
        let value = match parameter.value {
            wire::ParameterValue::Bool(value) => ParameterValue::Bool(value),
            wire::ParameterValue::S64(value) => ParameterValue::S64(value),
            wire::ParameterValue::U64(value) => ParameterValue::U64(value),
            wire::ParameterValue::F64(value) => ParameterValue::F64(value),
            wire::ParameterValue::String(value) => ParameterValue::String(value),
        };
        (parameter.name, value)
    };
    Request {
        inputs: request.inputs.into_iter().map(tensor).collect(),
        parameters: request.parameters.into_iter().map(parameter).collect(),
        outputs: request.outputs,
        declared: Declared::default(),
    }
}

fn to_wire_response(response: Response) -> Result<wire::Response> {
    let tensor = |tensor: Tensor| -> Result<wire::Tensor> {
        Ok(wire::Tensor {
            datatype: to_wire_datatype(tensor.datatype),
            shape: to_wire_shape(&tensor.shape)?,
            name: tensor.name,
            data: tensor.data,
        })
    };
    let parameter = |(name, value)| {
        let value = match value {
            ParameterValue::Bool(value) => wire::ParameterValue::Bool(value),
            ParameterValue::S64(value) => wire::ParameterValue::S64(value),
            ParameterValue::U64(value) => wire::ParameterValue::U64(value),
            ParameterValue::F64(value) => wire::ParameterValue::F64(value),
            ParameterValue::String(value) => wire::ParameterValue::String(value),
        };
        wire::Parameter { name, value }
    };
    Ok(wire::Response {
        outputs: response
            .outputs
            .into_iter()
            .map(tensor)
            .collect::<Result<_>>()?,
        parameters: response.parameters.into_iter().map(parameter).collect(),
    })
}

fn to_wire_graph(graph: GraphSpec) -> wire::GraphSpec {
    let (inputs, outputs) = (to_wire_specs(graph.inputs), to_wire_specs(graph.outputs));
    wire::GraphSpec {
        name: graph.name,
        inputs,
        outputs,
    }
}

fn to_wire_specs(specs: Vec<TensorSpec>) -> Vec<wire::TensorSpec> {
    let spec = |spec: TensorSpec| wire::TensorSpec {
        name: spec.name,
        datatype: to_wire_datatype(spec.datatype),
        shape: spec.shape,
        optional: spec.optional,
    };
    specs.into_iter().map(spec).collect()
}

fn from_wire_shape(shape: Vec<u32>) -> Vec<usize> {
    // `usize` is 32 bits wide here, so this neither fails nor allocates.
    shape.into_iter().map(|size| size as usize).collect()
}

fn to_wire_shape(shape: &[usize]) -> Result<Vec<u32>> {
    shape.iter().map(|size| Ok(u32::try_from(*size)?)).collect()
}

fn from_wire_datatype(datatype: wire::Datatype) -> Datatype {
    match datatype {
        wire::Datatype::Bool => Datatype::Bool,
        wire::Datatype::Uint8 => Datatype::Uint8,
        wire::Datatype::Uint16 => Datatype::Uint16,
        wire::Datatype::Uint32 => Datatype::Uint32,
        wire::Datatype::Uint64 => Datatype::Uint64,
        wire::Datatype::Int8 => Datatype::Int8,
        wire::Datatype::Int16 => Datatype::Int16,
        wire::Datatype::Int32 => Datatype::Int32,
        wire::Datatype::Int64 => Datatype::Int64,
        wire::Datatype::Fp16 => Datatype::Fp16,
        wire::Datatype::Bf16 => Datatype::Bf16,
        wire::Datatype::Fp32 => Datatype::Fp32,
        wire::Datatype::Fp64 => Datatype::Fp64,
        wire::Datatype::Bytes => Datatype::Bytes,
    }
}

fn to_wire_datatype(datatype: Datatype) -> wire::Datatype {
    match datatype {
        Datatype::Bool => wire::Datatype::Bool,
        Datatype::Uint8 => wire::Datatype::Uint8,
        Datatype::Uint16 => wire::Datatype::Uint16,
        Datatype::Uint32 => wire::Datatype::Uint32,
        Datatype::Uint64 => wire::Datatype::Uint64,
        Datatype::Int8 => wire::Datatype::Int8,
        Datatype::Int16 => wire::Datatype::Int16,
        Datatype::Int32 => wire::Datatype::Int32,
        Datatype::Int64 => wire::Datatype::Int64,
        Datatype::Fp16 => wire::Datatype::Fp16,
        Datatype::Bf16 => wire::Datatype::Bf16,
        Datatype::Fp32 => wire::Datatype::Fp32,
        Datatype::Fp64 => wire::Datatype::Fp64,
        Datatype::Bytes => wire::Datatype::Bytes,
    }
}
