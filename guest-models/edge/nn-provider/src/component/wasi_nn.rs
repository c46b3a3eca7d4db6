//! The four interfaces of wasi:nn.
//!
//! The constructor of a tensor cannot fail, so a tensor that does not match its shape keeps no bytes and fails
//! the `compute` that receives it, as in Wisp's host.

use super::bindings::exports::wasi::nn::{errors, graph, inference, tensor};
use super::{Component, OWN_CONTEXT, write};
use crate::failure::{Failure, FailureCode};
use crate::inference::{compute, tensor as new_tensor};
use crate::log_line::Level;
use crate::provider::provider;
use std::sync::Arc;
use tensor::TensorType;
use wisp_backend::Graph;
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// `tensor.tensor`. Lifetime: one request.
#[derive(Debug)]
pub struct NnTensor {
    dimensions: Vec<u32>,
    tensor_type: TensorType,
    content: Result<Tensor, Failure>,
}

/// `graph.graph`. Lifetime: one request.
#[derive(Debug)]
pub struct NnGraph(&'static Arc<dyn Graph>);

/// `inference.graph-execution-context`. Lifetime: one request.
#[derive(Debug)]
pub struct NnContext(&'static Arc<dyn Graph>);

/// `errors.error`. Lifetime: one request.
#[derive(Debug)]
pub struct NnError(Failure);

impl tensor::Guest for Component {
    type Tensor = NnTensor;
}

impl tensor::GuestTensor for NnTensor {
    fn new(dimensions: Vec<u32>, tensor_type: TensorType, content: Vec<u8>) -> NnTensor {
        let content = new_tensor(element_type(tensor_type), &dimensions, content);
        NnTensor {
            dimensions,
            tensor_type,
            content,
        }
    }

    fn dimensions(&self) -> Vec<u32> {
        self.dimensions.clone()
    }

    fn ty(&self) -> TensorType {
        self.tensor_type
    }

    fn data(&self) -> Vec<u8> {
        match &self.content {
            Ok(tensor) => tensor.content().to_vec(),
            Err(_) => Vec::new(),
        }
    }
}

impl errors::Guest for Component {
    type Error = NnError;
}

impl errors::GuestError for NnError {
    fn code(&self) -> errors::ErrorCode {
        match self.0.code {
            FailureCode::InvalidArgument => errors::ErrorCode::InvalidArgument,
            FailureCode::NotFound => errors::ErrorCode::NotFound,
            FailureCode::RuntimeError => errors::ErrorCode::RuntimeError,
            FailureCode::UnsupportedOperation => errors::ErrorCode::UnsupportedOperation,
        }
    }

    fn data(&self) -> String {
        self.0.text.clone()
    }
}

/// Returns the resource for a failure, whose cause is logged.
fn error(failure: Failure) -> errors::Error {
    if let Some(cause) = &failure.cause {
        write(Level::Error, OWN_CONTEXT, cause);
    }
    errors::Error::new(NnError(failure))
}

impl graph::Guest for Component {
    type Graph = NnGraph;

    fn load(
        _builder: Vec<graph::GraphBuilder>,
        _encoding: graph::GraphEncoding,
        _target: graph::ExecutionTarget,
    ) -> Result<graph::Graph, errors::Error> {
        Err(error(Failure::load()))
    }

    fn load_by_name(name: String) -> Result<graph::Graph, errors::Error> {
        let found = provider().and_then(|provider| provider.graph(&name));
        let found = found.ok_or_else(|| error(Failure::unknown_graph()))?;
        Ok(graph::Graph::new(NnGraph(found)))
    }
}

impl graph::GuestGraph for NnGraph {
    fn init_execution_context(&self) -> Result<inference::GraphExecutionContext, errors::Error> {
        Ok(inference::GraphExecutionContext::new(NnContext(self.0)))
    }
}

impl inference::Guest for Component {
    type GraphExecutionContext = NnContext;
}

impl inference::GuestGraphExecutionContext for NnContext {
    fn compute(
        &self,
        inputs: Vec<inference::NamedTensor>,
    ) -> Result<Vec<inference::NamedTensor>, errors::Error> {
        let inputs = inputs.into_iter().map(|(name, tensor)| {
            let NnTensor { content, .. } = tensor.into_inner();
            content.map(|tensor| NamedTensor { name, tensor })
        });
        let outputs = inputs
            .collect::<Result<Vec<NamedTensor>, Failure>>()
            .and_then(|inputs| compute(&**self.0, &inputs))
            .map_err(error)?;
        let outputs = outputs.into_iter().map(output);
        outputs.collect::<Result<Vec<_>, Failure>>().map_err(error)
    }
}

fn output(output: NamedTensor) -> Result<inference::NamedTensor, Failure> {
    let NamedTensor { name, tensor } = output;
    let tensor_type =
        tensor_type(tensor.element_type()).ok_or_else(|| Failure::output_type(&name))?;
    let resource = tensor::Tensor::new(NnTensor {
        dimensions: tensor.shape().dimensions().to_vec(),
        tensor_type,
        content: Ok(tensor),
    });
    Ok((name, resource))
}

fn element_type(tensor_type: TensorType) -> ElementType {
    match tensor_type {
        TensorType::Fp16 => ElementType::Fp16,
        TensorType::Fp32 => ElementType::Fp32,
        TensorType::Fp64 => ElementType::Fp64,
        TensorType::Bf16 => ElementType::Bf16,
        TensorType::U8 => ElementType::Uint8,
        TensorType::I32 => ElementType::Int32,
        TensorType::I64 => ElementType::Int64,
    }
}

fn tensor_type(element_type: ElementType) -> Option<TensorType> {
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
