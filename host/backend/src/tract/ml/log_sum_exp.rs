//! `ReduceLogSumExp`, shifted by the maximum. tract's own operator overflows on large scores and
//! underflows to negative infinity on small ones, which occur in naive Bayes.

use super::operator::{Built, elements};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::{
    DatumType, SpecialOps, TVec, Tensor, TractResult, TypedModel, f16, tensor0, tvec,
};
use tract_onnx::tract_core::internal::{OutletId, StaticName, ensure};
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};
use tract_onnx::tract_hir::ops::nn::{Reduce, Reducer};

#[derive(Debug, Clone)]
struct LogSumExp {
    /// The operator of tract, which is used for its shape rules.
    reduce: Reduce,
}

pub(super) fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let axes = match context.onnx_operator_set_version {
        ..18 => node.get_attr_opt_vec::<i64>("axes")?,
        _ => match node.input.get(1).filter(|name| !name.is_empty()) {
            Some(name) => Some(constant(context, node, name)?),
            None => None,
        },
    };
    let nothing_means_none = node.get_attr_opt::<i64>("noop_with_empty_axes")? == Some(1);
    let axes = match axes.filter(|axes| !axes.is_empty()) {
        None if nothing_means_none => Some(vec![]),
        axes => axes,
    };
    let keep = node.get_attr_opt::<i64>("keepdims")?.unwrap_or(1) == 1;
    let reduce = Reduce::new(axes, keep, Reducer::LogSumExp);
    Ok((expand(LogSumExp { reduce }), vec![]))
}

/// Returns the integers of a constant in the graph.
fn constant(context: &ParsingContext, node: &NodeProto, name: &str) -> TractResult<Vec<i64>> {
    let graphs = context.parent_graphs.iter().rev();
    let stored = |tensor: &&TensorProto| tensor.name == name;
    for graph in graphs {
        if let Some(tensor) = graph.initializer.iter().find(stored) {
            return ints(&context.load_tensor(tensor)?);
        }
        let maker = graph
            .node
            .iter()
            .find(|node| node.output.iter().any(|output| output == name));
        match maker {
            Some(maker) if maker.op_type == "Constant" => {
                if let Some(tensor) = maker.get_attr_opt::<&TensorProto>("value")? {
                    return ints(&context.load_tensor(tensor)?);
                }
                return maker.get_attr_vec("value_ints");
            }
            Some(_) => break,
            None => {}
        }
    }
    node.bail("expected axes that are constant")
}

fn ints(tensor: &Tensor) -> TractResult<Vec<i64>> {
    Ok(elements::<i64>(&*tensor.cast_to::<i64>()?)?.to_vec())
}

impl Expansion for LogSumExp {
    fn name(&self) -> StaticName {
        "ReduceLogSumExp".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(!inputs.is_empty(), "ReduceLogSumExp needs an input");
        self.reduce.rules(solver, &inputs[..1], outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let input = inputs[0];
        let fact = model.outlet_fact(input)?.clone();
        let rank = fact.rank();
        ensure!(
            fact.datum_type.is_float(),
            "ReduceLogSumExp needs floating-point input"
        );
        let axes: TVec<usize> = (0..rank)
            .filter(|&axis| self.reduce.must_reduce(axis, rank))
            .collect();
        let highest = match fact.datum_type {
            DatumType::F16 => tensor0(f16::MAX),
            DatumType::F64 => tensor0(f64::MAX),
            _ => tensor0(f32::MAX),
        };
        let lowest = match fact.datum_type {
            DatumType::F16 => tensor0(f16::MIN),
            DatumType::F64 => tensor0(f64::MIN),
            _ => tensor0(f32::MIN),
        };
        let mut constant = |name: &str, value: Tensor| -> TractResult<OutletId> {
            let value = value.cast_to_dt(fact.datum_type)?.into_owned();
            model.add_const(format!("{prefix}.{name}"), value.broadcast_into_rank(rank)?)
        };
        let (lowest, highest) = (constant("lowest", lowest)?, constant("highest", highest)?);
        let mut wire =
            |name: &str, operator: Box<dyn tract_onnx::prelude::TypedOp>, inputs: &[OutletId]| {
                let outlets = model.wire_node(format!("{prefix}.{name}"), operator, inputs);
                outlets.map(|outlets| outlets[0])
            };
        let greatest = Box::new(nn::Reduce::new(axes.clone(), nn::Reducer::Max));
        let shift = wire("greatest", greatest, &[input])?;
        // An infinity minus itself would be NaN.
        let shift = wire("not_lowest", Box::new(math::max()), &[shift, lowest])?;
        let shift = wire("finite", Box::new(math::min()), &[shift, highest])?;
        let shifted = wire("shifted", Box::new(math::sub()), &[input, shift])?;
        let powers = wire("powers", Box::new(math::exp()), &[shifted])?;
        let sum = Box::new(nn::Reduce::new(axes.clone(), nn::Reducer::Sum));
        let sum = wire("sum", sum, &[powers])?;
        let log = wire("log", Box::new(math::ln()), &[sum])?;
        let mut output = wire("back", Box::new(math::add()), &[log, shift])?;
        if !self.reduce.keep_dims {
            for axis in axes.into_iter().rev() {
                let name = format!("without_axis_{axis}");
                output = wire(&name, Box::new(AxisOp::Rm(axis)), &[output])?;
            }
        }
        Ok(tvec![output])
    }
}
