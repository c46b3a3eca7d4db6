//! Tests of draining: requests in flight finish, and new requests are refused.

use crate::harness::victim::{check_class, wine};
use crate::harness::{Connection, Repository, Response, TestOptions, TestServer, wait_until};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::scope;
use std::time::Duration;
use wisp_server::ServerOptions;

const REQUEST: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;

#[test]
fn the_server_ends_after_the_response_to_a_request_in_flight() -> Result<()> {
    let mut server = TestServer::start(Repository::of(&["progression"])?)?;
    let mut stream = TcpStream::connect(server.address())?;
    let head = format!(
        "POST /v2/models/progression/infer HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        REQUEST.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on)?;
    ensure!(
        go_on.starts_with(b"HTTP/1.1 100"),
        "the request is in flight"
    );
    server.stop();
    wait_until("the server is not ready", || !server.serving().is_ready())?;
    stream.write_all(REQUEST.as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let response = Response::parse(&reply)?;
    ensure!(response.status == 200, "{response:?}");
    server.wait()?;
    ensure!(
        TcpStream::connect(server.address()).is_err(),
        "still accepting"
    );
    Ok(())
}

/// Sends requests on one connection until a response says that it closes.
fn ask_until_closed(address: SocketAddr, answered: &AtomicUsize) -> Result<()> {
    let mut connection = Connection::open(address)?;
    loop {
        let response = connection.infer("wine", &wine())?;
        check_class(&response)?;
        answered.fetch_add(1, Relaxed);
        if response.header("connection") == Some("close") {
            return Ok(());
        }
    }
}

#[test]
fn every_request_on_an_open_connection_is_answered_while_the_server_drains() -> Result<()> {
    const CLIENTS: usize = 8;
    let options = TestOptions {
        server: ServerOptions {
            // Each client gets its turn meanwhile, also on a busy machine.
            drain_delay: Duration::from_secs(5),
            ..ServerOptions::default()
        },
        ..TestOptions::default()
    };
    let mut server = TestServer::with_options(Repository::of(&["wine"])?, options)?;
    let address = server.address();
    let answered = AtomicUsize::new(0);
    scope(|scope| {
        let clients = (0..CLIENTS).map(|_| scope.spawn(|| ask_until_closed(address, &answered)));
        let clients: Vec<_> = clients.collect();
        let waited = wait_until("the clients are answered", || {
            answered.load(Relaxed) >= 10 * CLIENTS
        });
        // The clients end with the server, also after an error.
        server.stop();
        for client in clients {
            client.join().ok().context("a client has panicked")??;
        }
        waited
    })?;
    server.wait()?;
    ensure!(TcpStream::connect(address).is_err(), "still accepting");
    Ok(())
}
