//! ONNX models equal to those that Triton served.

use crate::harness::Repository;
use crate::harness::onnx::{
    BOOL, FLOAT, FLOAT16, Graph, INT8, INT16, INT32, INT64, STRING, UINT8, UINT16, UINT32, UINT64,
    Value,
};
use anyhow::Result;

/// A graph with one input and one output of the same type and shape.
struct Identity {
    model: &'static str,
    input: &'static str,
    output: &'static str,
    element_type: i32,
    shape: &'static [Option<i64>],
    /// The contents of the model file.
    model_file: &'static str,
}

const UNBATCHED: &str = "max_batch_size = 0\n";
const BATCHED: &str = "max_batch_size = 8\n";
const JOINED: &str = "max_batch_size = 8\nbatching = {}\n";
const LABELLED: &str = "max_batch_size = 8\noutputs.scores.labels = 'labels.txt'\n";

/// The labels of `scores`.
const LABELS: &str = "red\ngreen\nblue\nwhite\n";

const IDENTITIES: [Identity; 15] = [
    identity("id_fp32", FLOAT, &[None]),
    identity("id_bytes", STRING, &[None]),
    identity("id_bool", BOOL, &[None]),
    identity("fix_fp32", FLOAT, &[Some(4)]),
    identity("id2_fp32", FLOAT, &[None, Some(4)]),
    identity("mat_fp32", FLOAT, &[None, None]),
    identity("one_bytes", STRING, &[Some(1)]),
    Identity {
        model_file: BATCHED,
        ..identity("one_bytes_b", STRING, &[None, Some(1)])
    },
    Identity {
        output: "y",
        model_file: JOINED,
        ..from_x("batch", FLOAT, &[None, Some(2)])
    },
    Identity {
        output: "scores",
        model_file: LABELLED,
        ..from_x("scores", FLOAT, &[None, Some(4)])
    },
    Identity {
        output: "scores",
        model_file: BATCHED,
        ..from_x("scores_i", INT64, &[None, Some(4)])
    },
    Identity {
        output: "scores",
        ..from_x("scores_nb", FLOAT, &[Some(4)])
    },
    from_x("dash-dot.v1", FLOAT, &[Some(2)]),
    from_x("spare", FLOAT, &[Some(2)]),
    from_x("stats", FLOAT, &[Some(2)]),
];

/// The identity models of other types, for the requests of gRPC.
const TYPES: [(&str, i32); 9] = [
    ("id_uint8", UINT8),
    ("id_uint16", UINT16),
    ("id_uint32", UINT32),
    ("id_uint64", UINT64),
    ("id_int8", INT8),
    ("id_int16", INT16),
    ("id_int32", INT32),
    ("id_int64", INT64),
    ("id_fp16", FLOAT16),
];

const fn identity(
    model: &'static str,
    element_type: i32,
    shape: &'static [Option<i64>],
) -> Identity {
    Identity {
        model,
        input: "INPUT0",
        output: "OUTPUT0",
        element_type,
        shape,
        model_file: UNBATCHED,
    }
}

const fn from_x(model: &'static str, element_type: i32, shape: &'static [Option<i64>]) -> Identity {
    Identity {
        input: "x",
        output: "y",
        ..identity(model, element_type, shape)
    }
}

/// Returns the repository for the recorded REST requests.
pub(crate) fn repository() -> Result<Repository> {
    let mut repository = Repository::empty()?
        .with_file("scores/labels.txt", LABELS)?
        .with_broken_model()?
        .with_file(
            "noversion/model.toml",
            format!("optional = true\n{UNBATCHED}"),
        )?
        .with_file(
            "versions/model.toml",
            "max_batch_size = 0\nversions = 'all'\n",
        )?
        .with_file("latest/model.toml", UNBATCHED)?
        .with_file("mixed/model.toml", UNBATCHED)?
        .with_file("mixed/1/model.onnx", mixed())?
        .with_file("addsub/model.toml", UNBATCHED)?
        .with_file("addsub/1/model.onnx", sum_and_difference(FLOAT, &[Some(4)]))?
        .with_file("fail/model.toml", UNBATCHED)?
        .with_file("fail/1/model.onnx", element())?
        .with_file("simple/model.toml", BATCHED)?
        .with_file(
            "simple/1/model.onnx",
            sum_and_difference(INT32, &[None, Some(16)]),
        )?;
    for identity in IDENTITIES {
        let model = identity.model;
        repository = repository
            .with_file(&format!("{model}/model.toml"), identity.model_file)?
            .with_file(&format!("{model}/1/model.onnx"), identity.graph())?;
    }
    for (model, versions) in [("versions", [1, 2, 10].as_slice()), ("latest", &[1, 10])] {
        for version in versions {
            let path = format!("{model}/{version}/model.onnx");
            repository = repository.with_file(&path, plus(*version))?;
        }
    }
    Ok(repository)
}

