//! Tests of V2 REST over the wire, as data.

use crate::harness::{Repository, TestServer, component, fixture, root};
use anyhow::{Result, ensure};

/// Requests whose responses were recorded from a real Triton 2.51, and the cases with Wisp's responses,
/// which are the same or better.
const GOLDEN: [(&str, &[&str]); 18] = [
    ("model metadata", &["model_metadata"]),
    ("JSON", &["infer_flat", "infer_nested"]),
    ("a raw body", &["raw"]),
    ("an empty body", &["raw_empty_body"]),
    ("no inputs", &["inputs_none"]),
    (
        "another shape, datatype, input or output",
        &[
            "wrong_shape",
            "wrong_datatype",
            "input_unknown",
            "output_unknown",
        ],
    ),
    ("too large a batch", &["batch_too_large"]),
    (
        "a batch of none, JSON longer than the body",
        &["batch_of_none", "header_length_beyond_the_body"],
    ),
    (
        "what is no JSON, or not of the datatype",
        &[
            "json_not_at_all",
            "data_string_among_numbers",
            "data_too_short",
            "data_number_beyond_every_float",
        ],
    ),
    ("another coding", &["encoding_not_read"]),
    (
        "an unknown model",
        &["unknown_model", "unknown_model_metadata"],
    ),
    (
        "an unknown version",
        &["unknown_version", "unknown_version_metadata"],
    ),
    (
        "a model that is unloaded or has failed",
        &["unloaded_model", "unavailable_model"],
    ),
    (
        "whether it is ready",
        &["model_ready_unknown", "unloaded_model_ready"],
    ),
    ("load of an unknown model", &["load_of_an_unknown_model"]),
    ("load of a model that fails", &["load_that_fails"]),
    (
        "unload of an unknown model",
        &["unload_of_an_unknown_model"],
    ),
    ("GET of an inference", &["wrong_method_on_infer"]),
];

#[test]
fn every_fixture_gets_its_response() -> Result<()> {
    let repository = Repository::of(&["digits", "progression", "wine"])?
        .with_model("bare", "progression", None)?
        .with_model("gone", "progression", None)?
        .with_model("evil", "progression", Some(component("hostile_guest")?))?
        .with_file("bare/labels.txt", b"estimate")?
        .with_file(
            "bare/model.toml",
            b"outputs.progression.labels = 'labels.txt'",
        )?
        .with_file("broken/1/model.onnx", b"not a model")?
        .with_file("empty/model.toml", b"export = \"make model\"")?
        .with_file("empty/3/notes.txt", b"")?;
    let server = TestServer::start(repository)?;
    let unload = "POST /v2/repository/models/gone/unload";
    server.request(unload, &[], b"")?.ok()?;
    fixture::check_all(&server, "protocol_v2", 30)
}

#[test]
fn every_request_that_triton_was_asked_is_a_case() -> Result<()> {
    let fixtures = root().join("tests/fixtures/protocol_v2");
    for (request, cases) in GOLDEN {
        for case in cases {
            ensure!(fixtures.join(case).is_dir(), "{request}: no case `{case}`");
        }
    }
    Ok(())
}
