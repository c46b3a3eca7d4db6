//! Tests of the rules for inputs and outputs, and of the drift of inputs, with scipy and numpy as the reference.
//!
//! The model returns its input, so that a changed value would be seen.

use crate::cli::{failure, run, stdout, wisp};
use crate::harness::onnx::{BOOL, FLOAT, Graph, INT64, STRING, Value};
use crate::harness::{Repository, TestServer};
use crate::python;
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::path::Path;

/// The names of the features, for all tests with the script.
const FEATURES: &str = "[inputs.x]\nfeature_names = ['many', 'few', 'sparse']\n";

/// Returns a model `m` that returns rows of three numbers.
fn repository() -> Result<Repository> {
    let graph = Graph::from_x_to_y(&[None, Some(3)]).node("Identity", &["x"], &["y"]);
    Repository::empty()?.with_file("m/1/model.onnx", graph.bytes())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not Unicode")
}

fn baseline(repository: &Repository, arguments: &[&str]) -> Result<std::process::Output> {
    let mut command = wisp();
    command.current_dir(repository.path());
    command.args(["baseline", "m", "--backend", "tract"]);
    run(command.args(arguments))
}

/// Returns a request with these values in rows of three.
fn request(values: &[f64]) -> Json {
    let input =
        json!({"name": "x", "datatype": "FP32", "shape": [values.len() / 3, 3], "data": values});
    json!({"inputs": [input]})
}

#[test]
fn the_drift_of_inputs_is_that_of_scipy_and_numpy() -> Result<()> {
    let repository = repository()?.with_file("m/model.toml", FEATURES)?;
    let directory = text(repository.path())?.to_owned();
    python::run("data_quality.py", &["write", &directory])?;
    let made = baseline(&repository, &["--from", "train.csv", "--window", "500"])?;
    let made = stdout(&made)?;
    ensure!(made.contains("3 features, 200 rows\n"), "{made}");
    ensure!(made.contains("no features: target\n"), "{made}");
    let server = TestServer::start(repository)?;
    let addresses = [server.address(), server.grpc_address()].map(|address| address.to_string());
    let [http, grpc] = addresses.each_ref().map(String::as_str);
    python::run("data_quality.py", &["drift", http, grpc, &directory])?;
    Ok(())
}

#[test]
fn csv_and_parquet_make_the_same_baseline() -> Result<()> {
    let repository = repository()?.with_file("m/model.toml", FEATURES)?;
    python::run("data_quality.py", &["write", text(repository.path())?])?;
    stdout(&baseline(&repository, &["--from", "train.csv"])?)?;
    let file = repository.path().join("m/baseline.json");
    let expected = std::fs::read(&file)?;
    for codec in ["none", "snappy", "gzip", "zstd"] {
        let data = format!("train-{codec}.parquet");
        stdout(&baseline(
            &repository,
            &["--from", &data, "-o", "other.json"],
        )?)?;
        let other = std::fs::read(repository.path().join("other.json"))?;
        ensure!(other == expected, "{codec} differs from CSV");
    }
    // Without names, the columns are the features in their order.
    std::fs::remove_file(repository.path().join("m/model.toml"))?;
    stdout(&baseline(
        &repository,
        &["--from", "train.csv", "--skip", "target"],
    )?)?;
    ensure!(std::fs::read(&file)? == expected, "the order differs");
    let mut inspect = wisp();
    let inspected = stdout(&run(inspect
        .current_dir(repository.path())
        .args(["inspect", "m"]))?)?;
    ensure!(
        inspected.contains("baseline     x  many: 200 values, 0 missing, "),
        "{inspected}"
    );
    let mut check = wisp();
    check.current_dir(repository.path());
    let checked = stdout(&run(check.args(["check", "m", "--backend", "tract"]))?)?;
    ensure!(
        checked.contains("baseline of 3 features, window 10000"),
        "{checked}"
    );
    Ok(())
}

#[test]
fn data_that_does_not_fit_the_model_is_refused_by_column() -> Result<()> {
    let repository = repository()?
        .with_file("four.csv", "a,b,c,d\n1,2,3,4\n")?
        .with_file("word.csv", "a,b,c\n1,2,3\n4,five,6\n")?
        .with_file("empty.csv", "a,b,c\n1,,3\n4,,6\n")?
        .with_file("broken.parquet", "PAR1PAR1")?;
    for (data, expected) in [
        (
            "four.csv",
            "input `x` has 3 features, and there are 4 columns for it: a, b, c, d; ",
        ),
        ("word.csv", "column `b`: `five` is not a number"),
        ("empty.csv", "column `b` has no values"),
        ("broken.parquet", "cannot read `broken.parquet`"),
        ("none.csv", "cannot open `none.csv`"),
    ] {
        let (error, code) = failure(&baseline(&repository, &["--from", data])?)?;
        ensure!(code == 64, "{data}: {code}: {error}");
        ensure!(error.contains(expected), "{data}: {error}");
    }
    ensure!(!repository.path().join("m/baseline.json").exists());
    Ok(())
}

