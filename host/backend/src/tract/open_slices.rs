//! Slices of axes whose sizes were open when tract typed them.
//!
//! tract limits the bounds of a slice to the axis only if its size is known. With a symbol, `x[1:4]` has three
//! elements whatever the size; for an axis of three, the node cannot be computed, and in a branch of `If` it
//! would be computed wrongly.

use super::conditional::Conditional;
use std::collections::HashMap;
use tract_onnx::prelude::{Symbol, TDim, TractResult, TypedModel};
use tract_onnx::tract_core::internal::{TypedNode, ensure};
use tract_onnx::tract_core::ops::array::{Slice, StridedSlice};
use tract_onnx::tract_core::ops::scan::Scan;

/// The bounds of a slice and the size of its axis; `None` for those that are open.
struct Bounds {
    start: Option<i64>,
    end: Option<i64>,
    size: Option<i64>,
}

/// The state of the slices of a model whose symbols have values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slices {
    /// All known ones are within their axes.
    Within,
    /// A branch of `If` has one whose bounds come from outside of the branch, where tract does not see them.
    Open,
}

/// Returns whether the model has a slice with an open bound or size, or may have one in a branch of `If`.
pub(super) fn has_open_slice(model: &TypedModel) -> bool {
    model.nodes().iter().any(|node| {
        if let Some(Conditional(branches)) = node.op_as::<Conditional>() {
            let mut bodies = [&branches.then_body, &branches.else_body].into_iter();
            return bodies.any(|body| has_strided_slice(body) || has_open_slice(body));
        }
        if let Some(scan) = node.op_as::<Scan>() {
            return has_open_slice(&scan.body);
        }
        let bounds = bounds(model, node).ok().flatten();
        bounds.is_some_and(|b| b.start.is_none() || b.end.is_none() || b.size.is_none())
    })
}

fn has_strided_slice(model: &TypedModel) -> bool {
    let mut nodes = model.nodes().iter();
    nodes.any(|node| node.op_is::<StridedSlice>())
}

/// Returns the state of the slices in a model with these values of its symbols and in inner ones. Fails if one of
/// them exceeds its axis.
pub(super) fn check_slices(
    model: &TypedModel,
    sizes: &HashMap<Symbol, TDim>,
) -> TractResult<Slices> {
    let mut state = Slices::Within;
    for node in model.nodes() {
        if let Some(Bounds {
            start: Some(start),
            end: Some(end),
            size: Some(size),
        }) = bounds(model, node)?
        {
            ensure!(
                (0..=end).contains(&start) && end <= size,
                "a slice from {start} to {end} of an axis of {size}"
            );
        }
        if let Some(Conditional(branches)) = node.op_as::<Conditional>() {
            for body in [&branches.then_body, &branches.else_body] {
                let inner = check_slices(&body.set_symbols(sizes)?, sizes)?;
                if inner == Slices::Open || has_strided_slice(body) {
                    state = Slices::Open;
                }
            }
        } else if let Some(scan) = node.op_as::<Scan>()
            && check_slices(&scan.body, sizes)? == Slices::Open
        {
            state = Slices::Open;
        }
    }
    Ok(state)
}

/// Returns the bounds of a node that is a slice.
fn bounds(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Bounds>> {
    let Some(slice) = node.op_as::<Slice>() else {
        return Ok(None);
    };
    let fact = model.outlet_fact(node.inputs[0])?;
    Ok(Some(Bounds {
        start: slice.start.as_i64(),
        end: slice.end.as_i64(),
        size: fact.shape.get(slice.axis).and_then(TDim::as_i64),
    }))
}
