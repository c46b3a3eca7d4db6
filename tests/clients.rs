//! Tests with unmodified third-party clients from their package registries, against the examples.
//!
//! The checks are Python scripts, one for each client in `clients/`, except those with curl, which are
//! here.

use crate::harness::{Repository, TestOptions, TestServer, root};
use crate::{matrix, python};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use wisp_serving::ServingOptions;

/// Starts a server of three examples that are complete in the repository, and of a model that cannot be
/// served.
fn server() -> Result<TestServer> {
    let repository = Repository::of(&["digits", "progression", "wine"])?.with_broken_model()?;
    TestServer::start(repository)
}

/// Runs one check of the script against the server.
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
fn tritonclient_classifies_wines_by_matrix_and_by_name() -> Result<()> {
    check(&server()?, "wine")
}

#[test]
fn tritonclient_estimates_progression() -> Result<()> {
    check(&server()?, "progression")
}

#[test]
fn requests_and_tritonclient_send_missing_values() -> Result<()> {
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let server = TestServer::start(repository)?;
    python::run("missing_values.py", &[&server.address().to_string()])?;
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
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
fn tritonclient_reads_statistics_that_count_requests_rows_and_executions() -> Result<()> {
    check(&server()?, "statistics")
}

#[test]
fn tritonclient_gets_classes_in_place_of_probabilities() -> Result<()> {
    check(&server()?, "classification")
}

#[test]
fn tritonclient_shows_the_text_of_errors() -> Result<()> {
    check(&server()?, "errors")
}

#[test]
fn tritonclient_reads_settings_that_it_cannot_change() -> Result<()> {
    check(&server()?, "settings")
}

#[test]
fn image_clients_read_the_order_of_the_axes_from_the_configuration() -> Result<()> {
    let repository = Repository::empty()?;
    let path = repository.path().to_str();
    let path = path.context("a path that is not Unicode")?.to_owned();
    python::run("image_classification.py", &["make", &path])?;
    let server = TestServer::start(repository)?;
    let addresses = [server.address(), server.grpc_address()].map(|address| address.to_string());
    let arguments = ["ask", &addresses[0], &addresses[1]];
    python::run("image_classification.py", &arguments)?;
    Ok(())
}

/// Starts a server of models like those in the tests of Triton's clients, and of one that cannot be served.
pub(crate) fn triton_server() -> Result<TestServer> {
    let repository = Repository::empty()?.with_broken_model()?;
    let path = repository.path().to_str();
    let path = path.context("a path that is not Unicode")?.to_owned();
    python::run("triton_models.py", &[&path])?;
    TestServer::start(repository)
}

/// Runs a script against both of the server's addresses.
fn check_triton(script: &str, checks: &[&str]) -> Result<()> {
    let server = triton_server()?;
    let [http, grpc] = [server.address(), server.grpc_address()].map(|address| address.to_string());
    let arguments = [checks, &[http.as_str(), grpc.as_str()]].concat();
    python::run_in(&python::TRITON, script, &arguments)?;
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
}

/// Makes calls of NVIDIA's example scripts.
fn check_examples(check: &str) -> Result<()> {
    let server = triton_server()?;
    let [http, grpc] = [server.address(), server.grpc_address()].map(|address| address.to_string());
    python::run("triton_examples.py", &[check, &http, &grpc])?;
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
}

#[test]
fn nvidias_examples_find_their_words_for_a_version_that_is_no_number() -> Result<()> {
    check_examples("explicit_contents")
}

#[test]
fn nvidias_examples_find_their_words_for_a_load_that_fails() -> Result<()> {
    check_examples("model_control")
}

#[test]
fn the_identity_of_nvidias_examples_returns_strings() -> Result<()> {
    check_examples("identity")
}

#[test]
fn pytritons_client_infers_samples_and_batches() -> Result<()> {
    check_triton("pytriton_clients.py", &["synchronous"])
}

#[test]
fn pytritons_client_infers_with_futures() -> Result<()> {
    check_triton("pytriton_clients.py", &["futures"])
}

#[test]
fn pytritons_client_infers_with_asyncio() -> Result<()> {
    check_triton("pytriton_clients.py", &["asyncio"])
}

#[test]
fn pytritons_client_waits_for_a_model_that_is_not_ready_and_shows_errors() -> Result<()> {
    check_triton("pytriton_clients.py", &["errors"])
}

#[test]
fn the_client_of_ultralytics_reads_classes_from_the_parameters_of_a_model() -> Result<()> {
    check_triton("ultralytics_client.py", &[])
}

#[test]
fn tritonclient_gets_the_response_to_each_of_its_requests() -> Result<()> {
    check(&server()?, "concurrency")
}

#[test]
fn the_asyncio_client_works_as_well() -> Result<()> {
    check(&server()?, "asynchronous")
}

#[test]
fn tritonclient_compresses_in_both_directions() -> Result<()> {
    check(&server()?, "compression")
}

/// Starts a server for the clients of other protocols: models with and without a handler, and a broken
/// one.
fn other_protocols() -> Result<TestServer> {
    let repository = Repository::of(&["digits", "progression"])?
        .with_model("bare", "progression", None)?
        .with_broken_model()?;
    TestServer::start(repository)
}

#[test]
fn ovmsclient_predicts_and_reads_status_and_metadata_over_http() -> Result<()> {
    let server = other_protocols()?;
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    python::run("ovms_http.py", &[&server.address().to_string(), examples])?;
    Ok(())
}

#[test]
fn the_request_of_the_tf_serving_tutorial_gets_the_results_of_onnxruntime() -> Result<()> {
    let (server, graphs) = tfs_tutorial()?;
    let address = server.address().to_string();
    python::run("tfs_tutorial_client.py", &["ask", &graphs, &address])?;
    Ok(())
}

/// Starts a server of the models from TF Serving's documentation and tutorial. Returns it with the
/// repository's path.
fn tfs_tutorial() -> Result<(TestServer, String)> {
    let repository = Repository::empty()?;
    let path = repository.path().to_str();
    let path = path.context("a path that is not Unicode")?.to_owned();
    python::run("tfs_tutorial_client.py", &["make", &path])?;
    Ok((TestServer::start(repository)?, path))
}

/// Returns the JSON that curl prints for these arguments and this URL.
fn curl(server: &TestServer, arguments: &[&str], path: &str) -> Result<Value> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body"])
        .args(arguments)
        .arg(format!("http://{}{path}", server.address()));
    Ok(serde_json::from_slice(&python::succeed(&mut curl)?.stdout)?)
}

