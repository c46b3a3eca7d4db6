//! Compares Wisp with other model servers: `cargo bench --workspace --bench peers`.
//!
//! All servers run the model `wine` with the same pre- and postprocessing: Wisp with its handler and
//! tract, FastAPI, MLServer and KServe with numpy and onnxruntime (`wine.py`). Each is a separate
//! process on cpu 0; the load generator runs on cpu 1. Requests of each protocol, with 1 and with 16
//! connections, go to one server after the other, round by round, and the report prints medians. The
//! servers are installed from PyPI below target/ on first use. `WISP_BENCH_ROUNDS` sets the number of
//! rounds (5 by default).

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod environment;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/load.rs"]
mod load;
mod peer;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/process.rs"]
mod process;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use environment::root;
use load::{Done, Request};
use peer::Peers;
use process::Server;
use prost::Message;
use std::net::SocketAddr;
use std::time::Duration;
use wisp_protocol::grpc::message::inference;

/// The number of busy connections in each of the two settings.
const CONNECTIONS: [usize; 2] = [1, 16];

/// The time that each server is loaded per round.
const ROUND: Duration = Duration::from_secs(2);

/// The warm-up time per kind of load, for interpreters and caches; not measured.
const WARM_UP: Duration = Duration::from_millis(500);

const FEATURES: [f32; 13] = [
    12.37, 0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0,
];

/// One protocol of one server.
struct Contender {
    protocol: &'static str,
    name: &'static str,
    server: usize,
    request: Request,
    /// Measurements for each of `CONNECTIONS`.
    measured: [Vec<Measured>; 2],
}

impl Contender {
    fn address(&self, server: &Server) -> SocketAddr {
        match self.request {
            Request::Http(_) => server.address,
            Request::Grpc { .. } => server.grpc_address(),
        }
    }
}

struct Measured {
    done: Done,
    /// Processor time of the server, in microseconds.
    cpu: f64,
}

