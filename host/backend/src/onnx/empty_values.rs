//! Rewrites operators that end the process if a value has no elements.
//!
//! A request may contain axes of 0 elements, and values within the graph may have them too. Some operators of
//! ONNX Runtime then abort, divide by zero, read outside of a value or compute without end (seen in version
//! 1.31.1, by computing every operator of the onnx package with such axes). The value that such an operator
//! takes therefore passes through a `Reshape` that infers the size of one axis from the number of elements.
//! If there are none along the others, no size fits, and the library returns an error of the run, which names
//! the node. In all other cases the value stays the same, and nothing is copied.

use super::node_builder::{int64s, operator, tensor_constant, with_integer};
use super::node_parts::{MICROSOFT, inner_graphs, inner_graphs_mut, opset};
use super::value_types::{ValueTypes, add_node_types, add_types};
use crate::pb::tensor_proto::DataType;
use crate::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use std::collections::{HashMap, HashSet};

/// An operator and the input that must have elements.
struct FragileOp {
    domain: &'static str,
    op_type: &'static str,
    input: usize,
    axes: Axes,
}

/// The axes along which a value must have elements.
#[derive(Clone, Copy)]
enum Axes {
    /// Every axis.
    All,
    /// Every axis, of which the last two must have the same size.
    Square,
    /// Both the steps and the batch of a sequence.
    StepsAndBatch,
    /// The batch of a sequence, which is the second of three axes.
    Batch,
    /// All axes after the second.
    Spatial,
}

const fn entry(domain: &'static str, op_type: &'static str, input: usize, axes: Axes) -> FragileOp {
    FragileOp {
        domain,
        op_type,
        input,
        axes,
    }
}

const FRAGILE_OPS: [FragileOp; 14] = [
    // With a kernel that has no elements.
    entry("", "Conv", 1, Axes::Spatial),
    entry("", "ConvTranspose", 0, Axes::Spatial),
    entry("", "GRU", 0, Axes::StepsAndBatch),
    entry("", "InstanceNormalization", 0, Axes::Spatial),
    entry("", "LSTM", 0, Axes::Batch),
    entry("ai.onnx.ml", "FeatureVectorizer", 0, Axes::All),
    entry(MICROSOFT, "DynamicQuantizeLSTM", 0, Axes::Batch),
    entry(MICROSOFT, "FusedConv", 1, Axes::Spatial),
    entry(MICROSOFT, "GroupQueryAttention", 0, Axes::All),
    // Matrices that are not square are read beyond their ends.
    entry(MICROSOFT, "Inverse", 0, Axes::Square),
    entry(MICROSOFT, "MoE", 0, Axes::All),
    entry(MICROSOFT, "MultiHeadAttention", 2, Axes::All),
    entry(MICROSOFT, "QAttention", 0, Axes::All),
    // The second operand, which is added to the first.
    entry(MICROSOFT, "SkipLayerNormalization", 1, Axes::All),
];

/// The types and constants of a graph and of those around it.
#[derive(Default, Clone)]
struct Scope {
    types: ValueTypes,
    /// The numbers of axes of constants.
    constants: HashMap<String, usize>,
}

struct Rewriter {
    guarded: usize,
}

/// Rewrites the operators of `model` that may end the process. Returns whether there was any; without one,
/// the model stays unchanged.
pub(crate) fn guard_empty_values(model: &mut ModelProto) -> bool {
    let mut rewriter = Rewriter { guarded: 0 };
    if let Some(graph) = &mut model.graph {
        rewriter.rewrite_graph(graph, &Scope::default());
    }
    if rewriter.guarded > 0 {
        import_onnx(&mut model.opset_import);
    }
    for function in &mut model.functions {
        let before = rewriter.guarded;
        // The types of a function's inputs depend on each call.
        let mut scope = Scope::default();
        for node in &function.node {
            add_node_types(node, &mut scope.types);
        }
        rewriter.rewrite_nodes(&mut function.node, scope);
        if rewriter.guarded > before {
            import_onnx(&mut function.opset_import);
        }
    }
    rewriter.guarded > 0
}

/// Imports the operators of ONNX, if a file has only others.
fn import_onnx(imports: &mut Vec<OperatorSetIdProto>) {
    /// The version that defines the operators of the guards as they are today.
    const OPSET: i64 = 13;
    if opset(imports).is_none() {
        imports.push(OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        });
    }
}

