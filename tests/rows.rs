//! Tests of the first axis of models without a handler: which models have a batch, and how many rows it may have.

use crate::harness::onnx::{Attribute, FLOAT, Graph, Value};
use crate::harness::{Repository, TestServer, output};
use anyhow::{Context, Result, ensure};
use serde_json::json;

/// Returns a request with the f32 matrix `content` of `rows` rows for each input.
fn request(inputs: &[(&str, usize, &[f32])]) -> serde_json::Value {
    let inputs = inputs.iter().map(|(name, rows, content)| {
        let columns = 2;
        json!({"name": name, "datatype": "FP32", "shape": [rows, columns], "data": content})
    });
    json!({"inputs": inputs.collect::<Vec<_>>()})
}

/// Returns the elements of an output.
fn elements(response: &serde_json::Value, name: &str) -> Result<Vec<f64>> {
    let elements = output(response, name)?["data"].as_array();
    let numbers = elements.context("no data")?.iter().map(|e| e.as_f64());
    let numbers: Option<Vec<f64>> = numbers.collect();
    numbers.context("an element is no number")
}

/// Returns a graph that subtracts from each column its mean over all rows.
fn centring() -> Graph {
    Graph::from_x_to_y(&[None, Some(2)])
        .node("ReduceMean", &["x"], &["mean"])
        .with(Attribute::ints("axes", &[0]))
        .node("Sub", &["x", "mean"], &["y"])
}

#[test]
fn rows_that_depend_on_each_other_do_so_after_a_batch_of_zeros() -> Result<()> {
    let repository = Repository::empty()?.with_file("m/1/model.onnx", centring().bytes())?;
    let server = TestServer::start(repository)?;
    let zeros = [0.0; 8];
    server.infer("m", &request(&[("x", 4, &zeros[..])]))?.ok()?;
    for rows in [2, 6, 9_u8] {
        let numbers: Vec<f32> = (0..2 * rows).map(f32::from).collect();
        let count = usize::from(rows);
        let response = server
            .infer("m", &request(&[("x", count, &numbers[..])]))?
            .ok()?;
        let expected = numbers.iter().enumerate().map(|(position, number)| {
            let column = if position % 2 == 0 { 0.0 } else { 1.0 };
            f64::from(number - column - f32::from(rows - 1))
        });
        let (expected, found) = (expected.collect::<Vec<f64>>(), elements(&response, "y")?);
        ensure!(found == expected, "{rows} rows: {found:?}");
    }
    Ok(())
}

#[test]
fn a_request_without_a_handler_has_as_many_rows_as_its_bytes_allow() -> Result<()> {
    let repository = Repository::empty()?
        .with_model("bare", "progression", None)?
        .with_model("limited", "progression", None)?
        .with_file("limited/model.toml", "max_batch_size = 4")?;
    let server = TestServer::start(repository)?;
    let infer = |model: &str, rows: usize| {
        let data = vec![1.0_f32; 10 * rows];
        let input =
            json!({"name": "features", "datatype": "FP32", "shape": [rows, 10], "data": data});
        server.infer(model, &json!({"inputs": [input]}))
    };
    for rows in [0, 1, 33, 1000] {
        let response = infer("bare", rows)?.ok()?;
        let found = &output(&response, "progression")?["shape"];
        ensure!(*found == json!([rows, 1]), "{found} for {rows} rows");
    }
    infer("limited", 4)?.ok()?;
    for rows in [0, 5] {
        let error = infer("limited", rows)?.error(400)?;
        ensure!(error.contains("expected 1 to 4"), "{error}");
    }
    for (model, expected) in [("bare", i32::MAX), ("limited", 4)] {
        let path = format!("/v2/models/{model}/config");
        let configuration = server.get(&path)?.ok()?;
        ensure!(
            configuration["max_batch_size"] == expected,
            "{configuration}"
        );
    }
    Ok(())
}

#[test]
fn inputs_whose_first_axes_have_different_names_are_no_batch() -> Result<()> {
    let scores = Graph {
        name: "g".to_owned(),
        input: vec![
            Value::matrix("queries", "q", 2),
            Value::matrix("docs", "d", 2),
        ],
        output: vec![Value::of("scores", FLOAT, &[None, None])],
        ..Graph::default()
    };
    let scores = scores.node("Transpose", &["docs"], &["columns"]).node(
        "MatMul",
        &["queries", "columns"],
        &["scores"],
    );
    let repository = Repository::empty()?.with_file("m/1/model.onnx", scores.bytes())?;
    let server = TestServer::start(repository)?;
    let inputs = request(&[
        ("queries", 2, &[1.0, 0.0, 0.0, 1.0]),
        ("docs", 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    ]);
    let response = server.infer("m", &inputs)?.ok()?;
    let found = output(&response, "scores")?;
    ensure!(found["shape"] == json!([2, 3]), "{found}");
    ensure!(elements(&response, "scores")? == [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    let configuration = server.get("/v2/models/m/config")?.ok()?;
    ensure!(configuration["max_batch_size"] == 0, "{configuration}");
    ensure!(
        configuration["input"][0]["dims"] == json!([-1, 2]),
        "{configuration}"
    );
    Ok(())
}

#[test]
fn inputs_whose_first_axes_share_a_name_are_one_batch() -> Result<()> {
    let sum = Graph {
        name: "g".to_owned(),
        input: vec![Value::matrix("a", "n", 2), Value::matrix("b", "n", 2)],
        output: vec![Value::of("y", FLOAT, &[None, Some(2)])],
        ..Graph::default()
    };
    let sum = sum.node("Add", &["a", "b"], &["y"]);
    let repository = Repository::empty()?.with_file("m/1/model.onnx", sum.bytes())?;
    let server = TestServer::start(repository)?;
    let row: &[f32] = &[1.0, 2.0];
    let error = server
        .infer("m", &request(&[("a", 1, row), ("b", 2, &[1.0; 4])]))?
        .error(400)?;
    ensure!(error.contains("the batch (axis 0) of `b` is 2"), "{error}");
    let response = server.infer("m", &request(&[("a", 0, &[]), ("b", 0, &[])]))?;
    let response = response.ok()?;
    ensure!(
        output(&response, "y")?["shape"] == json!([0, 2]),
        "{response}"
    );
    Ok(())
}
