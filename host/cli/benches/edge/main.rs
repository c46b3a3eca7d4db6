//! Measures edge bundles: `cargo bench --workspace --bench edge`.
//!
//! It measures (a) the bundle of `digits` in a host of wasi:http that is built on wasmtime alone, with a new instance for
//! each request, in `wisp serve`, and in workerd, against the handler in `wisp serve`; (b) the time from process start to
//! the first response of each, and from the first connection to the response of a server that this connection starts; (c)
//! larger models without a handler: native rten in `wisp serve` against their bundles; (d) requests that compute nothing,
//! for the liveness of the bundle; (e) requests to a component that only answers `hello`. The contenders take turns within
//! a round. Servers run on cpu 0, the load generator on cpu 1; results are medians over rounds.
//!
//! `WISP_BENCH_PARTS` selects parts, such as `ae`. `WISP_BENCH_ROUNDS` sets the number of rounds (5 by default),
//! `WISP_BENCH_MODELS` the models of (c) by comma-separated names, `WISP_EDGE_MODULES` the directory with the modules of
//! bundles (by default those of the tests), and `WISP_BENCH_WASMTIME` the path of a `wasmtime`, which then is another
//! contender in (a), (b), (d) and (e). workerd is the one that the tests have installed. Servers that run already take part
//! in (a) as `WISP_BENCH_SERVERS=NAME=ADDRESS,...`.

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

#[path = "../serving/activation.rs"]
mod activation;
mod contender;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../peers/environment.rs"]
mod environment;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/load.rs"]
mod load;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../models/model.rs"]
mod model;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/process.rs"]
mod process;
#[path = "../../../../tests/edge/wasmtime_server.rs"]
mod wasmtime_server;
mod worker;
#[path = "../../../../tests/edge/worker_runtime.rs"]
mod worker_runtime;

use anyhow::{Context, Result};
use contender::{Contender, Program, below, print, take_turns};
use environment::{Environment, Packages, root, scripts, succeed};
use load::{Request, median};
use model::{Model, SERVED};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wasmtime_server::WasmtimeServer;
use worker::NodePackages;

/// The time that a server is loaded per round and number of connections.
const ROUND: Duration = Duration::from_secs(1);

/// The route of a bundle in `wisp serve`.
const ROUTE: &str = "/apps/bundle";

/// The path of an inference with the model of (a).
const DIGITS: &str = "/v2/models/digits/infer";

/// The parts of the benchmark.
const PARTS: &str = "abcde";

/// The models of (c).
const MODELS: &str = "mnist_cnn,mobilenetv2,minilm";

/// The argument with which this program is the host of wasi:http.
const HOST: &str = "host";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if let (Some(HOST), Some(component)) = (arguments.next().as_deref(), arguments.next()) {
        return host(Path::new(&component));
    }
    let rounds = std::env::var("WISP_BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(Ok(5), |rounds| rounds.parse())?;
    let wasmtime = std::env::var_os("WISP_BENCH_WASMTIME").map(PathBuf::from);
    let parts = std::env::var("WISP_BENCH_PARTS").unwrap_or_else(|_| PARTS.to_owned());
    process::pin(1);
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let digits = digits(directory)?;
    let bundle = directory.join("digits.wasm");
    make_bundle(&digits, &bundle, "rten")?;
    let programs = programs(&digits, &bundle, wasmtime.as_deref())?;
    let image = std::fs::read(root()?.join("examples/digits/samples/7.png"))?;
    let headers = "inference-header-content-length: 0\r\n";
    let request = Request::post(DIGITS, headers, &image);
    if parts.contains('a') {
        println!("\n(a) an image to `digits`, {rounds} rounds\n");
        let mut contenders = started(&programs, &request)?;
        contenders.extend(workers(&digits, directory, &request)?);
        for (name, address) in running_servers()? {
            contenders.push(Contender::running(name, address, request.clone()));
        }
        take_turns(&mut contenders, rounds)?;
        print(&contenders);
    }
    if parts.contains('b') {
        println!("\n(b) process start to the first response of `digits`, {rounds} rounds\n");
        cold_starts(&programs, &request, rounds)?;
        println!("\n(b) first connection to the response, natively, {rounds} rounds\n");
        first_connections(&digits, &request, rounds)?;
        println!("\n(b) first connection to the response of the bundle, {rounds} rounds\n");
        let request = below(ROUTE, &request)?;
        first_connections(&repository(directory, &bundle)?, &request, rounds)?;
    }
    if parts.contains('c') {
        println!("\n(c) one row to larger models, binary tensors, {rounds} rounds");
        let chosen = std::env::var("WISP_BENCH_MODELS");
        models(chosen.as_deref().unwrap_or(MODELS), directory, rounds)?;
    }
    if parts.contains('d') {
        println!("\n(d) liveness of the bundle of `digits`, {rounds} rounds\n");
        let live = Request::get("/v2/health/live");
        compare(&programs[1..], &live, rounds)?;
    }
    if parts.contains('e') {
        println!("\n(e) a component that answers `hello`, {rounds} rounds\n");
        let component = Path::new(wisp_artifacts::HELLO_GUEST);
        let served = repository(directory, component)?;
        let mut programs = vec![
            Program::wisp("`wisp serve`", &served, ROUTE),
            Program::host("wasmtime-wasi-http", HOST, component)?,
        ];
        programs.extend(wasmtime.map(|wasmtime| Program::wasmtime(&wasmtime, component)));
        compare(&programs, &Request::get("/"), rounds)?;
    }
    Ok(())
}

