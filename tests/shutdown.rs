//! Tests of draining: requests in flight finish, and new requests are refused.

use crate::harness::{Repository, Response, TestServer, wait_until};
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;

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
