//! Tests of requests that are computed together, for models with and without a handler.
//!
//! A policy that holds a batch until it is full makes the batches the same in every run.

mod arrivals;

use crate::harness::sandbox::Sandbox;
use crate::harness::{Repository, TIMEOUT, TestServer, component, root};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
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

/// Returns an input of this many wines, the first with this share of alcohol.
fn wines(rows: u8, alcohol: f32) -> Result<NamedTensor> {
    let others: [f32; 12] = [
        0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0,
    ];
    let content: Vec<u8> = (0..rows)
        .flat_map(|row| [&[alcohol + f32::from(row) / 4.0][..], &others].concat())
        .flat_map(f32::to_le_bytes)
        .collect();
    let shape = Shape::new(vec![u32::from(rows), 13])?;
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

/// Calls a handler with these graphs for all requests at the same time, and returns the outputs in order.
fn call_at_once(
    guest: &str,
    graphs: &[(&str, &Arc<Batcher>)],
    requests: &[NamedTensor],
) -> Result<Vec<Vec<NamedTensor>>> {
    let sandbox = Sandbox::start()?;
    let wasm = std::fs::read(component(guest)?)?;
    let graphs = graphs.iter().map(|(name, batcher)| {
        let graph: Arc<dyn Compute> = Arc::<Batcher>::clone(batcher);
        ((*name).to_owned(), graph)
    });
    let graphs = Arc::new(Graphs::new(graphs.collect()));
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
}

#[test]
fn the_computations_of_separate_sandboxes_are_joined() -> Result<()> {
    let requests = [wines(1, 12.0)?, wines(3, 13.0)?];
    let alone = batcher(&Tract::new(), "wine", None)?;
    let expected = call_at_once("wine", &[("model", &alone)], &requests)?;
    let joined = batcher(&Tract::new(), "wine", Some(full_batches_of(4)?))?;
    let found = call_at_once("wine", &[("model", &joined)], &requests)?;
    for (found, expected) in found.iter().zip(&expected) {
        check_equal(found, expected)?;
    }
    let joined = executions(&joined);
    ensure!(joined == [(4, 1)], "{joined:?}");
    Ok(())
}

#[test]
fn a_handler_of_two_graphs_has_its_computations_joined_at_each() -> Result<()> {
    let requests = [features(1, 10, 0)?, features(3, 10, 100)?];
    // The graphs compute with different engines, so that their batchers share nothing either.
    let call = |policy: Option<BatchPolicy>| -> Result<_> {
        let model = batcher(&Tract::new(), "progression", policy.clone())?;
        let other = batcher(&Rten::new(), "progression", policy)?;
        let graphs = [("model", &model), ("other", &other)];
        let found = call_at_once("ensemble_guest", &graphs, &requests)?;
        Ok((found, [executions(&model), executions(&other)]))
    };
    let (expected, alone) = call(None)?;
    let (found, joined) = call(Some(full_batches_of(4)?))?;
    for (found, expected) in found.iter().zip(&expected) {
        check_equal(found, expected)?;
    }
    for (alone, joined) in alone.iter().zip(&joined) {
        ensure!(*alone == [(1, 1), (3, 1)], "{alone:?}");
        ensure!(*joined == [(4, 1)], "{joined:?}");
    }
    Ok(())
}

/// Starts a server with the model `m` and this setting of `batching`.
fn server(batching: &str) -> Result<TestServer> {
    let repository = Repository::empty()?
        .with_model("m", "progression", None)?
        .with_file("m/model.toml", format!("batching = {batching}\n"))?;
    TestServer::start(repository)
}

/// Returns a request of one row, with this number as a measurement.
fn row(number: usize, parameters: &Value) -> Value {
    let mut data = vec![json!(1.0); 10];
    data[9] = json!(number);
    json!({
        "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }],
        "parameters": parameters,
    })
}

/// Returns a request of this many equal rows.
fn equal_rows(rows: usize) -> Value {
    let data = vec![json!(1.0); 10 * rows];
    json!({
        "inputs": [{ "name": "features", "datatype": "FP32", "shape": [rows, 10], "data": data }],
    })
}

/// Sends this many requests at the same time, and returns the outputs in order.
fn infer_at_once(server: &TestServer, requests: usize) -> Result<Vec<f64>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..requests)
            .map(|number| scope.spawn(move || server.infer("m", &row(number, &json!({})))?.ok()))
            .collect();
        let results = threads.into_iter().map(|thread| {
            let answer = thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            let data = &answer["outputs"][0]["data"][0];
            data.as_f64().with_context(|| answer.to_string())
        });
        results.collect()
    })
}