/// Returns the entry for the operator of a node.
fn fragile_op(node: &NodeProto) -> Option<&'static FragileOp> {
    let domain = match node.domain.as_str() {
        "ai.onnx" => "",
        domain => domain,
    };
    let op_type = match node.op_type.as_str() {
        "SkipSimplifiedLayerNormalization" => "SkipLayerNormalization",
        op_type => op_type,
    };
    FRAGILE_OPS
        .iter()
        .find(|fragile| fragile.domain == domain && fragile.op_type == op_type)
}

/// Returns whether the node or a node of its inner graphs has a fragile operator.
fn is_fragile_somewhere(node: &NodeProto) -> bool {
    let mut inner = inner_graphs(node);
    fragile_op(node).is_some() || inner.any(|graph| graph.node.iter().any(is_fragile_somewhere))
}

/// Returns whether the operator computes even without elements, as far as that follows from the file.
fn is_safe(node: &NodeProto, scope: &Scope) -> bool {
    let input = |position: usize| node.input.get(position).map_or("", String::as_str);
    let is_float = |name: &str| scope.types.get(name) == Some(&(DataType::Float as i32));
    match node.op_type.as_str() {
        // A kernel in the file was seen when the model was loaded.
        "Conv" | "FusedConv" => scope.constants.contains_key(input(1)),
        // Only more than two spatial axes fail, which the kernel has as well.
        "ConvTranspose" => scope.constants.get(input(1)).is_some_and(|&rank| rank <= 4),
        // Only FLOAT16 fails.
        "InstanceNormalization" => is_float(input(0)) || is_float(input(1)),
        _ => false,
    }
}

impl Rewriter {
    /// Rewrites a graph and those inside it. The recursion depth is bounded by the decoder's limit on nested
    /// messages.
    fn rewrite_graph(&mut self, graph: &mut GraphProto, outer: &Scope) {
        if !graph.node.iter().any(is_fragile_somewhere) {
            return;
        }
        let mut scope = outer.clone();
        let inputs: HashSet<&str> = graph
            .input
            .iter()
            .map(|value| value.name.as_str())
            .collect();
        // A value hides an outer one of the same name.
        let computed = graph.node.iter().flat_map(|node| &node.output);
        for name in inputs.iter().copied().chain(computed.map(String::as_str)) {
            scope.types.remove(name);
            scope.constants.remove(name);
        }
        add_types(graph, &mut scope.types);
        for tensor in &graph.initializer {
            // A request may replace the initializer of an input.
            if !inputs.contains(tensor.name.as_str()) {
                scope
                    .constants
                    .insert(tensor.name.clone(), tensor.dims.len());
            }
        }
        self.rewrite_nodes(&mut graph.node, scope);
    }

    fn rewrite_nodes(&mut self, nodes: &mut Vec<NodeProto>, mut scope: Scope) {
        for node in nodes.iter().filter(|node| node.op_type == "Constant") {
            let mut tensors = node.attribute.iter().filter_map(|found| found.t.as_ref());
            if let (Some(tensor), Some(name)) = (tensors.next(), node.output.first()) {
                scope.constants.insert(name.clone(), tensor.dims.len());
            }
        }
        let mut rewritten = Vec::with_capacity(nodes.len());
        for mut node in std::mem::take(nodes) {
            for inner in inner_graphs_mut(&mut node) {
                self.rewrite_graph(inner, &scope);
            }
            if let Some(fragile) = fragile_op(&node)
                && !is_safe(&node, &scope)
            {
                rewritten.extend(self.guard(&mut node, fragile));
            }
            rewritten.push(node);
        }
        *nodes = rewritten;
    }

