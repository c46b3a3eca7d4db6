//! Tests of many models in one process: loading on demand, the budget of memory, and equal models that share.

use crate::harness::onnx::Graph;
use crate::harness::{Gate, Repository, Response, TestOptions, TestServer, output, scale};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, LoadOptions, ModelSource};
use wisp_protocol::call::ModelName;
use wisp_serving::model_control::ControlMode;
use wisp_serving::registry::repository_loader::Start;
use wisp_serving::residency::{ModelMemory, ModelResidency, ResidencyOptions};

/// The model file of a model that [`Counting`] loads.
const COUNTED: &str = "backend = \"counting\"";

/// A backend that counts its loads and computes with tract.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn loads(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn version(&self) -> String {
        "0".to_owned()
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn wisp_backend::Graph>, BackendError> {
        self.0.fetch_add(1, SeqCst);
        Tract::new().load(source, options)
    }
}

/// Returns the file of a model that multiplies its input with `factor`.
fn multiplication(factor: f32) -> Vec<u8> {
    Graph::from_x_to_y(&[None, Some(2)])
        .floats("factor", &[1], &[factor])
        .node("Mul", &["x", "factor"], &["y"])
        .bytes()
}

/// Returns the memory that one of these models takes: without a measurement, twice its file and 64 KiB.
fn model_bytes() -> Result<u64> {
    let file = u64::try_from(multiplication(1.0).len())?;
    Ok((64 << 10) + 2 * file)
}

/// Returns the options of a server that loads on demand, within a budget of this many small models.
fn on_demand(models: Option<u64>) -> Result<TestOptions> {
    let bytes = model_bytes()?;
    Ok(TestOptions {
        start: Start::Dormant,
        residency: ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: models.map(|models| models * bytes),
        },
        ..TestOptions::default()
    })
}

fn with_backend(backend: &Counting, options: TestOptions) -> TestOptions {
    TestOptions {
        backends: vec![Arc::new(backend.clone())],
        ..options
    }
}

fn request() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0] }] })
}

/// Calls a model and checks that it multiplies with `factor`.
fn call(server: &TestServer, model: &str, factor: f64) -> Result<()> {
    let answer = server.infer(model, &request())?.ok()?;
    let data = &output(&answer, "y")?["data"];
    let found = [data[0].as_f64(), data[1].as_f64()];
    ensure!(
        found == [Some(factor), Some(2.0 * factor)],
        "{model}: {data}"
    );
    Ok(())
}

fn memory(server: &TestServer) -> Result<ModelMemory> {
    let residency = server.serving().residency();
    Ok(residency.context("no residency")?.memory())
}

fn model(server: &TestServer, name: &str) -> Result<ModelResidency> {
    let residency = server.serving().residency().context("no residency")?;
    let name = ModelName::new(name)?;
    let mut models = residency.models().into_iter();
    let found = models.find(|model| model.model == name);
    found.context("it was never loaded")
}

fn control(server: &TestServer, model: &str, verb: &str) -> Result<Response> {
    let path = format!("POST /v2/repository/models/{model}/{verb}");
    server.request(&path, &[], b"")
}

fn index(server: &TestServer) -> Result<Value> {
    server.request("POST /v2/repository/index", &[], b"")?.ok()
}

#[test]
fn thousands_of_models_answer_within_a_budget_for_a_tenth_of_them() -> Result<()> {
    let count = u16::try_from(30 * scale().clamp(1, 100))?;
    let resident = count / 10;
    let (all, some) = (usize::from(count), usize::from(resident));
    let mut repository = Repository::empty()?;
    for number in 0..count {
        let file = format!("m{number}/1/model.onnx");
        repository = repository.with_file(&file, multiplication(f32::from(number)))?;
    }
    let options = on_demand(Some(u64::from(resident)))?;
    let server = TestServer::with_options(repository, options)?;
    ensure!(memory(&server)?.models == 0, "something is loaded");
    ensure!(server.get("/v2/health/ready")?.status == 200);
    for round in 1..=2 {
        for number in 0..count {
            call(&server, &format!("m{number}"), f64::from(number))?;
            let ModelMemory {
                models,
                bytes,
                budget,
            } = memory(&server)?;
            ensure!(models <= some, "{models} of {some} are loaded");
            ensure!(budget.is_some_and(|budget| bytes <= budget), "{bytes}");
        }
        // The statistics outlive the evictions.
        let statistics = server.get("/v2/models/m0/stats")?.ok()?;
        let counted = &statistics["model_stats"][0]["inference_stats"]["success"]["count"];
        ensure!(*counted == round, "{statistics}");
    }
    ensure!(memory(&server)?.models == some);
    let first = model(&server, "m0")?;
    ensure!(first.evictions == 2 && first.loads.count == 2, "{first:?}");
    ensure!(first.loads.longest >= first.loads.last && !first.loads.last.is_zero());
    let index = index(&server)?;
    let entries = index.as_array().context("no list")?;
    ensure!(entries.len() == all);
    ensure!(entries.iter().all(|entry| entry["state"] == "READY"));
    let waiting = entries
        .iter()
        .filter(|entry| entry["reason"] == "not loaded yet");
    ensure!(waiting.count() == all - some);
    Ok(())
}

