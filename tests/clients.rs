//! Clients that others wrote, as they come from their package registries, drive the examples.
//!
//! The checks themselves are in Python: `clients/triton_http.py` and `clients/grpc_clients.py`.

use crate::harness::{Repository, TestServer, root};
use crate::python;
use anyhow::{Context, Result};
use std::net::SocketAddr;

/// The three examples that need nothing but the repository, and a model that cannot be served.
fn server() -> Result<TestServer> {
    let repository = Repository::of(&["digits", "progression", "wine"])?
        .with_file("broken/1/model.onnx", b"not a model")?;
    TestServer::start(repository)
}

/// Run one check of the script against the server.
fn check(server: &TestServer, check: &str) -> Result<()> {
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    python::run(
        "triton_http.py",
        &[check, &server.address().to_string(), examples],
    )?;
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
}

#[test]
fn tritonclient_reads_digits_from_files_and_pixels() -> Result<()> {
    check(&server()?, "digits")
}

#[test]
fn tritonclient_tells_wines_apart_by_matrix_and_by_name() -> Result<()> {
    check(&server()?, "wine")
}

#[test]
fn tritonclient_estimates_progression() -> Result<()> {
    check(&server()?, "progression")
}

#[test]
fn tritonclient_embeds_texts_of_any_length() -> Result<()> {
    check(&python::embed_server()?, "embed")
}

#[test]
fn tritonclient_reads_health_metadata_and_the_index() -> Result<()> {
    check(&server()?, "server")
}

#[test]
fn tritonclient_shows_its_user_what_was_wrong() -> Result<()> {
    check(&server()?, "errors")
}

#[test]
fn tritonclient_gets_every_answer_to_its_own_question() -> Result<()> {
    check(&server()?, "concurrency")
}

#[test]
fn the_asyncio_client_works_as_well() -> Result<()> {
    check(&server()?, "asynchronous")
}

/// Run one check of the gRPC script against the server, at this address of its.
fn check_grpc(server: &TestServer, address: SocketAddr, check: &str) -> Result<()> {
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    python::run("grpc_clients.py", &[check, &address.to_string(), examples])?;
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
}

/// The same examples, and one without its handler, whose input is rows of numbers.
fn grpc_server() -> Result<TestServer> {
    let repository = Repository::of(&["digits"])?.with_model("wine-bare", "wine", None)?;
    TestServer::start(
        repository
            .with_example("wine", "wine")?
            .with_file("broken/1/model.onnx", b"no")?,
    )
}

#[test]
fn tritonclient_infers_over_grpc_on_either_port() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "inference")?;
    check_grpc(&server, server.address(), "inference")
}

#[test]
fn the_asyncio_client_works_over_grpc() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "asynchronous")
}

#[test]
fn tritonclient_reads_health_metadata_and_the_index_over_grpc() -> Result<()> {
    let server = server()?;
    check_grpc(&server, server.grpc_address(), "server")
}

#[test]
fn every_failure_has_its_grpc_code_and_text() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "errors")
}

#[test]
fn a_bad_request_in_a_stream_fails_alone() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "stream")
}

#[test]
fn ovmsclient_predicts_over_grpc() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "ovms")
}

#[test]
fn grpc_health_follows_each_model() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "health")
}

#[test]
fn reflection_tells_all_it_takes_to_predict() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "reflection")
}
