//! The parts of nodes that rewrites and checks of graphs look at: domains, attributes and inner graphs.

pub(crate) use crate::model_outline::MICROSOFT;
use crate::pb::{AttributeProto, GraphProto, NodeProto, OperatorSetIdProto};

/// Returns whether this is the domain of ONNX's own operators, which has two names.
pub(crate) fn is_onnx_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Returns whether the node is one of these operators of ONNX.
pub(crate) fn is_onnx(node: &NodeProto, operators: &[&str]) -> bool {
    is_onnx_domain(&node.domain) && operators.contains(&node.op_type.as_str())
}

/// Returns the version of ONNX's operators that a file declares.
pub(crate) fn opset(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let mut imports = imports.iter();
    let own = imports.find(|import| is_onnx_domain(&import.domain));
    own.map(|import| import.version)
}

/// Returns the attribute of a name.
pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    let mut attributes = node.attribute.iter();
    attributes.find(|attribute| attribute.name == name)
}

/// Returns the graphs inside a node.
pub(crate) fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    let attributes = node.attribute.iter();
    attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Returns the graphs inside a node, to change them.
pub(crate) fn inner_graphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    let attributes = node.attribute.iter_mut();
    attributes.flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs))
}
