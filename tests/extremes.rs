//! Tests of every backend with the extremes of types and sizes: integers at the ends of their types, which
//! wrap around as in numpy, and values without elements.
//!
//! A backend computes the right result, or refuses the request or the model; no input ends the process. All
//! computations run in child processes, so that a signal is a result.

mod empty_values;
mod integers;

use crate::cases::backend;
use crate::harness::child::{ChildPool, Outcome, serve_parent};
use crate::harness::onnx::{Graph, Model, Value};
use crate::harness::tensor::named;
use crate::harness::{Repository, TestOptions, TestServer, root};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;
use wisp_backend::{BackendError, LoadOptions, ModelSource};
use wisp_tensor::{ElementType, NamedTensor};

/// The child processes that compute. A case takes milliseconds, but the machine may be busy.
const CHILDREN: ChildPool = ChildPool {
    test: "extremes::compute_cases_of_a_parent_process",
    memory_bytes: 6 << 30,
    timeout: Duration::from_secs(60),
};

/// The memory budget for all computations of a backend in a child.
const COMPUTE_BYTES: usize = 1 << 30;

const BACKENDS: [&str; 3] = ["tract", "rten", "onnxruntime"];

/// A computation and its result.
struct Case {
    name: String,
    model: Model,
    inputs: Vec<NamedTensor>,
    wanted: Wanted,
    /// The backends that load the model and do not refuse a request with a result. The others may.
    must: &'static [&'static str],
    /// The backends that are known to compute something else, and are not tried.
    except: &'static [&'static str],
}

/// The result of a case.
#[derive(Debug, Clone)]
enum Wanted {
    /// The elements of the first output, with the bits of an i64.
    Numbers(Vec<i64>),
    /// No result: the request is at fault.
    Refusal,
    /// A refusal by the backends that must load the model, and any result or refusal by the others.
    NoSignal,
}

/// Returns the code of an element type in ONNX.
fn onnx_type(element_type: ElementType) -> i32 {
    match element_type {
        ElementType::Fp32 => 1,
        ElementType::Uint8 => 2,
        ElementType::Int8 => 3,
        ElementType::Uint16 => 4,
        ElementType::Int16 => 5,
        ElementType::Int32 => 6,
        ElementType::Int64 => 7,
        ElementType::Bytes => 8,
        ElementType::Bool => 9,
        ElementType::Fp16 => 10,
        ElementType::Fp64 => 11,
        ElementType::Uint32 => 12,
        ElementType::Uint64 => 13,
        ElementType::Bf16 => 16,
    }
}

/// Returns the number that the low bits of `number` are in an integer type.
fn wrapped(element_type: ElementType, number: i64) -> i64 {
    let size = element_type.size().unwrap_or(8);
    let bits = 64 - 8 * size;
    let is_signed = matches!(
        element_type,
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 | ElementType::Int64
    );
    match is_signed {
        true => number << bits >> bits,
        false => (number.cast_unsigned() << bits >> bits).cast_signed(),
    }
}

/// Returns a tensor of integers, of which only the low bits are stored.
fn integers(
    name: &str,
    element_type: ElementType,
    dimensions: &[u32],
    numbers: &[i64],
) -> NamedTensor {
    let size = element_type.size().expect("integers have a size");
    let content = numbers.iter().flat_map(|number| {
        let bytes = number.to_le_bytes();
        bytes.into_iter().take(size)
    });
    named(name, element_type, dimensions, content.collect())
}

/// Returns a graph with these inputs and the output `y`, without nodes.
fn graph(inputs: &[(&str, ElementType, &[Option<i64>])], y: (ElementType, usize)) -> Graph {
    let inputs = inputs
        .iter()
        .map(|(name, element_type, axes)| Value::of(name, onnx_type(*element_type), axes));
    let (element_type, rank) = y;
    Graph {
        name: "g".to_owned(),
        input: inputs.collect(),
        output: vec![Value::of("y", onnx_type(element_type), &vec![None; rank])],
        ..Graph::default()
    }
}

fn cases() -> Vec<Case> {
    let mut cases = integers::cases();
    cases.extend(empty_values::cases());
    cases
}

#[test]
#[ignore = "runs in child processes of the other tests of this module"]
fn compute_cases_of_a_parent_process() -> Result<()> {
    serve_parent(CHILDREN.test, |request| match compute_here(request) {
        Ok(response) => response,
        Err(error) => format!("invalid request: {error:#}"),
    })
}

