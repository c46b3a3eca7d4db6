//! The compared servers: their commands and their measurements.

use crate::ROUND;
use crate::environment;
use crate::load::{self, Request, median};
use crate::process::Server;
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

/// The number of connections in the second setting.
const MANY: usize = 16;

/// A way to serve a component or a model.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// The beginning of its paths.
    route: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Set if it prints its address on standard output.
    prints_address: bool,
}

/// A running server, and its measurements.
pub(crate) struct Contender {
    name: String,
    /// `None` if it is not this program's.
    server: Option<Server>,
    address: SocketAddr,
    request: Request,
    medians: Vec<f64>,
    tails: Vec<f64>,
    rates: Vec<f64>,
    cpu: Vec<f64>,
    /// Open until the end, if the server may write to it.
    _output: Option<BufReader<ChildStdout>>,
}

impl Program {
    /// Returns `wisp serve` with these models.
    pub(crate) fn wisp(name: &str, models: &Path, route: &'static str) -> Program {
        let arguments = ["serve", "--grpc", "none", "--http", "127.0.0.1:0"];
        let mut arguments: Vec<OsString> = arguments.map(OsString::from).into();
        // The bundle of a language model is above the default limits.
        arguments.extend(["--max-component-bytes", "268435456"].map(OsString::from));
        arguments.extend(["--max-handler-memory-bytes", "1073741824"].map(OsString::from));
        arguments.push(models.into());
        Program {
            name: name.to_owned(),
            route,
            program: env!("CARGO_BIN_EXE_wisp").into(),
            arguments,
            prints_address: true,
        }
    }

    /// Returns this program as a host of wasi:http, which it is with the argument `mode`.
    pub(crate) fn host(name: &str, mode: &str, component: &Path) -> Result<Program> {
        Ok(Program {
            name: name.to_owned(),
            route: "",
            program: std::env::current_exe()?,
            arguments: vec![mode.into(), component.into()],
            prints_address: true,
        })
    }

    /// Returns `wasmtime serve` with a component.
    pub(crate) fn wasmtime(wasmtime: &Path, component: &Path) -> Program {
        let arguments = ["serve", "-Scli"].map(OsString::from);
        Program {
            name: "`wasmtime serve`".to_owned(),
            route: "",
            program: wasmtime.to_owned(),
            arguments: arguments.into_iter().chain([component.into()]).collect(),
            prints_address: false,
        }
    }

    fn start(&self) -> Result<Server> {
        if self.prints_address {
            let arguments: Vec<&OsStr> = self.arguments.iter().map(OsString::as_os_str).collect();
            return Server::start(&self.program, &arguments);
        }
        let port = environment::free_port()?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args(["--addr", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        environment::start(&mut command, port, "/v2/health/live")
    }
}

impl Contender {
    /// Starts a program, which receives `request` below its route.
    pub(crate) fn start(program: &Program, request: &Request) -> Result<Contender> {
        let server = program.start()?;
        let request = below(program.route, request)?;
        Ok(Contender::serving(program.name.clone(), server, request))
    }

    /// Returns a server of this program.
    pub(crate) fn serving(name: String, server: Server, request: Request) -> Contender {
        let contender = Contender::running(name, server.address, request);
        Contender {
            server: Some(server),
            ..contender
        }
    }

    /// Keeps the output of the server open.
    pub(crate) fn with_output(self, output: BufReader<ChildStdout>) -> Contender {
        Contender {
            _output: Some(output),
            ..self
        }
    }

    /// Returns a server that runs already.
    pub(crate) fn running(name: String, address: SocketAddr, request: Request) -> Contender {
        Contender {
            name,
            server: None,
            address,
            request,
            medians: Vec::new(),
            tails: Vec::new(),
            rates: Vec::new(),
            cpu: Vec::new(),
            _output: None,
        }
    }

    pub(crate) fn ask_once(&self) -> Result<()> {
        load::once(self.address, &self.request)
    }

    fn measure(&mut self) -> Result<()> {
        let one = load::run(self.address, &self.request, 1, ROUND)?;
        self.medians.push(one.percentile(0.5) / 1e3);
        self.tails.push(one.percentile(0.99) / 1e3);
        let cpu = |server: &Option<Server>| server.as_ref().map(Server::cpu_time).transpose();
        let before = cpu(&self.server)?;
        let many = load::run(self.address, &self.request, MANY, ROUND)?;
        self.rates.push(many.per_second);
        if let (Some(before), Some(after)) = (before, cpu(&self.server)?) {
            let used = after.saturating_sub(before).as_secs_f64() * 1e3;
            self.cpu.push(used / many.requests);
        }
        Ok(())
    }
}

/// Measures the contenders in turns.
pub(crate) fn take_turns(contenders: &mut [Contender], rounds: usize) -> Result<()> {
    for _ in 0..rounds {
        for contender in contenders.iter_mut() {
            let measured = contender.measure();
            measured.with_context(|| contender.name.clone())?;
        }
    }
    Ok(())
}

/// Prints a row for each contender. The ratio compares the medians with one connection to the first one's.
pub(crate) fn print(contenders: &[Contender]) {
    println!(
        "| server | p50, ms | of the first | p99, ms | requests/s, {MANY} connections | CPU ms/request |"
    );
    println!("|---|---|---|---|---|---|");
    let first = contenders.first().map(|first| first.medians.as_slice());
    for contender in contenders {
        let times = contender.medians.iter().zip(first.unwrap_or_default());
        let ratios = times.map(|(time, first)| time / first).collect();
        println!(
            "| {} | {:.3} | {:.2} | {:.3} | {:.0} | {:.3} |",
            contender.name,
            median(contender.medians.clone()),
            median(ratios),
            median(contender.tails.clone()),
            median(contender.rates.clone()),
            median(contender.cpu.clone()),
        );
    }
}

/// Returns the request with this route before its path.
pub(crate) fn below(route: &str, request: &Request) -> Result<Request> {
    let Request::Http(bytes) = request else {
        anyhow::bail!("a request over HTTP/1.1 is expected");
    };
    let path = bytes.iter().position(|byte| *byte == b'/');
    let (method, rest) = bytes.split_at(path.context("a request has a path")?);
    Ok(Request::Http([method, route.as_bytes(), rest].concat()))
}
