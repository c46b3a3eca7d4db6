//! Tests of the names of other tenants' models over gRPC and in lists: a response to one is that to a name which nobody has.
//! The names in paths of HTTP are in `tenants` itself.

use super::{Tenants, add, new_tenant};
use crate::harness::Repository;
use crate::harness::grpc::{GrpcResponse, call, field};
use anyhow::{Result, ensure};
use serde_json::Value;
use wisp_serving::tenants::role::Role;

/// Each method whose message names a model. The numbers of the fields lead to the name, the outermost first; the last bytes
/// are the rest of the message.
const METHODS: [(&str, &[u8], &[u8]); 19] = [
    ("inference.GRPCInferenceService/ModelReady", &[1], b""),
    ("inference.GRPCInferenceService/ModelMetadata", &[1], b""),
    ("inference.GRPCInferenceService/ModelConfig", &[1], b""),
    ("inference.GRPCInferenceService/ModelStatistics", &[1], b""),
    ("inference.GRPCInferenceService/ModelInfer", &[1], b""),
    ("inference.GRPCInferenceService/ModelStreamInfer", &[1], b""),
    ("inference.GRPCInferenceService/TraceSetting", &[2], b""),
    (
        "inference.GRPCInferenceService/RepositoryModelLoad",
        &[1],
        b"",
    ),
    (
        "inference.GRPCInferenceService/RepositoryModelLoad",
        &[2],
        b"",
    ),
    (
        "inference.GRPCInferenceService/RepositoryModelUnload",
        &[2],
        b"",
    ),
    ("tensorflow.serving.PredictionService/Predict", &[1, 1], b""),
    (
        "tensorflow.serving.PredictionService/Classify",
        &[1, 1],
        b"",
    ),
    ("tensorflow.serving.PredictionService/Regress", &[1, 1], b""),
    (
        "tensorflow.serving.PredictionService/MultiInference",
        &[1, 1, 1],
        b"",
    ),
    (
        "tensorflow.serving.PredictionService/GetModelMetadata",
        &[1, 1],
        b"\x12\x0dsignature_def",
    ),
    (
        "tensorflow.serving.ModelService/GetModelStatus",
        &[1, 1],
        b"",
    ),
    ("prediction.PredictionService/Predict", &[1], b""),
    ("prediction.PredictionService/BatchPredict", &[1, 1], b""),
    ("prediction.PredictionService/BatchPredict", &[2], b""),
];

/// Foreign names, and names of the same form and length that nobody has.
const NAMES: [(&str, &str); 5] = [
    ("secret", "absent"),
    ("SECRET", "ABSENT"),
    ("secret.", "absent."),
    ("acme/secret", "acme/absent"),
    ("../acme/models/secret", "../acme/models/absent"),
];

/// Requests whose responses list models, or would.
const LISTS: [&str; 7] = [
    "POST /v2/repository/index",
    "GET /v2/models/stats",
    "GET /v2/models",
    "GET /v1/models",
    "GET /openapi.json",
    "GET /v2/trace/setting",
    "GET /metrics",
];

/// The methods of gRPC whose responses list models, with an empty message.
const GRPC_LISTS: [&str; 2] = [
    "inference.GRPCInferenceService/RepositoryIndex",
    "inference.GRPCInferenceService/ModelStatistics",
];

/// Starts a server with the model `secret` of the tenant `acme`, which has answered one request. Returns it with the keys of
/// `acme` and of another tenant, both of the role `deploy`.
fn start() -> Result<(Tenants, String, String)> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory =
        Repository::empty()?.with_model("tenants/acme/models/secret", "progression", None)?;
    let (mut acme, mut other) = (String::new(), String::new());
    let tenants = Tenants::start(public, directory, |file| {
        acme = add(file, &new_tenant("acme", Role::Deploy)?)?;
        other = add(file, &new_tenant("other", Role::Deploy)?)?;
        Ok(())
    })?;
    tenants.infer("secret", &acme)?.ok()?;
    Ok((tenants, acme, other))
}

/// Calls a method for a model, and returns the response without the letters of the name.
fn named(
    tenants: &Tenants,
    (method, way, rest): (&str, &[u8], &[u8]),
    (name, key): (&str, &str),
) -> Result<(String, String, String)> {
    let numbers = way.iter().rev();
    let message = numbers.fold(name.as_bytes().to_vec(), |inner, number| {
        field(*number, &inner)
    });
    let message = [message.as_slice(), rest].concat();
    let response = call(tenants.server.address(), (method, key), &message)?;
    let without = |text: &str| -> String {
        let names = ["secret", "absent", "SECRET", "ABSENT"];
        let text = text.to_owned();
        names
            .iter()
            .fold(text, |text, name| text.replace(name, "*"))
    };
    let GrpcResponse {
        status,
        reason,
        messages,
    } = response;
    let directory = tenants.directory.path().display().to_string();
    ensure!(!reason.contains(&directory), "{method}: {reason}");
    Ok((
        status,
        without(&reason),
        without(&String::from_utf8_lossy(&messages)),
    ))
}

/// Returns the statistics of `secret`, as its tenant sees them.
fn statistics(tenants: &Tenants, acme: &str) -> Result<Value> {
    let statistics = tenants.get("/v2/models/secret/stats", acme)?.ok()?;
    Ok(statistics["model_stats"][0]["inference_stats"].clone())
}

#[test]
fn a_foreign_name_over_grpc_has_the_answer_of_one_that_does_not_exist() -> Result<()> {
    let (tenants, acme, other) = start()?;
    let before = statistics(&tenants, &acme)?;
    for method in METHODS {
        for (foreign, absent) in NAMES {
            let foreign = named(&tenants, method, (foreign, &other))?;
            let absent = named(&tenants, method, (absent, &other))?;
            ensure!(foreign == absent, "{method:?}: {foreign:?}, {absent:?}");
        }
    }
    // The requests of others count nowhere, and have changed nothing.
    ensure!(statistics(&tenants, &acme)? == before);
    tenants.infer("secret", &acme)?.ok()?;
    // Its own tenant sees a difference, so the messages do reach the model.
    for method in METHODS {
        if method.0.contains("Repository") {
            continue;
        }
        let own = named(&tenants, method, ("secret", &acme))?;
        let absent = named(&tenants, method, ("absent", &acme))?;
        ensure!(own != absent, "{method:?}: {own:?}");
    }
    Ok(())
}

#[test]
fn no_list_and_no_statistics_of_a_tenant_have_the_name_of_a_foreign_model() -> Result<()> {
    let (tenants, acme, other) = start()?;
    for request in LISTS {
        let response = tenants.ask(request, &other, &Value::Null)?;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        ensure!(!text.contains("secret"), "{request}: {text}");
        ensure!(!text.contains("acme"), "{request}: {text}");
    }
    for method in GRPC_LISTS {
        let listed = |key: &str| -> Result<String> {
            let response = call(tenants.server.address(), (method, key), b"")?;
            Ok(String::from_utf8_lossy(&response.messages).into_owned())
        };
        ensure!(!listed(&other)?.contains("secret"), "{method}");
        ensure!(listed(&acme)?.contains("secret"), "{method}");
    }
    Ok(())
}
