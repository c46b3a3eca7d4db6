//! Tests of requests whose values, rather than sizes, require too much memory or an impossible
//! computation. Each is refused or computed promptly and in bounded memory, and the backend continues to
//! work.
//!
//! All computations run in child processes, so that a signal or exhausted memory is a result.

use crate::cases;
use crate::harness::child::{ChildPool, Outcome, serve_parent};
use crate::harness::onnx::{Attribute, BOOL, FLOAT, Graph, INT64, Tensor, Value};
use crate::harness::tensor::named;
use crate::harness::{Repository, TestOptions, TestServer};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;
use wisp_backend::deadline::cancel_at;
use wisp_backend::{Backend, BackendError, Cancellation, LoadOptions, ModelSource};
use wisp_tensor::{ElementType, NamedTensor};

/// The child processes that compute. A case takes milliseconds, but the machine may be busy.
const CHILDREN: ChildPool = ChildPool {
    test: "hostile_values::compute_cases_of_a_parent_process",
    memory_bytes: 4 << 30,
    timeout: Duration::from_secs(60),
};

/// The memory budget for all computations of a child.
const COMPUTE_BYTES: usize = 1 << 30;

/// The expected outcome of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// Refused with the request at fault.
    Refused,
    /// Rejected when the model is loaded, because the backend needs values in advance that only a
    /// request contains.
    NotLoaded,
    /// The integers or floats of the first output.
    Computed(&'static [i64]),
}

use Expected::{Computed, NotLoaded, Refused};

struct Case {
    name: &'static str,
    graph: Graph,
    inputs: Vec<NamedTensor>,
    tract: Expected,
    onnxruntime: Expected,
}

fn int64s(name: &str, dimensions: &[u32], numbers: &[i64]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    named(name, ElementType::Int64, dimensions, content)
}

fn floats(name: &str, dimensions: &[u32], numbers: &[f32]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    named(name, ElementType::Fp32, dimensions, content)
}

/// Returns a graph of one node with the output `y`.
fn one_node(operator: &str, inputs: &[(&str, i32, &[Option<i64>])], y: (i32, usize)) -> Graph {
    let names: Vec<&str> = inputs.iter().map(|(name, ..)| *name).collect();
    let inputs = inputs
        .iter()
        .map(|(name, kind, axes)| Value::of(name, *kind, axes));
    let (element_type, rank) = y;
    Graph {
        name: "g".to_owned(),
        input: inputs.collect(),
        output: vec![Value::of("y", element_type, &vec![None; rank])],
        ..Graph::default()
    }
    .node(operator, &names, &["y"])
}

const ANY: [Option<i64>; 1] = [None];

fn cases() -> Vec<Case> {
    [growths(), indices(), divisions()]
        .into_iter()
        .flatten()
        .collect()
}

