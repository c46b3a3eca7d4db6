//! A benchmark of a gradient-boosted ensemble of 100 trees of depth 3, a usual size with scikit-learn.
//!
//! Reports the microseconds per row of this crate's operator, including everything around it, and
//! of tract's own operator alone.
//!
//! Run it with `cargo bench --bench trees`.

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

use prost::Message;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, TractResult, tvec,
};
use wisp_backend::ModelSource;
use wisp_backend::tract::Tract;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

const TREES: i64 = 100;
const DEPTH: u32 = 3;
const COLUMNS: usize = 20;
const BATCHES: [usize; 3] = [1, 8, 32];
const ROUNDS: usize = 41;
/// The approximate duration of a round.
const ROUND: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ensemble();
    let graph = Tract::new().load(
        ModelSource::onnx(&model.encode_to_vec()),
        &LoadOptions::default(),
    )?;
    let mut random = Random(7);
    for batch in BATCHES {
        let numbers: Vec<f32> = (0..batch * COLUMNS).map(|_| random.number()).collect();
        let inputs = [NamedTensor {
            name: "x".to_owned(),
            tensor: Tensor::new(
                ElementType::Fp32,
                Shape::new(vec![u32::try_from(batch)?, u32::try_from(COLUMNS)?])?,
                numbers
                    .iter()
                    .flat_map(|number| number.to_le_bytes())
                    .collect::<Vec<u8>>()
                    .into(),
            )?,
        }];
        let plan = tract_onnx::onnx()
            .model_for_proto_model(&model)?
            .with_input_fact(
                0,
                InferenceFact::dt_shape(f32::datum_type(), [batch, COLUMNS]),
            )?
            .into_optimized()?
            .into_runnable()?;
        let input = tract_onnx::prelude::Tensor::from_shape(&[batch, COLUMNS], &numbers)?;
        let input = input.into_tvalue();

        let mut ours = || {
            graph
                .compute(&inputs)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let mut theirs = || -> TractResult<()> { plan.run(tvec![input.clone()]).map(drop) };
        let (mut our_times, mut their_times) = (vec![], vec![]);
        let our_count = runs_per_round(&mut ours)?;
        let their_count = runs_per_round(&mut theirs)?;
        for _ in 0..ROUNDS {
            our_times.push(time(our_count, &mut ours)?);
            their_times.push(time(their_count, &mut theirs)?);
        }
        let per_row = |times| median(times) * 1e6 / batch as f64;
        let (ours, theirs) = (per_row(our_times), per_row(their_times));
        println!("batch {batch:2}: {ours:7.2} us per row, tract's operator {theirs:7.2} us");
    }
    Ok(())
}

/// Returns the number of runs that take as long as a round.
fn runs_per_round<E>(run: &mut impl FnMut() -> Result<(), E>) -> Result<u32, E> {
    run()?;
    let started = Instant::now();
    let mut runs = 0;
    while started.elapsed() < ROUND {
        run()?;
        runs += 1;
    }
    Ok(runs)
}

/// Returns the mean duration of one run in seconds, over `runs` runs.
fn time<E>(runs: u32, run: &mut impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let started = Instant::now();
    for _ in 0..runs {
        black_box(run()?);
    }
    Ok(started.elapsed().as_secs_f64() / f64::from(runs))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A generator of numbers between -1 and 1, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Returns a classifier of two classes in the form that skl2onnx writes for a `GradientBoostingClassifier`.
fn ensemble() -> ModelProto {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let inner = (1_i64 << DEPTH) - 1;
    let count = 2 * inner + 1;
    let nodes: Vec<(i64, i64)> = (0..TREES)
        .flat_map(|tree| (0..count).map(move |node| (tree, node)))
        .collect();
    let of_branches = |value: fn(i64) -> i64| -> Vec<i64> {
        nodes
            .iter()
            .map(|(_, node)| if *node < inner { value(*node) } else { 0 })
            .collect()
    };
    let leaves: Vec<(i64, i64)> = nodes
        .iter()
        .copied()
        .filter(|(_, node)| *node >= inner)
        .collect();
    let modes: Vec<&str> = (nodes.iter())
        .map(|(_, node)| if *node < inner { "BRANCH_LEQ" } else { "LEAF" })
        .collect();
    let features: Vec<i64> = (nodes.iter())
        .map(|_| i64::try_from(random.next() >> 32).unwrap_or(0) % COLUMNS as i64)
        .collect();
    let thresholds = nodes.iter().map(|_| random.number()).collect();
    let weights = leaves.iter().map(|_| random.number() / 10.0).collect();
    let first = |pairs: &[(i64, i64)]| pairs.iter().map(|(tree, _)| *tree).collect();
    let second = |pairs: &[(i64, i64)]| pairs.iter().map(|(_, node)| *node).collect();
    let node = NodeProto {
        op_type: "TreeEnsembleClassifier".to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        input: vec!["x".to_owned()],
        output: vec!["label".to_owned(), "probabilities".to_owned()],
        attribute: vec![
            ints("nodes_treeids", first(&nodes)),
            ints("nodes_nodeids", second(&nodes)),
            ints("nodes_featureids", features),
            floats("nodes_values", thresholds),
            ints("nodes_truenodeids", of_branches(|node| 2 * node + 1)),
            ints("nodes_falsenodeids", of_branches(|node| 2 * node + 2)),
            strings("nodes_modes", &modes),
            ints("class_treeids", first(&leaves)),
            ints("class_nodeids", second(&leaves)),
            ints("class_ids", vec![0; leaves.len()]),
            floats("class_weights", weights),
            ints("classlabels_int64s", vec![0, 1]),
            AttributeProto {
                s: b"LOGISTIC".to_vec(),
                ..attribute("post_transform", AttributeType::String)
            },
        ],
        ..Default::default()
    };
    let columns = i64::try_from(COLUMNS).unwrap_or(0);
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: "ai.onnx.ml".to_owned(),
            version: 3,
        }],
        graph: Some(GraphProto {
            node: vec![node],
            input: vec![matrix("x", Some(columns))],
            output: vec![
                ValueInfoProto {
                    name: "label".to_owned(),
                    ..Default::default()
                },
                matrix("probabilities", Some(2)),
            ],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind as i32,
        ..Default::default()
    }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto {
        ints,
        ..attribute(name, AttributeType::Ints)
    }
}

fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto {
        floats,
        ..attribute(name, AttributeType::Floats)
    }
}

fn strings(name: &str, strings: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: strings
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect(),
        ..attribute(name, AttributeType::Strings)
    }
}

/// Returns the type of an f32 matrix with any number of rows.
fn matrix(name: &str, columns: Option<i64>) -> ValueInfoProto {
    let dim = [None, columns].map(|size| Dimension {
        value: size.map(dimension::Value::DimValue),
        ..Default::default()
    });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: Some(TensorShapeProto { dim: dim.to_vec() }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}
