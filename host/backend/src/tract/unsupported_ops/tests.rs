//! Tests of refused and accepted operators.

use super::*;
use std::path::Path;

fn node(op_type: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![format!("{op_type}_output")],
        attribute: attributes,
        ..Default::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: value.as_bytes().to_vec(),
        strings: value
            .split(' ')
            .map(|text| text.as_bytes().to_vec())
            .collect(),
        ..Default::default()
    }
}

fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        ..Default::default()
    }
}

fn number(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f,
        ..Default::default()
    }
}

fn refusal(nodes: Vec<NodeProto>) -> Option<String> {
    let graph = GraphProto {
        node: nodes,
        ..Default::default()
    };
    check(&tract_onnx::onnx(), &graph).err()
}

#[test]
fn only_the_values_that_tract_gets_wrong_are_refused() {
    let reverse = vec![node("GRU", &[], vec![text("direction", "reverse")])];
    assert_eq!(
        refusal(reverse).unwrap(),
        "operator GRU of `GRU_output`: tract does not support this value of attribute \
         `direction`"
    );
    let right = [
        node("GRU", &[], vec![text("direction", "bidirectional")]),
        node("LSTM", &[], vec![text("activations", "Sigmoid Tanh Tanh")]),
        node("RNN", &[], vec![text("activations", "Tanh Tanh")]),
        node("Celu", &[], vec![number("alpha", 1.0)]),
        node("Elu", &[], vec![number("alpha", 2.0)]),
        node("SpaceToDepth", &[], vec![text("mode", "DCR")]),
        node("Transpose", &[], vec![integers("perm", &[0, 2, 1])]),
        node("MaxPool", &["x"], vec![integers("dilations", &[2, 2])]),
        node("GridSample", &["x", "g"], vec![text("mode", "cubic")]),
        node("NonMaxSuppression", &["b", "s", "m"], vec![]),
        node("Resize", &["x", "s"], vec![text("mode", "linear")]),
        node("Resize", &["x", "s"], vec![text("nearest_mode", "floor")]),
    ];
    for node in right {
        assert_eq!(refusal(vec![node]), None);
    }
    let wrong = [
        node("RNN", &[], vec![text("activations", "Relu")]),
        node("LSTM", &[], vec![text("activations", "Sigmoid Tanh Relu")]),
        node("LSTM", &[], vec![number("clip", 1.0)]),
        node("Celu", &[], vec![number("alpha", 2.0)]),
        node("SpaceToDepth", &[], vec![text("mode", "CRD")]),
        node("Transpose", &[], vec![integers("perm", &[0, 2, 2])]),
        node(
            "MaxPool",
            &["x"],
            vec![
                integers("dilations", &[2, 2]),
                text("auto_pad", "SAME_UPPER"),
            ],
        ),
        node(
            "ConvTranspose",
            &["x", "w"],
            vec![
                integers("output_padding", &[0, 1]),
                text("auto_pad", "SAME_LOWER"),
            ],
        ),
        node(
            "GridSample",
            &["x", "g"],
            vec![text("mode", "cubic"), text("padding_mode", "border")],
        ),
        node("NonMaxSuppression", &["b", "s"], vec![]),
        node("NonMaxSuppression", &["b", "s", "", "i"], vec![]),
        node("Resize", &["x", "s"], vec![]),
        node(
            "SkipSimplifiedLayerNormalization",
            &["x", "s", "g", "b"],
            vec![],
        ),
    ];
    for node in wrong {
        assert!(refusal(vec![node.clone()]).is_some(), "{node:?}");
    }
}

#[test]
fn an_operator_of_another_domain_is_not_the_one_of_its_name() {
    let mut foreign = node("Relu", &["x"], vec![]);
    foreign.domain = "my.own".to_owned();
    assert_eq!(
        refusal(vec![foreign]).unwrap(),
        "operators not implemented: Relu (my.own)"
    );
    let mut microsoft = node("Gelu", &["x"], vec![]);
    microsoft.domain = "com.microsoft".to_owned();
    assert_eq!(refusal(vec![microsoft]), None);
}

#[test]
fn the_case_of_an_unsupported_operator_is_not_listed_as_passing() -> anyhow::Result<()> {
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx_nodes");
    let passed = std::fs::read_to_string(lists.join("tract.txt"))?;
    for UnsupportedOp { shown_by, .. } in &UNSUPPORTED_OPS {
        assert!(!passed.lines().any(|case| case == *shown_by), "{shown_by}");
    }
    Ok(())
}
