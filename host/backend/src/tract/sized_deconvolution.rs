//! `ConvTranspose` with the attribute `output_shape`, from which the padding follows.
//!
//! tract takes the size from the attribute, but cuts everything at the end. ONNX cuts one half of the elements
//! at the start of an axis and one at its end, and the odd one at the start, except for SAME_UPPER. Everything
//! but the padding and the shape is tract's.

use super::draft::{Draft, build_theirs};
use super::replacement::{self, Built};
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{ShapeFact, SpecialOps, TVec, ToDim, TractResult, TypedModel, TypedOp};
use tract_onnx::tract_core::internal::{OutletId, StaticName, bail, ensure};
use tract_onnx::tract_core::ops::cnn::{Deconv, PaddingSpec};
use tract_onnx::tract_hir::internal::{
    Expansion, InferenceResult, IntoExp, Solver, TensorProxy, expand,
};

/// The attributes from which the padding does not follow here.
const PADDING: [&str; 3] = ["auto_pad", "output_shape", "pads"];

/// The operator.
#[derive(Debug, Clone)]
struct SizedDeconvolution {
    /// tract's operator without padding.
    theirs: Box<dyn Expansion>,
    /// The sizes of the axes after the channels.
    sizes: TVec<usize>,
    /// Set if an odd element is cut at the end.
    is_upper: bool,
    group: i64,
    has_bias: bool,
}

/// Registers the operator of this module.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("ConvTranspose", build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let sizes: TVec<usize> = node.get_attr_opt_tvec("output_shape")?.unwrap_or_default();
    if sizes.is_empty() {
        return replacement::theirs(context, node);
    }
    let mut unpadded = node.clone();
    let is_kept = |name: &str| !PADDING.contains(&name);
    (unpadded.attribute).retain(|attribute| is_kept(&attribute.name));
    let (theirs, closures) = build_theirs(context, &unpadded)?;
    let operator = SizedDeconvolution {
        theirs,
        sizes,
        is_upper: node.get_attr_opt::<&str>("auto_pad")? == Some("SAME_UPPER"),
        group: node.get_attr_opt("group")?.unwrap_or(1),
        has_bias: node.input.get(2).is_some_and(|name| !name.is_empty()),
    };
    Ok((expand(operator), closures))
}

impl Expansion for SizedDeconvolution {
    fn name(&self) -> StaticName {
        self.theirs.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let expected = if self.has_bias { 3 } else { 2 };
        ensure!(
            inputs.len() == expected && outputs.len() == 1,
            "ConvTranspose has another number of inputs or outputs"
        );
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[1].datum_type, &outputs[0].datum_type)?;
        let rank = i64::try_from(self.sizes.len())?.saturating_add(2);
        solver.equals(&inputs[0].rank, rank)?;
        solver.equals(&inputs[1].rank, rank)?;
        solver.equals(&outputs[0].rank, rank)?;
        solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        solver.equals(&inputs[0].shape[1], &inputs[1].shape[0])?;
        solver.equals(&outputs[0].shape[1], self.group * inputs[1].shape[1].bex())?;
        for (axis, size) in self.sizes.iter().enumerate() {
            solver.equals(&outputs[0].shape[axis + 2], size.to_dim())?;
        }
        if self.has_bias {
            solver.equals(&inputs[2].datum_type, &outputs[0].datum_type)?;
            solver.equals(&inputs[2].rank, 1)?;
            solver.equals(&inputs[2].shape[0], &outputs[0].shape[1])?;
        }
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let Some(&input) = inputs.first() else {
            bail!("ConvTranspose needs an input");
        };
        let shape = model.outlet_fact(input)?.shape.clone();
        let draft = Draft::of(&*self.theirs, prefix, model, inputs)?;
        let mut placed = inputs.to_vec();
        for node in draft.nodes() {
            let operator: Box<dyn TypedOp> = match node.op_as::<Deconv>() {
                Some(operator) => Box::new(self.padded(operator, &shape)?),
                None => node.op.clone(),
            };
            let inputs: TVec<OutletId> = node.inputs.iter().map(|i| placed[i.node]).collect();
            placed.push(model.wire_node(&node.name, operator, &inputs)?[0]);
        }
        let outputs = draft.outputs().iter();
        Ok(outputs.map(|output| placed[output.node]).collect())
    }
}

impl SizedDeconvolution {
    /// Returns the operator with the padding that leads to the sizes, for an input of this shape.
    fn padded(&self, operator: &Deconv, shape: &ShapeFact) -> TractResult<Deconv> {
        let spec = &operator.pool_spec;
        let rank = self.sizes.len();
        ensure!(
            spec.rank() == rank && operator.adjustments.len() == rank && shape.rank() == rank + 2,
            "attribute `output_shape` has another number of sizes than the kernel"
        );
        let (mut before, mut after) = (TVec::new(), TVec::new());
        let mut adjustments = TVec::new();
        for (axis, (size, &wanted)) in shape.iter().skip(2).zip(&self.sizes).enumerate() {
            let Some(size) = size.as_i64().and_then(|size| usize::try_from(size).ok()) else {
                bail!("ConvTranspose with `output_shape` needs an input of a known size");
            };
            let steps = (spec.stride(axis), operator.adjustments[axis]);
            let kernel = (spec.kernel_shape[axis], spec.dilation(axis));
            let Some(whole) = whole_size(size, steps, kernel) else {
                bail!("ConvTranspose is too large");
            };
            // A larger size is one that `output_padding` could lead to as well.
            let missing = wanted.saturating_sub(whole);
            ensure!(
                missing == 0 || missing < spec.stride(axis),
                "attribute `output_shape` of ConvTranspose has {wanted}, which is too large"
            );
            adjustments.push(operator.adjustments[axis].saturating_add(missing));
            let cut = whole.saturating_sub(wanted);
            let less = cut / 2;
            let more = cut - less;
            let (start, end) = if self.is_upper {
                (less, more)
            } else {
                (more, less)
            };
            before.push(start);
            after.push(end);
        }
        let mut padded = operator.clone();
        padded.pool_spec.padding = PaddingSpec::Explicit(before, after);
        padded.adjustments = adjustments;
        Ok(padded)
    }
}

/// Returns the size of an axis without padding, of an input with `size` elements.
fn whole_size(
    size: usize,
    (stride, adjustment): (usize, usize),
    (kernel, dilation): (usize, usize),
) -> Option<usize> {
    let steps = size.checked_sub(1)?.checked_mul(stride)?;
    let reach = kernel.checked_sub(1)?.checked_mul(dilation)?;
    let whole = steps.checked_add(reach)?.checked_add(1)?;
    whole.checked_add(adjustment)
}

#[cfg(test)]
mod tests {
    use super::whole_size;

    #[test]
    fn the_size_without_padding_is_that_of_the_specification() {
        assert_eq!(whole_size(4, (2, 0), (3, 1)), Some(9));
        assert_eq!(whole_size(5, (3, 1), (3, 2)), Some(18));
        assert_eq!(whole_size(0, (2, 0), (3, 1)), None);
        assert_eq!(whole_size(usize::MAX, (2, 0), (3, 1)), None);
    }
}