#[test]
fn the_most_recently_used_models_stay() -> Result<()> {
    let mut repository = Repository::empty()?;
    for (name, factor) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        let file = format!("{name}/1/model.onnx");
        repository = repository.with_file(&file, multiplication(factor))?;
    }
    let server = TestServer::with_options(repository, on_demand(Some(2))?)?;
    for (name, factor) in [("a", 1.0), ("b", 2.0), ("a", 1.0), ("c", 3.0), ("a", 1.0)] {
        call(&server, name, factor)?;
    }
    ensure!(model(&server, "a")?.loads.count == 1);
    ensure!(model(&server, "b")?.evictions == 1);
    ensure!(model(&server, "c")?.bytes.is_some());
    Ok(())
}

#[test]
fn concurrent_first_requests_share_one_load() -> Result<()> {
    let backend = Counting::default();
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", multiplication(2.0))?
        .with_file("m/model.toml", COUNTED)?;
    let server = TestServer::with_options(repository, with_backend(&backend, on_demand(None)?))?;
    ensure!(backend.loads() == 0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| call(&server, "m", 2.0)))
            .collect();
        let mut results = clients.into_iter().map(|client| client.join());
        results.try_for_each(|result| result.ok().context("a client has panicked")?)
    })?;
    ensure!(backend.loads() == 1, "{} loads", backend.loads());
    Ok(())
}

#[test]
fn a_model_with_a_running_request_stays_until_it_has_answered() -> Result<()> {
    let gate = Gate::default();
    let repository = Repository::empty()?
        .with_file("a/1/model.onnx", multiplication(2.0))?
        .with_file("b/1/model.onnx", multiplication(3.0))?
        .with_file("c/1/model.onnx", multiplication(4.0))?;
    let options = TestOptions {
        gate: Some(gate.clone()),
        ..on_demand(Some(1))?
    };
    let server = TestServer::with_options(repository, options)?;
    std::thread::scope(|scope| -> Result<()> {
        let first = scope.spawn(|| call(&server, "a", 2.0));
        gate.wait_for(1)?;
        let second = scope.spawn(|| call(&server, "b", 3.0));
        // A client that loads a model does not wait for room.
        let refusal = control(&server, "c", "load");
        let loaded = model(&server, "a");
        gate.open();
        let refusal = refusal?.error(503)?;
        ensure!(refusal.contains("--max-model-memory-bytes"), "{refusal}");
        ensure!(loaded?.bytes.is_some());
        for client in [first, second] {
            client.join().ok().context("a client has panicked")??;
        }
        Ok(())
    })?;
    ensure!(model(&server, "a")?.evictions == 1);
    ensure!(memory(&server)?.models == 1);
    Ok(())
}

#[test]
fn a_model_that_cannot_be_loaded_is_not_loaded_for_each_request() -> Result<()> {
    let backend = Counting::default();
    let repository = Repository::empty()?
        .with_file("bad/1/model.onnx", "not a model")?
        .with_file("bad/model.toml", COUNTED)?;
    let server = TestServer::with_options(repository, with_backend(&backend, on_demand(None)?))?;
    ensure!(
        server.get("/v2/models/bad/ready")?.status == 200,
        "it is not tried yet"
    );
    let started = Instant::now();
    let first = server.infer("bad", &request())?.error(503)?;
    ensure!(first.contains("cannot be loaded"), "{first}");
    let second = server.infer("bad", &request())?;
    ensure!(second.header("retry-after").is_some());
    ensure!(second.error(503)? == first);
    // The first pause lasts a second, which a busy machine may take for two requests.
    if started.elapsed() < Duration::from_secs(1) {
        ensure!(backend.loads() == 1, "{} loads", backend.loads());
    }
    ensure!(server.get("/v2/models/bad/ready")?.status == 400);
    ensure!(index(&server)?[0]["state"] == "UNAVAILABLE");
    // A client need not wait.
    std::fs::write(
        server.repository().join("bad/1/model.onnx"),
        multiplication(5.0),
    )?;
    control(&server, "bad", "load")?.ok()?;
    call(&server, "bad", 5.0)
}

