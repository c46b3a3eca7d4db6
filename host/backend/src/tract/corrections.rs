//! Replacements of operators in a typed model: those that tract rewrites wrongly, and those whose kernels on
//! the CPU are wrong or slow.
//!
//! A replacement has the inputs, the outputs and their types and shapes, so that it takes the place of the
//! operator in the graph. Operators that are wrong as tract reads them from the file are replaced when the file
//! is read instead ([`super::operators`]).

use super::branches::{Branch, Branches};
use super::cast::IntegerCast;
use super::conditional::Conditional;
use super::dequantize::Dequantize;
use super::extremum::Extremum;
use super::float_function::FloatFunction;
use super::pool_maximum::PoolMaximum;
use super::positions::{BoundedOneHot, SignedGather};
use super::quantize::Quantize;
use super::recurrent_cell::RecurrentCell;
use super::scatter_extremum::ScatterExtremum;
use super::softmax::ColumnSoftmax;
use super::zero_product::ZeroProduct;
use std::collections::HashMap;
use std::sync::Arc;
use tract_onnx::prelude::{
    IntoRunnable, Symbol, TDim, TractResult, TypedFact, TypedModel, TypedNode, TypedOp,
};
use tract_onnx::tract_core::ops::array::{GatherNd, OneHot, ScatterElements};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::MaxPool;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::gru_cell::GruEpilogue;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::logic::IfThenElse;
use tract_onnx::tract_core::ops::lstm_cell::LstmEpilogue;
use tract_onnx::tract_core::ops::nn::Softmax;
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;
use tract_onnx::tract_core::ops::scan::Scan;

type Replacement = Option<Box<dyn TypedOp>>;

/// Replaces operators that tract's rewrites of a model make wrong, in inner graphs too. Called before them.
pub(super) fn before_rewrites(model: &mut TypedModel) -> TractResult<()> {
    replace(model, rewritten_wrongly)
}

/// Replaces operators whose kernels are wrong or slow, in inner graphs too. Called before a model with these
/// values of its symbols is optimised for the CPU.
pub(super) fn before_optimization(
    model: &mut TypedModel,
    sizes: &HashMap<Symbol, TDim>,
) -> TractResult<()> {
    replace(model, computed_wrongly)?;
    plan_branches(model, sizes)
}

fn replace(
    model: &mut TypedModel,
    replacement: fn(&TypedModel, &TypedNode) -> TractResult<Replacement>,
) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        if let Some(operator) = replacement(model, model.node(id))? {
            model.node_mut(id).op = operator;
        }
        let node = model.node_mut(id);
        if let Some(scan) = node.op_as_mut::<Scan>() {
            replace(&mut scan.body, replacement)?;
        } else if let Some(Conditional(branches)) = node.op_as_mut::<Conditional>() {
            replace(&mut branches.then_body, replacement)?;
            replace(&mut branches.else_body, replacement)?;
            for output in &mut node.outputs {
                output.fact = output.fact.without_value();
            }
        }
    }
    Ok(())
}

fn rewritten_wrongly(model: &TypedModel, node: &TypedNode) -> TractResult<Replacement> {
    if let Some(dequantize) = node.op_as::<DequantizeLinearF32>() {
        return Ok(Some(Box::new(Dequantize(dequantize.clone()))));
    }
    if let Some(gather) = node.op_as::<GatherNd>() {
        return Ok(Some(Box::new(SignedGather(gather.clone()))));
    }
    if let Some(one_hot) = node.op_as::<OneHot>() {
        return Ok(Some(Box::new(BoundedOneHot(one_hot.clone()))));
    }
    // As NNEF archives have it. From ONNX files, it is read as a `Conditional`.
    if let Some(branches) = node.op_as::<IfThenElse>() {
        return Ok(Some(Box::new(Conditional(branches.clone()))));
    }
    let Some(operator) = node.op_as::<TypedBinOp>() else {
        return Ok(None);
    };
    let inputs = model.node_input_facts(node.id)?;
    Ok(boxed(ZeroProduct::replacing(operator, &inputs)))
}

