//! Tests that wasi:nn is implemented according to the standard: the unmodified `digits` component gives
//! the same results on a host built with the stock wasmtime-wasi-nn crate.
//!
//! The stock crate provides the interface and its own tables; tract implements its public traits.

use crate::harness::{Repository, TestServer, component, output, root};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use wasmtime::component::{Component, ComponentType, Lift, Linker, Lower, ResourceTable, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi_nn::backend::{
    BackendError, BackendExecutionContext, BackendGraph, Id, NamedTensor as StockNamedTensor,
};
use wasmtime_wasi_nn::wit::types::TensorType;
use wasmtime_wasi_nn::wit::{WasiNnCtx, WasiNnView, add_to_linker};
use wasmtime_wasi_nn::{
    ExecutionContext, Graph as StockGraph, GraphRegistry, Registry, Tensor as StockTensor,
};
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, Graph, LoadOptions, ModelSource};
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

const MODEL: &str = "wisp:handler/model@0.1.0";

// === tract behind the stock crate's traits ===

#[derive(Clone)]
struct TractGraph(Arc<dyn Graph>);

impl BackendGraph for TractGraph {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        let context: Box<dyn BackendExecutionContext> = Box::new(self.clone());
        Ok(context.into())
    }
}

impl BackendExecutionContext for TractGraph {
    fn set_input(&mut self, _id: Id, _tensor: &StockTensor) -> Result<(), BackendError> {
        Err(BackendError::UnsupportedTensorType("preview 1".to_owned()))
    }

    fn get_output(&mut self, _id: Id) -> Result<StockTensor, BackendError> {
        Err(BackendError::UnsupportedTensorType("preview 1".to_owned()))
    }

    fn compute(
        &mut self,
        inputs: Option<Vec<StockNamedTensor>>,
    ) -> Result<Option<Vec<StockNamedTensor>>, BackendError> {
        let unsupported =
            |error: anyhow::Error| BackendError::UnsupportedTensorType(error.to_string());
        let inputs = inputs.unwrap_or_default().into_iter().map(from_stock);
        let inputs = inputs.collect::<Result<Vec<_>>>().map_err(unsupported)?;
        let outputs = self
            .0
            .compute(&inputs)
            .map_err(|error| unsupported(error.into()))?;
        Ok(Some(outputs.into_iter().map(to_stock).collect()))
    }
}

fn from_stock(input: StockNamedTensor) -> Result<NamedTensor> {
    let StockTensor {
        dimensions,
        ty,
        data,
    } = input.tensor;
    ensure!(matches!(ty, TensorType::Fp32), "only FP32 is needed here");
    let tensor = Tensor::new(
        ElementType::Fp32,
        Shape::new(dimensions)?,
        Bytes::from(data),
    )?;
    Ok(NamedTensor {
        name: input.name,
        tensor,
    })
}

fn to_stock(output: NamedTensor) -> StockNamedTensor {
    StockNamedTensor {
        name: output.name,
        tensor: StockTensor {
            dimensions: output.tensor.shape().dimensions().to_vec(),
            ty: TensorType::Fp32,
            data: output.tensor.content().to_vec(),
        },
    }
}

struct OneGraph(StockGraph);

