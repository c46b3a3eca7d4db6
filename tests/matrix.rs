//! Tests of every client with every cell that it supports. `clients/matrix.toml` lists the cells, and
//! the reasons for those that are impossible.
//!
//! One test for each client runs its script against a server with a few small models, made by
//! `clients/matrix/models.py`, and against one whose model computes longer than any client waits.

mod table;

use self::table::{Client, Table};
use crate::harness::{Repository, TestOptions, TestServer, component, root};
use crate::{node, python};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wisp_sandbox::limits::Limits;
use wisp_server::ServerOptions;
use wisp_serving::ServingOptions;

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(600);

/// Defines a test for each client, and the array of their names in order.
macro_rules! clients {
    ($($test:ident => $name:literal,)*) => {
        const CLIENTS: &[&str] = &[$($name),*];

        $(#[test]
        fn $test() -> Result<()> {
            passes_all_cells($name)
        })*
    };
}

clients! {
    tritonclient_passes_over_http => "tritonclient.http",
    tritonclient_passes_over_http_with_asyncio => "tritonclient.http.aio",
    tritonclient_passes_over_grpc => "tritonclient.grpc",
    tritonclient_passes_over_grpc_with_asyncio => "tritonclient.grpc.aio",
    kserves_client_passes_in_v1 => "kserve REST v1",
    kserves_client_passes_in_v2 => "kserve REST v2",
    kserves_client_passes_over_grpc => "kserve gRPC",
    ovmsclient_passes_over_http => "ovmsclient REST",
    ovmsclient_passes_over_grpc => "ovmsclient gRPC",
    the_grpc_of_nodejs_passes => "@grpc/grpc-js",
    httpx_passes_over_http2 => "httpx over HTTP/2",
}

/// Returns a repository of the small models, `digits` for strings, and a broken one.
pub(crate) fn models() -> Result<Repository> {
    let repository = Repository::of(&["digits"])?;
    let repository = repository.with_broken_model()?;
    let path = repository.path().to_str();
    let path = path.context("a path that is not Unicode")?.to_owned();
    python::run("matrix/models.py", &[&path])?;
    Ok(repository)
}

/// Starts a server whose model `hostile` can be made to compute without end, in the only instance. Only the
/// disconnect of its client can end that.
pub(crate) fn slow_server() -> Result<TestServer> {
    let repository = Repository::empty()?.with_model(
        "hostile",
        "progression",
        Some(component("hostile_guest")?),
    )?;
    let defaults = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            request_timeout: NEVER,
            max_instances: 1,
            ..defaults.serving
        },
        server: ServerOptions {
            drain_timeout: NEVER,
            ..defaults.server
        },
        limits: Limits {
            guest_time: NEVER,
            ..defaults.limits
        },
        ..defaults
    };
    TestServer::with_options(repository, options)
}

/// Checks that a slow server has cancelled the requests of its clients: its instance is free, and the
/// server ends promptly when stopped.
pub(crate) fn has_given_up(slow: TestServer) -> Result<()> {
    let honest = json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": ["honest"],
    }] });
    slow.infer("hostile", &honest)?.ok()?;
    is_idle(slow)
}

/// Checks that no computation is running: the server ends promptly when stopped.
pub(crate) fn is_idle(mut server: TestServer) -> Result<()> {
    server.get("/v2/health/ready")?.ok()?;
    let start = Instant::now();
    server.stop();
    server.wait()?;
    let took = start.elapsed();
    ensure!(took < NEVER / 10, "it took {took:?} to drain");
    Ok(())
}

fn passes_all_cells(name: &str) -> Result<()> {
    let table = Table::read()?;
    let client = table.client(name)?;
    let server = TestServer::start(models()?)?;
    let slow = slow_server()?;
    let printed = run(client, &server, &slow)?;
    let mut asked: BTreeSet<&str> = cells(client).collect();
    let mut failures = Vec::new();
    for line in printed.lines() {
        let outcome: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let cell = outcome["cell"].as_str().context("no cell")?;
        ensure!(asked.remove(cell), "{name} was not asked for {cell}");
        if let Some(error) = outcome["error"].as_str() {
            failures.push(format!("{name} x {cell}: {error}"));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(asked.is_empty(), "{name} has not come to {asked:?}");
    has_given_up(slow)?;
    is_idle(server)
}

fn cells(client: &Client) -> impl Iterator<Item = &str> {
    let cells = client.passes.iter().chain(&client.besides);
    cells.map(String::as_str)
}

/// Returns the output of the client's script: a line of JSON for each cell.
fn run(client: &Client, server: &TestServer, slow: &TestServer) -> Result<String> {
    let [http, grpc] = [server.address(), server.grpc_address()].map(|address| address.to_string());
    let [slow_http, slow_grpc] = [slow.address(), slow.grpc_address()].map(|a| a.to_string());
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    if client.is_nodes() {
        let proto = root().join("host/protocol/proto");
        let proto = proto.to_str().context("a path that is not Unicode")?;
        let mut arguments = vec![proto, grpc.as_str(), slow_grpc.as_str(), examples];
        arguments.extend(cells(client));
        return node::run("grpc_js.cjs", &arguments);
    }
    let addresses = [&http, &grpc, &slow_http, &slow_grpc];
    let mut arguments = vec![client.name.as_str()];
    arguments.extend(addresses.map(String::as_str));
    arguments.push(examples);
    arguments.extend(cells(client));
    python::run("matrix/cells.py", &arguments)
}

#[test]
fn the_table_has_every_cell_of_every_client() -> Result<()> {
    let table = Table::read()?;
    let names: Vec<_> = table.clients.iter().map(|client| &client.name).collect();
    ensure!(names == CLIENTS, "{names:?}");
    ensure!(table.cells.len() == 11, "{:?}", table.cells);
    let columns: BTreeSet<_> = table.cells.iter().collect();
    for client in &table.clients {
        let Client {
            name,
            passes,
            impossible,
            note,
            ..
        } = client;
        let passing: BTreeSet<_> = passes.iter().collect();
        let excused: BTreeSet<_> = impossible.keys().collect();
        ensure!(passing.is_disjoint(&excused), "{name} cannot, and does");
        ensure!(&passing | &excused == columns, "{name} lacks a cell");
        ensure!(
            note.keys().all(|cell| passing.contains(cell)),
            "{name} has a note on what it does not do"
        );
    }
    Ok(())
}

#[test]
fn every_cited_line_is_in_the_source_of_its_client() -> Result<()> {
    for client in Table::read()?.clients {
        let (name, version) = client.package.split_once(' ').context("no version")?;
        let packages = match client.is_nodes() {
            true => node::packages()?.to_owned(),
            false => python::packages()?,
        };
        let installed = match client.is_nodes() {
            true => {
                let manifest = std::fs::read(packages.join(name).join("package.json"))?;
                let manifest: Value = serde_json::from_slice(&manifest)?;
                manifest["version"] == version
            }
            false => packages
                .join(format!("{name}-{version}.dist-info"))
                .is_dir(),
        };
        ensure!(installed, "{} is not installed", client.package);
        for citation in client.impossible.values().chain(client.note.values()) {
            citation.check(&packages).context(client.name.clone())?;
        }
    }
    Ok(())
}

#[test]
fn the_readme_of_the_clients_contains_the_table() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("tests/clients/README.md"))?;
    let table = Table::read()?.markdown()?;
    ensure!(
        readme.contains(&table),
        "tests/clients/README.md needs this table:\n{table}"
    );
    Ok(())
}