/// Returns cases of operators that use a number as a size.
fn growths() -> Vec<Case> {
    let scalars = [("a", INT64, &[][..]), ("b", INT64, &[]), ("d", INT64, &[])];
    let range = || one_node("Range", &scalars, (INT64, 1));
    let ranging = |from, to, by| {
        [("a", from), ("b", to), ("d", by)]
            .map(|(name, number)| int64s(name, &[], &[number]))
            .to_vec()
    };
    let sizes = |count| ("s", INT64, [Some(count)]);
    let of_sizes = |operator, count: i64, x: Option<&[Option<i64>]>| {
        let (name, kind, axes) = sizes(count);
        let size = (name, kind, &axes[..]);
        match x {
            Some(x) => one_node(operator, &[("x", FLOAT, x), size], (FLOAT, 2)),
            None => one_node(operator, &[size], (FLOAT, 2)),
        }
    };
    let one = floats("x", &[1], &[1.0]);
    let four = floats("x", &[4], &[1.0, 2.0, 3.0, 4.0]);
    let mut resize = one_node(
        "Resize",
        &[("x", FLOAT, &[Some(1), Some(1), Some(2), Some(2)])],
        (FLOAT, 4),
    );
    resize.node[0].input = ["x", "", "", "s"].map(str::to_owned).to_vec();
    resize.input.push(Value::of("s", INT64, &[Some(4)]));
    let mut one_hot = one_node(
        "OneHot",
        &[("i", INT64, &ANY), ("depth", INT64, &[Some(1)])],
        (FLOAT, 2),
    )
    .floats("v", &[2], &[0.0, 1.0]);
    one_hot.node[0].input.push("v".to_owned());
    let topk = || {
        let mut graph = one_node(
            "TopK",
            &[("x", FLOAT, &[Some(4)]), ("k", INT64, &[Some(1)])],
            (FLOAT, 1),
        );
        graph.node[0].output.push("indices".to_owned());
        graph
    };
    let case = |name, graph, inputs, tract, onnxruntime| Case {
        name,
        graph,
        inputs,
        tract,
        onnxruntime,
    };
    let outer = Graph {
        name: "g".to_owned(),
        input: vec![Value::of("x", FLOAT, &[Some(1), None])],
        output: vec![Value::of("y", FLOAT, &[])],
        ..Graph::default()
    }
    .node("Transpose", &["x"], &["t"])
    .node("MatMul", &["t", "x"], &["m"])
    .node("ReduceSum", &["m"], &["y"])
    .with(Attribute::int("keepdims", 0));
    // The length is known only during the computation, and so are the sizes of the following values.
    let ranged_outer = Graph {
        name: "g".to_owned(),
        input: vec![Value::of("n", INT64, &[])],
        output: vec![Value::of("y", INT64, &[None, None])],
        ..Graph::default()
    }
    .integers("zero", &[], &[0])
    .integers("one", &[], &[1])
    .integers("column", &[2], &[-1, 1])
    .node("Range", &["zero", "n", "one"], &["r"])
    .node("Reshape", &["r", "column"], &["c"])
    .node("Add", &["c", "r"], &["y"]);
    let n = |number| vec![int64s("n", &[], &[number])];
    vec![
        case(
            "Range to 2e9",
            range(),
            ranging(0, 2_000_000_000, 1),
            Refused,
            Refused,
        ),
        case(
            "Range over all",
            range(),
            ranging(i64::MIN, i64::MAX, 1),
            Refused,
            Refused,
        ),
        case(
            "Range by nothing",
            range(),
            ranging(0, 10, 0),
            Refused,
            Refused,
        ),
        case(
            "a range",
            range(),
            ranging(0, 5, 2),
            Computed(&[0, 2, 4]),
            Computed(&[0, 2, 4]),
        ),
        case(
            "an outer sum of a range of 1e6",
            ranged_outer.clone(),
            n(1_000_000),
            Refused,
            Refused,
        ),
        case(
            "an outer sum of a range",
            ranged_outer,
            n(2),
            Computed(&[0, 1, 1, 2]),
            Computed(&[0, 1, 1, 2]),
        ),
        case(
            "TopK of 1e9",
            topk(),
            vec![four.clone(), int64s("k", &[1], &[1_000_000_000])],
            Refused,
            Refused,
        ),
        case(
            "TopK of -1",
            topk(),
            vec![four.clone(), int64s("k", &[1], &[-1])],
            Refused,
            Refused,
        ),
        case(
            "ConstantOfShape",
            of_sizes("ConstantOfShape", 2, None),
            vec![int64s("s", &[2], &[100_000, 25_000])],
            NotLoaded,
            Refused,
        ),
        case(
            "Expand",
            of_sizes("Expand", 2, Some(&[Some(1)])),
            vec![one.clone(), int64s("s", &[2], &[100_000, 25_000])],
            NotLoaded,
            Refused,
        ),
        case(
            "Tile",
            one_node(
                "Tile",
                &[("x", FLOAT, &[Some(4)]), ("s", INT64, &[Some(1)])],
                (FLOAT, 1),
            ),
            vec![four.clone(), int64s("s", &[1], &[1_000_000_000])],
            NotLoaded,
            Refused,
        ),
        case(
            "Resize",
            resize,
            vec![
                floats("x", &[1, 1, 2, 2], &[1.0; 4]),
                int64s("s", &[4], &[1, 1, 50_000, 50_000]),
            ],
            NotLoaded,
            Refused,
        ),
        case(
            "Pad",
            one_node(
                "Pad",
                &[("x", FLOAT, &[Some(4)]), ("p", INT64, &[Some(2)])],
                (FLOAT, 1),
            ),
            vec![four, int64s("p", &[2], &[2_000_000_000, 0])],
            NotLoaded,
            Refused,
        ),
        case(
            "OneHot",
            one_hot,
            vec![
                int64s("i", &[1000], &[0; 1000]),
                int64s("depth", &[1], &[3_000_000]),
            ],
            NotLoaded,
            Refused,
        ),
        case(
            "an outer product",
            outer,
            vec![floats("x", &[1, 40_000], &[1.0; 40_000])],
            Refused,
            Refused,
        ),
    ]
}