/// Returns the numbers of rows and of executions.
fn counts(server: &TestServer) -> Result<(u64, u64)> {
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let model = &statistics["model_stats"][0];
    let count = |name: &str| model[name].as_u64().context("no count");
    Ok((count("inference_count")?, count("execution_count")?))
}

fn check_close(found: &[f64], expected: &[f64]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        let difference = (found - expected).abs();
        let most = TOLERANCE * (1.0 + expected.abs());
        ensure!(difference <= most, "{found} instead of {expected}");
    }
    Ok(())
}

#[test]
fn the_model_file_has_requests_computed_together_with_the_same_outputs() -> Result<()> {
    let alone = server("'off'")?;
    let expected = infer_at_once(&alone, 4)?;
    ensure!(counts(&alone)? == (4, 4), "{:?}", counts(&alone)?);
    let config = alone.get("/v2/models/m/config")?.ok()?;
    ensure!(config.get("dynamic_batching").is_none(), "{config}");
    // A batch of four rows leaves before the delay of an hour.
    let joined =
        server("{ preferred_batch_size = [4], max_queue_delay_microseconds = 3600000000 }")?;
    check_close(&infer_at_once(&joined, 4)?, &expected)?;
    ensure!(counts(&joined)? == (4, 1), "{:?}", counts(&joined)?);
    let config = joined.get("/v2/models/m/config")?.ok()?;
    let shown = &config["dynamic_batching"];
    ensure!(shown["preferred_batch_size"] == json!([4]), "{config}");
    let delay = &shown["max_queue_delay_microseconds"];
    ensure!(*delay == 3_600_000_000_u64, "{config}");
    Ok(())
}

#[test]
fn a_request_with_more_rows_than_the_largest_preferred_size_is_not_held() -> Result<()> {
    let server = server(
        "{ max_batch_size = 8, preferred_batch_size = [4], max_queue_delay_microseconds = 3600000000 }",
    )?;
    server.infer("m", &equal_rows(5))?.ok()?;
    ensure!(counts(&server)? == (5, 1), "{:?}", counts(&server)?);
    Ok(())
}

#[test]
fn a_request_cannot_ask_for_a_timeout_where_its_level_has_none() -> Result<()> {
    let server = server(
        "{ max_batch_size = 8, max_queue_delay_microseconds = 10000, \
        default_queue_policy = { allow_timeout_override = true } }",
    )?;
    // It is held for longer than it asks for.
    server.infer("m", &row(0, &json!({ "timeout": 1 })))?.ok()?;
    Ok(())
}

#[test]
fn batches_of_32_rows_or_10_milliseconds_have_the_same_outputs() -> Result<()> {
    let expected = infer_at_once(&server("'off'")?, 64)?;
    let joined = server("{ max_batch_size = 32, max_queue_delay_microseconds = 10000 }")?;
    check_close(&infer_at_once(&joined, 64)?, &expected)?;
    let (rows, executions) = counts(&joined)?;
    ensure!(rows == 64 && executions <= rows, "{rows}, {executions}");
    Ok(())
}

#[test]
fn the_automatic_choice_is_shown_with_its_reason() -> Result<()> {
    let server = server("'auto'")?;
    infer_at_once(&server, 4)?;
    let console = server.request("GET /", &[("accept", "text/html")], b"")?;
    let console = String::from_utf8(console.body)?;
    ensure!(console.contains("batching auto: "), "{console}");
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let shown = &statistics["model_stats"][0]["batching"][0];
    let decision = shown["decision"].as_str().context("no decision")?;
    ensure!(shown["graph"] == "model", "{statistics}");
    ensure!(console.contains(decision), "{decision}: {console}");
    let single = &shown["measurements"][0];
    ensure!(
        single["rows"] == 1 && single["row_elements"] == 10,
        "{statistics}"
    );
    ensure!(
        single["ns"].as_u64().is_some_and(|ns| ns > 0),
        "{statistics}"
    );
    let (rows, _) = counts(&server)?;
    ensure!(rows == 4, "{rows}");
    Ok(())
}