/// From <https://www.tensorflow.org/tfx/serving/api_rest>, "Example", except for the port.
#[test]
fn the_curl_commands_of_tf_servings_documentation_print_its_output() -> Result<()> {
    let (server, _) = tfs_tutorial()?;
    let model = "/v1/models/half_plus_three";
    let status = curl(&server, &[], model)?;
    let version = &status["model_version_status"][0];
    ensure!(version["state"] == "AVAILABLE", "{status}");
    ensure!(version["status"] == json!({"error_code": "OK", "error_message": ""}));
    let metadata = curl(&server, &[], &format!("{model}/metadata"))?;
    ensure!(
        metadata["model_spec"]["name"] == "half_plus_three",
        "{metadata}"
    );
    let rows = r#"{"instances": [1.0,2.0,5.0]}"#;
    let predicted = curl(
        &server,
        &["-d", rows, "-X", "POST"],
        &format!("{model}:predict"),
    )?;
    ensure!(
        predicted == json!({"predictions": [3.5, 4.0, 5.5]}),
        "{predicted}"
    );
    let examples =
        r#"{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}"#;
    let regressed = curl(
        &server,
        &["-d", examples, "-X", "POST"],
        &format!("{model}:regress"),
    )?;
    ensure!(regressed == json!({"results": [3.5, 4.0]}), "{regressed}");
    Ok(())
}

