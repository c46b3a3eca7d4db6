//! Tests of `wisp serve` with little memory: requests for unavailable memory are refused, and the
//! process goes on.

use super::serve::{Serve, serve};
use super::workers::add;
use crate::harness::onnx::{FLOAT, Graph, Tensor};
use crate::harness::{Repository, Response, TIMEOUT, base64, exchange, output, scale, wait_until};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use wisp_protocol::content_coding::Coding;
use wisp_serving::tenants::tenant_file::TenantFile;

const MIB: usize = 1 << 20;

const INFER: &str = "/v2/models/progression/infer";

/// A control group with a memory limit, on machines where the test can create one. Removed on drop.
struct Group(PathBuf);

impl Group {
    fn new(bytes: usize) -> Option<Group> {
        let name = format!("wisp-test-{}", std::process::id());
        for (root, file) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let group = Path::new(root).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Group(group);
            if fs::write(group.0.join(file), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// Returns the command, run within the group.
    fn run(&self, command: &Command) -> Command {
        let mut within = Command::new("sh");
        within
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(self.0.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        within
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group is empty, since its process has been waited for.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Starts a server of one model, with these arguments.
fn start(arguments: &[&str], group: Option<&Group>) -> Result<(Repository, Serve)> {
    let repository = Repository::of(&["progression"])?;
    let mut command = serve(repository.path());
    command.args(arguments);
    let mut command = match group {
        Some(group) => group.run(&command),
        None => command,
    };
    command.stderr(Stdio::null());
    let server = Serve::spawn(command)?;
    Ok((repository, server))
}

/// Returns a value of a process's status in bytes; the file contains kibibytes.
fn status(server: &Serve, name: &str) -> Result<usize> {
    let text = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    let number: usize = number.context("no such line")?.parse()?;
    Ok(number * 1024)
}

fn post(address: &str, headers: &str, body: &[u8], before_last: impl FnOnce()) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (&last, most) = body.split_last().context("no body")?;
    let length = body.len();
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    // A request that is refused early may not be read to its end.
    let written = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(most));
    before_last();
    let _ = written.and_then(|()| stream.write_all(&[last]));
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    Ok(Response::parse(&reply)?.status)
}

/// Returns the statuses of concurrent requests. The bodies of all of them are complete except for the
/// last byte at the same time.
fn post_at_once(server: &Serve, clients: usize, headers: &str, body: &[u8]) -> Vec<Result<u16>> {
    let barrier = Barrier::new(clients);
    std::thread::scope(|scope| {
        let clients = (0..clients).map(|_| {
            let wait = || {
                barrier.wait();
            };
            scope.spawn(move || post(server.address(), headers, body, wait))
        });
        let clients: Vec<_> = clients.collect();
        let statuses = clients.into_iter().map(|client| client.join());
        statuses
            .map(|status| status.unwrap_or_else(|_| anyhow::bail!("a panic")))
            .collect()
    })
}

/// The right response to the request of [`one_row`], and the largest error.
const PROGRESSION: f64 = 207.263_23;
const TOLERANCE: f64 = 0.001;

/// Returns a request that the model answers.
fn one_row() -> Result<Vec<u8>> {
    let row = [59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0];
    let body = serde_json::json!({"inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 10], "data": row,
    }]});
    Ok(serde_json::to_vec(&body)?)
}

fn check_answers(server: &Serve) -> Result<()> {
    let body = one_row()?;
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let response = exchange(
        server.address().parse()?,
        &[head.as_bytes(), &body].concat(),
    )?;
    let answer = response.ok()?;
    let found = output(&answer, "progression")?["data"][0].as_f64();
    let is_right = found.is_some_and(|found| (found - PROGRESSION).abs() < TOLERANCE);
    ensure!(is_right, "{answer}");
    Ok(())
}

/// Sends bodies of 60 MB that are not JSON. The status shows if a body was refused for lack of memory or
/// for its contents.
#[test]
fn a_small_machine_survives_many_large_bodies() -> Result<()> {
    let body = vec![b' '; 60_000_000];
    let limit = 512 * MIB;
    // On machines without control groups, the equivalent limit is set explicitly.
    let group = Group::new(limit);
    let half = (limit / 2).to_string();
    let explicit = ["--max-memory-bytes", half.as_str()];
    let mut servers = vec![start(&explicit, None)?];
    if group.is_some() {
        servers.push(start(&[], group.as_ref())?);
    }
    for (_repository, server) in servers {
        let before = status(&server, "VmRSS")?;
        for _ in 0..scale() {
            let statuses = post_at_once(&server, 12, "", &body);
            let mut refused = 0;
            for status in statuses {
                match status? {
                    400 => {}
                    503 => refused += 1,
                    other => anyhow::bail!("{other}"),
                }
            }
            ensure!(refused >= 12 - 4, "{refused} of 12 were refused");
        }
        let grown = status(&server, "VmHWM")?.saturating_sub(before);
        ensure!(grown < limit / 2 + 64 * MIB, "it grew by {grown} bytes");
        check_answers(&server)?;
    }
    Ok(())
}

#[test]
fn a_process_above_its_memory_limit_refuses_inferences_and_stays_healthy() -> Result<()> {
    // Its code alone takes more.
    let (_repository, server) = start(&["--memory-limit-bytes", "1000000"], None)?;
    let body = one_row()?;
    wait_until("inferences are refused", || {
        let answered = post(server.address(), "", &body, || ());
        answered.is_ok_and(|status| status == 503)
    })?;
    for path in [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/progression",
    ] {
        let answer = server.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    Ok(())
}

/// Sends a request with the key of a tenant.
fn ask(server: &Serve, (request, key): (&str, &str), body: &[u8]) -> Result<Response> {
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    exchange(server.address().parse()?, &[head.as_bytes(), body].concat())
}

/// Returns the body of a load of a graph with 16 MiB of weights, all of them this number.
fn large_load(number: f32) -> Result<Vec<u8>> {
    let weights = Tensor {
        raw_data: number.to_le_bytes().repeat(4 * MIB),
        ..Tensor::of("w", FLOAT, &[2048, 2048])
    };
    let graph = Graph::from_x_to_y(&[None, Some(2048)])
        .initializer(weights)
        .node("MatMul", &["x", "w"], &["y"])
        .bytes();
    let body = serde_json::json!({
        "parameters": { "config": "{}", "file:1/model.onnx": base64(&graph) }
    });
    Ok(serde_json::to_vec(&body)?)
}

#[test]
fn models_that_one_tenant_sends_leave_memory_to_the_others() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory =
        Repository::empty()?.with_model("tenants/beta/models/own", "progression", None)?;
    let file = TenantFile::new(directory.path());
    let (acme, beta) = (add(&file, "acme", None)?, add(&file, "beta", None)?);
    let start = |limit: usize| {
        let mut command = serve(public.path());
        command
            .arg("--tenants")
            .arg(directory.path())
            .args(["--memory-limit-bytes", &limit.to_string()])
            .stderr(Stdio::null());
        Serve::spawn(command)
    };
    // The program alone takes more in a debug build than in a release.
    let own = status(&start(1 << 40)?, "VmRSS")?;
    let limit = own + 512 * MIB;
    let server = start(limit)?;
    let mut refused = None;
    for number in 1..=16_u8 {
        let request = format!("POST /v2/repository/models/m{number}/load");
        let response = ask(&server, (&request, &acme), &large_load(f32::from(number))?)?;
        if response.status != 200 {
            refused = Some((number, response));
            break;
        }
        let answer = ask(
            &server,
            ("POST /v2/models/shared/infer", &beta),
            &one_row()?,
        )?;
        ensure!(answer.status == 200, "{number}: {answer:?}");
    }
    let (number, refused) = refused.context("one tenant has filled the process")?;
    ensure!(number > 1, "it has no room at all: {refused:?}");
    // By its own limit, or by the memory of the server if others use more of it.
    let reason = match refused.status {
        429 => refused.error(429)?,
        _ => refused.error(503)?,
    };
    let expected = match refused.status {
        429 => "`model_memory_bytes`",
        _ => "short of memory",
    };
    ensure!(reason.contains(expected), "{reason}");
    // The other one loads a model of its own, and its requests go on.
    for model in ["own", "shared"] {
        let request = format!("POST /v2/models/{model}/infer");
        wait_until("the other tenant is answered", || {
            let answer = ask(&server, (&request, &beta), &one_row().unwrap_or_default());
            answer.is_ok_and(|answer| answer.status == 200)
        })?;
    }
    let used = status(&server, "VmRSS")?;
    ensure!(used < limit / 100 * 90, "{used} of {limit} bytes");
    Ok(())
}

#[test]
fn many_gzip_bombs_at_once_share_the_memory_and_the_threads() -> Result<()> {
    let budget = 100 * MIB;
    let (_repository, server) = start(&["--max-memory-bytes", &budget.to_string()], None)?;
    let bomb = Coding::Gzip.compress(&[Bytes::from(vec![b' '; 16_000_000])]);
    let before = status(&server, "VmRSS")?;
    let threads_before = threads(&server)?;
    let mut inflated = 0;
    for _ in 0..scale() {
        std::thread::scope(|scope| {
            let bombing =
                scope.spawn(|| post_at_once(&server, 16, "content-encoding: gzip\r\n", &bomb));
            // Another client gets responses all the while.
            loop {
                check_answers(&server)?;
                if bombing.is_finished() {
                    break;
                }
            }
            let statuses = bombing.join().map_err(|_| anyhow::anyhow!("a panic"))?;
            for status in statuses {
                match status? {
                    // It was inflated, and is no JSON.
                    400 => inflated += 1,
                    503 => {}
                    other => anyhow::bail!("{other}"),
                }
            }
            anyhow::Ok(())
        })?;
    }
    ensure!(inflated > 0, "all bombs were refused");
    let grown = status(&server, "VmHWM")?.saturating_sub(before);
    ensure!(grown < budget + 64 * MIB, "it grew by {grown} bytes");
    let threads = threads(&server)?.saturating_sub(threads_before);
    let cores = std::thread::available_parallelism()?.get();
    ensure!(threads <= cores + 1, "{threads} more threads");
    check_answers(&server)
}

fn threads(server: &Serve) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/task", server.id()))?.count())
}

