//! Tests of files that are crafted to compile or load forever. The limits of a child process end each of
//! them, and the server keeps serving meanwhile.

use crate::harness::victim::victim_is_well;
use crate::harness::wat_handler::{WatHandler, bare_beside};
use crate::harness::{Repository, Response, TestOptions, TestServer, child_program, root};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, LoadOptions, ModelSource};
use wisp_sandbox::aot::COMPILATION;
use wisp_sandbox::limited_process::{ChildResponse, ProcessLimits};
use wisp_sandbox::worker_process::WorkerProcess;
use wisp_serving::registry::load_task::LoadTask;

/// The limits on compiling a bomb in these tests; a server's limits are longer.
const SHORT: ProcessLimits = ProcessLimits {
    processor_time: Duration::from_secs(3),
    ..COMPILATION
};

/// Limits with little memory, for a child that must run out of memory.
const LITTLE: ProcessLimits = ProcessLimits {
    memory_bytes: 64 << 20,
    processor_time: Duration::from_secs(100),
    wall_time: Duration::from_secs(300),
    ..COMPILATION
};

/// Returns a handler with a short function that takes a compiler long.
fn bomb(function: &str) -> Result<Vec<u8>> {
    WatHandler {
        pages: 1,
        imports: "",
        fields: &format!("(func (param i32) (result i32) {function} local.get 0)"),
        infer: "",
    }
    .component()
}

/// Returns a handler with `depth` nested loops, whose compilation time is quadratic in the depth.
fn loops(depth: usize) -> Result<Vec<u8>> {
    bomb(&["loop\n".repeat(depth), "end\n".repeat(depth)].concat())
}

/// Returns a handler with `count` empty functions, for each of which a compiler stores far more than the
/// function's own bytes.
fn functions(count: usize) -> Result<Vec<u8>> {
    WatHandler {
        pages: 1,
        imports: "",
        fields: &"(func)".repeat(count),
        infer: "",
    }
    .component()
}

fn server(limits: ProcessLimits, repository: Repository) -> Result<TestServer> {
    let options = TestOptions {
        compilation: limits,
        ..TestOptions::default()
    };
    TestServer::with_options(repository, options)
}

fn load(server: &TestServer, model: &str) -> Result<Response> {
    let path = format!("POST /v2/repository/models/{model}/load");
    server.request(&path, &[], b"{}")
}

fn unload(server: &TestServer, model: &str) -> Result<Response> {
    let path = format!("POST /v2/repository/models/{model}/unload");
    server.request(&path, &[], b"{}")
}

/// Loads the model `bomb` while the victim responds, at least once.
fn load_beside_the_victim(server: &TestServer) -> Result<Response> {
    thread::scope(|scope| {
        let bomb = scope.spawn(|| load(server, "bomb"));
        loop {
            victim_is_well(server)?;
            if bomb.is_finished() {
                return bomb.join().expect("it does not panic");
            }
        }
    })
}

#[test]
fn a_component_that_compiles_for_ever_is_refused_while_other_models_load() -> Result<()> {
    let repository = Repository::of(&["wine", "progression"])?;
    let server = server(SHORT, repository)?;
    let handler = server.repository().join("bomb/1/handler.wasm");
    std::fs::create_dir_all(handler.parent().context("it has a directory")?)?;
    std::fs::write(&handler, loops(20_000)?)?;
    thread::scope(|scope| {
        let bomb = scope.spawn(|| load(&server, "bomb"));
        let mut rounds = 0;
        while !bomb.is_finished() {
            load(&server, "progression")?.ok()?;
            unload(&server, "progression")?.ok()?;
            victim_is_well(&server)?;
            rounds += usize::from(!bomb.is_finished());
        }
        ensure!(rounds > 0, "nothing else was done meanwhile");
        let error = bomb.join().expect("it does not panic")?.error(400)?;
        ensure!(error.contains("more than 3 s of processor time"), "{error}");
        anyhow::Ok(())
    })?;
    // The handler may be replaced by a valid one.
    std::fs::write(&handler, loops(2)?)?;
    load(&server, "bomb")?.ok()?;
    Ok(())
}

