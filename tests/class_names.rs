//! Tests of the names of classes, from a label file and from the graphs of scikit-learn's classifiers, in every
//! protocol that returns classes.

use crate::harness::{Repository, TestServer};
use crate::sklearn;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The measurements of a wine of the first cultivar.
const WINE: [f64; 13] = [
    13.5, 1.81, 2.61, 20.0, 96.0, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845.0,
];

fn post(server: &TestServer, path: &str, body: &Value) -> Result<Value> {
    let response = server.request(&format!("POST {path}"), &[], body.to_string().as_bytes())?;
    response.ok().with_context(|| path.to_owned())
}

/// Checks that every protocol has these names for the classes of `output`, and that the first is the most
/// probable for `features`, the values of `input`.
fn check(
    server: &TestServer,
    model: &str,
    (input, output): (&str, &str),
    (features, names): (&[f64], [&str; 3]),
) -> Result<()> {
    let body = json!({"features": {input: features}, "class_names": true});
    let one = post(server, &format!("/predict/{model}"), &body)?;
    let probabilities = one["probabilities"].as_object().context("no object")?;
    ensure!(probabilities.len() == 3, "{one}");
    ensure!(
        names.iter().all(|name| probabilities.contains_key(*name)),
        "{one}"
    );
    let mut batch = json!({"instances": [{"features": {input: features}}]});
    batch["class_names"] = json!(true);
    let batch = post(server, &format!("/batch_predict/{model}"), &batch)?;
    ensure!(
        batch["predictions"][0]["probabilities"] == one["probabilities"],
        "{batch}"
    );
    // Without the request, the probabilities are a list.
    let plain = post(
        server,
        &format!("/predict/{model}"),
        &json!({"features": {input: features}}),
    )?;
    ensure!(
        plain["probabilities"][0] == probabilities[names[0]],
        "{plain}"
    );

    let body = json!({"examples": [{input: features}]});
    let classified = post(server, &format!("/v1/models/{model}:classify"), &body)?;
    let expected = names.map(|name| json!([name, probabilities[name]]));
    ensure!(classified["results"] == json!([expected]), "{classified}");

    let input =
        json!({"name": input, "datatype": "FP32", "shape": [1, features.len()], "data": features});
    let requested = json!({"name": output, "parameters": {"classification": 3}});
    let body = json!({"inputs": [input], "outputs": [requested]});
    let ranked = post(server, &format!("/v2/models/{model}/infer"), &body)?;
    let first = ranked["outputs"][0]["data"][0]
        .as_str()
        .context("no text")?;
    ensure!(first.ends_with(&format!(":0:{}", names[0])), "{ranked}");
    Ok(())
}

#[test]
fn labels_in_a_file_name_the_classes_of_a_handlers_output() -> Result<()> {
    let repository = Repository::of(&["wine"])?
        .with_file("wine/labels.txt", "barolo\ngrignolino\nbarbera\n")?
        .with_file(
            "wine/model.toml",
            "[outputs.probabilities]\nlabels = 'labels.txt'",
        )?;
    let server = TestServer::start(repository)?;
    let names = ["barolo", "grignolino", "barbera"];
    let tensors = ("features", "probabilities");
    check(&server, "wine", tensors, (&WINE, names))
}

#[test]
fn the_classes_of_scikit_learns_models_keep_their_names() -> Result<()> {
    let mut repository = Repository::empty()?;
    let models = [
        // The keys of a map, and the labels of a classifier.
        ("maps", "forest words zipmap", "output_probability"),
        ("arrays", "logreg words", "probabilities"),
    ];
    for (name, file, _) in models {
        let path = sklearn::models()?.join(format!("{file}.onnx"));
        repository = repository.with_file(&format!("{name}/1/model.onnx"), std::fs::read(path)?)?;
    }
    // A label file replaces the names in the graph.
    let path = sklearn::models()?.join("forest words zipmap.onnx");
    repository = repository
        .with_file("renamed/1/model.onnx", std::fs::read(path)?)?
        .with_file("renamed/labels.txt", "a\nb\nc")?
        .with_file(
            "renamed/model.toml",
            "[outputs.output_probability]\nlabels = 'labels.txt'",
        )?;
    let server = TestServer::start(repository)?;
    let setosa = [5.1, 3.5, 1.4, 0.2];
    let names = ["setosa", "versicolor", "virginica"];
    for (name, _, output) in models {
        check(&server, name, ("X", output), (&setosa, names))?;
        let body = json!({"features": setosa, "class_names": true});
        let response = post(&server, &format!("/predict/{name}"), &body)?;
        ensure!(response["prediction"] == "setosa", "{response}");
    }
    check(
        &server,
        "renamed",
        ("X", "output_probability"),
        (&setosa, ["a", "b", "c"]),
    )
}