/// Creates one model of each kind: with a batch axis, with inputs of a fixed size, and with inputs of several datatypes.
pub(crate) fn repository_of_kinds() -> Result<Repository> {
    Repository::empty()?
        .with_file("simple/model.toml", BATCHED)?
        .with_file(
            "simple/1/model.onnx",
            sum_and_difference(INT32, &[None, Some(16)]),
        )?
        .with_file("addsub/model.toml", UNBATCHED)?
        .with_file("addsub/1/model.onnx", sum_and_difference(FLOAT, &[Some(4)]))?
        .with_file("mixed/model.toml", UNBATCHED)?
        .with_file("mixed/1/model.onnx", mixed())
}

/// Returns the repository for the recorded gRPC calls.
pub(super) fn repository_of_calls() -> Result<Repository> {
    let mut repository = repository()?;
    for (model, element_type) in TYPES {
        let graph = identity(model, element_type, &[None]).graph();
        repository = repository
            .with_file(&format!("{model}/model.toml"), UNBATCHED)?
            .with_file(&format!("{model}/1/model.onnx"), graph)?;
    }
    Ok(repository)
}

impl Identity {
    fn graph(&self) -> Vec<u8> {
        let Identity {
            input,
            output,
            element_type,
            shape,
            ..
        } = *self;
        graph(
            vec![Value::of(input, element_type, shape)],
            vec![Value::of(output, element_type, shape)],
        )
        .node("Identity", &[input], &[output])
        .bytes()
    }
}

fn graph(input: Vec<Value>, output: Vec<Value>) -> Graph {
    Graph {
        name: "g".to_owned(),
        input,
        output,
        ..Graph::default()
    }
}

/// Returns a graph that adds a version's number to `x`.
fn plus(version: u8) -> Vec<u8> {
    let shape = [Some(2)];
    graph(
        vec![Value::of("x", FLOAT, &shape)],
        vec![Value::of("y", FLOAT, &shape)],
    )
    .floats("version", &[1], &[version.into()])
    .node("Add", &["x", "version"], &["y"])
    .bytes()
}

fn sum_and_difference(element_type: i32, shape: &[Option<i64>]) -> Vec<u8> {
    let value = |name| Value::of(name, element_type, shape);
    graph(
        vec![value("INPUT0"), value("INPUT1")],
        vec![value("OUTPUT0"), value("OUTPUT1")],
    )
    .node("Add", &["INPUT0", "INPUT1"], &["OUTPUT0"])
    .node("Sub", &["INPUT0", "INPUT1"], &["OUTPUT1"])
    .bytes()
}

/// Returns a graph that takes one of three elements, and fails for an index without one.
fn element() -> Vec<u8> {
    let shape = [Some(1)];
    graph(
        vec![Value::of("INDEX", INT64, &shape)],
        vec![Value::of("VALUE", FLOAT, &shape)],
    )
    .floats("VALUES", &[3], &[1.0, 2.0, 3.0])
    .node("Gather", &["VALUES", "INDEX"], &["VALUE"])
    .bytes()
}

/// Returns a graph with three inputs of different types, which it returns.
fn mixed() -> Vec<u8> {
    let values = |names: [&str; 3]| {
        let values = names.into_iter().zip([FLOAT, STRING, BOOL]);
        values
            .map(|(name, element_type)| Value::of(name, element_type, &[Some(2)]))
            .collect()
    };
    graph(values(["A", "B", "C"]), values(["OA", "OB", "OC"]))
        .node("Identity", &["A"], &["OA"])
        .node("Identity", &["B"], &["OB"])
        .node("Identity", &["C"], &["OC"])
        .bytes()
}
