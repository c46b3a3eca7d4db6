//! Tests of the protocols that do not name themselves in their bodies, over the wire and as data: TF
//! Serving's REST API, which includes KServe V1, and the predict API.

use crate::harness::{Repository, TestServer, component, fixture};
use anyhow::Result;

/// Starts a server of models with and without a handler, one whose first axis is not a batch, and one
/// that cannot be served.
fn server() -> Result<TestServer> {
    let repository = Repository::of(&["digits", "progression", "wine"])?
        .with_model("bare", "progression", None)?
        .with_model("whole", "progression", None)?
        .with_file("whole/model.toml", b"max_batch_size = 0")?
        .with_model("hostile", "progression", Some(component("hostile_guest")?))?
        .with_broken_model()?;
    TestServer::start(repository)
}

#[test]
fn every_fixture_of_tf_serving_gets_its_response() -> Result<()> {
    fixture::check_all(&server()?, "protocol_tfs", 60)
}

#[test]
fn every_fixture_of_the_predict_api_gets_its_response() -> Result<()> {
    fixture::check_all(&server()?, "predict", 35)
}
