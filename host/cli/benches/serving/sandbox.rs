//! Measures one handler call on a fresh instance: store, instantiate, lower, guest, compute, lift, drop.

use crate::load::median;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, Graph, LoadOptions, ModelSource};
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::component::CheckedComponent;
use wisp_sandbox::compute::{Compute, ComputeError, ComputeOptions, Computed, Computing, Graphs};
use wisp_sandbox::engine::{Engine, EngineOptions};
use wisp_sandbox::handler::{Handler, HandlerCall};
use wisp_sandbox::limits::Limits;
use wisp_tensor::{ElementType, NamedTensor, Shape, Signature, Tensor};

/// The number of measured calls of each kind.
const CALLS: usize = 20_000;

const FEATURES: [f32; 13] = [
    12.37, 0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0,
];

/// A graph that computes on the calling thread, or that returns remembered outputs without computing.
#[derive(Debug)]
struct Inline {
    graph: Arc<dyn Graph>,
    remembered: Option<Vec<NamedTensor>>,
}

impl Compute for Inline {
    fn signature(&self) -> &Signature {
        self.graph.signature()
    }

    fn compute(&self, inputs: Vec<NamedTensor>, options: ComputeOptions) -> Computing<'_> {
        let outputs = self.compute_inline(&inputs, options.deadline);
        let computed = outputs.map(|outputs| Computed {
            outputs,
            queue: Duration::ZERO,
            backend: Duration::ZERO,
        });
        Box::pin(std::future::ready(computed))
    }

    fn compute_inline(
        &self,
        inputs: &[NamedTensor],
        _: Instant,
    ) -> Result<Vec<NamedTensor>, ComputeError> {
        match &self.remembered {
            Some(outputs) => Ok(outputs.clone()),
            None => self
                .graph
                .compute(inputs)
                .map_err(|error| ComputeError::Backend(error.to_string())),
        }
    }
}

/// Prints a table of synchronous and asynchronous calls, with and without the computation time of the
/// graph.
pub(crate) fn measure(repository: &Path) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = AotStore::open(&directory.path().join("aot"))?;
    let engine = Arc::new(Engine::start(&EngineOptions::default())?);
    let wasm = std::fs::read(repository.join("wine/1/handler.wasm"))?;
    let component = CheckedComponent::load(&engine, &store, &wasm, &BTreeSet::new())?;
    let graph = Tract::new().load(
        ModelSource::Path(&repository.join("wine/1/model.onnx")),
        &LoadOptions::default(),
    )?;
    let inputs = [features("features")?];
    let remembered = graph.compute(&inputs)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    println!("| call of `wine` | p50 | p99 |\n|---|---|---|");
    for (what, remembered) in [("sandbox alone", Some(remembered)), ("and tract", None)] {
        let compute: Arc<dyn Compute> = Arc::new(Inline {
            graph: Arc::clone(&graph),
            remembered,
        });
        let graphs = Arc::new(Graphs::new(vec![("model".to_owned(), compute)]));
        let handler = Handler::load(&engine, &component, graphs, Limits::default())?;
        let call = || HandlerCall {
            inputs: &inputs,
            parameters: &[],
            outputs: &[],
            options: ComputeOptions::until(Instant::now() + Duration::from_secs(10)),
        };
        let inline = time(|| Ok(handler.infer_inline(call()).result.map(drop)?))?;
        report(&format!("synchronous, {what}"), inline);
        let queued = time(|| Ok(runtime.block_on(handler.infer(call())).result.map(drop)?))?;
        report(&format!("asynchronous, {what}"), queued);
    }
    let graph_alone = time(|| Ok(graph.compute(&inputs).map(drop)?))?;
    report("tract alone, no sandbox", graph_alone);
    Ok(())
}

fn features(name: &str) -> Result<NamedTensor> {
    let content: Vec<u8> = FEATURES
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let shape = Shape::new(vec![1, 13])?;
    Ok(NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(ElementType::Fp32, shape, content.into())?,
    })
}

/// Returns the duration of each call in microseconds, after a warm-up.
fn time(mut call: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let warm_up = NonZeroUsize::new(CALLS / 10).context("too few calls")?;
    for _ in 0..warm_up.get() {
        call()?;
    }
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        call()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

fn report(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied();
    println!(
        "| {what} | {:.1} | {:.1} |",
        median(times),
        p99.unwrap_or(f64::NAN)
    );
}