/// The budget has this memory, but the process cannot allocate it.
#[test]
fn a_failed_allocation_is_a_refusal() -> Result<()> {
    let (_repository, server) = start(&["--max-memory-bytes", "8000000000"], None)?;
    check_answers(&server)?;
    let room = status(&server, "VmData")? + 48 * MIB;
    let limited = Command::new("prlimit")
        .args(["--pid", &server.id().to_string()])
        .arg(format!("--data={room}"))
        .status()?;
    ensure!(limited.success(), "the limit was not set");
    // Sixty megabytes of plain JSON, of numbers, and of inflated data.
    let plain = vec![b' '; 60_000_000];
    let list = [&b"{\"inputs\":[{\"name\":\"features\",\"datatype\":\"INT64\",\"shape\":[12000000],\"data\":[1"[..],
        &b",1".repeat(11_999_999),
        b"]}]}",
    ].concat();
    let packed = Coding::Gzip.compress(&[Bytes::from(plain.clone())]);
    for (headers, body) in [
        ("", &plain[..]),
        ("", &list),
        ("content-encoding: gzip\r\n", &packed),
    ] {
        let status = post(server.address(), headers, body, || ())?;
        ensure!(status == 503, "{status}");
        check_answers(&server)?;
    }
    // Strings of a tensor, whose handles take 128 MB, and a message whose length is announced only.
    let strings = b"\x42\x00".repeat(1_500_000);
    let tensor = [&b"\x08\x07"[..], &strings].concat();
    let tensor = field(2, &field(2, &tensor));
    let gzip = Coding::Gzip.compress(&[Bytes::from(tensor)]);
    let announced = [&[0][..], &60_000_000_u32.to_be_bytes(), b"x"].concat();
    let framed = [&[1][..], &u32::try_from(gzip.len())?.to_be_bytes(), &gzip].concat();
    for body in [framed, announced] {
        let code = grpc(
            server.address(),
            "/tensorflow.serving.PredictionService/Predict",
            body,
        )?;
        ensure!(code == "14", "{code}");
        check_answers(&server)?;
    }
    Ok(())
}

/// Returns a length-delimited field with this content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// Returns the status code of a gRPC method for this body.
#[expect(
    clippy::disallowed_methods,
    reason = "the connection ends with its client"
)]
fn grpc(address: &str, path: &str, body: Vec<u8>) -> Result<String> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let (mut client, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("grpc-encoding", "gzip")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(body)))?;
        let answer = tokio::time::timeout(TIMEOUT, client.send_request(request)).await??;
        let (head, body) = answer.into_parts();
        let trailers = body
            .collect()
            .await?
            .trailers()
            .cloned()
            .unwrap_or_default();
        connection.abort();
        let code = head
            .headers
            .get("grpc-status")
            .or(trailers.get("grpc-status"));
        Ok(code.context("no status")?.to_str()?.to_owned())
    })
}
