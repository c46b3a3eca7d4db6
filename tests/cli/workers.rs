//! Tests of the worker processes of tenants: what they answer, what their end costs, and when they end.
//!
//! A request is in flight in a worker when its client is asked for the body: the server asks once the head has been
//! passed on. `changes` has the tests of tenants whose settings change, `grpc` those of gRPC, `pages` those of what browsers
//! open, and `clients` those with unmodified clients.

mod changes;
mod clients;
mod grpc;
mod pages;

use super::serve::{Serve, serve};
use crate::harness::{Repository, Response, TIMEOUT, exchange, root, wait_until};
use crate::minisign::SigningKey;
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::records::{NewKey, NewTenant};
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;

/// A request for `progression` without its handler.
const PATIENT: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;

/// A server with the public model `shared`, and with two tenants: `acme` with the model `own` and the isolation of the
/// test, and `other`, which shares the process of the server.
struct Tenants {
    server: Serve,
    directory: Repository,
    _public: Repository,
    acme: String,
    other: String,
}

impl Tenants {
    fn start(isolation: Isolation, arguments: &[&str]) -> Result<Tenants> {
        let public = Repository::empty()?.with_model("shared", "progression", None)?;
        let directory =
            Repository::empty()?.with_model("tenants/acme/models/own", "progression", None)?;
        let file = TenantFile::new(directory.path());
        let acme = add(&file, "acme", Some(isolation))?;
        let other = add(&file, "other", None)?;
        let mut command = serve(public.path());
        command
            .arg("--tenants")
            .arg(directory.path())
            .args(arguments)
            .stderr(Stdio::inherit());
        Ok(Tenants {
            server: Serve::spawn(command)?,
            directory,
            _public: public,
            acme,
            other,
        })
    }

    /// Sends a request with a key.
    fn ask(&self, request: &str, key: &str, body: &[u8]) -> Result<Response> {
        let head = format!(
            "{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let address = self.server.address().parse()?;
        exchange(address, &[head.as_bytes(), body].concat())
    }

    fn infer(&self, model: &str, key: &str) -> Result<Response> {
        let request = format!("POST /v2/models/{model}/infer");
        self.ask(&request, key, PATIENT.as_bytes())
    }

    /// Sends a request to a tenant whose worker has ended, again while the server has not noticed the end.
    fn infer_again(&self, model: &str, key: &str) -> Result<()> {
        wait_until("a new worker has answered", || {
            self.infer(model, key)
                .is_ok_and(|response| response.status == 200)
        })
    }

    /// Begins a request, up to the body that the server asks for.
    fn begin(&self, model: &str, key: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.server.address())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(
            stream,
            "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            PATIENT.len()
        )?;
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on)?;
        ensure!(go_on.starts_with(b"HTTP/1.1 100"), "{go_on:?}");
        Ok(stream)
    }

    /// Returns the ids of the worker processes.
    fn workers(&self) -> Vec<u32> {
        workers_of(self.directory.path())
    }

    /// Returns the id of the only worker process.
    fn worker(&self) -> Result<u32> {
        match self.workers()[..] {
            [id] => Ok(id),
            ref workers => bail!("{workers:?}"),
        }
    }
}

/// Returns the ids of the worker processes of all tenants in a directory.
pub(super) fn workers_of(tenants: &Path) -> Vec<u32> {
    let tenants = format!("--tenants={}", tenants.display());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let workers = processes.filter_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0').skip(1);
        let is_worker = words.next() == Some("child-process") && words.next() == Some("worker");
        (is_worker && words.any(|word| word == tenants)).then_some(id)
    });
    workers.collect()
}

#[test]
fn the_kernel_ends_workers_before_the_server_if_memory_runs_out() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    let answer = tenants.infer("own", &tenants.acme)?;
    ensure!(answer.status == 200, "{answer:?}");
    let score = |process: u32| -> Result<i32> {
        let text = fs::read_to_string(format!("/proc/{process}/oom_score_adj"))?;
        Ok(text.trim().parse()?)
    };
    let of_server = score(tenants.server.id())?;
    let of_worker = score(tenants.worker()?)?;
    ensure!(
        of_worker == of_server.max(300),
        "{of_worker} and {of_server}"
    );
    Ok(())
}

