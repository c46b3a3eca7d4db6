//! Tests of the refusals, and of files that stay.

use super::*;
use crate::onnx::test_graphs::{inner, model, node, number, numbers, tensor, text, value};
use crate::pb::{AttributeProto, FunctionProto};

/// Returns the reason why a graph with an input `x` and some constants is refused.
fn refusal(opset: i64, x: DataType, nodes: Vec<NodeProto>) -> Option<String> {
    let graph = GraphProto {
        input: vec![value("x", x, &[-1, 3, 4])],
        initializer: vec![
            tensor("two", DataType::Float, &[2]),
            tensor("three", DataType::Float, &[3]),
            tensor("floats", DataType::Float, &[3, 5]),
            tensor("integers", DataType::Int64, &[0, 1]),
        ],
        node: nodes,
        ..Default::default()
    };
    check(&model(opset, graph)).err()
}

#[test]
fn all_missing_operators_are_named_in_order() {
    let mut foreign = node("Relu", &["x"], "b");
    foreign.domain = "my.own".to_owned();
    let branch = GraphProto {
        node: vec![node("Bernoulli", &["x"], "d")],
        ..Default::default()
    };
    let nodes = vec![
        node("RandomNormal", &[], "a"),
        foreign,
        node("RandomNormal", &[], "c"),
        inner(node("If", &["x"], "e"), "then_branch", branch),
    ];
    assert_eq!(
        refusal(17, DataType::Float, nodes).as_deref(),
        Some("operators not implemented: Bernoulli, RandomNormal, Relu (my.own)")
    );
    let mut gelu = node("Gelu", &["x"], "y");
    gelu.domain = MICROSOFT.to_owned();
    assert_eq!(refusal(17, DataType::Float, vec![gelu]), None);
}

#[test]
fn the_lists_of_operators_are_sorted_and_have_no_duplicates() {
    for operators in [OPERATORS, MICROSOFT_OPERATORS] {
        assert!(operators.is_sorted_by(|first, second| first < second));
    }
}

#[test]
fn types_that_rten_would_narrow_are_refused_wherever_they_occur() {
    assert_eq!(
        refusal(17, DataType::Double, vec![]).as_deref(),
        Some("input `x` has DOUBLE, which rten does not support")
    );
    for data_type in [
        DataType::Float,
        DataType::Float16,
        DataType::Int64,
        DataType::Bool,
    ] {
        assert_eq!(refusal(17, data_type, vec![]), None);
    }
    let cast = number(node("Cast", &["x"], "y"), "to", DataType::Double as i64);
    assert_eq!(
        refusal(17, DataType::Float, vec![cast]).as_deref(),
        Some("operator Cast of `y` has DOUBLE, which rten does not support")
    );
    let mut constant = node("Constant", &[], "y");
    constant.attribute.push(AttributeProto {
        name: "value".to_owned(),
        t: Some(TensorProto {
            data_type: DataType::Uint16 as i32,
            ..Default::default()
        }),
        ..Default::default()
    });
    let reason = refusal(17, DataType::Float, vec![constant]).unwrap();
    assert!(reason.contains("UINT16"), "{reason}");
    let texts = text(node("Constant", &[], "y"), "value_string", "a");
    let reason = refusal(17, DataType::Float, vec![texts]).unwrap();
    assert!(reason.contains("`value_string`"), "{reason}");
}

#[test]
fn a_file_must_declare_a_version_that_rten_follows() {
    assert!(
        refusal(6, DataType::Float, vec![])
            .unwrap()
            .contains("version 6")
    );
    let mut undeclared = model(17, GraphProto::default());
    undeclared.opset_import.clear();
    assert!(check(&undeclared).unwrap_err().contains("does not declare"));
}

#[test]
fn names_that_rten_resolves_differently_are_refused() {
    let unsorted = vec![node("Relu", &["a"], "y"), node("Relu", &["x"], "a")];
    assert_eq!(
        refusal(17, DataType::Float, unsorted).as_deref(),
        Some("value `a` is used before it is computed")
    );
    let branch = GraphProto {
        node: vec![node("Relu", &["x"], "a")],
        ..Default::default()
    };
    let hiding = vec![
        node("Relu", &["x"], "a"),
        inner(node("If", &["x"], "y"), "then_branch", branch),
    ];
    assert!(
        refusal(17, DataType::Float, hiding)
            .unwrap()
            .contains("value `a` of an inner graph")
    );
}