#[test]
fn a_damaged_baseline_is_replaced_by_the_command_that_its_error_names() -> Result<()> {
    let repository = repository()?
        .with_file("m/model.toml", "optional = true")?
        .with_file("m/baseline.json", "{\"format\": \"wisp-baseline\"")?
        .with_file("train.csv", "a,b,c\n1,2,3\n4,5,6\n")?;
    let server = TestServer::start(repository)?;
    let error = server.infer("m", &request(&[1.0, 2.0, 3.0]))?.error(503)?;
    ensure!(error.contains("baseline.json is damaged"), "{error}");
    let mut command = wisp();
    command.current_dir(server.repository());
    let checked = run(command.args(["check", "m", "--backend", "tract"]))?;
    let (_, code) = failure(&checked)?;
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    let remedy = "`wisp baseline MODEL --from DATA`";
    ensure!(code == 1 && checked.contains(remedy), "{code}: {checked}");
    let mut command = wisp();
    command.current_dir(server.repository());
    command.args(["baseline", "m", "--backend", "tract", "--from", "train.csv"]);
    stdout(&run(&mut command)?)?;
    server
        .request("POST /v2/repository/models/m/load", &[], b"")?
        .ok()?;
    server.infer("m", &request(&[1.0, 2.0, 3.0]))?.ok()?;
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let quality = &statistics["model_stats"][0]["data_quality"];
    let feature = &quality["inputs"][0]["features"][1];
    ensure!(
        feature["name"] == "b" && feature["observations"] == 1,
        "{quality}"
    );
    Ok(())
}

#[test]
fn inputs_outside_of_their_ranges_are_refused_in_each_protocol() -> Result<()> {
    let settings = format!(
        "{FEATURES}min = -10\nmax = 10\n[inputs.x.features]\nfew = {{ allowed = [1, 2, 5] }}\n\
         sparse = {{ nulls = 'allow' }}\n"
    );
    let repository = repository()?.with_file("m/model.toml", settings)?;
    let server = TestServer::start(repository)?;
    let addresses = [server.address(), server.grpc_address()].map(|address| address.to_string());
    let [http, grpc] = addresses.each_ref().map(String::as_str);
    python::run("data_quality.py", &["rules", http, grpc])?;
    let expected = "input `x` has 11.0 at [0, 2] (feature `sparse`), expected -10 to 10";
    let error = server.infer("m", &request(&[0.0, 1.0, 11.0]))?.error(400)?;
    ensure!(error == expected, "{error}");
    let body = json!({"instances": [[0.0, 1.0, 11.0]]}).to_string();
    let error = server.request("POST /v1/models/m:predict", &[], body.as_bytes())?;
    ensure!(error.error(400)? == expected, "{error:?}");
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let statistics = &statistics["model_stats"][0];
    // Three over each client, and two here.
    let expected = json!({"rejected_inputs": 8, "output_violations": 0, "inputs": []});
    ensure!(statistics["data_quality"] == expected, "{statistics}");
    ensure!(
        statistics["inference_stats"]["fail"]["count"] == 8,
        "{statistics}"
    );
    Ok(())
}

#[test]
fn outputs_outside_of_their_ranges_are_errors_or_counted() -> Result<()> {
    for (settings, status) in [
        ("[outputs.y]\nmax = 10", 500),
        (
            "[outputs.y]\nnulls = 'reject'\nmax = 10\non_violation = 'warn'",
            200,
        ),
    ] {
        let server = TestServer::start(repository()?.with_file("m/model.toml", settings)?)?;
        server.infer("m", &request(&[0.0, 1.0, 10.0]))?.ok()?;
        let response = server.infer("m", &request(&[0.0, 1.0, 11.0]))?;
        ensure!(response.status == status, "{response:?}");
        if status != 200 {
            let error = response.error(status)?;
            ensure!(
                error.contains("outside of the range that it declares"),
                "{error}"
            );
        }
        let statistics = server.get("/v2/models/m/stats")?.ok()?;
        let quality = &statistics["model_stats"][0]["data_quality"];
        ensure!(quality["output_violations"] == 1, "{settings}: {quality}");
    }
    // The outputs of a handler are its author's responsibility.
    let repository = Repository::of(&["wine"])?
        .with_file("wine/model.toml", "[outputs.probabilities]\nmax = 0.1")?;
    let server = TestServer::start(repository)?;
    let wine = [
        13.5, 1.81, 2.61, 20.0, 96.0, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845.0,
    ];
    let input = json!({"name": "features", "datatype": "FP32", "shape": [1, 13], "data": wine});
    let error = server
        .infer("wine", &json!({"inputs": [input]}))?
        .error(502)?;
    ensure!(
        error.contains("the model's handler returned an output outside"),
        "{error}"
    );
    Ok(())
}

