//! Tests that loading and unloading models does not disturb requests to other models or to older
//! versions.

use crate::harness::TestServer;
use crate::{matrix, python};
use anyhow::Result;

#[test]
fn loading_and_unloading_does_not_affect_other_models() -> Result<()> {
    let server = TestServer::start(matrix::models()?)?;
    let http = server.address().to_string();
    let grpc = server.grpc_address().to_string();
    python::run("load_loop.py", &[&http, &grpc, "20"])?;
    server.get("/v2/models/calc/ready")?.ok()?;
    server.get("/v2/models/double/ready")?.ok()?;
    matrix::is_idle(server)
}