/// Adds a tenant with the role `deploy` and returns its key.
pub(super) fn add(file: &TenantFile, id: &str, isolation: Option<Isolation>) -> Result<String> {
    let new = NewTenant {
        id: id.parse()?,
        weight: 1,
        anonymous: false,
        isolation,
        limits: Limits::default(),
        key: NewKey {
            role: Role::Deploy,
            lifetime: None,
        },
    };
    let key = file.change(|records| records.add(&new, SystemTime::now()))?;
    Ok(key.reveal())
}

/// Sends a signal, named as for `kill`.
pub(super) fn signal(process: u32, signal: &str) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.args([signal, &process.to_string()])
        .stderr(Stdio::null());
    ensure!(kill.status()?.success(), "no process {process}");
    Ok(())
}

/// Returns the response on a connection, up to its end.
fn answer(mut stream: TcpStream) -> Result<Response> {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

#[test]
fn a_worker_answers_all_requests_of_its_tenant_and_of_nobody_else() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    let (acme, other) = (tenants.acme.as_str(), tenants.other.as_str());
    tenants.infer("shared", other)?.ok()?;
    ensure!(
        tenants.workers().is_empty(),
        "it is started when it is needed"
    );
    for model in ["own", "shared"] {
        let inferred = tenants.infer(model, acme)?.ok()?;
        ensure!(inferred["model_name"] == model, "{inferred}");
    }
    let worker = tenants.worker()?;
    let index = tenants.ask("POST /v2/repository/index", acme, b"")?.ok()?;
    let names = index.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|entry| entry["name"].as_str()).collect();
    ensure!(names == ["own", "shared"], "{names:?}");
    tenants
        .ask("POST /v2/repository/models/own/load", acme, b"")?
        .ok()?;
    let unknown = tenants.infer("nothing", acme)?.error(404)?;
    ensure!(
        unknown == tenants.infer("nothing", other)?.error(404)?,
        "{unknown}"
    );
    ensure!(tenants.infer("own", other)?.status == 404);
    ensure!(tenants.infer("own", "wrong")?.status == 401);
    ensure!(tenants.worker()? == worker, "it is the same process");
    Ok(())
}

#[test]
fn a_worker_makes_the_console_and_the_document_of_its_tenant() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let document = tenants.ask("GET /openapi.json", &tenants.acme, b"")?;
    let described = document.ok()?;
    ensure!(described["paths"].get("/v2/models/own/infer").is_some());
    ensure!(described["components"].get("securitySchemes").is_some());
    ensure!(document.header("cache-control") == Some("no-store"));
    let head = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\
         authorization: Bearer {}\r\nconnection: close\r\n\r\n",
        tenants.acme
    );
    let page = exchange(tenants.server.address().parse()?, head.as_bytes())?;
    let html = String::from_utf8(page.body)?;
    ensure!(page.status == 200, "{html}");
    ensure!(html.contains("<form id=\"key\""), "{html}");
    ensure!(html.contains("<tr data-model=\"own\""), "{html}");
    Ok(())
}

#[test]
fn a_worker_loads_only_what_the_keys_of_its_tenant_have_signed() -> Result<()> {
    let (own, of_server) = (SigningKey::generate()?, SigningKey::generate()?);
    let trusted = of_server.public();
    let trusted = trusted.to_str().context("not Unicode")?;
    let tenants = Tenants::start(Isolation::Worker, &["--trusted-key", trusted])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let directory = tenants.directory.path().display().to_string();
    let wisp = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wisp"));
        let command = command.args(["tenant"]).args(arguments);
        python::succeed(command.args(["--tenants", &directory]))
    };
    let file = own.public();
    let file = file.to_str().context("not Unicode")?;
    wisp(&["signing-key", "add", "acme", file])?;
    wisp(&["require-signature", "acme"])?;
    // The server gives the tenant another worker, with its new rules.
    let is_refused = |part: &str| {
        let response = tenants.infer("own", &tenants.acme);
        let refused = response.and_then(|response| response.error(503));
        refused.is_ok_and(|error| error.contains(part))
    };
    wait_until("a signature is required", || is_refused("is not signed"))?;
    let models = tenants.directory.path().join("tenants/acme/models");
    let load = || tenants.ask("POST /v2/repository/models/own/load", &tenants.acme, b"");
    for (key, expected) in [(&of_server, 400), (&own, 200)] {
        key.sign(&models, "own/1", &["own/1/model.onnx"])?;
        let loaded = load()?;
        ensure!(loaded.status == expected, "{loaded:?}");
    }
    tenants.infer("own", &tenants.acme)?.ok()?;
    // The public models are those of the server.
    tenants.infer("shared", &tenants.acme)?.ok()?;
    let listed = wisp(&["list", "--json"])?;
    let listed = String::from_utf8(listed.stdout)?;
    ensure!(listed.contains("\"require_signature\":true"), "{listed}");
    Ok(())
}

