//! Tests of which recurrent operators are replaced, and by what. `tests/differential.rs` computes the replacements.

use super::scan;
use crate::onnx::node_builder::{operator, with_float, with_integer, with_integers, with_text};
use crate::onnx::node_parts::attribute;
use crate::onnx::rewriter::rewrite;
use crate::onnx::test_graphs::{model, tensor, value};
use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_proto::DataType;
use crate::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

fn layer(op_type: &str) -> NodeProto {
    let mut node = operator(op_type, &["x", "w", "r", "b"], "y");
    node.output.push("last".to_owned());
    with_integer(node, "hidden_size", 5)
}

fn with_activations(mut node: NodeProto, names: &[&str], alphas: &[f32]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: "activations".to_owned(),
        r#type: AttributeType::Strings as i32,
        strings: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        ..Default::default()
    });
    node.attribute.push(AttributeProto {
        name: "activation_alpha".to_owned(),
        r#type: AttributeType::Floats as i32,
        floats: alphas.to_vec(),
        ..Default::default()
    });
    node
}

fn with_lengths(mut node: NodeProto, lengths: &str) -> NodeProto {
    node.input.resize(4, String::new());
    node.input.push(lengths.to_owned());
    node
}

fn rewritten_from(opset: i64, nodes: Vec<NodeProto>) -> Vec<NodeProto> {
    let weights = |name: &str, data_type: DataType| TensorProto {
        data_type: data_type as i32,
        ..tensor(name, DataType::Float, &[0])
    };
    let graph = GraphProto {
        input: vec![
            value("x", DataType::Float, &[-1, -1, 4]),
            value("lengths", DataType::Int32, &[-1]),
        ],
        output: vec![value("y", DataType::Float, &[-1, 1, -1, 5])],
        initializer: vec![
            weights("w", DataType::Float),
            weights("wide", DataType::Double),
            TensorProto {
                dims: vec![1, 20, 5],
                ..weights("sized", DataType::Float)
            },
            TensorProto {
                dims: vec![1, 15, 1],
                ..weights("narrow", DataType::Float)
            },
            tensor("full", DataType::Int32, &[3, 3]),
        ],
        node: nodes,
        ..Default::default()
    };
    let mut model = model(opset, graph);
    rewrite(&mut model, &[scan]);
    model.graph.unwrap().node
}

fn rewritten(node: NodeProto) -> Vec<NodeProto> {
    rewritten_from(14, vec![node])
}

fn scans(nodes: &[NodeProto]) -> Vec<&NodeProto> {
    nodes.iter().filter(|node| node.op_type == "Scan").collect()
}

fn body(scan: &NodeProto) -> &GraphProto {
    attribute(scan, "body").unwrap().g.as_ref().unwrap()
}

fn count(nodes: &[NodeProto], op_type: &str) -> usize {
    nodes.iter().filter(|node| node.op_type == op_type).count()
}

#[test]
fn operators_that_tract_computes_stay() {
    let usual = ["Sigmoid", "Tanh", "Tanh"];
    for kept in [
        layer("LSTM"),
        with_activations(layer("LSTM"), &usual, &[]),
        with_text(layer("GRU"), "direction", "bidirectional"),
        with_integer(layer("GRU"), "linear_before_reset", 1),
        with_text(layer("RNN"), "direction", "reverse"),
    ] {
        assert_eq!(rewritten(kept.clone()), [kept]);
    }
}

#[test]
fn a_limit_other_activations_and_coupled_gates_become_a_scan_for_each_direction() {
    for (op_type, states, sums) in [("RNN", 1, 1), ("GRU", 1, 2), ("LSTM", 2, 4)] {
        let node = with_float(layer(op_type), "clip", 0.5);
        let node = with_text(node, "direction", "bidirectional");
        let nodes = rewritten(node);
        let scans = scans(&nodes);
        assert_eq!(scans.len(), 2);
        for scan in &scans {
            let body = body(scan);
            assert_eq!(scan.input.len(), states + 1, "{op_type}");
            assert_eq!(body.input.len(), states + 1, "{op_type}");
            assert_eq!(body.output.len(), states + 1, "{op_type}");
            assert_eq!(count(&body.node, "Min"), sums, "{op_type}");
            assert_eq!(count(&body.node, "Max"), sums, "{op_type}");
        }
        assert!(attribute(scans[0], "scan_input_directions").is_none());
        let backwards = attribute(scans[1], "scan_input_directions").unwrap();
        assert_eq!(backwards.ints, [1]);
        let outputs = nodes.iter().filter(|node| node.op_type == "Concat");
        let outputs: Vec<&str> = outputs
            .map(|node| node.output[0].as_str())
            .filter(|name| !name.contains("wisp"))
            .collect();
        assert_eq!(outputs, ["y", "last"]);
    }
    let coupled = rewritten(with_integer(layer("LSTM"), "input_forget", 1));
    assert_eq!(count(&body(scans(&coupled)[0]).node, "Sigmoid"), 2);
    assert_eq!(count(&body(scans(&coupled)[0]).node, "Sub"), 1);
}

