//! tract's own expansion of an ONNX operator, wired in a model of its own.
//!
//! An operator of ours that differs from tract's in one step takes the parser, the shape rules and the
//! attributes from it. The draft contains no value of the first input: tract would compute small constants at
//! once, and wrongly.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{TVec, TractResult, TypedModel, TypedNode};
use tract_onnx::tract_core::internal::{Op, OutletId, bail};
use tract_onnx::tract_hir::internal::Expansion;

/// The nodes that tract makes of an operator.
pub(super) struct Draft {
    model: TypedModel,
    /// The number of nodes that stand for the inputs.
    sources: usize,
    outputs: TVec<OutletId>,
}

/// Returns tract's expansion of `node` and the outer values that it uses.
pub(super) fn build_theirs(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn Expansion>, Vec<String>)> {
    let onnx = tract_onnx::onnx();
    let Some(theirs) = onnx.op_register.0.get(&node.op_type) else {
        bail!("tract has no {}", node.op_type);
    };
    let (operator, closures) = theirs(context, node)?;
    let operator: Box<dyn Op> = operator;
    match operator.downcast::<Box<dyn Expansion>>() {
        Ok(expansion) => Ok((*expansion, closures)),
        Err(_) => bail!("tract's {} is no expansion", node.op_type),
    }
}

impl Draft {
    /// Wires `expansion` on inputs like those of `model`.
    pub(super) fn of(
        expansion: &dyn Expansion,
        prefix: &str,
        model: &TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<Draft> {
        let mut draft = TypedModel {
            symbols: model.symbols.clone(),
            ..TypedModel::default()
        };
        for (position, &input) in inputs.iter().enumerate() {
            let fact = model.outlet_fact(input)?;
            let fact = match position {
                0 => fact.without_value(),
                _ => fact.clone(),
            };
            draft.add_source(format!("{prefix}.input_{position}"), fact)?;
        }
        let sources = draft.inputs.clone();
        let outputs = expansion.wire(prefix, &mut draft, &sources)?;
        Ok(Draft {
            model: draft,
            sources: sources.len(),
            outputs,
        })
    }

    /// Returns the nodes after the inputs, in the order in which they were wired.
    pub(super) fn nodes(&self) -> &[TypedNode] {
        &self.model.nodes()[self.sources..]
    }

    /// Returns the outlets of the draft that are the outputs of the operator.
    pub(super) fn outputs(&self) -> &[OutletId] {
        &self.outputs
    }
}
