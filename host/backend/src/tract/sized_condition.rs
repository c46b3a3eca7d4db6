//! The operator `If`, whose branches may have outputs of different ranks as long as the condition follows from
//! the sizes of the inputs.
//!
//! Exporters write such a condition for `squeeze`: whether an axis has the size 1. tract's own operator types
//! both branches and needs equal results. Here, the branch that a known condition selects takes the place of
//! the operator. Otherwise, it becomes a [`Conditional`], whose branches [`super::branches`] plans.

use super::conditional::Conditional;
use std::collections::HashMap;
use tract_onnx::Onnx;
use tract_onnx::model::{ParseResult, ParsingContext};
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::prelude::{
    DatumType, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, Symbol, TDim,
    TValue, TVec, Tensor, TractError, TractResult, TypedModel,
};
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, OutletId, SpecialOps, StaticName, TypedOp, bail, ensure,
};
use tract_onnx::tract_core::ops::logic::IfThenElse;
use tract_onnx::tract_hir::infer::InferenceNode;
use tract_onnx::tract_hir::internal::{Factoid, InferenceOp};

/// The facts of the inputs, the outputs and the observed values of an operator.
type Facts = (
    TVec<InferenceFact>,
    TVec<InferenceFact>,
    TVec<InferenceFact>,
);

/// A node with two branches.
#[derive(Debug, Clone)]
struct SizedCondition {
    then_branch: Branch,
    else_branch: Branch,
}

/// An inner graph.
#[derive(Debug, Clone)]
struct Branch {
    body: InferenceModel,
    /// For each input of the body, the position among the inputs of the node.
    inputs: Vec<usize>,
}

/// Registers the operator with `onnx`.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("If", build);
}

fn build(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let then_graph: &GraphProto = node.get_attr("then_branch")?;
    let else_graph: &GraphProto = node.get_attr("else_branch")?;
    let then_graph = context.parse_graph(then_graph)?;
    let else_graph = context.parse_graph(else_graph)?;
    let mut outer = then_graph.unresolved_inputs.clone();
    outer.extend(else_graph.unresolved_inputs.iter().cloned());
    outer.sort();
    outer.dedup();
    let branch = |parsed: ParseResult| {
        // The condition is the first input of the node.
        let position = |name: &String| Some(outer.binary_search(name).ok()? + 1);
        let inputs = parsed.unresolved_inputs.iter().filter_map(position);
        Branch {
            inputs: inputs.collect(),
            body: parsed.model,
        }
    };
    let branches = SizedCondition {
        then_branch: branch(then_graph),
        else_branch: branch(else_graph),
    };
    Ok((Box::new(branches), outer))
}

/// Sets the symbols of a model, in the branches of its conditions too.
pub(super) fn set_symbols(
    model: &mut InferenceModel,
    sizes: &HashMap<Symbol, TDim>,
) -> TractResult<()> {
    model.set_symbols(sizes)?;
    for id in 0..model.nodes().len() {
        if let Some(condition) = model.node_mut(id).op_as_mut::<SizedCondition>() {
            set_symbols(&mut condition.then_branch.body, sizes)?;
            set_symbols(&mut condition.else_branch.body, sizes)?;
        }
    }
    Ok(())
}

// === impl SizedCondition ===

impl SizedCondition {
    /// Infers facts in both branches, and those of the outputs as far as the branches agree.
    fn infer_both(
        &mut self,
        inputs: &mut [InferenceFact],
        outputs: &mut [InferenceFact],
    ) -> TractResult<bool> {
        let mut has_changed = self.then_branch.infer(inputs)?;
        has_changed |= self.else_branch.infer(inputs)?;
        for (position, output) in outputs.iter_mut().enumerate() {
            let first = self.then_branch.body.output_fact(position)?;
            let second = self.else_branch.body.output_fact(position)?;
            has_changed |= output.datum_type.unify_with(&first.datum_type)?;
            has_changed |= output.datum_type.unify_with(&second.datum_type)?;
            // Other shapes remain open until the condition is known.
            if let Ok(shape) = first.shape.unify(&second.shape) {
                has_changed |= output.shape.unify_with(&shape)?;
            }
        }
        Ok(has_changed)
    }
}

/// Returns the value of a condition, if it is known.
fn known(condition: &InferenceFact) -> TractResult<Option<bool>> {
    match condition.value.concretize() {
        Some(value) => is_true(&value).map(Some),
        None => Ok(None),
    }
}

/// Returns the value of a condition. tract reads beyond the end of an empty one.
fn is_true(condition: &Tensor) -> TractResult<bool> {
    ensure!(
        condition.volume() == 1,
        "If has a condition of {} values",
        condition.volume()
    );
    condition.cast_to_scalar::<bool>()
}

impl PartialEq for SizedCondition {
    fn eq(&self, _: &SizedCondition) -> bool {
        false
    }
}

impl Eq for SizedCondition {}

impl Op for SizedCondition {
    fn name(&self) -> StaticName {
        "If".into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        None
    }
}