fn main() -> Result<()> {
    let rounds = std::env::var("WISP_BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(Ok(5), |rounds| rounds.parse())?;
    process::pin(1);
    let peers = Peers::install()?;
    let repository = repository()?;
    let servers = [
        wisp(repository.path())?,
        peers.fastapi()?,
        peers.mlserver()?,
        peers.kserve()?,
    ];
    let mut contenders = contenders();
    for contender in &contenders {
        let server = &servers[contender.server];
        let name = (contender.protocol, contender.name);
        let address = contender.address(server);
        load::once(address, &contender.request).with_context(|| format!("{name:?}"))?;
        load::run(address, &contender.request, CONNECTIONS[1], WARM_UP)?;
    }
    for _ in 0..rounds {
        for (setting, connections) in CONNECTIONS.into_iter().enumerate() {
            for contender in &mut contenders {
                let server = &servers[contender.server];
                let before = server.cpu_time()?;
                let address = contender.address(server);
                let done = load::run(address, &contender.request, connections, ROUND)?;
                let cpu = server.cpu_time()? - before;
                let cpu = cpu.as_secs_f64() * 1e6 / done.requests;
                contender.measured[setting].push(Measured { done, cpu });
            }
        }
    }
    report(&contenders);
    Ok(())
}

/// Creates a repository with `wine` and its handler.
fn repository() -> Result<tempfile::TempDir> {
    let repository = tempfile::tempdir()?;
    let version = repository.path().join("wine/1");
    std::fs::create_dir_all(&version)?;
    let graph = root()?.join("examples/wine/1/model.onnx");
    std::fs::copy(graph, version.join("model.onnx"))?;
    std::fs::copy(wisp_artifacts::WINE, version.join("handler.wasm"))?;
    Ok(repository)
}

fn wisp(repository: &std::path::Path) -> Result<Server> {
    let arguments = ["serve", "--grpc", "none", "--http", "127.0.0.1:0"];
    let mut arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(|text| text.as_ref()).collect();
    arguments.push(repository.as_os_str());
    Server::start(env!("CARGO_BIN_EXE_wisp").as_ref(), &arguments)
}

fn contenders() -> Vec<Contender> {
    let row = serde_json::to_string(&FEATURES).expect("finite numbers");
    let input = r#""name":"features","datatype":"FP32","shape":[1,13]"#;
    let body = format!(r#"{{"inputs":[{{{input},"data":{row}}}]}}"#);
    let json = Request::json("/v2/models/wine/infer", &body);
    let raw: Vec<u8> = FEATURES
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let sizes = format!(r#""parameters":{{"binary_data_size":{}}}"#, raw.len());
    let wanted = r#""parameters":{"binary_data_output":true}"#;
    let head = format!(r#"{{{wanted},"inputs":[{{{input},{sizes}}}]}}"#);
    let headers = format!(
        "inference-header-content-length: {}\r\ncontent-type: application/octet-stream\r\n",
        head.len()
    );
    let body = [head.as_bytes(), &raw].concat();
    let binary = Request::post("/v2/models/wine/infer", &headers, &body);
    let rows = Request::json(
        "/v1/models/wine:predict",
        &format!(r#"{{"instances":[{row}]}}"#),
    );
    let simple = |path| Request::json(path, &format!(r#"{{"features":{row}}}"#));
    let contender = |protocol, name, server, request| Contender {
        protocol,
        name,
        server,
        request,
        measured: [Vec::new(), Vec::new()],
    };
    vec![
        contender("V2 JSON", "wisp", 0, json.clone()),
        contender("V2 JSON", "mlserver", 2, json.clone()),
        contender("V2 JSON", "kserve", 3, json),
        contender("V2 binary", "wisp", 0, binary.clone()),
        contender("V2 binary", "kserve", 3, binary),
        contender("V2 gRPC", "wisp", 0, grpc(&raw)),
        contender("V2 gRPC", "mlserver", 2, grpc(&raw)),
        contender("V2 gRPC", "kserve", 3, grpc(&raw)),
        contender("TF Serving rows", "wisp", 0, rows.clone()),
        contender("TF Serving rows", "kserve", 3, rows),
        contender("features", "wisp", 0, simple("/predict/wine")),
        contender("features", "fastapi", 1, simple("/predict")),
    ]
}

/// Returns the request as a framed gRPC message.
fn grpc(raw: &[u8]) -> Request {
    let message = inference::ModelInferRequest {
        model_name: "wine".to_owned(),
        inputs: vec![inference::model_infer_request::InferInputTensor {
            name: "features".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 13],
            ..Default::default()
        }],
        raw_input_contents: vec![Bytes::copy_from_slice(raw)],
        ..Default::default()
    };
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).expect("it is small"));
    message.encode(&mut frame).expect("there is room");
    Request::Grpc {
        path: "/inference.GRPCInferenceService/ModelInfer".to_owned(),
        frame: frame.freeze(),
    }
}

fn report(contenders: &[Contender]) {
    println!(
        "| protocol | server | requests/s at 1, 16 | Wisp's over it | p50, p99 at 1 | p50, p99 at 16 | CPU |"
    );
    println!("|---|---|---|---|---|---|---|");
    for contender in contenders {
        let of = |setting: usize, read: &dyn Fn(&Measured) -> f64| {
            load::median(contender.measured[setting].iter().map(read).collect())
        };
        let rate = |measured: &Measured| measured.done.per_second;
        let wisp = contenders
            .iter()
            .find(|other| other.protocol == contender.protocol && other.name == "wisp");
        let ratios = wisp.map(|wisp| {
            [0, 1].map(|setting| {
                let pairs = wisp.measured[setting]
                    .iter()
                    .zip(&contender.measured[setting]);
                load::median(pairs.map(|(wisp, peer)| rate(wisp) / rate(peer)).collect())
            })
        });
        let ratios = match (contender.name, ratios) {
            ("wisp", _) | (_, None) => String::new(),
            (_, Some([one, many])) => format!("{one:.1}, {many:.1}"),
        };
        let latencies = |setting| {
            let share = |share: f64| of(setting, &|measured| measured.done.percentile(share));
            format!("{:.0}, {:.0} us", share(0.5), share(0.99))
        };
        println!(
            "| {} | {} | {:.0}, {:.0} | {ratios} | {} | {} | {:.0} us |",
            contender.protocol,
            contender.name,
            of(0, &rate),
            of(1, &rate),
            latencies(0),
            latencies(1),
            of(1, &|measured| measured.cpu),
        );
    }
}
