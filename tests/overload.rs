//! More than the server takes: refused at once, in the protocol's words, and it goes on.

use crate::harness::{Repository, TestOptions, TestServer, component};
use anyhow::{Result, ensure};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use wisp_serving::ServingOptions;

#[test]
fn the_request_above_the_limit_is_refused_with_a_time_to_retry() -> Result<()> {
    let repository =
        Repository::empty()?.with_model("evil", "progression", Some(component("evil")?))?;
    let options = TestOptions {
        serving: ServingOptions {
            max_requests: 1,
            ..ServingOptions::default()
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    // Admitted, and then kept waiting for its body by a client that never sends it.
    let mut slow = TcpStream::connect(server.address())?;
    slow.write_all(
        b"POST /v2/models/evil/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n",
    )?;
    // The server asks for the body, so the request has been admitted by now.
    let mut asked = [0; 12];
    std::io::Read::read_exact(&mut slow, &mut asked)?;
    ensure!(&asked == b"HTTP/1.1 100");
    let request = json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": ["honest"],
    }] });
    let refusal = server.infer("evil", &request)?;
    refusal.error(503)?;
    ensure!(refusal.header("retry-after").is_some(), "{refusal:?}");
    // Going away makes room again.
    drop(slow);
    while server.infer("evil", &request)?.status == 503 {
        std::thread::yield_now();
    }
    server.infer("evil", &request)?.ok()?;
    Ok(())
}
