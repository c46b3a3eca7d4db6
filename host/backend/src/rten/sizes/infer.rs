//! The sizes of a node's outputs, from the sizes of its inputs.
//!
//! Most rules come from the crate `rten-shape-inference`, which rten itself uses while it loads a model.
//! Some are written here, because the crate treats floats as integers, may allocate any size that it is given,
//! or follows no elements. A size that an operator finds in its data has a bound wherever there is one: all
//! elements for `NonZero`, all boxes for `NonMaxSuppression`, and the whole axis for `TopK` and `Slice`.
//! Sizes computed from it are bounds as well.

mod arithmetic;
mod layout;
mod network;
mod part;
mod rules;
mod selection;

use self::rules::by;
use super::known::Known;
use super::operands::Operands;
use super::operator::Kind;
use super::refusal::Refusal;
use super::symbols::Symbols;
use rten_shape_inference::ops;

/// Returns the outputs of a node. Outputs that rten does not compute are missing at the end.
pub(super) fn infer(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Vec<Known>, Refusal> {
    let outputs = match operands.step.kind {
        Kind::Attention | Kind::GroupQueryAttention | Kind::MultiHeadAttention => {
            return network::attention(operands, symbols);
        }
        Kind::Gru | Kind::Lstm => return network::recurrent(operands, symbols),
        Kind::QuantizedLstm => return network::quantized_lstm(operands),
        Kind::DynamicQuantizeLinear => return by(&ops::DynamicQuantizeLinear, operands, symbols),
        Kind::SkipNormalization => return by(&ops::SkipLayerNormalization, operands, symbols),
        Kind::Split => return part::split(operands, symbols),
        Kind::TopK => return selection::top_k(operands, symbols),
        // Their bodies are inferred by the caller.
        Kind::If | Kind::Loop => return Err(Refusal::Values),
        Kind::Same => Known::of_sizes(operands.input(0)?.sizes()),
        Kind::Identity => operands.input(0)?.clone(),
        Kind::Unary | Kind::Broadcast => arithmetic::elementwise(operands, symbols)?,
        Kind::Clip => arithmetic::clip(operands)?,
        Kind::Cast => arithmetic::cast(operands)?,
        Kind::CastLike => arithmetic::cast_like(operands)?,
        Kind::Reduce => arithmetic::reduce(operands, symbols)?,
        Kind::ArgReduce => arithmetic::arg_reduce(operands)?,
        Kind::Range => arithmetic::range(operands, symbols)?,
        Kind::Shape => {
            let (start, end) = (operands.integer("start")?, operands.integer("end")?);
            return by(&ops::Shape { start, end }, operands, symbols);
        }
        Kind::Size => return by(&ops::Size, operands, symbols),
        Kind::ConstantOfShape => layout::constant_of_shape(operands, symbols)?,
        Kind::Expand => layout::expand(operands, symbols)?,
        Kind::Flatten => layout::flatten(operands, symbols)?,
        Kind::Reshape => layout::reshape(operands, symbols)?,
        Kind::Squeeze => layout::squeeze(operands)?,
        Kind::Tile => layout::tile(operands, symbols)?,
        Kind::Transpose => layout::transpose(operands)?,
        Kind::Unsqueeze => layout::unsqueeze(operands)?,
        Kind::Concat => part::concat(operands, symbols)?,
        Kind::Gather => part::gather(operands, symbols)?,
        Kind::Pad => part::pad(operands, symbols)?,
        Kind::Slice => part::slice(operands, symbols)?,
        Kind::GatherElements => Known::of_sizes(operands.input(1)?.sizes()),
        Kind::GatherNd => {
            let batch_dims = operands.count("batch_dims")?.unwrap_or(0);
            let batch_dims = usize::try_from(batch_dims).unwrap_or(usize::MAX / 2);
            return by(&ops::GatherND { batch_dims }, operands, symbols);
        }
        Kind::NonMaxSuppression => selection::non_max_suppression(operands, symbols)?,
        Kind::NonZero => selection::non_zero(operands, symbols)?,
        Kind::OneHot => selection::one_hot(operands, symbols)?,
        Kind::Resize => selection::resize(operands, symbols)?,
        Kind::Upsample => selection::upsample(operands, symbols)?,
        Kind::Conv => return network::conv(operands, symbols),
        Kind::ConvTranspose => return network::conv_transpose(operands, symbols),
        Kind::Pool => return network::pool(operands, symbols),
        Kind::GlobalPool => return by(&ops::GlobalPool, operands, symbols),
        Kind::GridSample => return by(&ops::GridSample, operands, symbols),
        Kind::DepthToSpace => {
            let block_size = operands.count("blocksize")?.unwrap_or(0);
            return by(&ops::DepthToSpace { block_size }, operands, symbols);
        }
        Kind::MatMul => network::mat_mul(operands, symbols)?,
        Kind::MatMulNBits => return by(&ops::MatMulNBits, operands, symbols),
        Kind::Gemm => {
            let rule = ops::Gemm {
                transpose_a: operands.flag("transA").unwrap_or(false),
                transpose_b: operands.flag("transB").unwrap_or(false),
            };
            return by(&rule, operands, symbols);
        }
        Kind::Einsum => return network::einsum(operands, symbols),
    };
    Ok(vec![outputs])
}