#[test]
fn a_key_for_inference_changes_no_model_in_the_disguise_of_another_protocol() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    let key = NewKey {
        role: Role::Infer,
        lifetime: None,
    };
    let file = TenantFile::new(tenants.directory.path());
    let acme: TenantId = "acme".parse()?;
    let key = file.change(|records| records.rotate(&acme, (key, TIMEOUT), SystemTime::now()))?;
    let key = key.reveal();
    wait_until("the key is valid", || {
        tenants
            .infer("own", &key)
            .is_ok_and(|response| response.status == 200)
    })?;
    // A request that is valid only over HTTP/2 arrives over HTTP/1.
    let message = b"\0\0\0\0\x05\x12\x03own";
    let head = format!(
        "POST /inference.GRPCInferenceService/RepositoryModelUnload HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {key}\r\nwisp-forwarded-role: deploy\r\ncontent-type: application/grpc\r\n\
         te: trailers\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    let address = tenants.server.address().parse()?;
    let refused = exchange(address, &[head.as_bytes(), message].concat())?;
    ensure!(refused.status == 404, "{refused:?}");
    let load = "POST /v2/repository/models/own/load";
    ensure!(tenants.ask(load, &key, b"")?.status == 403);
    Ok(())
}

#[test]
fn the_end_of_a_worker_fails_the_requests_of_its_tenant_in_flight_and_nothing_else() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    let (acme, other) = (tenants.acme.as_str(), tenants.other.as_str());
    for ending in ["-KILL", "-ABRT"] {
        tenants.infer("own", acme)?.ok()?;
        let worker = tenants.worker()?;
        let mut neighbour = tenants.begin("shared", other)?;
        let (first, second) = (tenants.begin("own", acme)?, tenants.begin("shared", acme)?);
        signal(worker, ending)?;
        for failed in [first, second] {
            let refused = answer(failed)?;
            ensure!(refused.header("retry-after").is_some(), "{refused:?}");
            let reason = refused.error(503)?;
            ensure!(
                reason.contains("worker process") && reason.contains("host"),
                "{reason}"
            );
        }
        neighbour.write_all(PATIENT.as_bytes())?;
        answer(neighbour)?.ok()?;
        tenants.infer("shared", other)?.ok()?;
        // The next request starts the worker again.
        tenants.infer("own", acme)?.ok()?;
        ensure!(tenants.worker()? != worker);
    }
    Ok(())
}

#[test]
fn a_worker_that_dies_of_a_memory_fault_is_started_again() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let worker = tenants.worker()?;
    // The first one of another process is survived, since it is not one of a guest.
    wait_until("the worker has ended", || signal(worker, "-SEGV").is_err())?;
    tenants.infer_again("own", &tenants.acme)?;
    ensure!(tenants.worker()? != worker);
    Ok(())
}

#[test]
fn a_worker_that_cannot_start_is_refused_with_a_time_and_costs_its_neighbours_nothing() -> Result<()>
{
    let tenants = Tenants::start(Isolation::Worker, &["--worker-memory-bytes", "4096"])?;
    let refused = tenants.infer("own", &tenants.acme)?;
    let wait: u64 = refused.header("retry-after").context("no time")?.parse()?;
    ensure!((1..=60).contains(&wait), "{wait}");
    let reason = refused.error(503)?;
    ensure!(reason.contains("worker process"), "{reason}");
    tenants.infer("shared", &tenants.other)?.ok()?;
    ensure!(
        tenants.workers().is_empty(),
        "it is not started during the pause"
    );
    Ok(())
}

#[test]
fn a_worker_stores_what_its_tenant_uploads_and_tries_it_in_a_child() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &["--allow-upload"])?;
    let graph = fs::read(root().join("examples/progression/1/model.onnx"))?;
    let version = "/v2/repository/models/later/versions/1";
    let file = format!("PUT {version}/files/model.onnx");
    tenants.ask(&file, &tenants.acme, &graph)?.ok()?;
    tenants
        .ask(&format!("POST {version}/commit"), &tenants.acme, b"")?
        .ok()?;
    tenants.infer("later", &tenants.acme)?.ok()?;
    let directory = tenants.directory.path().join("tenants/acme");
    ensure!(directory.join("models/later/1/model.onnx").is_file());
    // Nothing that a worker has written is read by another process.
    ensure!(directory.join("cache").is_dir());
    ensure!(tenants.infer("later", &tenants.other)?.status == 404);
    Ok(())
}

