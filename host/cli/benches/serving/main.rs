//! Measures the cost of the sandbox: `cargo bench --workspace --bench serving`.
//!
//! It measures (a) one handler call on a fresh instance, everything included; (b) whole requests,
//! against the same model behind plain hyper and tract, interleaved in one run; (c) the time from
//! process start to the first correct response; (d) the memory of a server with two models, idle and
//! after its first response; (e) the time from the first connection to the response, of a server that this
//! connection starts. The argument `activation` selects (e) alone: `cargo bench --workspace --bench serving --
//! activation`. Servers run on cpu 0, the load generator on cpu 1; results are medians over
//! rounds. `WISP_BENCH_ROUNDS` sets the number of rounds (5 by default), and `WISP_BENCH_BASE` the path of
//! another `wisp`, such as one of an earlier commit, for which (b) is measured in turn with this one;
//! `WISP_BENCH_BASE_HANDLER` is the path of its handler, if it has to be one that was built with that commit.

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

mod activation;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod load;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod process;
mod sandbox;

use anyhow::{Context, Result, bail, ensure};
use load::{Request, median};
use process::Server;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The number of busy connections.
const CONNECTIONS: usize = 16;

/// The time that each server is loaded per round.
const ROUND: Duration = Duration::from_secs(2);

const WINE: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,13],"data":[12.37,0.94,1.36,10.6,88.0,1.98,0.57,0.28,0.42,1.95,1.05,1.82,520.0]}]}"#;