#[test]
fn the_start_does_not_wait_for_a_component_that_compiles_for_ever() -> Result<()> {
    let repository = Repository::of(&["wine"])?.with_file("bomb/1/handler.wasm", loops(20_000)?)?;
    let server = server(SHORT, repository)?;
    victim_is_well(&server)?;
    let x = json!({ "inputs": [{ "name": "x", "datatype": "UINT32", "shape": [1], "data": [0] }] });
    let error = server.infer("bomb", &x)?.error(503)?;
    ensure!(error.contains("processor time"), "{error}");
    Ok(())
}

#[test]
fn a_component_whose_compilation_takes_too_much_memory_is_refused() -> Result<()> {
    let server = server(LITTLE, Repository::of(&["wine"])?)?;
    let handler = server.repository().join("bomb/1/handler.wasm");
    std::fs::create_dir_all(handler.parent().context("it has a directory")?)?;
    std::fs::write(&handler, functions(100_000)?)?;
    let error = load_beside_the_victim(&server)?.error(400)?;
    ensure!(error.contains("its process ended"), "{error}");
    ensure!(error.contains("memory limit: 64 MiB"), "{error}");
    victim_is_well(&server)
}

#[test]
fn components_that_are_large_in_other_ways_are_loaded_or_refused_while_others_respond() -> Result<()>
{
    // Those of a server: these tests have less time.
    ensure!(COMPILATION.processor_time == Duration::from_secs(10));
    ensure!(COMPILATION.memory_bytes == 1 << 30);
    let server = server(SHORT, Repository::of(&["wine"])?)?;
    let handler = server.repository().join("bomb/1/handler.wasm");
    std::fs::create_dir_all(handler.parent().context("it has a directory")?)?;
    let labels = "0 ".repeat(1_000_000);
    let exports = (0..100_000).map(|number| format!("(export \"{number}\" (func 0))"));
    for (what, fields) in [
        (
            "a million labels",
            format!("(func (param i32) block local.get 0 br_table {labels} end)"),
        ),
        (
            "fifty thousand locals",
            format!("(func (local {}))", "i64 ".repeat(50_000)),
        ),
        (
            "a hundred thousand imports",
            r#"(import "a" "b" (func))"#.repeat(100_000),
        ),
        (
            "a hundred thousand exports",
            format!("(func) {}", exports.collect::<String>()),
        ),
        (
            "ten thousand blocks in each other",
            format!(
                "(func {} {})",
                "block ".repeat(10_000),
                "end ".repeat(10_000)
            ),
        ),
    ] {
        std::fs::write(&handler, bare_beside(&fields)?)?;
        let response = load_beside_the_victim(&server).context(what)?;
        ensure!(matches!(response.status, 200 | 400), "{what}: {response:?}");
        victim_is_well(&server).context(what)?;
    }
    Ok(())
}

#[test]
fn a_component_above_the_size_limit_is_not_read() -> Result<()> {
    let repository = Repository::of(&["wine"])?.with_file("bomb/1/handler.wasm", "")?;
    let file = std::fs::File::create(repository.path().join("bomb/1/handler.wasm"))?;
    // A sparse file, larger than the memory of any machine.
    file.set_len(1 << 40)?;
    let server = server(SHORT, repository)?;
    let error = load(&server, "bomb")?.error(400)?;
    ensure!(error.contains("handler.wasm cannot be read"), "{error}");
    victim_is_well(&server)
}

#[test]
fn a_child_process_ends_with_its_server() -> Result<()> {
    let repository = Repository::empty()?.with_file("bomb/1/handler.wasm", loops(100_000)?)?;
    let cache = tempfile::tempdir()?;
    let mut server = Command::new(env!("CARGO_BIN_EXE_wisp"))
        .args([
            "serve",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "none",
            "--cache-dir",
        ])
        .arg(cache.path())
        .arg(repository.path())
        .env("WISP_METRICS", "none")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let server_id = server.id();
    let found = within(Duration::from_secs(30), || {
        // The server's child is the process that starts the others.
        let mut children_of_child = children(server_id).into_iter().flat_map(children);
        children_of_child.next()
    });
    // SIGKILL: the server can run no code of its own to clean up.
    server.kill()?;
    server.wait()?;
    let child = found.context("it has started no child")?;
    // The compilation takes longer than this.
    let gone = within(Duration::from_secs(5), || has_ended(child).then_some(()));
    gone.context("its child goes on without it")
}