#[test]
fn integers_and_booleans_are_features_too() -> Result<()> {
    let graph = Graph {
        input: vec![
            Value::of("n", INT64, &[None]),
            Value::of("b", BOOL, &[None]),
            Value::of("x", FLOAT, &[None]),
        ],
        output: vec![
            Value::of("m", INT64, &[None]),
            Value::of("c", BOOL, &[None]),
            Value::of("y", FLOAT, &[None]),
        ],
        name: "g".to_owned(),
        ..Graph::default()
    };
    let graph = graph
        .node("Identity", &["n"], &["m"])
        .node("Identity", &["b"], &["c"])
        .node("Identity", &["x"], &["y"]);
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", graph.bytes())?
        .with_file("m/model.toml", "[inputs.n]\nmin = 0\nallowed = [0, 1, 2]")?
        .with_file("train.csv", "b,n\ntrue,1\nfalse,2\ntrue,0\n")?;
    let made = stdout(&baseline(&repository, &["--from", "train.csv"])?)?;
    ensure!(made.contains("inputs without columns: x"), "{made}");
    let server = TestServer::start(repository)?;
    let ask = |n: i64| {
        let input = |name: &str, datatype: &str, value: Json| json!({"name": name, "datatype": datatype, "shape": [1], "data": [value]});
        let inputs = [
            input("n", "INT64", json!(n)),
            input("b", "BOOL", json!(true)),
            input("x", "FP32", json!(0.5)),
        ];
        server.infer("m", &json!({"inputs": inputs}))
    };
    ask(2)?.ok()?;
    let error = ask(3)?.error(400)?;
    let expected = "input `n` has 3 at [0], expected at least 0, and one of 0, 1, 2";
    ensure!(error == expected, "{error}");
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let inputs = &statistics["model_stats"][0]["data_quality"]["inputs"];
    let names: Vec<&Json> = (0..2).map(|at| &inputs[at]["name"]).collect();
    ensure!(names == ["n", "b"], "{inputs}");
    ensure!(inputs[0]["features"][0]["observations"] == 1, "{inputs}");
    Ok(())
}

#[test]
fn texts_are_allowed_and_compared_by_category() -> Result<()> {
    let graph = Graph {
        input: vec![Value::of("color", STRING, &[None])],
        output: vec![Value::of("same", STRING, &[None])],
        name: "g".to_owned(),
        ..Graph::default()
    };
    let graph = graph.node("Identity", &["color"], &["same"]);
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", graph.bytes())?
        .with_file(
            "m/model.toml",
            "[inputs.color]\nallowed = ['red', 'green', 'blue']",
        )?
        .with_file("train.csv", "color\nred\ngreen\nred\ngreen\n")?;
    stdout(&baseline(&repository, &["--from", "train.csv"])?)?;
    let server = TestServer::start(repository)?;
    let ask = |colors: &[&str]| {
        let input =
            json!({"name": "color", "datatype": "BYTES", "shape": [colors.len()], "data": colors});
        server.infer("m", &json!({"inputs": [input]}))
    };
    ask(&["red", "green"])?.ok()?;
    for (colors, value) in [
        (["red", "pink"], "\"pink\""),
        (["red", ""], "an empty string"),
    ] {
        let error = ask(&colors)?.error(400)?;
        let expected =
            format!("input `color` has {value} at [1], expected one of red, green, blue");
        ensure!(error == expected, "{error}");
    }
    let feature = || -> Result<Json> {
        let statistics = server.get("/v2/models/m/stats")?.ok()?;
        let input = &statistics["model_stats"][0]["data_quality"]["inputs"][0];
        Ok(input["features"][0].clone())
    };
    let same = feature()?;
    ensure!(same["psi"] == 0.0 && same["ks"].is_null(), "{same}");
    ask(&["blue", "blue"])?.ok()?;
    let drifted = feature()?;
    let psi = drifted["psi"].as_f64().context("no number")?;
    ensure!(psi > 0.25 && drifted["observations"] == 4, "{drifted}");
    Ok(())
}

#[test]
fn a_setting_that_does_not_fit_the_model_fails_its_load() -> Result<()> {
    let settings = "optional = true\n[inputs.z]\nmax = 1";
    let server = TestServer::start(repository()?.with_file("m/model.toml", settings)?)?;
    let error = server.infer("m", &request(&[1.0, 2.0, 3.0]))?.error(503)?;
    ensure!(
        error.contains("inputs.z in model.toml is for a tensor"),
        "{error}"
    );
    Ok(())
}
