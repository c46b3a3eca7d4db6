//! Tests of V2 REST over the wire, as data.

use crate::harness::{Repository, TestServer, component, fixture};
use anyhow::Result;

#[test]
fn every_fixture_gets_its_response() -> Result<()> {
    let repository = Repository::of(&["digits", "progression", "wine"])?
        .with_model("bare", "progression", None)?
        .with_model("gone", "progression", None)?
        .with_model("hostile", "progression", Some(component("hostile_guest")?))?
        .with_file("bare/labels.txt", b"estimate")?
        .with_file(
            "bare/model.toml",
            b"outputs.progression.labels = 'labels.txt'",
        )?
        .with_broken_model()?
        .with_file(
            "empty/model.toml",
            b"export = \"make model\"\noptional = true",
        )?
        .with_file("empty/3/notes.txt", b"")?;
    let server = TestServer::start(repository)?;
    let unload = "POST /v2/repository/models/gone/unload";
    server.request(unload, &[], b"")?.ok()?;
    fixture::check_all(&server, "protocol_v2", 30)
}
