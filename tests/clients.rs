//! Clients that others wrote, as they come from their package registries, drive the examples.
//!
//! The checks themselves are in Python: `clients/triton_http.py`.

use crate::harness::{Repository, TestServer, root};
use crate::python;
use anyhow::{Context, Result};

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
fn tritonclient_unloads_and_loads_models() -> Result<()> {
    check(&server()?, "control")
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
