//! A text encoder with 64 clients, in Wisp and in other servers that batch.
//!
//! All compute with the same version of ONNX Runtime and one thread: Wisp with the automatic choice and with batches of
//! up to 32 rows that wait for up to 10 ms; FastAPI with a queue like the one of text-embeddings-inference; MLServer with
//! its adaptive batching of up to 32 rows and 10 ms. A request is one text of 128 tokens, in binary or in JSON.

use crate::environment::{self, Environment, Packages, scripts};
use crate::load;
use crate::measured::{Loaded, take_turns};
use crate::model::{Model, SERVED};
use crate::process::Server;
use crate::served::Served;
use crate::settings::{AUTO, FIXED};
use crate::{Rounds, Tools};
use anyhow::{Context, Result};
use std::path::Path;

const MODEL: &str = "minilm_random";

const CONNECTIONS: usize = 64;

/// A server with requests of one format.
struct Contender {
    name: &'static str,
    format: &'static str,
    loaded: Loaded,
}

/// Compares the servers, and prints the results.
pub(crate) fn compare(tools: &Tools, rounds: Rounds) -> Result<()> {
    let fastapi = install("fastapi")?;
    let mlserver = install("mlserver")?;
    let directory = tools.make_models(&[MODEL])?.join(MODEL);
    let model = Model::open(&directory)?;
    let served = Served {
        graph: &directory.join("model.onnx"),
        backend: "onnxruntime",
        library: &tools.library,
    };
    let (auto, fixed) = (served.start(AUTO)?, served.start(FIXED)?);
    let fastapi = start_fastapi(&fastapi, &directory)?;
    let mlserver = start_mlserver(&mlserver, &directory)?;
    let contender = |name, format, server: &Server, request| Contender {
        name,
        format,
        loaded: Loaded {
            address: server.address,
            request,
        },
    };
    let (binary, json) = (model.v2_binary(1), model.v2_json()?);
    let contenders = [
        contender("Wisp, auto", "binary", &auto.server, binary.clone()),
        contender("Wisp, 32 rows, 10 ms", "binary", &fixed.server, binary),
        contender("FastAPI, queue", "binary", &fastapi, model.bytes(1)),
        contender("Wisp, auto", "JSON", &auto.server, json.clone()),
        contender("Wisp, 32 rows, 10 ms", "JSON", &fixed.server, json.clone()),
        contender("MLServer, adaptive", "JSON", &mlserver, json),
    ];
    for Contender {
        name,
        format,
        loaded,
    } in &contenders
    {
        let answered = load::once(loaded.address, &loaded.request);
        answered.with_context(|| format!("{name}, {format}"))?;
    }
    let Rounds { count, time } = rounds;
    println!(
        "\n{MODEL}, {CONNECTIONS} connections, one thread on cpu 0, {count} rounds of at least {time:?}"
    );
    println!("Wisp, auto: {}\n", auto.batching()?);
    let loaded: Vec<Loaded> = contenders.iter().map(|one| one.loaded.clone()).collect();
    let measured = take_turns(&loaded, CONNECTIONS, rounds)?;
    println!("| server | format | requests/s | p50, p99 | `Wisp, auto` over it |");
    println!("|---|---|---|---|---|");
    for (contender, of) in contenders.iter().zip(&measured) {
        let mut others = contenders.iter().zip(&measured);
        // The first contender with a format is ours.
        let ours = others.find(|(other, _)| other.format == contender.format);
        let ratio = ours.map_or(f64::NAN, |(_, ours)| ours.ratio(of));
        println!(
            "| {} | {} | {:.1} | {:.0}, {:.0} ms | {ratio:.2} |",
            contender.name,
            contender.format,
            of.per_second(),
            of.p50(),
            of.p99(),
        );
    }
    Ok(())
}

fn install(name: &str) -> Result<Environment> {
    let list = &scripts("peers").join(format!("{name}.txt"));
    let complete = false;
    Environment::install(name, Packages { list, complete })
}

/// Starts FastAPI with the queue. It finds the module `graph` of the benchmark of whole models.
fn start_fastapi(environment: &Environment, model: &Path) -> Result<Server> {
    let mut command = environment.command("uvicorn", &scripts("batching"));
    command.env("PYTHONPATH", scripts("models"));
    command.env("BENCH_MODEL", model);
    environment::uvicorn(&mut command, "fastapi_queue:app")
}

fn start_mlserver(environment: &Environment, model: &Path) -> Result<Server> {
    let mut command = environment.command("mlserver", &scripts("models"));
    command.env("BENCH_MODEL", model);
    let settings = scripts("batching").join("mlserver");
    environment::mlserver(&mut command, &settings, SERVED)
}
