//! The check that a model with a maximum batch size has a batch axis.
//!
//! In a configuration a `max_batch_size` above 0 means that every shape has one more axis in front, which clients add.

use wisp_tensor::signature::DimensionList;
use wisp_tensor::{Dimension, Signature, TensorSpec};

/// The error for a maximum batch size of a model that has an input or output without a batch axis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`max_batch_size` is {size}, and the first axis of {kind} `{name}` is fixed (its shape is {shape}): set \
     `max_batch_size` to 0, or make that axis variable"
)]
pub struct NoBatchAxis {
    size: u32,
    kind: &'static str,
    name: String,
    shape: String,
}

/// Checks that every required input and every output has a batch axis, if the maximum batch size is not 0. An axis
/// that is always 1 holds batches of one.
pub(super) fn check_batch_axis(signature: &Signature, size: u32) -> Result<(), NoBatchAxis> {
    if size == 0 {
        return Ok(());
    }
    let holds_one = |spec: &TensorSpec| spec.shape.first() == Some(&Dimension::Fixed(1));
    let holds_batches =
        |spec: &TensorSpec| spec.has_variable_first_axis() || (size == 1 && holds_one(spec));
    let required = signature.inputs.iter().filter(|spec| !spec.optional);
    let inputs = required.map(|spec| ("input", spec));
    let outputs = signature.outputs.iter().map(|spec| ("output", spec));
    match inputs.chain(outputs).find(|(_, spec)| !holds_batches(spec)) {
        None => Ok(()),
        Some((kind, spec)) => Err(NoBatchAxis {
            size,
            kind,
            name: spec.name.clone(),
            shape: DimensionList(&spec.shape).to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::ElementType;

    fn spec(name: &str, shape: &[Dimension], optional: bool) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Fp32,
            shape: shape.to_vec(),
            optional,
        }
    }

    fn refusal(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>, size: u32) -> Option<String> {
        let signature = Signature { inputs, outputs };
        let refused = check_batch_axis(&signature, size).err();
        refused.map(|error| error.to_string())
    }

    #[test]
    fn inputs_and_outputs_need_a_batch_axis_for_batches() {
        let batched = || spec("x", &[Dimension::Variable, Dimension::Fixed(2)], false);
        let fixed = |name| spec(name, &[Dimension::Fixed(4)], false);
        let optional = spec("threshold", &[Dimension::Fixed(1)], true);
        assert_eq!(refusal(vec![batched(), optional], vec![batched()], 8), None);
        assert_eq!(refusal(vec![fixed("x")], vec![fixed("y")], 0), None);
        assert_eq!(
            refusal(vec![fixed("x")], vec![batched()], 8).as_deref(),
            Some(
                "`max_batch_size` is 8, and the first axis of input `x` is fixed (its shape is [4]): set \
                 `max_batch_size` to 0, or make that axis variable"
            )
        );
        let scalar = refusal(vec![batched()], vec![spec("loss", &[], false)], 1);
        assert!(scalar.is_some_and(|text| text.contains("output `loss`")));
    }

    #[test]
    fn an_axis_of_one_holds_batches_of_one() {
        let one = || {
            vec![spec(
                "x",
                &[Dimension::Fixed(1), Dimension::Fixed(3)],
                false,
            )]
        };
        assert_eq!(refusal(one(), one(), 1), None);
        assert!(refusal(one(), one(), 2).is_some());
    }
}
