//! Tests of files that cannot be served, damaged or hostile: each is an error with a reason, never a panic.

use super::onnx_file::{Axis, OnnxFile, perceptron};
use super::{encode, fp32, load_bytes, load_file, values};
use crate::tract::Tract;
use crate::{Backend, BackendError, Device, Graph, LoadOptions, ModelSource};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{StringStringEntryProto, TensorProto};

pub(super) fn refusal(result: Result<Arc<dyn Graph>, BackendError>) -> String {
    match result {
        Err(BackendError::Load {
            backend: "tract",
            reason,
        }) => reason,
        other => panic!("expected a refusal to load, got {other:?}"),
    }
}

#[test]
fn unsupported_operators_are_named() {
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed, Axis::Size(2)])
        .node("DictVectorizer", &["x"], &["scaled"])
        .node("FancyNewThing", &["scaled"], &["y"])
        .output("y");
    file.graph.node[0].domain = "ai.onnx.ml".to_owned();
    assert_eq!(
        refusal(load_file(file)),
        "operators not implemented: DictVectorizer (ai.onnx.ml), FancyNewThing"
    );
}

#[test]
fn inputs_of_unsupported_types_are_named() {
    let file = OnnxFile::default()
        .input("x", DataType::Bfloat16, &[Axis::Unnamed])
        .node("Identity", &["x"], &["y"])
        .output("y");
    assert_eq!(
        refusal(load_file(file)),
        "input `x` is BFLOAT16, which tract does not support"
    );
}

#[test]
fn a_graph_that_loops_or_lacks_a_value_is_refused() {
    let cyclic = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed])
        .node("Add", &["x", "b"], &["a"])
        .node("Relu", &["a"], &["b"])
        .output("b");
    refusal(load_file(cyclic));
    let lacking = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed])
        .node("Add", &["x", "nowhere"], &["y"])
        .output("y");
    assert_eq!(
        refusal(load_file(lacking)),
        "`nowhere` is used but neither an input nor computed"
    );
    let lacking_output = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed])
        .output("nowhere");
    refusal(load_file(lacking_output));
    refusal(load_file(OnnxFile::default()));
    refusal(load_bytes(&[]));
}

#[test]
fn impossible_sizes_are_refused_at_load() {
    let huge = OnnxFile::default()
        .input(
            "x",
            DataType::Float,
            &[Axis::Size(1 << 31), Axis::Size(1 << 31)],
        )
        .node("Relu", &["x"], &["y"])
        .output("y");
    refusal(load_file(huge));
}

#[test]
fn a_truncated_file_is_refused() {
    let bytes = encode(perceptron(Axis::Unnamed, &[4, 8, 2]));
    for length in (0..bytes.len()).step_by(7) {
        refusal(load_bytes(&bytes[..length]));
    }
}

#[test]
fn flipped_bits_never_panic() {
    let bytes = encode(perceptron(Axis::Named("n"), &[4, 3, 2]));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut loaded = 0;
    for _ in 0..500 {
        // xorshift64 with a fixed seed: the same flips in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut damaged = bytes.clone();
        let bit = usize::try_from(random >> 16).unwrap() % (bytes.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        match load_bytes(&damaged) {
            Ok(graph) => {
                loaded += 1;
                let inputs = graph.sample_inputs().unwrap();
                graph.compute(&inputs).unwrap();
            }
            Err(BackendError::Load { .. }) => {}
            Err(other) => panic!("bit {bit}: {other:?}"),
        }
    }
    // A flip in a weight or an unused name does no harm.
    assert!(loaded > 0);
}

#[test]
fn a_missing_file_or_a_folder_cannot_be_read() {
    for path in ["/nonexistent/model.onnx", "/"] {
        let result = Tract::new().load(ModelSource::Path(Path::new(path)), &LoadOptions::default());
        assert!(matches!(result, Err(BackendError::Read(_))), "{path}");
    }
}

/// Returns a graph that adds one weight from the file `location`.
fn with_external_weight(location: &str) -> OnnxFile {
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed])
        .node("Add", &["x", "w"], &["y"])
        .output("y");
    file.graph.initializer.push(TensorProto {
        name: "w".to_owned(),
        dims: vec![1],
        data_type: DataType::Float as i32,
        data_location: Some(DataLocation::External as i32),
        external_data: vec![StringStringEntryProto {
            key: "location".to_owned(),
            value: location.to_owned(),
        }],
        ..Default::default()
    });
    file
}

#[test]
fn weights_beside_the_file_are_read() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.onnx");
    std::fs::write(&model, encode(with_external_weight("weights.bin")))?;
    std::fs::write(folder.path().join("weights.bin"), 2.5f32.to_le_bytes())?;
    let graph = Tract::new().load(ModelSource::Path(&model), &LoadOptions::default())?;
    let outputs = graph.compute(&[fp32("x", &[2], &[1.0, 2.0])])?;
    assert_eq!(values(&outputs[0].tensor), [3.5, 4.5]);
    Ok(())
}

#[test]
fn weights_outside_the_folder_are_refused_and_no_path_of_this_machine_is_named()
-> anyhow::Result<()> {
    let outer = tempfile::tempdir()?;
    let secret = outer.path().join("secret.bin");
    std::fs::write(&secret, 2.5f32.to_le_bytes())?;
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(&secret, folder.join("link.bin"))?;
    let model = folder.join("model.onnx");
    let absolute = secret.to_str().unwrap_or_default();
    for location in [
        "../secret.bin",
        "link.bin",
        "missing.bin",
        "",
        ".",
        absolute,
    ] {
        std::fs::write(&model, encode(with_external_weight(location)))?;
        let reason = refusal(Tract::new().load(ModelSource::Path(&model), &LoadOptions::default()));
        let told = reason.replace(location, "");
        let outer = outer.path().to_str().unwrap_or_default();
        assert!(
            location.is_empty() || !told.contains(outer),
            "{location}: {reason}"
        );
    }
    let reason = refusal(load_file(with_external_weight("weights.bin")));
    assert_eq!(
        reason,
        "tensor `w` has external data `weights.bin`, which cannot be read for a model that is loaded from memory"
    );
    Ok(())
}

#[test]
fn a_chain_of_many_nodes_does_not_exhaust_the_stack() {
    let mut file = OnnxFile::default().input("x", DataType::Float, &[Axis::Unnamed]);
    let mut value = "x".to_owned();
    for node in 0..3000 {
        let next = format!("n{node}");
        file = file.node("Relu", &[&value], &[&next]);
        value = next;
    }
    load_file(file.node("Neg", &[&value], &["y"]).output("y")).unwrap();
}

#[test]
fn a_missing_gpu_is_named_and_not_replaced_by_the_cpu() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let model = directory.path().join("m.onnx");
    std::fs::write(&model, encode(perceptron(Axis::Named("batch"), &[2, 2])))?;
    let options = LoadOptions {
        device: Device::Cuda(1),
        ..LoadOptions::default()
    };
    match Tract::new().load(ModelSource::Path(&model), &options) {
        Err(BackendError::Unavailable { reason, .. }) => {
            assert!(reason.contains("cuda:1"), "{reason}");
        }
        other => anyhow::bail!("{other:?}"),
    }
    Ok(())
}
