//! The checks of operators before they compute: the kind that each operator of a plan needs, and the checks of indices
//! and divisors.
//!
//! Conditions that depend on the model alone are checked when a plan is built.

use super::guard::RefusedValue;
use tract_onnx::prelude::{DatumType, TValue, TractResult, TypedFact, TypedModel, TypedNode};
use tract_onnx::tract_core::internal::{Outlet, bail, ensure};
use tract_onnx::tract_core::ops::array::{DynTile, Gather, GatherNd, Range, Topk};
use tract_onnx::tract_core::ops::binary::{OptBinByScalar, OptBinUnicast, TypedBinOp};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::scan::OptScan;

/// The checks on an operator.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NodeCheck {
    pub(super) kind: Kind,
    /// Set if an input is not constant and contains integers that the operator may refuse.
    pub(super) takes_numbers: bool,
}

/// The kind of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Nothing,
    /// The sizes of its outputs follow from values, or the outputs are strings, which may be repeated.
    Size,
    /// Its indices must be within the axis.
    Indices,
    /// Its divisor must not be zero.
    Divisor,
}

impl NodeCheck {
    /// Returns the check on `node`.
    pub(super) fn of(model: &TypedModel, node: &TypedNode) -> TractResult<NodeCheck> {
        if node.op_is::<Const>() || node.inputs.is_empty() {
            return Ok(NodeCheck::default());
        }
        let inputs = model.node_input_facts(node.id)?;
        let is_number = |datum_type: DatumType| datum_type.is_integer() || datum_type.is_tdim();
        let takes_numbers = inputs
            .iter()
            .any(|fact| fact.konst.is_none() && is_number(fact.datum_type));
        let is_sized = |output: &Outlet<TypedFact>| output.fact.shape.as_concrete().is_some();
        let is_string = |output: &Outlet<TypedFact>| output.fact.datum_type == DatumType::String;
        let kind = if !node.outputs.iter().all(is_sized) || node.outputs.iter().any(is_string) {
            Kind::Size
        } else if !takes_numbers {
            Kind::Nothing
        } else if node.op_is::<Gather>() || node.op_is::<GatherNd>() {
            Kind::Indices
        } else if divides(node) && is_number(inputs[0].datum_type) {
            Kind::Divisor
        } else {
            Kind::Nothing
        };
        Ok(NodeCheck {
            kind,
            takes_numbers,
        })
    }
}

/// Returns the name of an operator on two tensors that are broadcast together.
fn binary_operator(node: &TypedNode) -> Option<&'static str> {
    if let Some(TypedBinOp(operator, _)) = node.op_as::<TypedBinOp>() {
        Some(operator.name())
    } else if let Some(operator) = node.op_as::<OptBinByScalar>() {
        Some(operator.binop.name())
    } else {
        let operator = node.op_as::<OptBinUnicast>()?;
        Some(operator.binop.name())
    }
}

/// Returns whether the operator divides its first input by its second.
fn divides(node: &TypedNode) -> bool {
    matches!(binary_operator(node), Some("Div" | "Rem"))
}

/// Refuses a model with sizes in which operands cannot be broadcast together. tract takes an axis of size 0
/// for one that fits any other, and some operators then read beyond the end of an operand.
pub(super) fn check_broadcasts(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        if binary_operator(node).is_some() {
            check_broadcast(node, &model.node_input_facts(node.id)?)?;
        }
    }
    Ok(())
}

fn check_broadcast(node: &TypedNode, inputs: &[&TypedFact]) -> TractResult<()> {
    let sizes = |position: usize| inputs.get(position)?.shape.as_concrete();
    if let (Some(a), Some(b)) = (sizes(0), sizes(1))
        && a.iter()
            .rev()
            .zip(b.iter().rev())
            .any(|(&a, &b)| a != b && a != 1 && b != 1)
    {
        bail!(
            "the operands of `{}` cannot be broadcast: {a:?} and {b:?}",
            node.name
        );
    }
    Ok(())
}

/// Refuses inner graphs with sizes that follow from values, since their operators are
/// not checked while they compute.
pub(super) fn check_bodies(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        let Some(scan) = node.op_as::<OptScan>() else {
            continue;
        };
        let body = scan.plan.model();
        for inner in body.nodes() {
            let grows = inner.op_is::<Range>() || inner.op_is::<Topk>() || inner.op_is::<DynTile>();
            let is_sized = |outlet: usize| inner.outputs[outlet].fact.shape.as_concrete().is_some();
            ensure!(
                !grows || (0..inner.outputs.len()).all(is_sized),
                "`{}` in a graph inside the graph makes a size of a value",
                inner.name
            );
        }
        check_bodies(body)?;
    }
    Ok(())
}

/// Refuses indices that are not within the axis.
pub(super) fn check_indices(node: &TypedNode, inputs: &[TValue]) -> TractResult<()> {
    let (data, indices) = (&inputs[0], &inputs[1]);
    if indices.datum_type() != DatumType::I64 {
        return Ok(());
    }
    // tract truncates the indices of GatherNd to 32 bits.
    let (least, end) = match node.op_as::<Gather>() {
        Some(gather) => {
            let size = i64::try_from(data.shape()[gather.axis]).unwrap_or(i64::MAX);
            (-size, size)
        }
        None => (0, i64::from(i32::MAX)),
    };
    let indices = indices.try_as_plain_ram()?;
    let indices = indices.as_slice::<i64>()?;
    match indices.iter().find(|&&index| index < least || index >= end) {
        None => Ok(()),
        Some(index) => Err(RefusedValue::new(format!(
            "an index is out of range: {index} is not within an axis of {end} elements"
        ))
        .into()),
    }
}

/// Refuses a divisor with a zero.
pub(super) fn check_divisor(divisor: &TValue) -> TractResult<()> {
    // In every integer type, the bytes of zero are zero.
    let size = divisor.datum_type().size_of();
    let plain = divisor.is_plain_ram() && divisor.datum_type() != DatumType::TDim;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    if plain && size > 0 && divisor.as_bytes().chunks_exact(size).any(is_zero) {
        return Err(RefusedValue::new("an integer is divided by zero").into());
    }
    Ok(())
}
