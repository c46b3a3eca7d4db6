//! The axes whose sizes depend on the request, and the values of the symbols of a model for given sizes.

use tract_onnx::prelude::{Symbol, SymbolValues, TDim, ToDim};
use tract_onnx::tract_core::internal::solve_for;
use wisp_tensor::Signature;

/// An axis of an input whose size the file does not fix.
#[derive(Debug)]
pub(super) struct VariableAxis {
    pub(super) input: usize,
    pub(super) axis: usize,
    /// A symbol, or an expression in symbols of other axes.
    pub(super) dimension: TDim,
}

/// Returns the values of the symbols for these sizes of `axes`, or the reason that there are none.
pub(super) fn bind(
    axes: &[VariableAxis],
    signature: &Signature,
    sizes: &[u32],
) -> Result<SymbolValues, String> {
    let mut values = SymbolValues::default();
    // Plain symbols first, so that expressions use known values in any order of inputs.
    let (symbols, expressions): (Vec<_>, Vec<_>) = axes
        .iter()
        .zip(sizes)
        .partition(|(axis, _)| matches!(axis.dimension, TDim::Sym(_)));
    for (axis, &size) in symbols.into_iter().chain(expressions) {
        let known = axis.dimension.eval(&values);
        if let Some(expected) = known.as_i64() {
            if expected != i64::from(size) {
                return Err(format!(
                    "axis {} of `{}` is {size}, but `{}` is {expected} in this request",
                    axis.axis, signature.inputs[axis.input].name, axis.dimension
                ));
            }
            continue;
        }
        let open: Vec<Symbol> = known.symbols().into_iter().collect();
        let solution = match open.as_slice() {
            [symbol] => solve_for(symbol, &known, &i64::from(size).to_dim())
                .and_then(|value| value.as_i64())
                .map(|value| (symbol, value)),
            _ => None,
        };
        match solution {
            Some((symbol, value)) if value >= 0 => values.set(symbol, value),
            _ => {
                return Err(format!(
                    "axis {} of `{}` is {size}, which `{}` cannot be",
                    axis.axis, signature.inputs[axis.input].name, axis.dimension
                ));
            }
        }
    }
    Ok(values)
}