#[test]
fn only_what_rten_computes_wrongly_is_refused() {
    let to = |node: NodeProto, data_type: DataType| number(node, "to", data_type as i64);
    let bool_cast = || to(node("Cast", &["x"], "y"), DataType::Bool);
    let byte_cast = |from: &str| to(node("Cast", &[from], "y"), DataType::Uint8);
    let gru = || node("GRU", &["x", "w", "r", "b"], "y");
    let mut indexed = node("MaxPool", &["x"], "y");
    indexed.output.push("indices".to_owned());
    let float = DataType::Float;
    let wrong = [
        (17, float, vec![node("ArgMax", &["x"], "y")]),
        (
            17,
            float,
            vec![text(
                node("Conv", &["x", "x"], "y"),
                "auto_pad",
                "SAME_LOWER",
            )],
        ),
        (17, float, vec![bool_cast()]),
        (17, float, vec![byte_cast("x")]),
        (
            17,
            float,
            vec![
                node("Div", &["x", "three"], "a"),
                node("Floor", &["a"], "y"),
            ],
        ),
        (17, float, vec![gru()]),
        (
            17,
            float,
            vec![node("LSTM", &["x", "w", "r", "b", "lengths"], "y")],
        ),
        (
            12,
            float,
            vec![number(node("Softmax", &["x"], "y"), "axis", 1)],
        ),
        (12, float, vec![node("Softmax", &["x"], "y")]),
        (17, float, vec![node("MatMul", &["x", "two"], "y")]),
        (17, float, vec![indexed]),
        (17, float, vec![node("NonMaxSuppression", &["x", "x"], "y")]),
        (17, DataType::Int64, vec![node("Pow", &["x", "two"], "y")]),
        (
            17,
            float,
            vec![node("QuantizeLinear", &["x", "floats"], "y")],
        ),
        (17, float, vec![node("Range", &["x", "x", "two"], "y")]),
        (
            17,
            float,
            vec![number(
                node("ReduceSum", &["x"], "y"),
                "noop_with_empty_axes",
                1,
            )],
        ),
        (
            17,
            float,
            vec![text(node("Resize", &["x"], "y"), "mode", "cubic")],
        ),
        (
            17,
            float,
            vec![number(
                node("ScatterElements", &["x", "x", "x"], "y"),
                "axis",
                1,
            )],
        ),
        (17, float, vec![node("Sign", &["x"], "y")]),
        (17, float, vec![node("Softplus", &["x"], "y")]),
    ];
    for (opset, data_type, nodes) in wrong {
        let shown = format!("{nodes:?}");
        let reason = refusal(opset, data_type, nodes).expect(&shown);
        assert!(
            reason.starts_with("operator ") && reason.contains("rten "),
            "{reason}"
        );
    }
    let right = [
        (
            17,
            float,
            vec![text(
                node("Conv", &["x", "x"], "y"),
                "auto_pad",
                "SAME_UPPER",
            )],
        ),
        (17, DataType::Bool, vec![bool_cast()]),
        (17, DataType::Int64, vec![byte_cast("x")]),
        (17, float, vec![node("Clip", &["x"], "a"), byte_cast("a")]),
        (
            17,
            float,
            vec![node("Div", &["x", "two"], "a"), node("Floor", &["a"], "y")],
        ),
        (
            17,
            float,
            vec![
                node("Div", &["x", "floats"], "a"),
                node("Floor", &["a"], "y"),
            ],
        ),
        (17, float, vec![number(gru(), "linear_before_reset", 1)]),
        (
            12,
            float,
            vec![number(node("Softmax", &["x"], "y"), "axis", -1)],
        ),
        (13, float, vec![node("Softmax", &["x"], "y")]),
        (17, float, vec![node("MatMul", &["x", "x"], "y")]),
        (
            17,
            DataType::Int64,
            vec![node("Pow", &["x", "integers"], "y")],
        ),
        (17, float, vec![node("QuantizeLinear", &["x", "two"], "y")]),
        (17, float, vec![node("Range", &["two", "x", "two"], "y")]),
        (
            17,
            float,
            vec![text(node("Resize", &["x"], "y"), "mode", "linear")],
        ),
        (
            17,
            float,
            vec![node("ScatterElements", &["x", "x", "x"], "y")],
        ),
        (
            17,
            float,
            vec![node(
                "ScatterElements",
                &["floats", "integers", "floats"],
                "y",
            )],
        ),
        (17, DataType::Int64, vec![node("Sign", &["x"], "y")]),
        (
            17,
            float,
            vec![numbers(node("Transpose", &["x"], "y"), "perm", &[0, 2, 1])],
        ),
    ];
    for (opset, data_type, nodes) in right {
        assert_eq!(refusal(opset, data_type, nodes.clone()), None, "{nodes:?}");
    }
}

#[test]
fn a_quantized_lstm_with_small_weights_is_computed_on_every_processor() {
    let reason = |inputs: &[&str]| {
        let mut lstm = node("DynamicQuantizeLSTM", inputs, "y");
        lstm.domain = MICROSOFT.to_owned();
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, &[5, 1, 4])],
            initializer: vec![
                tensor("w", DataType::Int8, &[-64, 64]),
                tensor("lengths", DataType::Int32, &[5]),
            ],
            node: vec![lstm],
            ..Default::default()
        };
        check(&model(17, graph)).err().unwrap_or_default()
    };
    let rest = ["s", "z", "s", "z"];
    let with = |lengths, peepholes| {
        let first = ["x", "w", "w", "", lengths, "", "", peepholes];
        reason(&[first.as_slice(), rest.as_slice()].concat())
    };
    assert_eq!(with("", ""), "");
    assert!(with("lengths", "").contains("lengths"));
    assert!(with("", "x").contains("peepholes"));
}

#[test]
fn a_function_must_not_replace_an_operator() {
    let mut replaced = model(17, GraphProto::default());
    let function = |name: &str| FunctionProto {
        name: Some(name.to_owned()),
        domain: Some(String::new()),
        ..Default::default()
    };
    replaced.functions.push(function("Mine"));
    assert_eq!(check(&replaced), Ok(()));
    replaced.functions.push(function("Relu"));
    assert!(check(&replaced).unwrap_err().contains("operator Relu"));
}