#[test]
fn curl_uses_the_predict_api() -> Result<()> {
    let repository = Repository::empty()?.with_model("progression", "progression", None)?;
    let server = TestServer::start(repository)?;
    ensure!(curl(&server, &[], "/health")? == json!({"status": "healthy"}));
    let features = "[54, 2, 36.1, 115, 163, 98.4, 43, 4, 4.6821, 101]";
    let one = format!("{{\"features\": {features}}}");
    // A single model need not be named, and bodies may be compressed in both directions.
    for path in ["/predict", "/predict/progression"] {
        let answer = curl(&server, &["--compressed", "-d", &one], path)?;
        let prediction = answer["prediction"].as_f64().context("no number")?;
        ensure!((prediction - 235.637).abs() < 1e-2, "{answer}");
        ensure!(answer["model_version"] == "1", "{answer}");
    }
    let batch = format!("{{\"features\": [{features}, [1], {features}]}}");
    let answer = curl(&server, &["-d", &batch], "/batch_predict")?;
    let rows = answer["predictions"].as_array().context("no list")?;
    ensure!(rows.len() == 3 && rows[0] == rows[2], "{answer}");
    ensure!(rows[1]["error"].is_string(), "{answer}");
    Ok(())
}

/// Runs one check of the gRPC script against one of the server's addresses.
fn check_grpc(server: &TestServer, address: SocketAddr, check: &str) -> Result<()> {
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    python::run("grpc_clients.py", &[check, &address.to_string(), examples])?;
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
}

/// Starts a server of the same examples and of one without its handler, whose input is rows of numbers.
fn grpc_server() -> Result<TestServer> {
    let repository = Repository::of(&["digits"])?.with_model("wine-bare", "wine", None)?;
    TestServer::start(
        repository
            .with_example("wine", "wine")?
            .with_broken_model()?,
    )
}

#[test]
fn tritonclient_infers_over_grpc_on_either_port() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "inference")?;
    check_grpc(&server, server.address(), "inference")
}

#[test]
fn tritonclient_reads_health_metadata_and_the_index_over_grpc() -> Result<()> {
    let server = server()?;
    check_grpc(&server, server.grpc_address(), "server")
}

#[test]
fn tritonclient_reads_statistics_over_grpc() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "statistics")
}

#[test]
fn tritonclient_gets_classes_over_grpc() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "classification")
}

#[test]
fn a_grpc_response_contains_its_timings() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "timing")
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
fn a_client_that_asks_for_statuses_gets_one_at_the_end_of_its_stream() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "ended_stream")
}

#[test]
fn tritonclient_reads_settings_that_it_cannot_change_over_grpc() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "settings")
}

#[test]
fn ovmsclient_predicts_over_grpc() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "ovms")
}

#[test]
fn grpc_health_follows_each_model_as_it_changes() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "health")
}

#[test]
fn reflection_is_enough_to_predict() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "reflection")
}

#[test]
fn a_configuration_of_tf_serving_selects_the_served_models() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.grpc_address(), "reload")
}

#[test]
fn a_message_of_more_than_64_mib_is_accepted_with_a_higher_limit() -> Result<()> {
    let repository = Repository::empty()?.with_model("wine-bare", "wine", None)?;
    let defaults = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            max_body_bytes: 128 << 20,
            request_timeout: std::time::Duration::from_secs(50),
            ..defaults.serving
        },
        ..defaults
    };
    let server = TestServer::with_options(repository, options)?;
    check_grpc(&server, server.grpc_address(), "large")
}

#[test]
fn tf_examples_are_classified_and_regressed_over_grpc() -> Result<()> {
    let server = server()?;
    check_grpc(&server, server.grpc_address(), "examples")
}

#[test]
fn the_work_of_a_disconnected_client_is_cancelled() -> Result<()> {
    let server = matrix::slow_server()?;
    check_grpc(&server, server.grpc_address(), "disconnect")?;
    matrix::has_given_up(server)
}

#[test]
fn grpc_errors_have_the_text_of_rest() -> Result<()> {
    let server = grpc_server()?;
    check_grpc(&server, server.address(), "texts")
}
