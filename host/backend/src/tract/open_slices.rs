//! Slices of axes whose sizes were open when tract typed them.
//!
//! tract limits the bounds of a slice to the axis only if its size is known. With a symbol, `x[1:4]` has three
//! elements whatever the size; for an axis of three, the node cannot be computed, and in a branch of `If` it
//! would be computed wrongly.

use super::conditional::Conditional;
use std::collections::HashMap;
use tract_onnx::prelude::{Symbol, TDim, TractResult, TypedModel};
use tract_onnx::tract_core::internal::{TypedNode, ensure};
use tract_onnx::tract_core::ops::array::Slice;
use tract_onnx::tract_core::ops::scan::Scan;

/// The bounds of a slice and the size of its axis; `None` for those that are open.
struct Bounds {
    start: Option<i64>,
    end: Option<i64>,
    size: Option<i64>,
}

/// Returns whether the model, or an inner one, has a slice with an open bound or size.
pub(super) fn has_open_slice(model: &TypedModel) -> bool {
    model.nodes().iter().any(|node| {
        let is_open = matches!(
            bounds(model, node),
            Ok(Some(bounds)) if bounds.start.is_none() || bounds.end.is_none() || bounds.size.is_none()
        );
        is_open
            || match (node.op_as::<Conditional>(), node.op_as::<Scan>()) {
                (Some(Conditional(branches)), _) => {
                    has_open_slice(&branches.then_body) || has_open_slice(&branches.else_body)
                }
                (None, Some(scan)) => has_open_slice(&scan.body),
                (None, None) => false,
            }
    })
}

/// Checks that all slices are within their axes, in a model with these values of its symbols and in inner ones.
pub(super) fn check_slices(model: &TypedModel, sizes: &HashMap<Symbol, TDim>) -> TractResult<()> {
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
                check_slices(&body.set_symbols(sizes)?, sizes)?;
            }
        } else if let Some(scan) = node.op_as::<Scan>() {
            check_slices(&scan.body, sizes)?;
        }
    }
    Ok(())
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