/// Returns cases with indices that are out of range.
fn indices() -> Vec<Case> {
    let gather = || {
        let mut graph =
            one_node("Gather", &[("i", INT64, &ANY)], (INT64, 1)).integers("w", &[3], &[7, 8, 9]);
        graph.node[0].input.insert(0, "w".to_owned());
        graph
    };
    let index = |number| vec![int64s("i", &[1], &[number])];
    let case = |name, number, outcome| Case {
        name,
        graph: gather(),
        inputs: index(number),
        tract: outcome,
        onnxruntime: outcome,
    };
    let mut scatter = one_node(
        "ScatterND",
        &[("i", INT64, &[None, Some(1)]), ("u", INT64, &ANY)],
        (INT64, 1),
    )
    .integers("w", &[3], &[7, 8, 9]);
    scatter.node[0].input.insert(0, "w".to_owned());
    vec![
        case("the last", -1, Computed(&[9])),
        case("beyond the last", 3, Refused),
        case("before the first", -4, Refused),
        case("beyond 32 bits", 1 << 32, Refused),
        case("the least", i64::MIN, Refused),
        Case {
            name: "scattered beyond",
            graph: scatter,
            inputs: vec![int64s("i", &[1, 1], &[1 << 40]), int64s("u", &[1], &[1])],
            tract: Refused,
            onnxruntime: Refused,
        },
    ]
}

/// Returns cases of divisions, some of which trap on common CPUs.
fn divisions() -> Vec<Case> {
    let operands = [("x", INT64, &ANY[..]), ("d", INT64, &ANY[..])];
    let divided = |name, operator, x: &'static [i64], d: &'static [i64], outcome| {
        let count = |numbers: &[i64]| u32::try_from(numbers.len()).expect("few");
        Case {
            name,
            graph: one_node(operator, &operands, (INT64, 1)),
            inputs: vec![int64s("x", &[count(x)], x), int64s("d", &[count(d)], d)],
            tract: outcome,
            onnxruntime: outcome,
        }
    };
    const LEAST: i64 = i64::MIN;
    vec![
        divided("Div by 0", "Div", &[1, 2], &[3, 0], Refused),
        divided("Mod by 0", "Mod", &[1], &[0], Refused),
        divided(
            "Div by -1",
            "Div",
            &[LEAST, 7, -7],
            &[-1, -1, 2],
            Computed(&[LEAST, -7, -3]),
        ),
        divided(
            "Div of one by many",
            "Div",
            &[LEAST],
            &[-1, 2],
            Computed(&[LEAST, LEAST / 2]),
        ),
        divided(
            "Div of many by one",
            "Div",
            &[LEAST, 4],
            &[-1],
            Computed(&[LEAST, -4]),
        ),
        divided(
            "Mod by -1",
            "Mod",
            &[LEAST, 7, -7],
            &[-1, -1, 3],
            Computed(&[0, 0, 2]),
        ),
    ]
}

