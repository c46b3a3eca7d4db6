//! Tests of the usage log: its sums, and what a signal leaves of it.

use super::serve::{Serve, serve};
use super::workers::add;
use super::{failure, run};
use crate::harness::onnx::{Attribute, Graph};
use crate::harness::wat_handler::WatHandler;
use crate::harness::{Repository, Response, TIMEOUT, scale, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::tenant_file::TenantFile;

/// The clients that call at the same time, and the calls of each.
const CLIENTS: usize = 4;
const CALLS: usize = 6;

/// A key that is none.
const NOBODY: &str = "none";

/// The turns of the guest in one call, about a quarter of a second of work and far below the limit of a guest.
const TURNS: u32 = 300_000_000;

/// The rows and columns of the matrices of `squares`, and the number of times that one is multiplied by itself.
const SIDE: i64 = 512;
const SQUARES: usize = 8;

/// The scale from which a run is long.
const LONG_SCALE: usize = 10;

/// The ticks of the processor time of a process in a second, which are the same on all machines.
const TICKS: f64 = 100.0;

/// Creates a repository with the model `spin`, whose guest counts up to the number of its request.
fn spinning() -> Result<Repository> {
    let wasm = WatHandler {
        infer: "(loop $spin
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $spin (i32.lt_u (local.get $i) (local.get $x))))",
        ..WatHandler::BARE
    };
    Repository::empty()?.with_file("spin/1/handler.wasm", wasm.component()?)
}

/// Starts a server with a usage log.
fn start(repository: &Repository, log: &Path, more: &[&str]) -> Result<Serve> {
    let mut command = serve(repository.path());
    command.arg("--usage-log").arg(log).args(more);
    // The time of a guest is by the clock, and other tests use the processors.
    command.arg("--max-handler-time-milliseconds=60000");
    Serve::spawn(command)
}

/// Adds the model `squares`, whose graph computes for a large part of a second, on one thread: it makes a matrix of the
/// row of a request and squares it again and again.
fn with_squares(repository: Repository) -> Result<Repository> {
    let mut graph = Graph::from_x_to_y(&[Some(1), Some(SIDE)])
        .integers("column", &[2], &[SIDE, 1])
        .node("Reshape", &["x", "column"], &["xt"])
        .node("MatMul", &["xt", "x"], &["m0"]);
    for square in 0..SQUARES {
        let (from, to) = (format!("m{square}"), format!("m{}", square + 1));
        graph = graph.node("MatMul", &[&from, &from], &[&to]);
    }
    let last = format!("m{SQUARES}");
    let graph = graph
        .node("ReduceMax", &[&last], &["y"])
        .with(Attribute::ints("axes", &[0]));
    repository
        .with_file("squares/1/model.onnx", graph.bytes())?
        .with_file("squares/model.toml", "backend = \"tract\"\n")
}

/// Calls `squares` with a row that is as large after each square as before.
fn square(address: &str, key: &str) -> Result<()> {
    let number = (1.0 / SIDE as f64).sqrt();
    let row = vec![number.to_string(); usize::try_from(SIDE)?].join(",");
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{SIDE}],"data":[{row}]}}]}}"#
    );
    call(address, ("squares", key), &body)
}

/// Calls `spin`.
fn spin(address: &str, key: &str, turns: u32) -> Result<()> {
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"UINT32","shape":[1],"data":[{turns}]}}]}}"#
    );
    call(address, ("spin", key), &body)
}

/// Calls a model with a key, which has no meaning without tenants.
fn call(address: &str, (model, key): (&str, &str), body: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)?.ok()?;
    Ok(())
}

/// Calls `spin` with these keys at the same time, this often with each.
fn spin_at_once(address: &str, keys: &[&str], calls: usize) -> Result<()> {
    let called: Vec<Result<()>> = thread::scope(|scope| {
        let clients: Vec<_> = keys
            .iter()
            .map(|key| scope.spawn(move || (0..calls).try_for_each(|_| spin(address, key, TURNS))))
            .collect();
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|joined| joined.unwrap_or_else(|_| anyhow::bail!("a client has panicked")))
            .collect()
    });
    called.into_iter().collect()
}

/// Returns the processor time of a process in seconds.
fn processor_seconds(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program may contain spaces, and ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // In user mode, and in the system.
    let [user, system] = [11, 12].map(|field| fields.get(field).and_then(|f| f.parse().ok()));
    let (user, system): (f64, f64) = user.zip(system).context("no times")?;
    Ok((user + system) / TICKS)
}

/// Returns the lines of a log. Checks that those of each run are all there, in order.
fn lines(log: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(log)?;
    let lines = text.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<Vec<Value>, _>>()?;
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &lines {
        let run = line["run"].as_str().context("no run")?;
        let expected = next.entry(run).or_default();
        ensure!(line["sequence"].as_u64() == Some(*expected), "{line}");
        *expected += 1;
    }
    Ok(lines)
}

fn sum(lines: &[Value], member: &str) -> u64 {
    lines.iter().filter_map(|line| line[member].as_u64()).sum()
}

fn events(lines: &[Value]) -> Vec<&str> {
    let events = lines.iter().filter_map(|line| line["event"].as_str());
    events.collect()
}