impl EvalOp for SizedCondition {
    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(condition) = inputs.first() else {
            bail!("If has no condition");
        };
        let branch = match is_true(condition)? {
            true => &self.then_branch,
            false => &self.else_branch,
        };
        let inputs: TVec<TValue> = branch.inputs.iter().map(|&at| inputs[at].clone()).collect();
        let body = branch.body.clone().into_typed()?;
        body.into_runnable()?.run(inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.eval(&EvalContext::out_of_plan(), inputs).map(Some)
    }
}

impl InferenceOp for SizedCondition {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<Facts> {
        let mut inputs: TVec<InferenceFact> = inputs.into_iter().cloned().collect();
        let mut outputs: TVec<InferenceFact> = outputs.into_iter().cloned().collect();
        let Some(condition) = inputs.first_mut() else {
            bail!("If has no condition");
        };
        condition.datum_type.unify_with(&DatumType::Bool.into())?;
        let condition = known(condition)?;
        loop {
            let has_changed = match condition {
                Some(true) => self.then_branch.infer_all(&mut inputs, &mut outputs)?,
                Some(false) => self.else_branch.infer_all(&mut inputs, &mut outputs)?,
                None => self.infer_both(&mut inputs, &mut outputs)?,
            };
            if !has_changed {
                return Ok((inputs, outputs, observed.into_iter().cloned().collect()));
            }
        }
    }

    fn nboutputs(&self) -> TractResult<usize> {
        let outputs = self.then_branch.body.output_outlets()?.len();
        ensure!(
            outputs == self.else_branch.body.output_outlets()?.len(),
            "If has branches with different numbers of outputs"
        );
        Ok(outputs)
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs = node.inputs.iter().map(|outlet| mapped(mapping, outlet));
        let inputs = inputs.collect::<TractResult<TVec<OutletId>>>()?;
        let (then_branch, else_branch) = (&self.then_branch, &self.else_branch);
        match known(source.outlet_fact(node.inputs[0])?)? {
            Some(true) => then_branch.inline(&node.name, target, &inputs),
            Some(false) => else_branch.inline(&node.name, target, &inputs),
            None => {
                let operator = IfThenElse {
                    then_body: then_branch.body.clone().into_typed()?,
                    then_input_mapping: then_branch.inputs.clone(),
                    else_body: else_branch.body.clone().into_typed()?,
                    else_input_mapping: else_branch.inputs.clone(),
                };
                target.wire_node(node.name.as_str(), Conditional(operator), &inputs)
            }
        }
    }
}

// === impl Branch ===

impl Branch {
    /// Infers facts in the branch from those of the node's inputs, and the reverse.
    fn infer(&mut self, inputs: &mut [InferenceFact]) -> TractResult<bool> {
        let mut has_changed = false;
        for (inner, &outer) in self.inputs.iter().enumerate() {
            let fact = self.body.input_fact_mut(inner)?;
            has_changed |= fact.unify_with_mut(&mut inputs[outer])?;
        }
        has_changed |= self.body.analyse(false)?;
        Ok(has_changed)
    }

    /// Infers facts as [`Branch::infer`] does, and those of the node's outputs.
    fn infer_all(
        &mut self,
        inputs: &mut [InferenceFact],
        outputs: &mut [InferenceFact],
    ) -> TractResult<bool> {
        let mut has_changed = self.infer(inputs)?;
        for (position, output) in outputs.iter_mut().enumerate() {
            let fact = self.body.output_fact_mut(position)?;
            has_changed |= fact.unify_with_mut(output)?;
        }
        Ok(has_changed)
    }

    /// Adds the nodes of the branch to `target`, in place of the node `name` with these inputs.
    fn inline(
        &self,
        name: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let body = self.body.clone().into_typed()?;
        let mut mapping: HashMap<OutletId, OutletId> = HashMap::new();
        for (outlet, &input) in body.input_outlets()?.iter().zip(&self.inputs) {
            mapping.insert(*outlet, inputs[input]);
        }
        for id in body.eval_order()? {
            let node = body.node(id);
            if TypedModel::is_source(&node.op) {
                continue;
            }
            let inputs = node.inputs.iter().map(|outlet| mapped(&mapping, outlet));
            let inputs = inputs.collect::<TractResult<TVec<OutletId>>>()?;
            let wired = target.wire_node(format!("{name}.{}", node.name), node.op.clone(), &inputs);
            for (slot, outlet) in wired?.into_iter().enumerate() {
                mapping.insert(OutletId::new(id, slot), outlet);
            }
        }
        let outputs = body.output_outlets()?.iter();
        outputs.map(|outlet| mapped(&mapping, outlet)).collect()
    }
}

fn mapped(mapping: &HashMap<OutletId, OutletId>, outlet: &OutletId) -> TractResult<OutletId> {
    let found = mapping.get(outlet).copied();
    found.ok_or_else(|| TractError::msg("If uses a value that is not computed"))
}
