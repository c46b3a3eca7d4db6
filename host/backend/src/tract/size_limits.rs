//! Limits on the sizes of values, in models and in their plans.
//!
//! The sizes that follow from the constants of a model are checked before anything is computed. A file of
//! a few bytes can request a tensor of terabytes, and tract computes all constants while it loads.
//!
//! Sizes are inferred node by node, and a node is computed only once its output is known to be small
//! enough. Only the outputs of inner graphs are checked.
//!
//! A constant that becomes a size may have at most 32 bits, since tract silently truncates larger ones.

use tract_onnx::prelude::{
    DatumType, InferenceFact, InferenceModel, TVec, TractResult, TypedModel,
};
use tract_onnx::tract_core::internal::{OutletId, bail, ensure};
use tract_onnx::tract_hir::infer::InferenceNode;
use tract_onnx::tract_hir::internal::Factoid;
use wisp_tensor::shape::MAX_RANK;

/// The maximum size of a single value in a plan, in bytes, if there is memory for more. A larger value comes from a
/// request whose sizes multiply (attention over a million tokens), and a failed allocation would end the process.
pub(super) const MAX_VALUE_BYTES: i64 = 4 << 30;

/// The maximum size of all values of one computation together, in bytes, if there is memory for more.
pub(super) const MAX_LIVE_BYTES: u64 = 8 << 30;

/// The maximum size in bytes of a tensor that is computed while loading. Real models
/// compute shapes and small tables.
pub(super) const MAX_CONSTANT_BYTES: i64 = 1 << 30;

/// The maximum size in bytes of a tensor that is computed while a model is typed with the sizes of a request.
/// It follows from the sizes alone, such as a mask over pairs of 4000 tokens.
pub(super) const MAX_REQUEST_CONSTANT_BYTES: i64 = 64 << 20;

/// The operators whose constants become sizes, by tract's names. Slices are exempt, since they use the
/// largest numbers for the end.
const TAKE_SIZES: [&str; 4] = ["ConstantOfShape", "MultiBroadcastTo", "Reshape", "Tile"];

/// Refuses a model with a value too large for any machine, or with a constant of more than
/// `max_constant_bytes`. The error names the value.
pub(super) fn check_size_limits(
    model: &mut InferenceModel,
    max_constant_bytes: i64,
) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let copied = |outlets: &[OutletId]| {
            let facts = outlets.iter().map(|&outlet| model.outlet_fact(outlet));
            facts
                .map(|fact| fact.cloned())
                .collect::<TractResult<TVec<InferenceFact>>>()
        };
        let inputs = copied(&node.inputs)?;
        let outputs: TVec<_> = node
            .outputs
            .iter()
            .map(|output| output.fact.clone())
            .collect();
        let observed = copied(&node.op.observe_outlets(model, node)?)?;
        check_numbers(node, &inputs)?;
        let mut operator = node.op.clone();
        // Failures of the inference are reported by the analysis of the model, which comes next.
        let inferred = operator.infer_facts(
            inputs.iter().collect(),
            outputs.iter().collect(),
            observed.iter().collect(),
        );
        let Ok((_, sized, _)) = inferred else {
            continue;
        };
        // A node without inputs is an initializer or random.
        let constant = !inputs.is_empty() && inputs.iter().all(|input| input.value.is_concrete());
        let limit = match constant {
            true => max_constant_bytes,
            false => MAX_VALUE_BYTES,
        };
        for fact in &sized {
            check_fact(&node.name, fact, limit)?;
        }
        let computed = operator.infer(
            inputs.iter().collect(),
            outputs.iter().collect(),
            observed.iter().collect(),
        );
        let Ok((_, computed, _)) = computed else {
            continue;
        };
        for (slot, (fact, known)) in computed.iter().zip(&outputs).enumerate() {
            if let Ok(fact) = fact.unify(known) {
                model.set_outlet_fact(OutletId::new(id, slot), fact)?;
            }
        }
    }
    Ok(())
}

fn check_numbers(node: &InferenceNode, inputs: &[InferenceFact]) -> TractResult<()> {
    let operator = node.op.name();
    let is_size = |input: &InferenceFact| input.datum_type.concretize() == Some(DatumType::TDim);
    let takes_sizes = TAKE_SIZES.contains(&&*operator) || inputs.iter().any(is_size);
    if !takes_sizes || operator.contains("Slice") {
        return Ok(());
    }
    for value in inputs.iter().filter_map(|input| input.value.concretize()) {
        if value.datum_type() != DatumType::I64 {
            continue;
        }
        let numbers = value.to_plain_array_view::<i64>()?;
        ensure!(
            numbers.iter().all(|&number| i32::try_from(number).is_ok()),
            "`{}` computes sizes with a number beyond 32 bits",
            node.name
        );
    }
    Ok(())
}

fn check_fact(name: &str, fact: &InferenceFact, limit: i64) -> TractResult<()> {
    if let Some(rank) = fact.shape.rank().concretize() {
        ensure!(
            usize::try_from(rank).is_ok_and(|rank| rank <= MAX_RANK),
            "`{name}` has {rank} axes, the limit is {MAX_RANK}"
        );
    }
    let Ok(shape) = fact.shape.as_concrete_finite() else {
        bail!("`{name}` has an invalid size: {:?}", fact.shape);
    };
    let Some(shape) = shape else {
        return Ok(());
    };
    let size = fact
        .datum_type
        .concretize()
        .map_or(1, |datum_type| datum_type.size_of());
    let bytes = shape
        .iter()
        .try_fold(size, |product, &size| product.checked_mul(size))
        .and_then(|bytes| i64::try_from(bytes).ok());
    ensure!(
        bytes.is_some_and(|bytes| bytes <= limit),
        "`{name}` would take too much memory: {shape:?}"
    );
    Ok(())
}

/// Checks that no value of known shape in the model takes more than `max_bytes`.
pub(super) fn check_value_sizes(model: &TypedModel, max_bytes: i64) -> TractResult<()> {
    for node in model.nodes() {
        for output in &node.outputs {
            let Some(shape) = output.fact.shape.as_concrete() else {
                continue;
            };
            let bytes = shape
                .iter()
                .try_fold(output.fact.datum_type.size_of(), |product, &size| {
                    product.checked_mul(size)
                })
                .and_then(|bytes| i64::try_from(bytes).ok());
            ensure!(
                bytes.is_some_and(|bytes| bytes <= max_bytes),
                "`{}` would take too much memory with these sizes: {shape:?}",
                node.name
            );
        }
    }
    Ok(())
}