fn main() -> Result<()> {
    let rounds = std::env::var("WISP_BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(Ok(5), |rounds| rounds.parse())?;
    // Cargo adds options of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let part = arguments.next();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let root = root.context("the crate lies two levels below the root")?;
    let graph = root.join("examples/wine/1/model.onnx");
    let repository = write_repository(&graph, Path::new(wisp_artifacts::WINE))?;

    process::pin(1);
    match part.as_deref() {
        None => {}
        Some("activation") => return first_connection(repository.path(), rounds),
        Some(other) => bail!("`{other}` is not `activation`"),
    }
    println!("(a) one handler call on a fresh instance, microseconds\n");
    sandbox::measure(repository.path())?;
    println!("\n(b) whole requests of `wine`, {CONNECTIONS} connections, {rounds} rounds\n");
    requests(repository.path(), &graph, rounds)?;
    println!("\n(c) process start to the first correct answer of `wine` alone, {rounds} rounds\n");
    cold_start(repository.path(), rounds)?;
    println!("\n(d) memory (PSS) of a server with `wine` and `bare`, {rounds} rounds\n");
    memory(repository.path(), rounds)?;
    println!();
    first_connection(repository.path(), rounds)
}

/// Writes the models `wine`, with a handler, and `bare`, without one.
fn write_repository(graph: &Path, handler: &Path) -> Result<tempfile::TempDir> {
    let repository = tempfile::tempdir()?;
    for model in ["wine", "bare"] {
        let version = repository.path().join(model).join("1");
        std::fs::create_dir_all(&version)?;
        std::fs::copy(graph, version.join("model.onnx"))?;
    }
    let copied = repository.path().join("wine/1/handler.wasm");
    std::fs::copy(handler, copied)?;
    Ok(repository)
}

fn first_connection(repository: &Path, rounds: usize) -> Result<()> {
    println!("(e) first connection to the response of `wine` alone, {rounds} rounds\n");
    let request = Request::json("/v2/models/wine/infer", WINE);
    activation::measure(&repository.join("wine"), &request, rounds)
}

/// One row of the comparison.
struct Contender {
    name: &'static str,
    server: usize,
    path: &'static str,
    body: &'static str,
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

fn requests(repository: &Path, graph: &Path, rounds: usize) -> Result<()> {
    let mut servers = vec![
        Server::start(&plain_server()?, &[graph.as_os_str(), "13".as_ref()])?,
        Server::start(&wisp(), &serve_args(repository))?,
    ];
    let contender = |name, server, path, body| Contender {
        name,
        server,
        path,
        body,
        rates: Vec::new(),
        cpu: Vec::new(),
    };
    let mut contenders = vec![
        contender("plain hyper + tract", 0, "/", WINE),
        contender("wisp, bare", 1, "/v2/models/bare/infer", WINE),
        contender("wisp, with handler", 1, "/v2/models/wine/infer", WINE),
    ];
    if let Some(base) = std::env::var_os("WISP_BENCH_BASE") {
        let handler = std::env::var_os("WISP_BENCH_BASE_HANDLER");
        let handler = handler.map_or_else(|| wisp_artifacts::WINE.into(), PathBuf::from);
        let own = write_repository(graph, &handler)?;
        servers.push(Server::start(Path::new(&base), &serve_args(own.path()))?);
        // It has loaded the files.
        drop(own);
        contenders.extend([
            contender("base, bare", 2, "/v2/models/bare/infer", WINE),
            contender("base, with handler", 2, "/v2/models/wine/infer", WINE),
        ]);
    }
    for _ in 0..rounds {
        for contender in &mut contenders {
            let server = &servers[contender.server];
            let before = server.cpu_time()?;
            let request = Request::json(contender.path, contender.body);
            let done = load::run(server.address, &request, CONNECTIONS, ROUND)?;
            let cpu = server.cpu_time()? - before;
            contender.rates.push(done.per_second);
            contender.cpu.push(cpu.as_secs_f64() * 1e6 / done.requests);
        }
    }
    let base = contenders[0].rates.clone();
    println!("| server | requests/s | of plain | CPU us/request |\n|---|---|---|---|");
    for contender in &contenders {
        let ratios = contender
            .rates
            .iter()
            .zip(&base)
            .map(|(rate, base)| rate / base);
        println!(
            "| {} | {:.0} | {:.2} | {:.1} |",
            contender.name,
            median(contender.rates.clone()),
            median(ratios.collect()),
            median(contender.cpu.clone()),
        );
    }
    Ok(())
}

fn cold_start(repository: &Path, rounds: usize) -> Result<()> {
    let mut starts = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        let server = Server::start(&wisp(), &serve_args(&repository.join("wine")))?;
        load::once(
            server.address,
            &Request::json("/v2/models/wine/infer", WINE),
        )?;
        starts.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("first response after {:.1} ms", median(starts));
    Ok(())
}

fn memory(repository: &Path, rounds: usize) -> Result<()> {
    let (mut idle, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // The server prints its banner, which `start` waits for, after all models are loaded.
        let server = Server::start(&wisp(), &serve_args(repository))?;
        idle.push(server.proportional_memory()? / 1e6);
        load::once(
            server.address,
            &Request::json("/v2/models/wine/infer", WINE),
        )?;
        answered.push(server.proportional_memory()? / 1e6);
    }
    println!("| memory | MB |\n|---|---|");
    println!("| idle, before any request | {:.1} |", median(idle));
    println!("| after the first response | {:.1} |", median(answered));
    Ok(())
}

fn wisp() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_wisp"))
}

/// Builds the baseline server. `cargo bench` does not build examples of other packages itself.
fn plain_server() -> Result<PathBuf> {
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        // As `cargo bench` does, so that nothing is compiled with other features.
        .args(["build", "--release", "--workspace"])
        .args(["--example", "plain_server"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(built.success(), "the plain server does not build");
    Ok(wisp().with_file_name("examples").join("plain_server"))
}

fn serve_args(repository: &Path) -> [&std::ffi::OsStr; 6] {
    [
        "serve".as_ref(),
        "--grpc".as_ref(),
        "none".as_ref(),
        "--http".as_ref(),
        "127.0.0.1:0".as_ref(),
        repository.as_os_str(),
    ]
}
