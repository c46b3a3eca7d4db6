//! Layers of neural networks: convolutions, products of matrices, attention and recurrent layers.

use super::super::known::{Known, size_of};
use super::super::operands::Operands;
use super::super::operator::Kind;
use super::super::refusal::Refusal;
use super::super::symbols::Symbols;
use super::rules::{broadcast, by};
use rten_shape_inference::{SymExpr, ops};

/// The maximum number of operands of an `Einsum`, whose expressions grow with it.
const MAX_EINSUM_INPUTS: usize = 16;

/// The positions of a kernel along the one or two axes of an image.
struct Window {
    dilations: Vec<usize>,
    strides: Vec<usize>,
    /// The padding, first before each axis, then after; `None` if the image keeps its size.
    pads: Option<Vec<usize>>,
}

impl Window {
    fn of(operands: Operands<'_>) -> Result<Window, Refusal> {
        let axes = match operands.input(0)?.rank() {
            3 => 1,
            4 => 2,
            rank => {
                return Err(Refusal::invalid(format!(
                    "its input has {rank} axes; rten computes images of one or two axes"
                )));
            }
        };
        let list = |name: &str| {
            let list = operands.counts(name)?.unwrap_or_else(|| vec![1; axes]);
            match list.len() == axes && !list.contains(&0) {
                true => Ok(list),
                false => Err(Refusal::invalid(format!("attribute `{name}` does not fit"))),
            }
        };
        let pads = match operands.text("auto_pad") {
            "SAME_UPPER" | "SAME_LOWER" => None,
            _ => Some(
                operands
                    .counts("pads")?
                    .unwrap_or_else(|| vec![0; 2 * axes]),
            ),
        };
        Ok(Window {
            dilations: list("dilations")?,
            strides: list("strides")?,
            pads,
        })
    }

    fn padding(&self) -> ops::Padding<'_> {
        match &self.pads {
            Some(pads) => ops::Padding::Fixed(pads),
            None => ops::Padding::Same,
        }
    }
}

pub(super) fn conv(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Vec<Known>, Refusal> {
    let window = Window::of(operands)?;
    let rule = ops::Conv {
        dilations: &window.dilations,
        padding: window.padding(),
        strides: &window.strides,
    };
    by(&rule, operands, symbols)
}

pub(super) fn conv_transpose(
    operands: Operands<'_>,
    symbols: &mut Symbols,
) -> Result<Vec<Known>, Refusal> {
    let window = Window::of(operands)?;
    let groups = operands.count("group")?.unwrap_or(1);
    let output_padding = operands.counts("output_padding")?;
    let rule = ops::ConvTranspose {
        groups: usize::try_from(groups).unwrap_or(0),
        padding: window.padding(),
        strides: &window.strides,
        dilations: &window.dilations,
        output_padding: output_padding.as_deref(),
    };
    by(&rule, operands, symbols)
}

pub(super) fn pool(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Vec<Known>, Refusal> {
    let window = Window::of(operands)?;
    let kernel_size = operands.counts("kernel_shape")?;
    let kernel_size =
        kernel_size.ok_or_else(|| Refusal::invalid("attribute `kernel_shape` is missing"))?;
    let rule = ops::Pool {
        dilations: &window.dilations,
        kernel_size: &kernel_size,
        padding: window.padding(),
        strides: &window.strides,
        ceil_mode: operands.flag("ceil_mode").unwrap_or(false),
    };
    by(&rule, operands, symbols)
}

/// Infers a product of matrices; vectors are rows on the left and columns on the right.
pub(super) fn mat_mul(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let (mut left, mut right) = (operands.input(0)?.sizes(), operands.input(1)?.sizes());
    let (is_row, is_column) = (left.len() == 1, right.len() == 1);
    if is_row {
        left.insert(0, SymExpr::Value(1));
    }
    if is_column {
        right.push(SymExpr::Value(1));
    }
    let ([left @ .., rows, _], [right @ .., _, columns]) = (left.as_slice(), right.as_slice())
    else {
        return Err(Refusal::invalid("a number is not a matrix"));
    };
    let mut sizes = broadcast(left.to_vec(), right.to_vec(), symbols)?;
    if !is_row {
        sizes.push(rows.clone());
    }
    if !is_column {
        sizes.push(columns.clone());
    }
    Ok(Known::of_sizes(symbols.settle_sizes(sizes)?))
}

pub(super) fn einsum(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Vec<Known>, Refusal> {
    if operands.inputs.len() > MAX_EINSUM_INPUTS {
        return Err(Refusal::invalid(format!(
            "it has more than {MAX_EINSUM_INPUTS} inputs"
        )));
    }
    let equation = operands.text("equation");
    by(&ops::Einsum { equation }, operands, symbols)
}

pub(super) fn attention(
    operands: Operands<'_>,
    symbols: &mut Symbols,
) -> Result<Vec<Known>, Refusal> {
    let required = |name: &str| {
        let count = operands.count(name)?;
        count.ok_or_else(|| Refusal::invalid(format!("attribute `{name}` is missing")))
    };
    match operands.step.kind {
        Kind::MultiHeadAttention => {
            let num_heads = required("num_heads")?;
            // The rule of the crate takes keys and values of other ranks for these.
            let is_plain = |position: usize| {
                let known = operands.optional(position);
                known.is_none_or(|known| known.rank() == 3)
            };
            if !is_plain(1) || !is_plain(2) {
                return Err(Refusal::invalid("keys and values must have three axes"));
            }
            by(&ops::MultiHeadAttention { num_heads }, operands, symbols)
        }
        Kind::GroupQueryAttention => {
            let rule = ops::GroupQueryAttention {
                num_heads: required("num_heads")?,
                kv_num_heads: required("kv_num_heads")?,
            };
            by(&rule, operands, symbols)
        }
        _ => {
            let rule = ops::Attention {
                q_num_heads: operands.count("q_num_heads")?,
                kv_num_heads: operands.count("kv_num_heads")?,
            };
            by(&rule, operands, symbols)
        }
    }
}

pub(super) fn recurrent(
    operands: Operands<'_>,
    symbols: &mut Symbols,
) -> Result<Vec<Known>, Refusal> {
    let direction = match operands.text("direction") {
        "bidirectional" => ops::Direction::Bidirectional,
        _ => ops::Direction::Unidirectional,
    };
    match operands.step.kind {
        Kind::Gru => by(&ops::GRU { direction }, operands, symbols),
        _ => by(&ops::LSTM { direction }, operands, symbols),
    }
}

/// Infers `DynamicQuantizeLSTM`, whose weights are transposed.
pub(super) fn quantized_lstm(operands: Operands<'_>) -> Result<Vec<Known>, Refusal> {
    let (input, weights) = (operands.input(0)?.sizes(), operands.input(2)?.sizes());
    let ([positions, batch, _], [_, hidden, _]) = (input.as_slice(), weights.as_slice()) else {
        return Err(Refusal::invalid(
            "its input and weights must have three axes",
        ));
    };
    let directions = match operands.text("direction") {
        "bidirectional" => 2,
        _ => 1,
    };
    let directions = size_of(directions).ok_or_else(Refusal::too_large)?;
    let state = vec![directions.clone(), batch.clone(), hidden.clone()];
    let sequence = vec![positions.clone(), directions, batch.clone(), hidden.clone()];
    let outputs = [sequence, state.clone(), state];
    Ok(outputs.map(Known::of_sizes).into())
}