#[test]
fn parameters_of_activations_are_given_for_all_that_have_some_or_for_none() {
    let parameter = |nodes: &[NodeProto], op_type: &str| {
        let nodes = &body(scans(nodes)[0]).node;
        let node = nodes.iter().find(|node| node.op_type == op_type);
        attribute(node.unwrap(), "alpha").unwrap().f
    };
    let names = ["Tanh", "LeakyRelu"];
    let given = rewritten(with_activations(layer("GRU"), &names, &[0.25]));
    assert_eq!(parameter(&given, "LeakyRelu"), 0.25);
    let default = rewritten(with_activations(layer("GRU"), &names, &[]));
    assert_eq!(parameter(&default, "LeakyRelu"), 0.01);
    let hard = rewritten(with_activations(layer("RNN"), &["HardSigmoid"], &[]));
    assert_eq!(parameter(&hard, "HardSigmoid"), 0.2);
    for (names, alphas) in [
        (&["Tanh", "LeakyRelu"][..], &[0.25, 0.5][..]),
        (&["Tanh", "Affine"], &[]),
        (&["Tanh"], &[]),
    ] {
        let kept = with_activations(layer("GRU"), names, alphas);
        assert_eq!(rewritten(kept.clone()), [kept]);
    }
}

#[test]
fn lengths_end_sequences_unless_they_follow_from_sizes() {
    let nodes = rewritten(with_lengths(layer("GRU"), "lengths"));
    let step = body(scans(&nodes)[0]);
    assert_eq!(count(&step.node, "Where"), 2);
    assert_eq!(step.input.len(), 3);
    let shape = || operator("Shape", &["x"], "shape");
    let full = || operator("Gather", &["shape", "full"], "sizes");
    let shorter = || operator("Sub", &["sizes", "full"], "shorter");
    let ended = |lengths: &str, direction: &str| {
        let node = with_text(layer("GRU"), "direction", direction);
        let node = with_lengths(node, lengths);
        let nodes = vec![shape(), full(), shorter(), node];
        !scans(&rewritten_from(14, nodes)).is_empty()
    };
    assert!(ended("full", "forward"));
    assert!(!ended("sizes", "forward"));
    assert!(!ended("sizes", "bidirectional"));
    assert!(ended("sizes", "reverse"));
    assert!(ended("shorter", "forward"));
}

#[test]
fn an_lstm_whose_states_begin_as_equals_and_are_both_read_is_replaced() {
    let mut node = layer("LSTM");
    node.output.push("cell".to_owned());
    assert_eq!(rewritten(node.clone()), [node.clone()]);
    let reader = || operator("Relu", &["cell"], "z");
    let nodes = rewritten_from(14, vec![node.clone(), reader()]);
    assert_eq!(scans(&nodes).len(), 1);
    let sources = || {
        vec![
            operator("Identity", &["x"], "copy"),
            operator("Transpose", &["copy"], "turned"),
            operator("Transpose", &["x"], "turned_too"),
            with_integers(operator("Transpose", &["x"], "other"), "perm", vec![1]),
        ]
    };
    for (h, c, is_replaced) in [
        ("x", "x", true),
        ("copy", "x", true),
        ("turned", "turned_too", true),
        ("turned", "other", false),
        ("x", "turned", false),
        ("x", "lengths", false),
    ] {
        let mut node = node.clone();
        node.input.extend(["", h, c].map(str::to_owned));
        let mut nodes = sources();
        nodes.extend([node, reader()]);
        let nodes = rewritten_from(14, nodes);
        assert_eq!(!scans(&nodes).is_empty(), is_replaced, "{h} and {c}");
    }
}

#[test]
fn a_gru_that_reads_one_number_in_each_step_is_replaced_if_it_resets_a_product() {
    let mut node = layer("GRU");
    node.input[1] = "narrow".to_owned();
    assert_eq!(rewritten(node.clone()), [node.clone()]);
    let nodes = rewritten(with_integer(node, "linear_before_reset", 1));
    assert_eq!(scans(&nodes).len(), 1);
}

#[test]
fn operators_whose_meaning_is_not_known_stay() {
    let limited = || with_float(layer("LSTM"), "clip", 0.5);
    let mut wide = limited();
    wide.input[1] = "wide".to_owned();
    let mut sized = limited();
    sized.input[2] = "sized".to_owned();
    assert_eq!(scans(&rewritten(sized.clone())).len(), 1);
    for (opset, kept) in [
        (9, limited()),
        (14, wide),
        (14, with_integer(limited(), "layout", 1)),
        (14, with_text(limited(), "direction", "sideways")),
        (14, with_integer(limited(), "hidden_size", 0)),
        (14, with_integer(sized, "hidden_size", 6)),
        (14, with_integer(limited(), "hidden_size", i64::MAX)),
        (14, with_float(layer("LSTM"), "clip", 0.0)),
    ] {
        assert_eq!(rewritten_from(opset, vec![kept.clone()]), [kept]);
    }
}