#[test]
fn the_guests_in_the_log_add_up_to_the_processor_time_of_the_server() -> Result<()> {
    let repository = spinning()?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("usage.ndjson");
    let mut server = start(&repository, &log, &[])?;
    // The preparations of the first call are not the work of a guest.
    spin(&server.address, NOBODY, 1)?;
    let before = processor_seconds(server.id())?;
    let calls = CALLS * scale();
    spin_at_once(server.address(), &[NOBODY; CLIENTS], calls)?;
    let process = processor_seconds(server.id())? - before;
    server.signal("-TERM")?;
    ensure!(server.child.wait()?.success());
    let lines = lines(&log)?;
    ensure!(events(&lines).first() == Some(&"start"));
    ensure!(events(&lines).last() == Some(&"end"));
    let requests = u64::try_from(CLIENTS * calls + 1)?;
    ensure!(sum(&lines, "requests") == requests && sum(&lines, "failures") == 0);
    let guests = Duration::from_nanos(sum(&lines, "guest_nanoseconds")).as_secs_f64();
    // The rest of the server does next to nothing, and other processes do not count.
    let ratio = guests / process;
    ensure!(
        (0.95..=1.05).contains(&ratio),
        "guests {guests} s of {process} s, {ratio}"
    );
    Ok(())
}

#[test]
fn the_guests_and_graphs_of_all_tenants_add_up_to_the_processor_time_of_the_server() -> Result<()> {
    let repository = with_squares(spinning()?)?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("usage.ndjson");
    let file = TenantFile::new(&directory.path().join("tenants"));
    let keys = ["acme", "other"].map(|id| add(&file, id, Some(Isolation::Shared)));
    let [acme, other] = keys;
    let (acme, other) = (acme?, other?);
    let tenants = format!("--tenants={}", file.directory().display());
    let mut server = start(&repository, &log, &[&tenants])?;
    let address = server.address().to_owned();
    for key in [&acme, &other] {
        spin(&address, key, 1)?;
        square(&address, key)?;
    }
    let before = processor_seconds(server.id())?;
    let calls = CALLS * scale();
    spin_at_once(&address, &[&acme, &other, &other], calls)?;
    // One after another: the time of a graph is by the clock, and has to be that of a processor.
    for _ in 0..calls {
        square(&address, &acme)?;
        square(&address, &other)?;
    }
    let process = processor_seconds(server.id())? - before;
    server.signal("-TERM")?;
    ensure!(server.child.wait()?.success());
    let lines = lines(&log)?;
    for (tenant, spins) in [("acme", calls), ("other", 2 * calls)] {
        let of_tenant = lines.iter().filter(|line| line["tenant"] == tenant);
        let of_tenant: Vec<Value> = of_tenant.cloned().collect();
        let requests = u64::try_from(spins + calls + 2)?;
        ensure!(sum(&of_tenant, "requests") == requests, "{tenant}");
        ensure!(sum(&of_tenant, "failures") == 0, "{tenant}");
    }
    let nanoseconds = sum(&lines, "guest_nanoseconds") + sum(&lines, "backend_nanoseconds");
    let used = Duration::from_nanos(nanoseconds).as_secs_f64();
    let ratio = used / process;
    // Nothing that the process does is missing, and a long run on a machine that does nothing else has nothing beyond it.
    // In the short form, the calls before the measurement count, and other tests use the processors.
    ensure!(ratio >= 0.95, "{used} s of {process} s, {ratio}");
    let is_long = scale() >= LONG_SCALE;
    ensure!(
        !is_long || ratio <= 1.05,
        "{used} s of {process} s, {ratio}"
    );
    Ok(())
}

#[test]
fn a_server_that_is_killed_keeps_the_periods_that_have_ended() -> Result<()> {
    let repository = spinning()?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("usage.ndjson");
    let mut server = start(&repository, &log, &["--usage-log-period-secs", "1"])?;
    spin(server.address(), NOBODY, 1)?;
    let is_written = || lines(&log).is_ok_and(|lines| sum(&lines, "requests") == 1);
    wait_until("the period is over", is_written)?;
    // SIGKILL.
    server.child.kill()?;
    server.child.wait()?;
    let next = start(&repository, &log, &[])?;
    let lines = lines(&log)?;
    ensure!(events(&lines) == ["start", "usage", "start"], "{lines:?}");
    let usage = &lines[1];
    for (member, expected) in [("tenant", "local"), ("owner", "local"), ("model", "spin")] {
        ensure!(usage[member] == expected, "{usage}");
    }
    ensure!(
        usage["received_bytes"] == 4 && usage["sent_bytes"] == 12,
        "{usage}"
    );
    drop(next);
    Ok(())
}

#[test]
fn a_log_that_cannot_be_written_ends_the_start() -> Result<()> {
    let repository = spinning()?;
    let mut command = serve(repository.path());
    command.args(["--usage-log", "/proc/no/usage"]);
    let (text, code) = failure(&run(&mut command)?)?;
    ensure!(code == 64, "{text}");
    ensure!(text.contains("--usage-log"), "{text}");
    Ok(())
}