#[test]
fn the_automatic_choice_forms_only_batches_for_which_the_backend_is_prepared() -> Result<()> {
    let server = server("'auto'")?;
    for _ in 0..4 {
        infer_at_once(&server, 24)?;
    }
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let batches = statistics["model_stats"][0]["batch_stats"].as_array();
    for batch in batches.context("no batches")? {
        let size = batch["batch_size"].as_u64().context("no size")?;
        ensure!([1, 2, 4, 8, 16, 32].contains(&size), "{statistics}");
    }
    Ok(())
}

#[test]
fn a_model_whose_rules_are_set_has_no_measurements() -> Result<()> {
    let server = server("{ max_batch_size = 8 }")?;
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let shown = &statistics["model_stats"][0]["batching"];
    let expected = json!([{
        "graph": "model",
        "decision": "up to 8 rows and a delay of 0 us, as set",
        "measurements": [],
    }]);
    ensure!(*shown == expected, "{statistics}");
    Ok(())
}

#[test]
fn a_request_has_the_timeout_of_its_priority_or_a_lower_one_of_its_own() -> Result<()> {
    let server = server(
        "{ max_batch_size = 2, max_queue_delay_microseconds = 3600000000, priority_levels = 2, \
        default_priority_level = 2, default_queue_policy = { allow_timeout_override = true, \
        default_timeout_microseconds = 3600000000 }, \
        priority_queue_policy = { 1 = { default_timeout_microseconds = 1 } } }",
    )?;
    // Each waits for a second row that does not come.
    for parameters in [json!({ "priority": 1 }), json!({ "timeout": 1 })] {
        let refusal = server.infer("m", &row(0, &parameters))?.error(503)?;
        ensure!(refusal.contains("longer than its timeout"), "{refusal}");
    }
    infer_at_once(&server, 2)?;
    ensure!(counts(&server)? == (2, 1), "{:?}", counts(&server)?);
    Ok(())
}

#[test]
fn a_model_with_rules_that_cannot_be_is_not_loaded() -> Result<()> {
    let server = server("{ preferred_batch_size = [64] }\noptional = true")?;
    let path = "POST /v2/repository/models/m/load";
    let refusal = server.request(path, &[], b"")?;
    let text = String::from_utf8_lossy(&refusal.body).into_owned();
    ensure!(refusal.status >= 400, "{text}");
    ensure!(text.contains("expected 1 to 32"), "{text}");
    Ok(())
}

#[test]
fn a_client_sets_the_rules_with_the_configuration_of_a_load() -> Result<()> {
    let server = server("'off'")?;
    let load = |config: Value| {
        let body = json!({ "parameters": { "config": config.to_string() } }).to_string();
        let path = "POST /v2/repository/models/m/load";
        server.request(path, &[], body.as_bytes())
    };
    let wrong = json!({ "max_batch_size": 8, "dynamic_batching": { "preferred_batch_size": [9] } });
    let refusal = load(wrong)?;
    let text = String::from_utf8_lossy(&refusal.body).into_owned();
    ensure!(refusal.status >= 400, "{text}");
    ensure!(text.contains("expected 1 to 8"), "{text}");
    let loaded = load(json!({
        "max_batch_size": 8,
        "dynamic_batching": {
            "preferred_batch_size": [3],
            "max_queue_delay_microseconds": 3_600_000_000_u64,
        },
    }))?;
    ensure!(loaded.status == 200, "{loaded:?}");
    let (rows, executions) = counts(&server)?;
    infer_at_once(&server, 3)?;
    let after = counts(&server)?;
    ensure!(after == (rows + 3, executions + 1), "{after:?}");
    Ok(())
}