/// Runs in a child: computes the case that the request names, by a backend and a number, and returns its
/// outcome.
fn compute_here(request: &str) -> Result<String> {
    let (engine, number) = request.split_once(' ').context("two words")?;
    let case = cases()
        .into_iter()
        .nth(number.parse()?)
        .context("no such case")?;
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), case.model.bytes())?;
    let options = LoadOptions::default();
    let engine = backend::with_memory(engine, COMPUTE_BYTES)?;
    let loaded = engine.load(ModelSource::Path(file.path()), &options);
    let graph = match loaded {
        Ok(graph) => graph,
        Err(BackendError::Load { reason, .. }) => return Ok(format!("not loaded: {reason}")),
        Err(other) => return Ok(other.to_string()),
    };
    Ok(match graph.compute(&case.inputs) {
        Ok(outputs) => {
            let tensor = &outputs[0].tensor;
            let element_type = tensor.element_type();
            let size = element_type.size().unwrap_or(8);
            let numbers = tensor.content().chunks_exact(size).map(|bytes| {
                let mut number = [0; 8];
                number[..size].copy_from_slice(bytes);
                wrapped(element_type, i64::from_le_bytes(number))
            });
            format!("computed {:?}", numbers.collect::<Vec<i64>>())
        }
        Err(BackendError::Inputs { .. }) => "refused".to_owned(),
        Err(other) => other.to_string(),
    })
}

/// Returns whether the outcome of a case is one that a backend may have.
fn is_right(case: &Case, backend: &str, outcome: &Outcome) -> bool {
    let Outcome::Response(response) = outcome else {
        return false;
    };
    let must = case.must.contains(&backend);
    match (response.as_str(), &case.wanted) {
        (refused, _) if refused.starts_with("not loaded: ") => !must,
        ("refused", Wanted::Numbers(_)) => !must,
        ("refused", _) => true,
        (computed, Wanted::Numbers(numbers)) => computed == format!("computed {numbers:?}"),
        (_, Wanted::Refusal) => false,
        (computed, Wanted::NoSignal) => !must && computed.starts_with("computed"),
    }
}

#[test]
fn extremes_are_computed_rightly_or_refused() -> Result<()> {
    let mut faults = Vec::new();
    let mut child = CHILDREN.child();
    for (number, case) in cases().iter().enumerate() {
        let tried = BACKENDS.iter().filter(|name| !case.except.contains(name));
        for backend in tried {
            let outcome = child.request(&format!("{backend} {number}"))?;
            if !is_right(case, backend, &outcome) {
                let Case { name, wanted, .. } = case;
                faults.push(format!("{backend}, {name}: {outcome}, expected {wanted:?}"));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[test]
fn a_server_answers_with_the_sum_that_wraps_around() -> Result<()> {
    let bytes = ElementType::Uint8;
    let sum = graph(&[("x", bytes, &[None]), ("d", bytes, &[None])], (bytes, 1)).node(
        "Add",
        &["x", "d"],
        &["y"],
    );
    let content = sum.bytes();
    let mut repository = Repository::of(&["wine"])?;
    for engine in ["tract", "onnxruntime"] {
        repository = repository
            .with_file(&format!("{engine}_sum/1/model.onnx"), &content)?
            .with_file(
                &format!("{engine}_sum/model.toml"),
                format!("backend = '{engine}'"),
            )?;
    }
    let options = TestOptions {
        backends: vec![Arc::new(crate::onnxruntime::engine()?)],
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let input = |name: &str, number: u8| json!({ "name": name, "datatype": "UINT8", "shape": [1], "data": [number] });
    for engine in ["tract", "onnxruntime"] {
        let request = json!({ "inputs": [input("x", 200), input("d", 100)] });
        let response = server.infer(&format!("{engine}_sum"), &request)?.ok()?;
        ensure!(response["outputs"][0]["data"] == json!([44]), "{response}");
    }
    Ok(())
}

#[test]
fn the_crates_that_compute_wrap_around_in_every_profile() -> Result<()> {
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(root().join("Cargo.toml"))?)?;
    let profiles = &manifest["profile"];
    for profile in ["dev", "release"] {
        for name in ["tract-core", "tract-linalg"] {
            let checks = &profiles[profile]["package"][name]["overflow-checks"];
            ensure!(checks.as_bool() == Some(false), "{name} in {profile}");
        }
    }
    ensure!(profiles["release"]["overflow-checks"].as_bool() == Some(true));
    Ok(())
}
