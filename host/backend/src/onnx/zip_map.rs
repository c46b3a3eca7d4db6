//! Removes `ZipMap`, which turns each row of scores into a map from class to score.
//!
//! A map is not a tensor. skl2onnx adds the operator after every classifier by default. Clients receive the
//! scores instead, under the name of the maps; the column of a class is its position among the classes.

use super::node_parts::opset;
use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::{Dimension, dimension};
use crate::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, type_proto,
};

/// The opset for a file that imports no operators of ONNX itself, such as a file with trees
/// alone. It contains Identity.
const OPSET: i64 = 13;

/// Replaces all `ZipMap` nodes by Identity, and declares their outputs as f32 of shape [rows, classes].
/// Returns whether there was any; a model without stays unchanged.
pub(crate) fn remove_zip_maps(model: &mut ModelProto) -> bool {
    let Some(graph) = &mut model.graph else {
        return false;
    };
    let GraphProto { node, output, .. } = graph;
    let mut removed = false;
    for node in node.iter_mut().filter(|node| node.op_type == "ZipMap") {
        removed = true;
        for declared in output.iter_mut() {
            if node.output.contains(&declared.name) {
                declared.r#type = Some(scores(classes(node)));
            }
        }
        // Values are not renamed, since the scores may also be an output or an input.
        node.op_type = "Identity".to_owned();
        node.domain = String::new();
        node.attribute.clear();
    }
    if removed && opset(&model.opset_import).is_none() {
        model.opset_import.push(OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        });
    }
    removed
}

/// Returns the number of classes that the node names.
fn classes(node: &NodeProto) -> usize {
    let attributes = node.attribute.iter();
    attributes
        .filter(|attribute| attribute.name.starts_with("classlabels_"))
        .map(|attribute| attribute.ints.len() + attribute.strings.len())
        .sum()
}

/// Returns the type of an f32 matrix with this number of columns.
fn scores(classes: usize) -> TypeProto {
    let columns = i64::try_from(classes).ok().filter(|&classes| classes > 0);
    let dim = vec![
        Dimension::default(),
        Dimension {
            value: columns.map(dimension::Value::DimValue),
            ..Default::default()
        },
    ];
    TypeProto {
        value: Some(type_proto::Value::TensorType(type_proto::Tensor {
            elem_type: DataType::Float as i32,
            shape: Some(TensorShapeProto { dim }),
        })),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{AttributeProto, ValueInfoProto};

    fn model(nodes: Vec<NodeProto>) -> ModelProto {
        ModelProto {
            opset_import: vec![OperatorSetIdProto {
                domain: "ai.onnx.ml".to_owned(),
                version: 3,
            }],
            graph: Some(GraphProto {
                node: nodes,
                output: ["label", "maps"]
                    .map(|name| ValueInfoProto {
                        name: name.to_owned(),
                        ..Default::default()
                    })
                    .to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn node(op_type: &str, input: &str, outputs: &[&str]) -> NodeProto {
        NodeProto {
            op_type: op_type.to_owned(),
            domain: "ai.onnx.ml".to_owned(),
            input: vec![input.to_owned()],
            output: outputs.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn the_scores_take_the_name_of_the_maps() {
        let mut zip = node("ZipMap", "scores", &["maps"]);
        zip.attribute.push(AttributeProto {
            name: "classlabels_strings".to_owned(),
            strings: vec![b"no".to_vec(), b"yes".to_vec(), b"maybe".to_vec()],
            ..Default::default()
        });
        let trees = node("TreeEnsembleClassifier", "x", &["label", "scores"]);
        let mut rewritten = model(vec![trees.clone(), zip]);
        assert!(remove_zip_maps(&mut rewritten));
        let graph = rewritten.graph.as_ref().unwrap();
        assert_eq!(graph.node[0], trees);
        assert_eq!(graph.node[1].op_type, "Identity");
        assert_eq!(graph.node[1].input, ["scores"]);
        assert_eq!(graph.node[1].output, ["maps"]);
        assert_eq!(graph.output[0].r#type, None);
        assert_eq!(graph.output[1].r#type, Some(scores(3)));
        assert_eq!(rewritten.opset_import[1].version, OPSET);
        // A second call changes nothing.
        let again = rewritten.clone();
        assert!(!remove_zip_maps(&mut rewritten));
        assert_eq!(rewritten, again);
    }

    #[test]
    fn a_model_without_maps_is_left_as_it_is() {
        let original = model(vec![node("Scaler", "x", &["label"])]);
        let mut rewritten = original.clone();
        assert!(!remove_zip_maps(&mut rewritten));
        assert_eq!(rewritten, original);
    }
}