#[test]
fn equal_models_are_loaded_once() -> Result<()> {
    let backend = Counting::default();
    let mut repository = Repository::empty()?;
    for name in ["a", "b", "c"] {
        repository = repository
            .with_file(&format!("{name}/1/model.onnx"), multiplication(2.0))?
            .with_file(&format!("{name}/2/model.onnx"), multiplication(2.0))?
            .with_file(
                &format!("{name}/model.toml"),
                format!("{COUNTED}\nversions = \"all\""),
            )?;
    }
    let options = with_backend(&backend, TestOptions::default());
    let server = TestServer::with_options(repository, options)?;
    ensure!(backend.loads() == 1, "{} loads", backend.loads());
    for name in ["a", "b", "c"] {
        call(&server, name, 2.0)?;
        let answer = server.request(
            &format!("POST /v2/models/{name}/versions/1/infer"),
            &[],
            &serde_json::to_vec(&request())?,
        )?;
        answer.ok()?;
    }
    // The shared weights leave with the last user only.
    control(&server, "a", "unload")?.ok()?;
    call(&server, "b", 2.0)?;
    let other = server.repository().join("b/2/model.onnx");
    std::fs::write(other, multiplication(7.0))?;
    control(&server, "b", "load")?.ok()?;
    call(&server, "b", 7.0)?;
    call(&server, "c", 2.0)?;
    ensure!(backend.loads() == 2, "{} loads", backend.loads());
    Ok(())
}

#[test]
fn metadata_loads_a_model_and_clients_still_load_and_unload() -> Result<()> {
    let repository = Repository::empty()?
        .with_file("a/1/model.onnx", multiplication(2.0))?
        .with_file("b/1/model.onnx", multiplication(3.0))?;
    let server = TestServer::with_options(repository, on_demand(None)?)?;
    ensure!(index(&server)?[0]["reason"] == "not loaded yet");
    for path in ["/v2/models/a/ready", "/v2/models/a/stats", "/v1/models/a"] {
        ensure!(server.get(path)?.status == 200, "{path}");
    }
    ensure!(
        memory(&server)?.models == 0,
        "a question has loaded a model"
    );
    let metadata = server.get("/v2/models/a")?.ok()?;
    ensure!(metadata["inputs"][0]["name"] == "x", "{metadata}");
    ensure!(memory(&server)?.models == 1);
    control(&server, "b", "load")?.ok()?;
    ensure!(memory(&server)?.models == 2);
    control(&server, "b", "unload")?.ok()?;
    ensure!(memory(&server)?.models == 1);
    // A model that a client has unloaded is not loaded by a request.
    ensure!(server.infer("b", &request())?.status != 200);
    ensure!(memory(&server)?.models == 1);
    control(&server, "b", "load")?.ok()?;
    call(&server, "b", 3.0)
}

#[test]
fn a_polled_repository_with_changes_loads_nothing_before_it_is_asked_for() -> Result<()> {
    let repository = Repository::empty()?
        .with_file("asked/1/model.onnx", multiplication(2.0))?
        .with_file("idle/1/model.onnx", multiplication(3.0))?;
    let options = TestOptions {
        control: ControlMode::Poll,
        ..on_demand(None)?
    };
    let server = TestServer::with_options(repository, options)?;
    call(&server, "asked", 2.0)?;
    for (name, factor) in [("asked", 4.0), ("idle", 5.0), ("new", 6.0)] {
        let version = server.repository().join(name).join("2");
        std::fs::create_dir_all(&version)?;
        std::fs::write(version.join("model.onnx"), multiplication(factor))?;
    }
    // A change is applied once two polls have found the same files.
    server.look()?;
    let changes = server.look()?;
    ensure!(changes.len() == 3, "{changes:?}");
    ensure!(
        memory(&server)?.models == 1,
        "only the loaded one is loaded again"
    );
    for (name, factor) in [("asked", 4.0), ("idle", 5.0), ("new", 6.0)] {
        call(&server, name, factor)?;
    }
    std::fs::remove_dir_all(server.repository().join("new"))?;
    server.look()?;
    server.look()?;
    ensure!(server.infer("new", &request())?.status != 200);
    ensure!(memory(&server)?.models == 2);
    Ok(())
}

#[test]
fn a_budget_loads_at_the_start_what_fits() -> Result<()> {
    let mut repository = Repository::empty()?;
    for number in 0..5_u16 {
        let file = format!("m{number}/1/model.onnx");
        repository = repository.with_file(&file, multiplication(f32::from(number)))?;
    }
    let budget = 3 * model_bytes()?;
    let options = TestOptions {
        start: Start::Within(budget),
        residency: ResidencyOptions {
            load_on_demand: false,
            max_model_memory_bytes: Some(budget),
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    ensure!(memory(&server)?.models == 3, "{:?}", memory(&server)?);
    for number in 0..5_u16 {
        call(&server, &format!("m{number}"), f64::from(number))?;
    }
    ensure!(memory(&server)?.models == 3);
    Ok(())
}
