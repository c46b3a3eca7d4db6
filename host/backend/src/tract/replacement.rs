//! Operators of tract with parts replaced by our own.
//!
//! tract turns an operator of ONNX into nodes of its own once types are known. [`built`] keeps its inference
//! and its nodes, and only replaces those that compute differently here.

use super::draft::{Draft, build_theirs};
use std::fmt;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{SpecialOps, TVec, TractResult, TypedModel, TypedNode, TypedOp};
use tract_onnx::tract_core::internal::{OutletId, StaticName, bail};
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};

/// The result of an operator's parser for tract, with the names of the outer values that it uses.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Returns the operator that computes a node instead of tract's, if there is one.
pub(super) type Replace = fn(&TypedNode) -> Option<Box<dyn TypedOp>>;

/// An operator of tract whose nodes are replaced.
#[derive(Clone)]
struct Expanded {
    theirs: Box<dyn Expansion>,
    replace: Replace,
}

/// Returns tract's operator for `node`.
pub(super) fn theirs(context: &ParsingContext, node: &NodeProto) -> Built {
    let onnx = tract_onnx::onnx();
    let Some(theirs) = onnx.op_register.0.get(&node.op_type) else {
        bail!("tract has no {}", node.op_type);
    };
    theirs(context, node)
}

/// Returns tract's operator for `node`, in whose expansion `replace` is applied to each node.
pub(super) fn built(context: &ParsingContext, node: &NodeProto, replace: Replace) -> Built {
    let (theirs, closures) = build_theirs(context, node)?;
    Ok((expand(Expanded { theirs, replace }), closures))
}

impl fmt::Debug for Expanded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.theirs, formatter)
    }
}

impl Expansion for Expanded {
    fn name(&self) -> StaticName {
        self.theirs.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.theirs.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let draft = Draft::of(&*self.theirs, prefix, model, inputs)?;
        let mut placed = inputs.to_vec();
        for node in draft.nodes() {
            let inputs: TVec<OutletId> = node.inputs.iter().map(|i| placed[i.node]).collect();
            let operator = (self.replace)(node).unwrap_or_else(|| node.op.clone());
            placed.push(model.wire_node(&node.name, operator, &inputs)?[0]);
        }
        let outputs = draft.outputs().iter();
        Ok(outputs.map(|output| placed[output.node]).collect())
    }
}
