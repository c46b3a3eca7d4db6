//! The baseline of the benchmark: the same model behind hyper and tract, without Wasm.
//!
//! This is a minimal hand-written server: one model, one route, V2 JSON through serde, and the graph
//! computed on the thread of the connection. It has no limits, no versions, no other models and no sandbox.
//!
//! Usage: plain_server MODEL.onnx INPUT_WIDTH; prints the address it listens on.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tract_onnx::prelude::*;

type Plan = Arc<TypedRunnableModel>;

#[derive(Deserialize)]
struct InferRequest {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    data: Vec<f32>,
}

#[derive(Serialize)]
struct InferResponse<'a> {
    model_name: &'a str,
    model_version: &'a str,
    outputs: [Output<'a>; 1],
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [usize],
    data: &'a [f32],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(width)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: plain_server MODEL.onnx INPUT_WIDTH");
    };
    let width: usize = width.parse()?;
    let plan: Plan = tract_onnx::onnx()
        .model_for_path(path)?
        .with_input_fact(0, f32::fact([1, width]).into())?
        .into_optimized()?
        .into_runnable()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    #[expect(
        clippy::print_stdout,
        reason = "the program that started it reads the address"
    )]
    {
        println!("http://{}", listener.local_addr()?);
    }
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let plan = Arc::clone(&plan);
        let service = service_fn(move |request| answer(Arc::clone(&plan), width, request));
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        #[expect(clippy::disallowed_methods, reason = "all end with the process")]
        tokio::spawn(connection);
    }
}

async fn answer(
    plan: Plan,
    width: usize,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let request: InferRequest = serde_json::from_slice(&body)?;
    let input = request.inputs.first().map(|input| input.data.as_slice());
    let input = Tensor::from_shape(&[1, width], input.unwrap_or_default())?;
    let outputs = plan.run(tvec!(input.into()))?;
    let output = outputs[0].to_plain_array_view::<f32>()?;
    let data: Vec<f32> = output.iter().copied().collect();
    let response = InferResponse {
        model_name: "plain",
        model_version: "1",
        outputs: [Output {
            name: "probabilities",
            datatype: "FP32",
            shape: output.shape(),
            data: &data,
        }],
    };
    let body = Bytes::from(serde_json::to_vec(&response)?);
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(body))?)
}