#[test]
#[ignore = "runs in child processes of the other tests of this module"]
fn compute_cases_of_a_parent_process() -> Result<()> {
    serve_parent(CHILDREN.test, |request| match compute_here(request) {
        Ok(response) => response,
        Err(error) => format!("invalid request: {error:#}"),
    })
}

fn backend(name: &str) -> Result<Box<dyn Backend>> {
    cases::backend::with_memory(name, COMPUTE_BYTES)
}

/// Runs in a child: computes the case that the request names, by a backend and a number, and returns its
/// outcome.
fn compute_here(request: &str) -> Result<String> {
    let (engine, number) = request.split_once(' ').context("two words")?;
    if number == "room" {
        return make_room(engine);
    }
    let case = cases()
        .into_iter()
        .nth(number.parse()?)
        .context("no such case")?;
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), case.graph.bytes())?;
    let graph = match backend(engine)?.load(ModelSource::Path(file.path()), &LoadOptions::default())
    {
        Ok(graph) => graph,
        Err(BackendError::Load { .. }) => return Ok("not loaded".to_owned()),
        Err(other) => return Ok(format!("not loaded: {other}")),
    };
    let started = Instant::now();
    let computed = graph.compute(&case.inputs);
    let took = started.elapsed();
    Ok(match computed {
        Ok(outputs) => {
            let numbers = outputs[0].tensor.content().as_chunks::<8>().0.iter();
            let numbers: Vec<i64> = numbers.map(|bytes| i64::from_le_bytes(*bytes)).collect();
            format!("computed {numbers:?}")
        }
        // Refused before anything is computed.
        Err(BackendError::Inputs { .. }) if took < Duration::from_secs(5) => "refused".to_owned(),
        Err(other) => format!("{other} after {took:?}"),
    })
}

#[test]
fn values_that_cannot_be_computed_are_errors_of_the_request() -> Result<()> {
    let mut faults = Vec::new();
    let mut child = CHILDREN.child();
    for (number, case) in cases().iter().enumerate() {
        let Case {
            name,
            tract,
            onnxruntime,
            ..
        } = case;
        for (backend, expected) in [("tract", tract), ("onnxruntime", onnxruntime)] {
            let outcome = child.request(&format!("{backend} {number}"))?;
            let expected = match expected {
                Refused => "refused".to_owned(),
                NotLoaded => "not loaded".to_owned(),
                Computed(numbers) => format!("computed {numbers:?}"),
            };
            if outcome != Outcome::Response(expected.clone()) {
                faults.push(format!("{backend}, {name}: {outcome}, expected {expected}"));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Returns a graph that doubles `x` `n` times, with the result in `y`.
fn loop_of_n() -> Graph {
    let body = Graph {
        name: "body".to_owned(),
        input: vec![
            Value::of("i", INT64, &[]),
            Value::of("goes_on", BOOL, &[]),
            Value::of("v", FLOAT, &[Some(1)]),
        ],
        output: vec![
            Value::of("still_goes_on", BOOL, &[]),
            Value::of("w", FLOAT, &[Some(1)]),
        ],
        ..Graph::default()
    }
    .node("Identity", &["goes_on"], &["still_goes_on"])
    .node("Add", &["v", "v"], &["w"]);
    Graph {
        name: "g".to_owned(),
        input: vec![
            Value::of("n", INT64, &[]),
            Value::of("x", FLOAT, &[Some(1)]),
        ],
        output: vec![Value::of("y", FLOAT, &[Some(1)])],
        ..Graph::default()
    }
    .node("Loop", &["n", "", "x"], &["y"])
    .with(Attribute::graph("body", body))
}

#[test]
fn an_endless_computation_is_cancelled_and_its_graph_still_works() -> Result<()> {
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), loop_of_n().bytes())?;
    let graph = crate::onnxruntime::engine()?
        .load(ModelSource::Path(file.path()), &LoadOptions::default())?;
    let turns = |n| [int64s("n", &[], &[n]), floats("x", &[1], &[1.0])];
    for _ in 0..3 {
        let cancellation = Cancellation::new();
        let _watched = cancel_at(&cancellation, Instant::now() + Duration::from_millis(50));
        let ended = graph.compute_cancellable(&turns(1_000_000_000_000), &cancellation);
        ensure!(matches!(ended, Err(BackendError::Cancelled)), "{ended:?}");
        let outputs = graph.compute(&turns(3))?;
        ensure!(outputs[0] == floats("y", &[1], &[8.0]), "{outputs:?}");
    }
    let cancellation = Cancellation::new();
    cancellation.cancel();
    let ended = graph.compute_cancellable(&turns(1), &cancellation);
    ensure!(matches!(ended, Err(BackendError::Cancelled)), "{ended:?}");
    Ok(())
}

#[test]
fn a_computation_is_cancelled_between_two_operators() -> Result<()> {
    let mut graph = Graph::from_x_to_y(&[Some(600), Some(600)]);
    let mut last = "x".to_owned();
    for step in 0..200 {
        let next = format!("step_{step}");
        graph = graph.node("MatMul", &[&last, "x"], &[&next]);
        last = next;
    }
    let graph = graph.node("Relu", &[&last], &["y"]);
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), graph.bytes())?;
    let x = [floats("x", &[600, 600], &[0.0; 360_000])];
    for backend in [backend("tract")?, Box::new(crate::onnxruntime::engine()?)] {
        let graph = backend.load(ModelSource::Path(file.path()), &LoadOptions::default())?;
        let cancellation = Cancellation::new();
        let _watched = cancel_at(&cancellation, Instant::now() + Duration::from_millis(20));
        let ended = graph.compute_cancellable(&x, &cancellation);
        ensure!(
            matches!(ended, Err(BackendError::Cancelled)),
            "{}: {ended:?}",
            backend.name()
        );
    }
    Ok(())
}

