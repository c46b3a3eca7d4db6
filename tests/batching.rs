//! Tests of requests that are computed together, for models with and without a handler.
//!
//! A policy that holds a batch until it is full makes the batches the same in every run.

use crate::harness::sandbox::Sandbox;
use crate::harness::{TIMEOUT, component, root};
use anyhow::{Context, Result, anyhow, ensure};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::rten::Rten;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, LoadOptions};
use wisp_sandbox::compute::{Compute, ComputeOptions, Graphs};
use wisp_sandbox::handler::HandlerCall;
use wisp_sandbox::limits::Limits;
use wisp_serving::batcher::policy::BatchPolicy;
use wisp_serving::batcher::{Batcher, BatcherParts};
use wisp_serving::call_durations::ExecutionMode;
use wisp_serving::per_row_graph::load_graph;
use wisp_serving::worker_pool::{PoolThreads, WorkerOptions, WorkerPool};
use wisp_tensor::number::numbers;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// The largest relative difference between a row that is computed alone and the same row in a batch.
const TOLERANCE: f64 = 1e-5;

/// Returns a policy that sends batches of exactly this many rows.
fn full_batches_of(rows: u32) -> Result<BatchPolicy> {
    Ok(BatchPolicy {
        max_batch_size: NonZeroU32::new(rows).context("no rows")?,
        max_queue_delay: Duration::from_secs(3600),
        ..BatchPolicy::default()
    })
}

fn batcher(
    backend: &dyn Backend,
    example: &str,
    policy: Option<BatchPolicy>,
) -> Result<Arc<Batcher>> {
    let threads = NonZeroUsize::MIN.saturating_add(1);
    let pool = WorkerPool::spawn("test", PoolThreads::fixed(threads))?;
    let path = root().join("examples").join(example).join("1/model.onnx");
    let graph = load_graph(backend, &path, &LoadOptions::default(), &pool)?;
    ensure!(
        graph.rows().are_independent(),
        "{example}: {:?}",
        graph.rows()
    );
    Ok(Arc::new(Batcher::new(BatcherParts {
        graph,
        pool,
        options: WorkerOptions { threads, queue: 64 },
        mode: ExecutionMode::Queued,
        policy,
    })))
}

/// Returns an input of this many rows, which differ from those of the other inputs.
fn features(rows: u32, columns: u32, first: u32) -> Result<NamedTensor> {
    let count = rows * columns;
    let content: Vec<u8> = (first..first + count)
        .filter_map(|number| u8::try_from(number % 23).ok())
        .flat_map(|number| f32::from(number).to_le_bytes())
        .collect();
    let shape = Shape::new(vec![rows, columns])?;
    Ok(NamedTensor {
        name: "features".to_owned(),
        tensor: Tensor::new(ElementType::Fp32, shape, content.into())?,
    })
}

/// Runs `call` for each request at the same time, and returns the results in order.
fn at_once<T: Send>(
    requests: &[NamedTensor],
    call: impl Fn(&NamedTensor) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let call = &call;
        let threads: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(move || call(request)))
            .collect();
        let results = threads.into_iter().map(|thread| {
            let joined = thread.join();
            joined.map_err(|_| anyhow!("a thread panicked"))?
        });
        results.collect()
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    Ok(runtime.enable_time().build()?)
}

fn soon() -> ComputeOptions {
    ComputeOptions::until(Instant::now() + TIMEOUT)
}

fn check_equal(found: &[NamedTensor], expected: &[NamedTensor]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        ensure!(found.name == expected.name, "{found:?}");
        let (found, expected) = (&found.tensor, &expected.tensor);
        ensure!(found.element_type() == expected.element_type());
        ensure!(found.shape() == expected.shape(), "{}", found.shape());
        if found.element_type() == ElementType::Bytes {
            ensure!(found.content() == expected.content());
            continue;
        }
        for (found, expected) in numbers(found).zip(numbers(expected)) {
            let difference = (found - expected).abs();
            let most = TOLERANCE * (1.0 + expected.abs());
            ensure!(difference <= most, "{found} instead of {expected}");
        }
    }
    Ok(())
}

/// Returns the number of executions with each number of rows.
fn executions(batcher: &Batcher) -> Vec<(u64, u64)> {
    let batches = batcher.statistics().executions().batches;
    let counted = batches.iter();
    counted
        .map(|batch| (batch.size, batch.phases.compute_infer.count))
        .collect()
}

#[test]
fn requests_for_a_bare_model_are_computed_together_with_the_same_outputs() -> Result<()> {
    let backends: [Box<dyn Backend>; 2] = [Box::new(Tract::new()), Box::new(Rten::new())];
    let sizes = [(1, 0), (2, 100), (3, 200), (2, 300)];
    let requests = sizes.map(|(rows, first)| features(rows, 10, first));
    let requests = requests.into_iter().collect::<Result<Vec<NamedTensor>>>()?;
    for backend in &backends {
        let compute = |batcher: &Batcher, request: &NamedTensor| {
            let computing = batcher.compute(vec![request.clone()], soon());
            let computed = runtime()?.block_on(computing)?;
            Ok::<_, anyhow::Error>(computed.outputs)
        };
        let alone = batcher(&**backend, "progression", None)?;
        let expected = requests.iter().map(|request| compute(&alone, request));
        let expected = expected.collect::<Result<Vec<Vec<NamedTensor>>>>()?;
        let joined = batcher(&**backend, "progression", Some(full_batches_of(8)?))?;
        let found = at_once(&requests, |request| compute(&joined, request))?;
        for (found, expected) in found.iter().zip(&expected) {
            check_equal(found, expected)?;
        }
        let (alone, joined) = (executions(&alone), executions(&joined));
        ensure!(alone == [(1, 1), (2, 2), (3, 1)], "{alone:?}");
        ensure!(joined == [(8, 1)], "{joined:?}");
    }
    Ok(())
}

#[test]
fn the_computations_of_separate_sandboxes_are_joined() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let wasm = std::fs::read(component("wine")?)?;
    let requests = vec![features(1, 13, 0)?, features(3, 13, 50)?];
    let call = |batcher: &Arc<Batcher>, requests: &[NamedTensor]| {
        let graph: Arc<dyn Compute> = Arc::<Batcher>::clone(batcher);
        let graphs = Arc::new(Graphs::new(vec![("model".to_owned(), graph)]));
        let handler = sandbox.load_with(&wasm, graphs, Limits::default())??;
        at_once(requests, |request| {
            let called = handler.infer(HandlerCall {
                inputs: std::slice::from_ref(request),
                parameters: &[],
                outputs: &[],
                options: soon(),
            });
            Ok(runtime()?.block_on(called).result?.outputs)
        })
    };
    let alone = batcher(&Tract::new(), "wine", None)?;
    let expected = call(&alone, &requests)?;
    let joined = batcher(&Tract::new(), "wine", Some(full_batches_of(4)?))?;
    let found = call(&joined, &requests)?;
    for (found, expected) in found.iter().zip(&expected) {
        check_equal(found, expected)?;
    }
    let joined = executions(&joined);
    ensure!(joined == [(4, 1)], "{joined:?}");
    Ok(())
}
