//! `GlobalLpPool`: the norm of each channel.
//!
//! tract divides the sum of the powers by the number of elements, and takes no absolute values. The shapes are
//! those of tract's operator.

use super::draft::build_theirs;
use super::replacement::Built;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{SpecialOps, TVec, TractResult, TypedModel, tensor0, tvec};
use tract_onnx::tract_core::internal::{OutletId, StaticName, bail};
use tract_onnx::tract_core::ops::{math, nn};
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};
use tract_onnx::tract_hir::ops::nn::Reducer;

/// The exponent of a node without one.
const EUCLIDEAN: i64 = 2;

/// The operator.
#[derive(Debug, Clone)]
struct GlobalNorm {
    theirs: Box<dyn Expansion>,
    /// The exponent, at least 1.
    p: u32,
}

/// Registers the operator of this module.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("GlobalLpPool", build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let (theirs, closures) = build_theirs(context, node)?;
    let p: i64 = node.get_attr_opt("p")?.unwrap_or(EUCLIDEAN);
    match u32::try_from(p) {
        Ok(p) if p > 0 => Ok((expand(GlobalNorm { theirs, p }), closures)),
        _ => bail!("attribute `p` of GlobalLpPool is {p}, but has to be positive"),
    }
}

impl Expansion for GlobalNorm {
    fn name(&self) -> StaticName {
        "GlobalLpPool".into()
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
        let Some(&input) = inputs.first() else {
            bail!("GlobalLpPool needs an input");
        };
        let rank = model.outlet_fact(input)?.rank();
        let axes: TVec<usize> = (2..rank).collect();
        let norm = match self.p {
            1 => Reducer::L1.wire(axes, prefix, model, input)?,
            2 => Reducer::L2.wire(axes, prefix, model, input)?,
            _ => self.wire_root(prefix, model, (input, axes))?,
        };
        Ok(tvec!(norm))
    }
}

impl GlobalNorm {
    /// Adds the root of the sum of the powers.
    fn wire_root(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        (input, axes): (OutletId, TVec<usize>),
    ) -> TractResult<OutletId> {
        let fact = model.outlet_fact(input)?.clone();
        let exponent = f64::from(self.p);
        let [exponent, root] = [exponent, exponent.recip()].map(tensor0);
        let exponent = exponent.cast_to_dt(fact.datum_type)?.into_owned();
        let exponent = exponent.broadcast_into_rank(fact.rank())?;
        let exponent = model.add_const(format!("{prefix}.exponent"), exponent)?;
        let root = root.cast_to_dt(fact.datum_type)?.into_owned();
        let root = root.broadcast_into_rank(fact.rank())?;
        let root = model.add_const(format!("{prefix}.root_exponent"), root)?;
        let absolute = model.wire_node(format!("{prefix}.absolute"), math::abs(), &[input])?[0];
        let power = format!("{prefix}.power");
        let power = model.wire_node(power, math::pow(), &[absolute, exponent])?[0];
        let sum = nn::Reduce::new(axes, nn::Reducer::Sum);
        let sum = model.wire_node(format!("{prefix}.sum"), sum, &[power])?[0];
        Ok(model.wire_node(format!("{prefix}.root"), math::pow(), &[sum, root])?[0])
    }
}