impl GraphRegistry for OneGraph {
    fn get(&self, name: &str) -> Option<&StockGraph> {
        (name == "model").then_some(&self.0)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut StockGraph> {
        (name == "model").then_some(&mut self.0)
    }
}

// === the host ===

struct State {
    table: ResourceTable,
    nn: WasiNnCtx,
}

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(
    dead_code,
    reason = "the contract has all of them, their order is part of the ABI"
)]
enum Datatype {
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

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct WireTensor {
    name: String,
    datatype: Datatype,
    shape: Vec<u32>,
    data: Vec<u8>,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Value {
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

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct WireParameter {
    name: String,
    value: Value,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Request {
    inputs: Vec<WireTensor>,
    parameters: Vec<WireParameter>,
    outputs: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Response {
    outputs: Vec<WireTensor>,
    #[expect(dead_code, reason = "the contract has it")]
    parameters: Vec<WireParameter>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Failure {
    #[component(name = "client")]
    Client(String),
    #[component(name = "handler")]
    Handler(String),
}

/// Returns the component's response to one image on the stock host.
fn infer_on_the_stock_host(
    graph: Box<dyn BackendGraph>,
    component: &str,
    request: Request,
) -> wasmtime::Result<Result<Response, Failure>> {
    let engine = Engine::default();
    let component = Component::from_file(&engine, component)?;
    let mut linker = Linker::<State>::new(&engine);
    add_to_linker(&mut linker, |state: &mut State| {
        WasiNnView::new(&mut state.table, &mut state.nn)
    })?;
    // The stock host has no wasi:logging, and this handler logs nothing.
    let mut logging = linker.instance("wasi:logging/logging@0.1.0-draft")?;
    logging.func_new("log", |_, _, _, _| Err(wasmtime::Error::msg("it logs")))?;
    // Nor has it the settings of a model, of which this one has none.
    let mut configuration = linker.instance("wisp:handler/configuration@0.1.0")?;
    configuration.func_new("get", |_, _, _, results| {
        results.fill(Val::Option(None));
        Ok(())
    })?;
    let state = State {
        table: ResourceTable::new(),
        nn: WasiNnCtx::new([], Registry::from(OneGraph(graph.into()))),
    };
    let mut store = Store::new(&engine, state);
    let instance = linker.instantiate(&mut store, &component)?;
    let interface = component.get_export_index(None, MODEL);
    let infer = component
        .get_export_index(interface.as_ref(), "infer")
        .ok_or_else(|| wasmtime::Error::msg("the component has no `infer`"))?;
    let infer =
        instance.get_typed_func::<(Request,), (Result<Response, Failure>,)>(&mut store, &infer)?;
    let (answer,) = infer.call(&mut store, (request,))?;
    Ok(answer)
}

/// Returns labels and scores of one image, as the bytes of their tensors.
fn on_the_stock_host(image: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let path = root().join("examples/digits/1/model.onnx");
    let graph = Box::new(TractGraph(
        Tract::new().load(ModelSource::Path(&path), &LoadOptions::default())?,
    ));
    let length = u32::try_from(image.len())?.to_le_bytes();
    let request = Request {
        inputs: vec![WireTensor {
            name: "image".to_owned(),
            datatype: Datatype::Bytes,
            shape: vec![1],
            data: [&length, image].concat(),
        }],
        parameters: Vec::new(),
        outputs: Vec::new(),
    };
    let answer = infer_on_the_stock_host(graph, component("digits")?, request)
        .map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let response = match answer {
        Ok(response) => response,
        Err(Failure::Client(text) | Failure::Handler(text)) => anyhow::bail!("{text}"),
    };
    let take = |name: &str| {
        let output = response.outputs.iter().find(|output| output.name == name);
        output
            .map(|output| output.data.clone())
            .context("no output")
    };
    Ok((take("label")?, take("score")?))
}

#[test]
fn the_same_component_gives_the_same_response_on_the_stock_host() -> Result<()> {
    let server = TestServer::start(Repository::of(&["digits"])?)?;
    for sample in ["0.png", "7.png", "3.jpg", "2-light-on-dark.png"] {
        let image = std::fs::read(root().join("examples/digits/samples").join(sample))?;
        let headers = [
            ("inference-header-content-length", "0"),
            ("accept", "application/json"),
        ];
        let response = server.request("POST /v2/models/digits/infer", &headers, &image)?;
        let response = response.ok()?;
        let (labels, scores) = on_the_stock_host(&image)?;
        let labels = Tensor::new(
            ElementType::Bytes,
            Shape::new(vec![3])?,
            Bytes::from(labels),
        )?;
        let labels: Vec<_> = labels.elements().map(String::from_utf8_lossy).collect();
        ensure!(
            output(&response, "label")?["data"] == json!(labels),
            "{sample}: {response}"
        );
        let (scores, _) = scores.as_chunks::<4>();
        let scores: Vec<_> = scores
            .iter()
            .map(|score| f32::from_le_bytes(*score))
            .collect();
        let ours = output(&response, "score")?["data"]
            .as_array()
            .context("no scores")?;
        ensure!(
            ours.len() == 3 && scores.len() == 3,
            "{sample}: {ours:?} {scores:?}"
        );
        for (ours, stock) in ours.iter().zip(scores) {
            let ours = ours.as_f64().context("no number")?;
            ensure!(
                (ours - f64::from(stock)).abs() < 1e-6,
                "{sample}: {ours} {stock}"
            );
        }
    }
    Ok(())
}
