//! The operator `Equal` on sizes that depend on the request.
//!
//! tract takes two expressions of symbols for different if they are written differently, so that a size is
//! never equal to 1 before it is known. Here, such a comparison is left open until the sizes decide it.

use tract_onnx::Onnx;
use tract_onnx::prelude::{Datum, DatumType, TDim, TValue, TVec, Tensor, TractResult};
use tract_onnx::tract_core::internal::{EvalContext, bail};
use tract_onnx::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_core::ops::logic::CompEq;
use tract_onnx::tract_core::tract_data::TooEarly;
use tract_onnx::tract_hir::ops::binary::BinIntoHir;

/// The comparison, which is tract's but for expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SymbolicEqual;

/// Registers the operator with `onnx`.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register
        .insert("Equal", |_, _| Ok((SymbolicEqual.into_hir(), vec![])));
}

impl BinMiniOp for SymbolicEqual {
    fn name(&self) -> &'static str {
        CompEq.name()
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        CompEq.result_datum_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        CompEq.eval_in_a(a, b)
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        CompEq.eval_out_of_place(c, a, b)
    }

    fn eval(&self, a: TValue, b: TValue, result_type: DatumType) -> TractResult<Tensor> {
        CompEq.eval(a, b, result_type)
    }

    fn eval_symbolic(
        &self,
        context: &EvalContext,
        inputs: TVec<TValue>,
    ) -> TractResult<Option<TVec<TValue>>> {
        if inputs
            .iter()
            .any(|input| input.datum_type() == TDim::datum_type())
        {
            let [a, b] = inputs.as_slice() else {
                bail!("Equal has {} operands", inputs.len());
            };
            let (a, b) = (sizes(context, a)?, sizes(context, b)?);
            // The broadcast determines the pairs of elements that are compared, so all of them have to be decided.
            let mut pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
            if let Some((a, b)) = pairs.find(|(a, b)| !is_decided(a, b)) {
                bail!(TooEarly::UndeterminedSymbol(format!("{a} = {b}")));
            }
        }
        CompEq.eval_symbolic(context, inputs)
    }

    fn uniform_tdim_comparison(&self, a: &TDim, b: &TDim) -> Option<TDim> {
        CompEq.uniform_tdim_comparison(a, b)
    }
}

/// Returns the elements of an operand, with the symbols that are known replaced.
fn sizes(context: &EvalContext, operand: &Tensor) -> TractResult<Vec<TDim>> {
    let operand = operand.cast_to::<TDim>()?;
    let plain = operand.try_as_plain_ram()?;
    let sizes = plain.as_slice::<TDim>()?.iter();
    Ok(sizes.map(|size| size.eval(context.symbols)).collect())
}

/// Returns whether two expressions are equal for all sizes or for none.
fn is_decided(a: &TDim, b: &TDim) -> bool {
    let difference = a.clone() - b;
    difference.as_i64().is_some()
        || (is_size(a) && is_negative(b))
        || (is_size(b) && is_negative(a))
        || difference.prove_strict_positive()
        || difference.prove_strict_negative()
}

fn is_negative(expression: &TDim) -> bool {
    expression.as_i64().is_some_and(|number| number < 0)
}

/// Returns whether an expression is at least zero, since symbols stand for sizes.
fn is_size(expression: &TDim) -> bool {
    match expression {
        TDim::Sym(_) => true,
        TDim::Val(number) => *number >= 0,
        TDim::Add(terms) | TDim::Mul(terms) => terms.iter().all(is_size),
        TDim::MulInt(factor, term) => *factor >= 0 && is_size(term),
        TDim::Div(term, _) => is_size(term),
        _ => false,
    }
}