/// Measures programs, and prints a row for each.
fn compare(programs: &[Program], request: &Request, rounds: usize) -> Result<()> {
    let mut contenders = started(programs, request)?;
    take_turns(&mut contenders, rounds)?;
    print(&contenders);
    Ok(())
}

/// Starts the Workers of a model: one that makes an instance for each request, and one that keeps it.
fn workers(model: &Path, directory: &Path, request: &Request) -> Result<Vec<Contender>> {
    let Some(packages) = NodePackages::find()? else {
        println!("workerd is not installed: a test in tests/edge/workerd.rs does\n");
        return Ok(Vec::new());
    };
    let fresh = packages.start(
        ("workerd, bundle", &[]),
        (model, &directory.join("worker")),
        request,
    )?;
    let kept = packages.start(
        (
            "workerd, bundle with `--keep-instance`",
            &["--keep-instance"],
        ),
        (model, &directory.join("worker-kept")),
        request,
    )?;
    Ok(vec![fresh, kept])
}

/// Measures a server that the first connection starts, if a listener is available.
fn first_connections(model: &Path, request: &Request, rounds: usize) -> Result<()> {
    if Command::new("systemd-socket-activate")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("there is no systemd-socket-activate");
        return Ok(());
    }
    activation::measure(model, request, rounds)
}

/// Serves a component until the process is killed.
fn host(component: &Path) -> Result<()> {
    let server = WasmtimeServer::start(component).map_err(anyhow::Error::msg)?;
    println!("http://{}", server.address());
    loop {
        std::thread::park();
    }
}

/// Copies the example with its handler. Returns the directory of the model.
fn digits(directory: &Path) -> Result<PathBuf> {
    let source = root()?.join("examples/digits");
    let model = directory.join("digits");
    for part in ["1", "cases", "samples"] {
        std::fs::create_dir_all(model.join(part))?;
        for entry in std::fs::read_dir(source.join(part))? {
            let entry = entry?;
            std::fs::copy(entry.path(), model.join(part).join(entry.file_name()))?;
        }
    }
    std::fs::copy(wisp_artifacts::DIGITS, model.join("1/handler.wasm"))?;
    Ok(model)
}

/// Makes the bundle of a model, and prints the report of `wisp bundle`.
fn make_bundle(model: &Path, output: &Path, engine: &str) -> Result<()> {
    succeed(&mut bundle_command(model, output, engine))
}

/// Returns the command that bundles a model.
pub(crate) fn bundle_command(model: &Path, output: &Path, engine: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wisp"));
    if std::env::var_os("WISP_EDGE_MODULES").is_none() {
        command.env("WISP_EDGE_MODULES", wisp_artifacts::EDGE_MODULES);
    }
    command.arg("bundle").arg(model).args(["--engine", engine]);
    command.arg("--output").arg(output);
    command
}