#[test]
fn refusals_leave_memory_for_later_computations() -> Result<()> {
    let outcome = CHILDREN.child().request("onnxruntime room")?;
    ensure!(
        outcome == Outcome::Response("there is room".to_owned()),
        "{outcome}"
    );
    Ok(())
}

/// Runs in a child: computes values that are each larger than the one before, so that none fits into
/// freed memory, interleaved with refusals.
fn make_room(engine: &str) -> Result<String> {
    let file = NamedTempFile::new()?;
    let graph = one_node("ConstantOfShape", &[("s", INT64, &[Some(1)])], (FLOAT, 1));
    std::fs::write(file.path(), graph.bytes())?;
    let graph = backend(engine)?.load(ModelSource::Path(file.path()), &LoadOptions::default())?;
    for megabytes in [1i64, 30, 1 << 40, 80, 200, 400, 1 << 40, 700, 2000, 900] {
        let is_small = megabytes < 1000;
        match graph.compute(&[int64s("s", &[1], &[megabytes << 18])]) {
            Ok(outputs) => ensure!(
                outputs.len() == 1 && is_small,
                "{megabytes} MB are computed"
            ),
            Err(BackendError::Inputs { .. }) => ensure!(!is_small, "{megabytes} MB are refused"),
            Err(other) => anyhow::bail!("{megabytes} MB: {other}"),
        }
    }
    Ok("there is room".to_owned())
}

