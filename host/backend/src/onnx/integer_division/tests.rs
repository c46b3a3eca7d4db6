//! Tests of the rewritten and unchanged divisions. `tests/onnxruntime.rs` computes rewritten ones.

use super::*;
use crate::onnx::test_graphs::tensor;
use crate::pb::attribute_proto::AttributeType;
use crate::pb::{TypeProto, ValueInfoProto, type_proto};

fn value(name: &str, element_type: DataType) -> ValueInfoProto {
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: element_type as i32,
                shape: None,
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn model(opset: i64, inputs: &[(&str, DataType)], nodes: Vec<NodeProto>) -> ModelProto {
    ModelProto {
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(GraphProto {
            node: nodes,
            input: inputs
                .iter()
                .map(|(name, kind)| value(name, *kind))
                .collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn operators(nodes: &[NodeProto]) -> Vec<&str> {
    nodes.iter().map(|node| node.op_type.as_str()).collect()
}

const INTEGERS: [(&str, DataType); 2] = [("x", DataType::Int64), ("d", DataType::Int64)];

const GUARDED: [&str; 9] = [
    "Constant", "Equal", "Cast", "Add", "Add", "Div", "Constant", "Sub", "Mul",
];

#[test]
fn a_division_by_a_request_value_is_guarded_and_keeps_its_name() {
    for kind in [DataType::Int32, DataType::Int64] {
        let inputs = [("x", kind), ("d", kind)];
        let mut guarded = model(13, &inputs, vec![operator("Div", &["x", "d"], "y")]);
        assert_eq!(guard_integer_divisions(&mut guarded), Ok(true));
        let nodes = &guarded.graph.as_ref().unwrap().node;
        assert_eq!(operators(nodes), GUARDED);
        assert_eq!(nodes.last().unwrap().output, ["y"]);
        let constant = nodes[0].attribute[0].t.as_ref().unwrap();
        let size = if kind == DataType::Int32 { 4 } else { 8 };
        assert_eq!(constant.raw_data, vec![0xff; size]);
        // A guard contains no division of its own whose divisor may be -1.
        let mut modulo = model(13, &inputs, vec![operator("Mod", &["x", "d"], "y")]);
        assert_eq!(guard_integer_divisions(&mut modulo), Ok(true));
        let nodes = &modulo.graph.as_ref().unwrap().node;
        assert_eq!(
            operators(nodes),
            ["Constant", "Equal", "Cast", "Add", "Add", "Mod"]
        );
    }
}

#[test]
fn divisions_that_cannot_trap_are_left_as_they_are() {
    let floats = [("x", DataType::Float), ("d", DataType::Float)];
    let small = [("x", DataType::Int8), ("d", DataType::Int8)];
    let division = || operator("Div", &["x", "d"], "y");
    let mut by_two = model(13, &INTEGERS[..1], vec![division()]);
    by_two.graph.as_mut().unwrap().initializer.push(tensor(
        "d",
        DataType::Int64,
        &[2, 0, i64::MIN],
    ));
    let by_shape = model(
        13,
        &floats,
        vec![
            operator("Cast", &["x"], "c"),
            operator("Div", &["x", "d"], "y"),
        ],
    );
    let foreign = NodeProto {
        domain: "my.own".to_owned(),
        ..division()
    };
    let by_constant = vec![constant("d", 7, DataType::Int64 as i32), division()];
    for original in [
        model(13, &floats, vec![division()]),
        model(13, &small, vec![division()]),
        by_two,
        by_shape,
        model(13, &INTEGERS, vec![foreign]),
        model(13, &INTEGERS[..1], by_constant),
        model(13, &INTEGERS, vec![operator("Mul", &["x", "d"], "y")]),
    ] {
        let mut rewritten = original.clone();
        assert_eq!(guard_integer_divisions(&mut rewritten), Ok(false));
        assert_eq!(rewritten, original);
    }
}

#[test]
fn constants_with_a_minus_one_are_guarded_against() {
    for tensor in [
        tensor("d", DataType::Int64, &[3, -1]),
        TensorProto {
            raw_data: Vec::new(),
            int64_data: vec![-1],
            ..tensor("d", DataType::Int64, &[])
        },
        TensorProto {
            raw_data: Vec::new(),
            data_location: Some(DataLocation::External as i32),
            ..tensor("d", DataType::Int64, &[])
        },
    ] {
        let mut guarded = model(13, &INTEGERS[..1], vec![operator("Div", &["x", "d"], "y")]);
        guarded.graph.as_mut().unwrap().initializer.push(tensor);
        assert_eq!(guard_integer_divisions(&mut guarded), Ok(true));
    }
}

#[test]
fn types_follow_from_operators_and_from_graphs_around() {
    // Divides the size of an axis by a value from the request, in a branch.
    let branch = GraphProto {
        node: vec![operator("Div", &["size", "d"], "z")],
        output: vec![ValueInfoProto {
            name: "z".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut choice = operator("If", &["c"], "y");
    choice.attribute.push(AttributeProto {
        name: "then_branch".to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(branch),
        ..Default::default()
    });
    let inputs = [("x", DataType::Float), ("c", DataType::Bool)];
    let nodes = vec![
        operator("Shape", &["x"], "size"),
        operator("Gather", &["size", "size"], "d"),
        choice,
    ];
    let mut nested = model(9, &inputs, nodes);
    assert_eq!(guard_integer_divisions(&mut nested), Ok(true));
    let choice = &nested.graph.as_ref().unwrap().node[2];
    let branch = choice.attribute[0].g.as_ref().unwrap();
    assert_eq!(operators(&branch.node), GUARDED);
}

#[test]
fn an_initializer_that_a_request_may_replace_is_guarded_against() {
    let mut guarded = model(13, &INTEGERS, vec![operator("Div", &["x", "d"], "y")]);
    guarded
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .push(tensor("d", DataType::Int64, &[2]));
    assert_eq!(guard_integer_divisions(&mut guarded), Ok(true));
}

/// Returns a function that divides `x` by `d`, with the version `opset` of the operators.
fn function(opset: i64, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some("divide".to_owned()),
        input: vec!["x".to_owned(), "d".to_owned()],
        output: vec!["y".to_owned()],
        node: nodes,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        ..Default::default()
    }
}

#[test]
fn operands_of_unknown_type_are_compared_as_floats() {
    for (op_type, guarded) in [
        (
            "Div",
            [
                "Constant", "Cast", "Equal", "Mul", "Where", "Div", "Mul", "Where",
            ]
            .as_slice(),
        ),
        ("Mod", &["Constant", "Cast", "Equal", "Mul", "Where", "Mod"]),
    ] {
        let division = vec![operator(op_type, &["x", "d"], "y")];
        let mut calls = model(7, &INTEGERS, vec![]);
        calls.functions.push(function(11, division.clone()));
        assert_eq!(guard_integer_divisions(&mut calls), Ok(true));
        let nodes = &calls.functions[0].node;
        assert_eq!(operators(nodes), guarded);
        assert_eq!(nodes.last().unwrap().output, ["y"]);
        let constant = nodes[0].attribute[0].t.as_ref().unwrap();
        assert_eq!(constant.raw_data, (-1f64).to_le_bytes());
        let mut old = model(17, &INTEGERS, vec![]);
        old.functions.push(function(10, division));
        let refusal = guard_integer_divisions(&mut old).unwrap_err();
        assert!(
            refusal.contains("`y`") && refusal.contains("version 11"),
            "{refusal}"
        );
    }
}

#[test]
fn a_constant_or_type_that_a_call_gives_to_a_function_is_unknown() {
    let referring = |op_type: &str, name: &str, inputs: &[&str]| {
        let mut node = operator(op_type, inputs, "e");
        node.attribute.push(AttributeProto {
            name: name.to_owned(),
            ref_attr_name: "given".to_owned(),
            r#type: AttributeType::Int as i32,
            ..Default::default()
        });
        node
    };
    for node in [
        referring("Constant", "value_int", &[]),
        referring("Cast", "to", &["d"]),
    ] {
        let nodes = vec![node, operator("Div", &["x", "e"], "y")];
        let mut calls = model(17, &INTEGERS, vec![]);
        calls.functions.push(function(17, nodes));
        assert_eq!(guard_integer_divisions(&mut calls), Ok(true));
        assert!(operators(&calls.functions[0].node).contains(&"Where"));
    }
}

#[test]
fn a_version_without_the_operators_is_refused_only_if_it_divides_integers() {
    let division = || vec![operator("Div", &["x", "d"], "y")];
    assert_eq!(
        guard_integer_divisions(&mut model(7, &INTEGERS, division())),
        Ok(true)
    );
    let refusal = guard_integer_divisions(&mut model(6, &INTEGERS, division())).unwrap_err();
    assert!(refusal.contains("version 7"), "{refusal}");
    let floats = [("x", DataType::Float), ("d", DataType::Float)];
    assert_eq!(
        guard_integer_divisions(&mut model(6, &floats, division())),
        Ok(false)
    );
}
