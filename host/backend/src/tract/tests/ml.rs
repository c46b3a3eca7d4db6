//! Tests of `ai.onnx.ml` operators with invalid files and with strings. The integration tests compare
//! their outputs with those of onnxruntime.

use super::onnx_file::{Axis, OnnxFile, int, ints};
use super::refusals::refusal;
use super::{fp32, load_bytes, load_file, shapes, values};
use crate::BackendError;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, TensorProto};
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Floats as i32,
        floats: values.to_vec(),
        ..Default::default()
    }
}

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Strings as i32,
        strings: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
        ..Default::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: value.as_bytes().to_vec(),
        ..Default::default()
    }
}

/// Returns a model of one operator over `x`, two columns of f32.
fn operator(op_type: &str, attributes: Vec<AttributeProto>) -> OnnxFile {
    let outputs: &[&str] = match op_type.contains("Classifier") {
        true => &["label", "scores"],
        false => &["y"],
    };
    let file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed, Axis::Size(2)])
        .node(op_type, &["x"], outputs)
        .attributes(attributes);
    let mut file = outputs
        .iter()
        .fold(file, |file, output| file.output(output));
    for output in &mut file.graph.output {
        output.r#type = None;
    }
    file
}

/// Returns a tree that tests whether the first column is at most 1, then whether the second is at most 2.
/// The leaves are 10, 20 and 30.
fn tree() -> Vec<AttributeProto> {
    vec![
        ints("nodes_treeids", &[0, 0, 0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2, 3, 4]),
        ints("nodes_featureids", &[0, 1, 0, 0, 0]),
        floats("nodes_values", &[1.0, 2.0, 0.0, 0.0, 0.0]),
        strings(
            "nodes_modes",
            &["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
        ),
        ints("nodes_truenodeids", &[1, 2, 0, 0, 0]),
        ints("nodes_falsenodeids", &[4, 3, 0, 0, 0]),
        ints("target_treeids", &[0, 0, 0]),
        ints("target_nodeids", &[2, 3, 4]),
        ints("target_ids", &[0, 0, 0]),
        floats("target_weights", &[10.0, 20.0, 30.0]),
        int("n_targets", 1),
    ]
}

/// Returns the tree with one attribute changed.
fn tree_with(changed: AttributeProto) -> OnnxFile {
    let mut attributes = tree();
    attributes.retain(|attribute| attribute.name != changed.name);
    attributes.push(changed);
    operator("TreeEnsembleRegressor", attributes)
}

#[test]
fn a_tree_leads_each_row_to_its_leaf() {
    let graph = load_file(operator("TreeEnsembleRegressor", tree())).unwrap();
    let rows = [1.0, 2.0, 0.0, 2.5, 1.5, 0.0, f32::NAN, 0.0];
    let outputs = graph.compute(&[fp32("x", &[4, 2], &rows)]).unwrap();
    assert_eq!(values(&outputs[0].tensor), [10.0, 20.0, 30.0, 30.0]);
}

#[test]
fn an_invalid_tree_is_refused_with_operator_and_attribute() {
    let cases = [
        (ints("nodes_truenodeids", &[1, 0, 0, 0, 0]), "loops"),
        (ints("nodes_truenodeids", &[1, 1, 0, 0, 0]), "loops"),
        (
            ints("nodes_falsenodeids", &[1, 3, 0, 0, 0]),
            "branches in common",
        ),
        (
            ints("nodes_falsenodeids", &[9, 3, 0, 0, 0]),
            "nodes_falsenodeids",
        ),
        (
            ints("nodes_truenodeids", &[-1, 2, 0, 0, 0]),
            "nodes_truenodeids",
        ),
        (ints("nodes_truenodeids", &[1, 2, 0]), "nodes_truenodeids"),
        (ints("nodes_nodeids", &[0, 1, 2, 3, 3]), "nodes_nodeids"),
        (
            ints("nodes_featureids", &[0, -1, 0, 0, 0]),
            "nodes_featureids",
        ),
        (ints("nodes_featureids", &[0, 2, 0, 0, 0]), "3 columns"),
        (ints("nodes_featureids", &[0, i64::MAX, 0, 0, 0]), ""),
        (ints("nodes_treeids", &[]), "nodes_treeids"),
        (
            strings(
                "nodes_modes",
                &["BRANCH_LEQ", "BRANCH_ODD", "LEAF", "LEAF", "LEAF"],
            ),
            "BRANCH_ODD",
        ),
        (floats("nodes_values", &[1.0]), "nodes_values"),
        (
            ints("nodes_missing_value_tracks_true", &[1]),
            "nodes_missing_value_tracks_true",
        ),
        (ints("target_ids", &[0, 1, 0]), "target_ids"),
        (ints("target_nodeids", &[2, 3, 7]), "target_nodeids"),
        (floats("target_weights", &[1.0]), "target_weights"),
        (floats("base_values", &[1.0, 2.0]), "base_values"),
        (int("n_targets", 0), "n_targets"),
        (int("n_targets", i64::MAX), "n_targets"),
        (text("aggregate_function", "MEDIAN"), "MEDIAN"),
        (text("post_transform", "TWICE"), "post_transform"),
    ];
    for (changed, expected) in cases {
        let case = format!("{changed:?}");
        let reason = refusal(load_file(tree_with(changed)));
        assert!(reason.contains("TreeEnsembleRegressor"), "{case}: {reason}");
        assert!(reason.contains(expected), "{case}: {reason}");
    }
}

#[test]
fn a_tree_may_be_deeper_than_a_stack() {
    // A chain: each branch leads to a leaf and to the next branch.
    let depth: i64 = 100_000;
    let numbers: Vec<i64> = (0..=2 * depth).collect();
    let branch = |number: &i64| number % 2 == 0 && *number < 2 * depth;
    let pick = |yes: fn(i64) -> i64| -> Vec<i64> {
        numbers
            .iter()
            .map(|number| if branch(number) { yes(*number) } else { 0 })
            .collect()
    };
    let leaves: Vec<i64> = numbers
        .iter()
        .copied()
        .filter(|number| !branch(number))
        .collect();
    let modes: Vec<&str> = (numbers.iter())
        .map(|number| if branch(number) { "BRANCH_LEQ" } else { "LEAF" })
        .collect();
    let zeros = vec![0; numbers.len()];
    let file = operator(
        "TreeEnsembleRegressor",
        vec![
            ints("nodes_treeids", &zeros),
            ints("nodes_nodeids", &numbers),
            ints("nodes_featureids", &zeros),
            floats("nodes_values", &vec![1.0; numbers.len()]),
            strings("nodes_modes", &modes),
            ints("nodes_truenodeids", &pick(|number| number + 2)),
            ints("nodes_falsenodeids", &pick(|number| number + 1)),
            ints("target_treeids", &zeros[..leaves.len()]),
            ints("target_nodeids", &leaves),
            ints("target_ids", &zeros[..leaves.len()]),
            floats(
                "target_weights",
                &(0..=depth).map(|leaf| leaf as f32).collect::<Vec<_>>(),
            ),
            int("n_targets", 1),
        ],
    );
    let graph = load_file(file).unwrap();
    let outputs = graph
        .compute(&[fp32("x", &[2, 2], &[2.0, 0.0, 1.0, 0.0])])
        .unwrap();
    assert_eq!(values(&outputs[0].tensor), [0.0, depth as f32]);
}

/// Returns a classifier of two classes, whose leaves have a weight for the class of each in `ids`.
fn two_classes(transform: &str, ids: [i64; 3], base_values: &[f32]) -> OnnxFile {
    let mut attributes = tree();
    attributes.retain(|attribute| attribute.name.starts_with("nodes_"));
    attributes.extend([
        ints("class_treeids", &[0, 0, 0]),
        ints("class_nodeids", &[2, 3, 4]),
        ints("class_ids", &ids),
        floats("class_weights", &[0.5, 0.25, 1.0]),
        ints("classlabels_int64s", &[3, 7]),
        text("post_transform", transform),
    ]);
    if !base_values.is_empty() {
        attributes.push(floats("base_values", base_values));
    }
    operator("TreeEnsembleClassifier", attributes)
}

#[test]
fn probit_of_two_classes_is_refused_only_where_a_row_may_lack_the_second_score() {
    for (ids, base_values) in [
        ([0, 0, 0], vec![]),
        ([0, 0, 0], vec![0.25]),
        ([0, 1, 1], vec![]),
    ] {
        let reason = refusal(load_file(two_classes("PROBIT", ids, &base_values)));
        assert!(reason.contains("post_transform"), "{ids:?}: {reason}");
    }
    // The values of ONNX Runtime: those of no weight are PROBIT of 0.
    let infinite = f32::NEG_INFINITY;
    for (ids, base_values, expected) in [
        ([1, 1, 1], vec![], [infinite, 0.0]),
        ([1, 1, 1], vec![0.25], [infinite, 0.0]),
        ([0, 0, 0], vec![0.0, 0.25], [0.0, infinite]),
        ([0, 1, 1], vec![0.0, 0.25], [0.0, infinite]),
    ] {
        let graph = load_file(two_classes("PROBIT", ids, &base_values)).unwrap();
        let outputs = graph.compute(&[fp32("x", &[1, 2], &[1.0, 2.0])]).unwrap();
        assert_eq!(values(&outputs[1].tensor), expected, "{ids:?}");
    }
}

#[test]
fn one_base_value_of_two_classes_is_refused_where_a_row_may_lack_the_second_score() {
    let load = |ids, base_values: &[f32]| load_file(two_classes("NONE", ids, base_values));
    let reason = refusal(load([0, 1, 1], &[0.25]));
    assert!(reason.contains("base_values"), "{reason}");
    // Here the second score follows from the first, which is the sum of the weights of the row.
    for (ids, base_values, expected) in [
        ([0, 0, 0], vec![0.25], [0.25, 0.75]),
        ([1, 1, 1], vec![0.25], [0.0, 0.5]),
        ([0, 1, 1], vec![], [-0.5, 0.5]),
    ] {
        let graph = load(ids, &base_values).unwrap();
        let outputs = graph.compute(&[fp32("x", &[1, 2], &[1.0, 2.0])]).unwrap();
        assert_eq!(values(&outputs[1].tensor), expected, "{ids:?}");
    }
}

#[test]
fn invalid_attributes_are_refused_with_operator_and_attribute() {
    let linear = |more: Vec<AttributeProto>| {
        [vec![floats("coefficients", &[1.0, 2.0, 3.0, 4.0])], more].concat()
    };
    let machine = |more: Vec<AttributeProto>| {
        let base = vec![ints("classlabels_ints", &[0, 1]), floats("rho", &[0.0])];
        [base, linear(more)].concat()
    };
    let cases = [
        (
            "Scaler",
            vec![floats("offset", &[1.0]), floats("scale", &[1.0, 2.0])],
            "offset",
        ),
        (
            "Scaler",
            vec![floats("offset", &[0.0; 3]), floats("scale", &[1.0; 3])],
            "3 columns",
        ),
        ("Imputer", vec![], "imputed_value_floats"),
        (
            "Imputer",
            vec![ints("imputed_value_int64s", &[1])],
            "no imputed values",
        ),
        ("Normalizer", vec![text("norm", "L7")], "norm"),
        ("OneHotEncoder", vec![], "cats_int64s"),
        (
            "OneHotEncoder",
            vec![strings("cats_strings", &["a"])],
            "another type",
        ),
        ("LabelEncoder", vec![ints("keys_int64s", &[1])], "values"),
        (
            "FeatureVectorizer",
            vec![ints("inputdimensions", &[i64::MAX])],
            "inputdimensions",
        ),
        (
            "LinearRegressor",
            linear(vec![int("targets", 3)]),
            "coefficients",
        ),
        (
            "LinearRegressor",
            linear(vec![int("targets", i64::MAX)]),
            "targets",
        ),
        (
            "LinearRegressor",
            linear(vec![int("targets", 4)]),
            "1 columns",
        ),
        ("LinearClassifier", linear(vec![]), "classlabels_ints"),
        (
            "LinearClassifier",
            linear(vec![ints("classlabels_ints", &[1, 2, 3])]),
            "coefficients",
        ),
        (
            "SVMRegressor",
            linear(vec![int("n_supports", i64::MAX)]),
            "coefficients",
        ),
        (
            "SVMRegressor",
            linear(vec![int("n_supports", 4), floats("rho", &[0.0])]),
            "support_vectors",
        ),
        (
            "SVMClassifier",
            machine(vec![ints("vectors_per_class", &[i64::MAX, 1])]),
            "support_vectors",
        ),
        (
            "SVMClassifier",
            machine(vec![ints("vectors_per_class", &[1])]),
            "vectors_per_class",
        ),
        (
            "SVMClassifier",
            machine(vec![
                text("kernel_type", "RBF"),
                ints("vectors_per_class", &[1, 1]),
            ]),
            "support_vectors",
        ),
        (
            "TreeEnsemble",
            vec![int("n_targets", 1)],
            "nodes_featureids",
        ),
    ];
    for (op_type, attributes, expected) in cases {
        let reason = refusal(load_file(operator(op_type, attributes)));
        assert!(reason.contains(op_type), "{op_type}: {reason}");
        assert!(reason.contains(expected), "{op_type}: {reason}");
    }
}

#[test]
fn damaged_operators_never_panic() {
    let machine = vec![
        ints("classlabels_ints", &[0, 1, 2]),
        ints("vectors_per_class", &[1, 1, 1]),
        floats("coefficients", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        floats("support_vectors", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        floats("rho", &[0.1, 0.2, 0.3]),
        floats("prob_a", &[-1.0, -2.0, -3.0]),
        floats("prob_b", &[0.1, 0.2, 0.3]),
        text("kernel_type", "RBF"),
        floats("kernel_params", &[0.5, 0.0, 3.0]),
    ];
    let linear = vec![
        ints("classlabels_ints", &[0, 1, 2]),
        floats("coefficients", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        floats("intercepts", &[0.1, 0.2, 0.3]),
    ];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for (op_type, attributes) in [
        ("TreeEnsembleRegressor", tree()),
        ("SVMClassifier", machine),
        ("LinearClassifier", linear),
    ] {
        let bytes = super::encode(operator(op_type, attributes));
        let mut loaded = 0;
        for _ in 0..700 {
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
                    graph.compute(&graph.sample_inputs().unwrap()).unwrap();
                }
                Err(BackendError::Load { reason, .. }) => {
                    // The message of tract's reader for a damaged name of an output.
                    let reason = reason.replace("panic: no entry found for key", "");
                    assert!(!reason.contains("panic"), "{op_type}: {reason}");
                }
                Err(other) => panic!("{op_type}: {other}"),
            }
        }
        assert!(loaded > 0, "{op_type}");
    }
}

fn words(name: &str, dimensions: &[u32], words: &[&[u8]]) -> NamedTensor {
    let elements = Tensor::from_elements(words.iter().copied()).unwrap();
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(ElementType::Bytes, shape, elements.into_content()).unwrap(),
    }
}

/// Returns a graph with `y` as the category of each of two words per row; other words are refused.
fn categories() -> OnnxFile {
    let mut file = OnnxFile::default()
        .input("words", DataType::String, &[Axis::Unnamed, Axis::Size(2)])
        .node("OneHotEncoder", &["words"], &["y"])
        .attributes(vec![
            strings("cats_strings", &["a", "\u{e4}"]),
            int("zeros", 0),
        ])
        .output("y");
    file.graph.output[0].r#type = None;
    file
}

#[test]
fn strings_are_encoded_and_decoded_again() {
    let graph = load_file(categories()).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["words BYTES [-1, 2]"]);
    assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [-1, 2, 2]"]);
    let outputs = graph
        .compute(&[words("words", &[1, 2], &["\u{e4}".as_bytes(), b"a"])])
        .unwrap();
    assert_eq!(values(&outputs[0].tensor), [0.0, 1.0, 1.0, 0.0]);

    let mut file = OnnxFile::default()
        .input("words", DataType::String, &[Axis::Unnamed, Axis::Size(2)])
        .node("ArrayFeatureExtractor", &["words", "second"], &["y"])
        .output("y");
    file.graph.output[0].r#type = None;
    file.graph.initializer.push(TensorProto {
        name: "second".to_owned(),
        dims: vec![1],
        data_type: DataType::Int64 as i32,
        int64_data: vec![1],
        ..Default::default()
    });
    let graph = load_file(file).unwrap();
    assert_eq!(shapes(&graph.signature().outputs), ["y BYTES [-1, 1]"]);
    let outputs = graph
        .compute(&[words("words", &[2, 2], &[b"p", b"q", b"", b"r s"])])
        .unwrap();
    assert_eq!(outputs[0], words("y", &[2, 1], &[b"q", b"r s"]));
}

#[test]
fn values_that_a_model_refuses_are_input_errors() {
    let graph = load_file(categories()).unwrap();
    for (word, expected) in [(b"b".as_slice(), "no category"), (&[0xff], "UTF-8")] {
        match graph.compute(&[words("words", &[1, 2], &[b"a", word])]) {
            Err(BackendError::Inputs { explanation, .. }) => {
                let names_input = explanation.contains("input `words`: ");
                assert!(
                    names_input && explanation.contains(expected),
                    "{explanation}"
                );
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}