    /// Replaces the input of `node` by a checked value, and returns the nodes that check it.
    fn guard(&mut self, node: &mut NodeProto, fragile: &FragileOp) -> Vec<NodeProto> {
        let input = node.input.get_mut(fragile.input);
        let Some(input) = input.filter(|name| !name.is_empty()) else {
            return Vec::new();
        };
        self.guarded += 1;
        let mut outputs = node.output.iter().filter(|name| !name.is_empty());
        let output = outputs.next().map_or("", String::as_str);
        let name = |part: &str| format!("{output}.wisp_{part}_{}", self.guarded);
        let guarded = name("guarded");
        let value = std::mem::replace(input, guarded.clone());
        // The library's error contains this name.
        let reason = format!("an input of `{output}` ({}) has no elements", node.op_type);
        let reshape = |value: &str, sizes: &[i64], part: &str, output: &str| {
            let shape = name(&format!("{part}_shape"));
            let mut reshape = operator("Reshape", &[value, &shape], output);
            // Names of nodes are unique.
            reshape.name = match part {
                "flat" => format!("{reason} along its axes"),
                _ => reason.clone(),
            };
            [tensor_constant(&shape, int64s(sizes)), reshape]
        };
        // The sizes of the axes: 0 copies the size of the value, and -1 is inferred.
        match fragile.axes {
            Axes::StepsAndBatch => return reshape(&value, &[0, 0, -1], "own", &guarded).into(),
            Axes::Batch => return reshape(&value, &[-1, 0, 0], "own", &guarded).into(),
            Axes::All | Axes::Square | Axes::Spatial => {}
        }
        let [flat, checked, sizes, product] = ["flat", "checked", "sizes", "product"].map(&name);
        let mut nodes = match fragile.axes {
            Axes::Spatial => {
                let flatten = operator("Flatten", &[&value], &flat);
                vec![with_integer(flatten, "axis", 2)]
            }
            _ => reshape(&value, &[1, -1], "flat", &flat).into(),
        };
        nodes.extend(reshape(&flat, &[-1, 0], "checked", &checked));
        // The product of a matrix and itself exists only if it is square, and has the same shape.
        let sized = match fragile.axes {
            Axes::Square => {
                nodes.push(operator("MatMul", &[&value, &value], &product));
                &product
            }
            _ => &value,
        };
        nodes.push(operator("Shape", &[sized], &sizes));
        nodes.push(operator("Reshape", &[&checked, &sizes], &guarded));
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{
        AttributeProto, FunctionProto, TensorProto, TypeProto, ValueInfoProto, type_proto,
    };

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

    fn weights(rank: usize) -> TensorProto {
        TensorProto {
            name: "w".to_owned(),
            data_type: DataType::Float as i32,
            dims: vec![1; rank],
            ..Default::default()
        }
    }

    fn model(element_type: DataType, initializer: Vec<TensorProto>, node: NodeProto) -> ModelProto {
        ModelProto {
            graph: Some(GraphProto {
                input: vec![value("x", element_type)],
                initializer,
                node: vec![node],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn nodes(model: &ModelProto) -> &[NodeProto] {
        &model.graph.as_ref().unwrap().node
    }

    fn operators(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(|node| node.op_type.as_str()).collect()
    }

    #[test]
    fn sequences_are_reshaped_to_their_own_shape() {
        for (op_type, sizes) in [("GRU", [0, 0, -1]), ("LSTM", [-1, 0, 0])] {
            let mut node = operator(op_type, &["x", "w", "r"], "");
            node.output.push("last".to_owned());
            let mut guarded = model(DataType::Float, vec![weights(3)], node);
            assert!(guard_empty_values(&mut guarded));
            let nodes = nodes(&guarded);
            assert_eq!(operators(nodes), ["Constant", "Reshape", op_type]);
            let constant = nodes[0].attribute[0].t.as_ref().unwrap();
            assert_eq!(constant, &int64s(&sizes));
            assert_eq!(nodes[1].input[0], "x");
            assert_eq!(nodes[1].input[1], nodes[0].output[0]);
            assert_eq!(nodes[2].input[0], nodes[1].output[0]);
            assert_eq!(nodes[2].input[1..], ["w", "r"]);
            assert!(nodes[1].name.contains("`last`"), "{}", nodes[1].name);
        }
    }

    #[test]
    fn spatial_axes_are_checked_for_any_rank() {
        let node = operator("ConvTranspose", &["x", "w"], "y");
        let mut guarded = model(DataType::Float, vec![weights(5)], node);
        assert!(guard_empty_values(&mut guarded));
        let nodes = nodes(&guarded);
        assert_eq!(
            operators(nodes),
            [
                "Flatten",
                "Constant",
                "Reshape",
                "Shape",
                "Reshape",
                "ConvTranspose"
            ]
        );
        assert_eq!(nodes[2].input[0], nodes[0].output[0]);
        assert_eq!(
            nodes[4].input,
            [nodes[2].output[0].clone(), nodes[3].output[0].clone()]
        );
        assert_eq!(nodes[5].input[0], nodes[4].output[0]);
        assert_eq!(nodes[5].output, ["y"]);
    }

    #[test]
    fn matrices_must_be_square_and_have_elements() {
        let mut node = operator("Inverse", &["x"], "y");
        node.domain = MICROSOFT.to_owned();
        let mut guarded = model(DataType::Float, vec![], node);
        assert!(guard_empty_values(&mut guarded));
        let nodes = nodes(&guarded);
        assert_eq!(
            operators(nodes),
            [
                "Constant", "Reshape", "Constant", "Reshape", "MatMul", "Shape", "Reshape",
                "Inverse"
            ]
        );
        assert_eq!(nodes[4].input, ["x", "x"]);
        assert_eq!(nodes[5].input, nodes[4].output);
        assert_eq!(nodes[7].input, nodes[6].output);
    }

    #[test]
    fn an_input_that_is_left_out_is_not_guarded() {
        let mut node = operator("MultiHeadAttention", &["x", "", ""], "y");
        node.domain = MICROSOFT.to_owned();
        let mut original = model(DataType::Float, vec![], node);
        assert!(!guard_empty_values(&mut original));
        assert_eq!(operators(nodes(&original)), ["MultiHeadAttention"]);
    }

    #[test]
    fn operators_that_compute_without_elements_stay_as_they_are() {
        let convolution = || operator("Conv", &["x", "w"], "y");
        let transposed = operator("ConvTranspose", &["x", "w"], "y");
        let norm = operator("InstanceNormalization", &["x", "w", "w"], "y");
        let foreign = NodeProto {
            domain: "my.own".to_owned(),
            ..operator("GRU", &["x"], "y")
        };
        for original in [
            model(DataType::Float, vec![weights(5)], convolution()),
            model(DataType::Float, vec![weights(4)], transposed),
            model(DataType::Float, vec![], norm.clone()),
            model(DataType::Float, vec![], foreign),
        ] {
            let mut rewritten = original.clone();
            assert!(!guard_empty_values(&mut rewritten));
            assert_eq!(rewritten, original);
        }
        let half = || model(DataType::Float16, vec![], norm.clone());
        assert!(guard_empty_values(&mut half()));
        // The kernel is in the request.
        let mut given = model(DataType::Float, vec![weights(4)], convolution());
        let graph = given.graph.as_mut().unwrap();
        graph.input.push(value("w", DataType::Float));
        assert!(guard_empty_values(&mut given));
        assert_eq!(nodes(&given)[5].input[0], "x");
    }

    #[test]
    fn a_file_without_the_operators_of_onnx_imports_them() {
        let mut node = operator("FeatureVectorizer", &["x"], "y");
        node.domain = "ai.onnx.ml".to_owned();
        let mut guarded = model(DataType::Float, vec![], node);
        guarded.opset_import.push(OperatorSetIdProto {
            domain: "ai.onnx.ml".to_owned(),
            version: 1,
        });
        assert!(guard_empty_values(&mut guarded));
        let imports = guarded.opset_import.iter();
        let domains: Vec<&str> = imports.map(|import| import.domain.as_str()).collect();
        assert_eq!(domains, ["ai.onnx.ml", ""]);
    }

    #[test]
    fn inner_graphs_and_functions_are_guarded() {
        let mut branch = operator("If", &["c"], "y");
        branch.attribute.push(AttributeProto {
            name: "then_branch".to_owned(),
            g: Some(GraphProto {
                node: vec![operator("GRU", &["x", "w", "r"], "z")],
                ..Default::default()
            }),
            ..Default::default()
        });
        let mut nested = model(DataType::Float, vec![], branch);
        nested.functions.push(FunctionProto {
            node: vec![operator("LSTM", &["x", "w", "r"], "y")],
            ..Default::default()
        });
        assert!(guard_empty_values(&mut nested));
        let inner = nodes(&nested)[0].attribute[0].g.as_ref().unwrap();
        assert_eq!(operators(&inner.node), ["Constant", "Reshape", "GRU"]);
        assert_eq!(
            operators(&nested.functions[0].node),
            ["Constant", "Reshape", "LSTM"]
        );
    }
}
