//! Changes every tensor that is stored in a model, including those of inner graphs and functions.

use crate::pb::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};

type Visit<'a> = &'a mut dyn FnMut(&mut TensorProto) -> Result<(), String>;

/// Calls `visit` for every tensor that a backend reads from `model`, until a call fails.
pub(crate) fn change_tensors(model: &mut ModelProto, visit: Visit) -> Result<(), String> {
    if let Some(graph) = &mut model.graph {
        change_graph(graph, visit)?;
    }
    for FunctionProto { node, .. } in &mut model.functions {
        change_nodes(node, visit)?;
    }
    Ok(())
}

fn change_graph(graph: &mut GraphProto, visit: Visit) -> Result<(), String> {
    for tensor in &mut graph.initializer {
        visit(tensor)?;
    }
    for sparse in &mut graph.sparse_initializer {
        for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
            visit(tensor)?;
        }
    }
    change_nodes(&mut graph.node, visit)
}

fn change_nodes(nodes: &mut [NodeProto], visit: Visit) -> Result<(), String> {
    for attribute in nodes.iter_mut().flat_map(|node| &mut node.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            visit(tensor)?;
        }
        let sparse = attribute.sparse_tensor.iter_mut();
        for sparse in sparse.chain(&mut attribute.sparse_tensors) {
            for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
                visit(tensor)?;
            }
        }
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            change_graph(inner, visit)?;
        }
    }
    Ok(())
}