/// Returns a repository with one version of one model, whose handler is the component.
fn repository(directory: &Path, component: &Path) -> Result<PathBuf> {
    let repository = tempfile::tempdir_in(directory)?.keep();
    let version = repository.join("bundle/1");
    std::fs::create_dir_all(&version)?;
    std::fs::copy(component, version.join("handler.wasm"))?;
    Ok(repository)
}

/// Returns the ways to serve a model: natively, and its bundle in each host.
fn programs(model: &Path, bundle: &Path, wasmtime: Option<&Path>) -> Result<Vec<Program>> {
    let directory = bundle.parent().context("a file in a directory")?;
    let mut programs = vec![
        Program::wisp("`wisp serve`, native", model, ""),
        Program::wisp(
            "`wisp serve`, bundle",
            &repository(directory, bundle)?,
            ROUTE,
        ),
        Program::host("wasmtime-wasi-http, bundle", HOST, bundle)?,
    ];
    programs.extend(wasmtime.map(|wasmtime| Program::wasmtime(wasmtime, bundle)));
    Ok(programs)
}

/// Starts each program, and returns it with its request. The first one has to start; others may refuse a component, such
/// as one that is too large.
fn started(programs: &[Program], request: &Request) -> Result<Vec<Contender>> {
    let mut started = Vec::new();
    for program in programs {
        match Contender::start(program, request) {
            Ok(contender) => started.push(contender),
            Err(error) if started.is_empty() => return Err(error.context(program.name.clone())),
            Err(_) => println!("{} does not serve it\n", program.name),
        }
    }
    Ok(started)
}

/// Returns the names and addresses of servers that run already.
fn running_servers() -> Result<Vec<(String, std::net::SocketAddr)>> {
    let list = std::env::var("WISP_BENCH_SERVERS").unwrap_or_default();
    let servers = list.split(',').filter(|server| !server.is_empty());
    servers
        .map(|server| {
            let (name, address) = server.split_once('=').context("expected NAME=ADDRESS")?;
            Ok((name.to_owned(), address.parse()?))
        })
        .collect()
}

fn cold_starts(programs: &[Program], request: &Request, rounds: usize) -> Result<()> {
    let mut times: Vec<Vec<f64>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (program, times) in programs.iter().zip(&mut times) {
            let started = Instant::now();
            let contender = Contender::start(program, request)?;
            contender.ask_once()?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("| server | first response, ms |\n|---|---|");
    for (program, times) in programs.iter().zip(times) {
        println!("| {} | {:.1} |", program.name, median(times));
    }
    Ok(())
}

/// Compares models without a handler.
fn models(names: &str, directory: &Path, rounds: usize) -> Result<()> {
    let list = &scripts("models").join("models.txt");
    let complete = true;
    let python = Environment::install("models", Packages { list, complete })?;
    let models = root()?.join("target/bench-models");
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    let mut make = python.command("python", &scripts("models"));
    make.arg("make_models.py").arg(&models).args(&names);
    make.stdout(std::process::Stdio::inherit());
    succeed(make.stderr(std::process::Stdio::inherit()))?;
    for name in names {
        let source = models.join(name);
        let served = directory.join(name).join(SERVED);
        std::fs::create_dir_all(served.join("1"))?;
        std::fs::copy(source.join("model.onnx"), served.join("1/model.onnx"))?;
        let settings = "backend = \"rten\"\nthreads = 1\ninstances = 1\n";
        std::fs::write(served.join("model.toml"), settings)?;
        println!("\n`{name}`\n");
        let bundle = directory.join(name).join("bundle.wasm");
        make_bundle(&served, &bundle, "rten")?;
        let programs = programs(&served, &bundle, None)?;
        let request = Model::open(&source)?.v2_binary(1);
        let mut contenders = started(&programs, &request)?;
        take_turns(&mut contenders, rounds)?;
        print(&contenders);
    }
    Ok(())
}