#[test]
fn a_graph_keeps_its_external_weights_when_their_file_changes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (model, weights) = (
        directory.path().join("model.onnx"),
        directory.path().join("weights"),
    );
    // The small weights are copied into the model, the large ones are borrowed.
    let counts = [100u32, 1_000_000];
    let all: Vec<u8> = counts
        .iter()
        .flat_map(|&count| 0..count)
        .flat_map(|n| (n as f32).to_le_bytes())
        .collect();
    let mut graph = Graph {
        name: "g".to_owned(),
        input: vec![Value::of("i", INT64, &ANY)],
        output: vec![
            Value::of("small", FLOAT, &ANY),
            Value::of("large", FLOAT, &ANY),
        ],
        ..Graph::default()
    };
    let mut offset = 0;
    for (name, count) in ["small", "large"].into_iter().zip(counts) {
        let bytes = 4 * count;
        let entries = [
            ("location", "weights"),
            ("offset", &offset.to_string()),
            ("length", &bytes.to_string()),
        ];
        let tensor =
            Tensor::of(&format!("{name}_weights"), FLOAT, &[i64::from(count)]).external(&entries);
        graph =
            graph
                .initializer(tensor)
                .node("Gather", &[&format!("{name}_weights"), "i"], &[name]);
        offset += bytes;
    }
    std::fs::write(&model, graph.bytes())?;
    for backend in [backend("tract")?, Box::new(crate::onnxruntime::engine()?)] {
        std::fs::write(&weights, &all)?;
        let graph = backend.load(ModelSource::Path(&model), &LoadOptions::default())?;
        let is_as_loaded = || -> Result<()> {
            let outputs = graph.compute(&[int64s("i", &[2], &[7, 99])])?;
            for (output, name) in outputs.iter().zip(["small", "large"]) {
                ensure!(*output == floats(name, &[2], &[7.0, 99.0]), "{output:?}");
            }
            Ok(())
        };
        is_as_loaded()?;
        // Overwritten in place, like `cp`.
        let file = std::fs::File::options().write(true).open(&weights)?;
        std::io::Write::write_all(&mut &file, &vec![0xff; all.len()])?;
        is_as_loaded()?;
        file.set_len(0)?;
        is_as_loaded()?;
        std::fs::remove_file(&weights)?;
        is_as_loaded()?;
    }
    Ok(())
}

#[test]
fn a_server_refuses_hostile_values_and_still_works() -> Result<()> {
    let range = growths().swap_remove(0).graph.bytes();
    let division = divisions().swap_remove(0).graph.bytes();
    let index = indices().swap_remove(1).graph.bytes();
    let mut repository = Repository::of(&["wine"])?;
    for engine in ["tract", "onnxruntime"] {
        for (name, content) in [
            ("range", &range),
            ("division", &division),
            ("index", &index),
        ] {
            repository = repository
                .with_file(&format!("{engine}_{name}/1/model.onnx"), content)?
                .with_file(
                    &format!("{engine}_{name}/model.toml"),
                    format!("backend = '{engine}'"),
                )?;
        }
    }
    let options = TestOptions {
        backends: vec![Arc::new(crate::onnxruntime::engine()?)],
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let input = |name: &str, shape: &[u32], number: i64| json!({ "name": name, "datatype": "INT64", "shape": shape, "data": [number] });
    for engine in ["tract", "onnxruntime"] {
        let range =
            |to| json!({ "inputs": [input("a", &[], 0), input("b", &[], to), input("d", &[], 1)] });
        let model = format!("{engine}_range");
        let refusal = server.infer(&model, &range(2_000_000_000))?.error(400)?;
        ensure!(refusal.contains("values"), "{refusal}");
        ensure!(server.infer(&model, &range(3))?.ok()?["outputs"][0]["data"] == json!([0, 1, 2]));
        let division = |x, d| json!({ "inputs": [input("x", &[1], x), input("d", &[1], d)] });
        let model = format!("{engine}_division");
        let refusal = server.infer(&model, &division(1, 0))?.error(400)?;
        let explained = [
            "Div, from inputs `x`, `d`: ",
            "an integer is divided by zero",
        ];
        ensure!(
            explained.iter().all(|part| refusal.contains(part)),
            "{refusal}"
        );
        let index = json!({ "inputs": [input("i", &[1], 3)] });
        let refusal = server
            .infer(&format!("{engine}_index"), &index)?
            .error(400)?;
        let explained = ["Gather, from input `i`: ", "an index is out of range"];
        ensure!(
            explained.iter().all(|part| refusal.contains(part)),
            "{refusal}"
        );
        ensure!(!refusal.contains("handler"), "{refusal}");
        let least = server.infer(&model, &division(i64::MIN, -1))?.ok()?;
        ensure!(least["outputs"][0]["data"] == json!([i64::MIN]), "{least}");
    }
    Ok(())
}
