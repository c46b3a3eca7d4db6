//! An estimate of the cost of computing a plan, before it is built. A small file, or a request whose
//! sizes multiply, can need more memory and time than any machine has.
//!
//! Weights are not counted, since they are as large as the file.

use tract_onnx::prelude::{TractResult, TypedModel, TypedNode};
use tract_onnx::tract_core::internal::ensure;
use tract_onnx::tract_core::ops::Cost;
use tract_onnx::tract_core::ops::konst::Const;

/// The maximum number of multiplications: minutes on a core, beyond every deadline.
const MAX_MULTIPLICATIONS: u64 = 10_000_000_000_000;

/// Returns the peak number of bytes of values. Refuses a model of concrete sizes that takes more than
/// `max_bytes` or too many multiplications.
pub(super) fn check_plan_cost(model: &TypedModel, max_bytes: u64) -> TractResult<u64> {
    let order = model.eval_order()?;
    // The number of remaining readers of each node's outputs.
    let mut readers = vec![0usize; model.nodes().len()];
    for &id in &order {
        for input in &model.node(id).inputs {
            readers[input.node] += 1;
        }
    }
    for output in model.output_outlets()? {
        readers[output.node] += 1;
    }
    let (mut live, mut most) = (0u64, 0u64);
    let mut multiplications = 0u64;
    for id in order {
        let node = model.node(id);
        live = live.saturating_add(value_bytes(node));
        ensure!(
            live <= max_bytes,
            "`{}` and the tensors in use with it would take too much memory with these sizes: {live} \
             bytes",
            node.name
        );
        most = most.max(live);
        for input in &node.inputs {
            readers[input.node] -= 1;
            if readers[input.node] == 0 {
                live = live.saturating_sub(value_bytes(model.node(input.node)));
            }
        }
        multiplications = multiplications.saturating_add(node_multiplications(model, node)?);
        ensure!(
            multiplications <= MAX_MULTIPLICATIONS,
            "`{}` would take too long with these sizes: {multiplications} multiplications until then",
            node.name
        );
    }
    Ok(most)
}

fn value_bytes(node: &TypedNode) -> u64 {
    if node.op_is::<Const>() {
        return 0;
    }
    let bytes = node.outputs.iter().filter_map(|output| {
        let size = u64::try_from(output.fact.datum_type.size_of()).ok()?;
        let mut shape = output.fact.shape.as_concrete()?.iter();
        shape.try_fold(size, |bytes, &size| {
            bytes.checked_mul(u64::try_from(size).ok()?)
        })
    });
    bytes.fold(0, u64::saturating_add)
}

/// Returns the number of multiplications that tract reports for an operator, or 0 if it reports none.
fn node_multiplications(model: &TypedModel, node: &TypedNode) -> TractResult<u64> {
    let inputs = model.node_input_facts(node.id)?;
    let Ok(costs) = node.op.cost(&inputs) else {
        return Ok(0);
    };
    let multiplications = costs.iter().filter_map(|(cost, count)| match cost {
        Cost::FMA(_) => u64::try_from(count.as_i64()?).ok(),
        _ => None,
    });
    Ok(multiplications.fold(0, u64::saturating_add))
}