fn computed_wrongly(model: &TypedModel, node: &TypedNode) -> TractResult<Replacement> {
    let Some(input) = node.inputs.first() else {
        return Ok(None);
    };
    let fact = model.outlet_fact(*input)?;
    let datum_type = fact.datum_type;
    Ok(if let Some(operator) = node.op_as::<TypedBinOp>() {
        boxed(Extremum::replacing(operator, datum_type))
    } else if let Some(ElementWiseOp(operator, None)) = node.op_as::<ElementWiseOp>() {
        let function = FloatFunction::replacing(&**operator, datum_type);
        match Quantize::replacing(&**operator, datum_type) {
            Some(quantize) => boxed(Some(ElementWiseOp(Box::new(quantize), None))),
            None => boxed(function.map(FloatFunction::operator)),
        }
    } else if let Some(cast) = node.op_as::<Cast>() {
        boxed(IntegerCast::replacing(cast, datum_type))
    } else if let Some(pool) = node.op_as::<MaxPool>() {
        boxed(PoolMaximum::replacing(pool, fact)?)
    } else if let Some(scatter) = node.op_as::<ScatterElements>() {
        boxed(ScatterExtremum::replacing(scatter, datum_type))
    } else if let Some(softmax) = node.op_as::<Softmax>() {
        boxed(ColumnSoftmax::replacing(softmax, fact))
    } else if let Some(cell) = node.op_as::<LstmEpilogue>() {
        boxed(Some(RecurrentCell::Lstm(cell.clone())))
    } else if let Some(cell) = node.op_as::<GruEpilogue>() {
        boxed(Some(RecurrentCell::Gru(cell.clone())))
    } else {
        None
    })
}

fn boxed(operator: Option<impl TypedOp>) -> Replacement {
    operator.map(|operator| Box::new(operator) as Box<dyn TypedOp>)
}

/// Makes plans of the branches of each `If`. One that tract cannot optimise stays as it is.
fn plan_branches(model: &mut TypedModel, sizes: &HashMap<Symbol, TDim>) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        let node = model.node(id);
        let Some(Conditional(branches)) = node.op_as::<Conditional>() else {
            continue;
        };
        let facts = model.node_input_facts(id)?;
        let then_branch = (&branches.then_body, &*branches.then_input_mapping);
        let else_branch = (&branches.else_body, &*branches.else_input_mapping);
        let planned = plan(then_branch, &facts, sizes)
            .and_then(|then_branch| Ok((then_branch, plan(else_branch, &facts, sizes)?)));
        let Ok((then_branch, else_branch)) = planned else {
            continue;
        };
        let outputs = node.outputs.iter().map(|output| output.fact.clone());
        let branches = Branches {
            then_branch,
            else_branch,
            outputs: outputs.collect(),
        };
        drop(facts);
        model.node_mut(id).op = Box::new(branches);
    }
    Ok(())
}

/// Returns the plan of a branch, with the constants among its inputs in it.
fn plan(
    (body, mapping): (&TypedModel, &[usize]),
    facts: &[&TypedFact],
    sizes: &HashMap<Symbol, TDim>,
) -> TractResult<Branch> {
    let mut body = body.set_symbols(sizes)?;
    let mut inputs = Vec::new();
    let sources = std::mem::take(&mut body.inputs);
    for (source, &position) in sources.into_iter().zip(mapping) {
        match &facts[position].konst {
            Some(constant) if constant.is_plain_ram() => {
                let node = body.node_mut(source.node);
                node.op = Box::new(Const::new(Arc::clone(constant))?);
                node.outputs[0].fact = TypedFact::try_from(Arc::clone(constant))?;
            }
            _ => {
                inputs.push(position);
                body.inputs.push(source);
            }
        }
    }
    plan_branches(&mut body, sizes)?;
    let plan = body.into_optimized()?.into_runnable()?;
    Ok(Branch { plan, inputs })
}