/// Polls `ask` until it returns a value or `patience` has elapsed.
fn within<T>(patience: Duration, ask: impl Fn() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > end {
            return answer;
        }
        thread::yield_now();
    }
}

/// Returns the child processes of a process, started on any of its threads.
fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    let of_thread = |thread: std::fs::DirEntry| {
        let children = std::fs::read_to_string(thread.path().join("children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        children.collect::<Vec<u32>>()
    };
    threads.flatten().flat_map(of_thread).collect()
}

/// Returns whether a process is gone, or is a zombie.
fn has_ended(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
        return true;
    };
    let state = stat.rsplit(')').next().unwrap_or_default();
    state.trim_start().starts_with(['Z', 'X'])
}

// === model files ===

fn with_probe(limits: ProcessLimits, passed: &Path) -> TestOptions {
    TestOptions {
        probe: Some((limits, passed.to_owned())),
        ..TestOptions::default()
    }
}

#[test]
fn a_model_file_that_exceeds_the_limits_of_its_child_is_refused() -> Result<()> {
    let passed = tempfile::tempdir()?;
    let limits = ProcessLimits {
        // Less than any backend needs.
        memory_bytes: 1 << 20,
        ..COMPILATION
    };
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let server = TestServer::with_options(repository, with_probe(limits, passed.path()))?;
    let error = load(&server, "bare")?.error(400)?;
    ensure!(
        error.contains("tract cannot load graph `model` within the limits"),
        "{error}"
    );
    ensure!(error.contains("memory limit: 1 MiB"), "{error}");
    ensure!(
        std::fs::read_dir(passed.path())?.next().is_none(),
        "it has not passed"
    );
    Ok(())
}

#[test]
fn a_loaded_model_file_needs_no_child_until_it_changes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let passed = directory.path().join("passed");
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let server = TestServer::with_options(repository, with_probe(COMPILATION, &passed))?;
    let records = || anyhow::Ok(std::fs::read_dir(&passed)?.count());
    ensure!(records()? == 1);
    load(&server, "bare")?.ok()?;
    ensure!(records()? == 1, "it was tried again");
    // A file that the graph does not name contains none of its weights.
    std::fs::write(server.repository().join("bare/1/weights"), "1")?;
    load(&server, "bare")?.ok()?;
    ensure!(records()? == 1, "the same graph was tried again");
    let other = root().join("examples/wine/1/model.onnx");
    std::fs::copy(other, server.repository().join("bare/1/model.onnx"))?;
    load(&server, "bare")?.ok()?;
    ensure!(records()? == 2, "it has changed unnoticed");
    Ok(())
}

#[test]
fn the_error_for_a_model_file_contains_that_of_its_backend() -> Result<()> {
    let passed = tempfile::tempdir()?;
    let repository = Repository::of(&["wine"])?.with_file("junk/1/model.onnx", "junk")?;
    let path = repository.path().join("junk/1/model.onnx");
    let server = TestServer::with_options(repository, with_probe(COMPILATION, passed.path()))?;
    let expected = Tract::new().load(ModelSource::Path(&path), &LoadOptions::default());
    let expected = expected.err().context("junk is loaded")?.to_string();
    ensure!(expected.contains("tract"), "{expected}");
    load(&server, "junk")?.error(400)?;
    // The child process gives the same reason.
    let task = LoadTask::new(&path, Some("tract"), &LoadOptions::default()).encode();
    let mut child = WorkerProcess::start(&child_program("load"), &COMPILATION)?;
    let ChildResponse::Refusal(reason) = child.perform(&task)? else {
        anyhow::bail!("a child loads it");
    };
    ensure!(reason.starts_with(&expected), "{reason}\n{expected}");
    victim_is_well(&server)
}