#[test]
fn a_worker_reads_the_files_of_a_load_and_shows_the_usage_of_a_request() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &["--usage-header"])?;
    let body = br#"{"parameters": {"config": "{}", "file:1/model.onnx": "AA=="}}"#;
    let load = "POST /v2/repository/models/sent/load";
    let refused = tenants.ask(load, &tenants.acme, body)?;
    // It is not a model, which is known once it has been written where the worker may write.
    ensure!((400..500).contains(&refused.status), "{refused:?}");
    let inferred = tenants.infer("own", &tenants.acme)?;
    ensure!(inferred.header("wisp-usage").is_some(), "{inferred:?}");
    Ok(())
}

#[test]
fn the_usage_log_has_what_a_worker_has_metered() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("usage.ndjson");
    let log = format!("--usage-log={}", file.display());
    let arguments = [log.as_str(), "--usage-log-period-secs=1"];
    let tenants = Tenants::start(Isolation::Worker, &arguments)?;
    for (owner, model) in [("acme", "own"), ("local", "shared")] {
        tenants.infer(model, &tenants.acme)?.ok()?;
        let members = format!(
            r#""tenant":"acme","owner":"{owner}","model":"{model}","version":"1","requests":1,"#
        );
        wait_until("the log has the usage", || {
            fs::read_to_string(&file).is_ok_and(|text| text.contains(&members))
        })?;
    }
    Ok(())
}

#[test]
fn every_thread_of_a_worker_is_locked_in() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let worker = tenants.worker()?;
    for thread in fs::read_dir(format!("/proc/{worker}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            ensure!(status.contains(line), "{line}: {status}");
        }
        // Those of the process that starts workers hold for them too.
        let filters = status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp_filters:"));
        let filters: u32 = filters.context("no filters")?.trim().parse()?;
        ensure!(filters >= 5, "{filters}");
    }
    Ok(())
}

#[test]
fn a_worker_ends_with_its_server_however_that_ends() -> Result<()> {
    for ending in ["-TERM", "-KILL"] {
        let mut tenants = Tenants::start(Isolation::Worker, &[])?;
        tenants.infer("own", &tenants.acme)?.ok()?;
        ensure!(tenants.workers().len() == 1);
        tenants.server.signal(ending)?;
        let ended = tenants.server.child.wait()?;
        ensure!(ended.success() == (ending == "-TERM"), "{ending}: {ended}");
        wait_until("the worker has ended", || tenants.workers().is_empty())?;
    }
    Ok(())
}

#[test]
fn a_server_without_a_cage_has_workers_too() -> Result<()> {
    let mut tenants = Tenants::start(Isolation::Worker, &["--no-cage"])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let worker = tenants.worker()?;
    signal(worker, "-KILL")?;
    tenants.infer_again("own", &tenants.acme)?;
    tenants.server.signal("-KILL")?;
    tenants.server.child.wait()?;
    wait_until("the worker has ended", || tenants.workers().is_empty())
}

#[test]
fn a_request_that_a_server_answers_while_it_drains_is_answered_by_the_worker() -> Result<()> {
    let mut tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let mut stream = tenants.begin("own", &tenants.acme)?;
    tenants.server.signal("-TERM")?;
    stream.write_all(PATIENT.as_bytes())?;
    answer(stream)?.ok()?;
    ensure!(tenants.server.child.wait()?.success());
    Ok(())
}

#[test]
fn a_tenant_that_is_cordoned_off_has_threads_and_no_process() -> Result<()> {
    let tenants = Tenants::start(Isolation::Cordon, &[])?;
    for (model, key) in [
        ("own", &tenants.acme),
        ("shared", &tenants.acme),
        ("shared", &tenants.other),
    ] {
        tenants.infer(model, key)?.ok()?;
    }
    ensure!(tenants.workers().is_empty());
    let mut names = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", tenants.server.id()))? {
        names.push(fs::read_to_string(thread?.path().join("comm"))?);
    }
    for name in ["wisp-c-handler", "wisp-c-graph"] {
        ensure!(
            names.iter().any(|found| found.starts_with(name)),
            "{names:?}"
        );
    }
    Ok(())
}
