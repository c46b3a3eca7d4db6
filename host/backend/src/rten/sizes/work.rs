//! The number of multiplications of a node, and the memory that it uses beside its outputs.

use super::known::Known;
use super::operands::Operands;
use super::operator::Kind;
use super::symbols::Symbols;
use rten_shape_inference::einsum_parser::{EinsumExpr, expand_ellipsis};
use std::collections::BTreeMap;

/// The maximum number of attention heads whose scores exist at a time: one for each thread of a pool.
const MAX_CONCURRENT_HEADS: u64 = 64;

/// The work of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) multiplications: u64,
    pub(super) scratch_elements: u64,
}

/// The sizes of a node's inputs and outputs.
struct Sizes<'a> {
    operands: Operands<'a>,
    outputs: &'a [Known],
    symbols: &'a Symbols,
}

impl Work {
    /// Returns the work of computing `outputs`.
    pub(super) fn of(operands: Operands<'_>, outputs: &[Known], symbols: &Symbols) -> Work {
        let sizes = Sizes {
            operands,
            outputs,
            symbols,
        };
        let (multiplications, scratch_elements) = match operands.step.kind {
            Kind::Conv => sizes.conv(),
            Kind::ConvTranspose => sizes.conv_transpose(),
            Kind::MatMul | Kind::MatMulNBits => (product(sizes.result(), sizes.last_axis(0)), 0),
            Kind::Gemm => {
                let is_transposed = operands.flag("transA").unwrap_or(false);
                let inner = sizes.axis(0, if is_transposed { 0 } else { 1 });
                (product(sizes.result(), inner), 0)
            }
            Kind::Einsum => sizes.einsum(),
            Kind::Gru | Kind::Lstm | Kind::QuantizedLstm => sizes.recurrent(),
            Kind::Attention | Kind::GroupQueryAttention | Kind::MultiHeadAttention => {
                sizes.attention()
            }
            Kind::Pool => {
                let kernel = operands.counts("kernel_shape").ok().flatten();
                let kernel = kernel.unwrap_or_default().into_iter().map(wide);
                (product(sizes.result(), kernel.fold(1, product)), 0)
            }
            // Each box is compared with those selected before it.
            Kind::NonMaxSuppression => {
                let boxes = product(sizes.axis(0, 0), sizes.axis(0, 1));
                (product(boxes, boxes), product(boxes, 16))
            }
            Kind::ArgReduce | Kind::GlobalPool | Kind::Reduce => (sizes.input(0), 0),
            Kind::TopK => (product(sizes.input(0), 16), product(sizes.input(0), 2)),
            // Their elements are collected in a growing list first.
            Kind::NonZero => (sizes.input(0), product(sizes.result(), 2)),
            Kind::Range => (sizes.result(), product(sizes.result(), 3)),
            _ => (sizes.results(), 0),
        };
        Work {
            multiplications,
            scratch_elements,
        }
    }
}

impl Sizes<'_> {
    fn input(&self, position: usize) -> u64 {
        let known = self.operands.optional(position);
        known.map_or(0, |known| self.symbols.volume(&known.sizes()))
    }

    fn result(&self) -> u64 {
        let known = self.outputs.first();
        known.map_or(0, |known| self.symbols.volume(&known.sizes()))
    }

    fn results(&self) -> u64 {
        let volumes = self.outputs.iter();
        let volumes = volumes.map(|known| self.symbols.volume(&known.sizes()));
        volumes.fold(0, u64::saturating_add)
    }

    /// Returns the size of an input along an axis, and 1 if it has fewer.
    fn axis(&self, position: usize, axis: usize) -> u64 {
        let known = self.operands.optional(position);
        let size = known.and_then(|known| known.tensor().size(axis));
        size.map_or(1, |size| self.symbols.most(&size))
    }

    fn last_axis(&self, position: usize) -> u64 {
        let rank = self.operands.optional(position).map_or(0, Known::rank);
        rank.checked_sub(1)
            .map_or(1, |axis| self.axis(position, axis))
    }

    fn conv(&self) -> (u64, u64) {
        let channels = self.axis(1, 0).max(1);
        let kernel = self.input(1) / channels;
        // The offsets of patches.
        let patches = self.result() / channels;
        (product(self.result(), kernel), product(patches, 4))
    }

    fn conv_transpose(&self) -> (u64, u64) {
        let channels = self.axis(1, 0).max(1);
        let kernel = self.input(1) / channels;
        let image = self.input(0) / product(self.axis(0, 0), self.axis(0, 1)).max(1);
        (product(self.input(0), kernel), product(kernel, image))
    }

    fn recurrent(&self) -> (u64, u64) {
        let sequences = product(self.axis(0, 0), self.axis(0, 1));
        let weights = self.input(1).saturating_add(self.input(2));
        let gates = match self.operands.step.kind {
            Kind::QuantizedLstm => self.axis(1, 2),
            _ => self.axis(1, 1),
        };
        let projected = product(product(sequences, self.axis(1, 0)), gates);
        (product(sequences, weights), projected)
    }

    fn attention(&self) -> (u64, u64) {
        // The second output has the keys: batch, heads, positions, and the size of a head.
        let keys = self.outputs.get(1).map(Known::sizes).unwrap_or_default();
        let [batch, _, positions, head] = keys.as_slice() else {
            return (u64::MAX, u64::MAX);
        };
        let most = |size| self.symbols.most(size);
        let queries = self.input(0).max(self.result());
        let rows = queries.div_ceil(most(head).max(1));
        let scores = product(rows, most(positions));
        let heads = match self.operands.step.kind {
            Kind::Attention => self.operands.count("q_num_heads"),
            _ => self.operands.count("num_heads"),
        };
        let heads = heads.ok().flatten().map(u64::from);
        let heads = product(most(batch), heads.unwrap_or(1).max(1));
        let concurrent = match heads > MAX_CONCURRENT_HEADS {
            true => product(scores / heads, MAX_CONCURRENT_HEADS),
            false => scores,
        };
        let multiplications = product(product(queries, most(positions)), 2);
        (
            multiplications,
            concurrent.saturating_add(product(queries, 2)),
        )
    }

    /// Counts every combination of indices.
    fn einsum(&self) -> (u64, u64) {
        let Ok(expression) = EinsumExpr::parse(self.operands.text("equation")) else {
            return (u64::MAX, u64::MAX);
        };
        let mut labels: BTreeMap<char, u64> = BTreeMap::new();
        let mut is_even = true;
        let mut inputs = 0u64;
        for (position, term) in expression.inputs.iter().enumerate() {
            let Some(known) = self.operands.optional(position) else {
                continue;
            };
            inputs = inputs.saturating_add(self.input(position));
            let named = term.chars().filter(|label| *label != '.').count();
            let Some(unnamed) = known.rank().checked_sub(named).filter(|rank| *rank <= 10) else {
                return (u64::MAX, u64::MAX);
            };
            let sizes = known.sizes();
            for (label, size) in expand_ellipsis(term, unnamed).chars().zip(&sizes) {
                let size = self.symbols.most(size);
                let most = labels.entry(label).or_insert(size);
                is_even &= *most == size;
                *most = (*most).max(size);
            }
        }
        let combinations = labels.values().copied().fold(1, product);
        // With two inputs of equal sizes, only copies of them are made.
        let scratch = match is_even && expression.inputs.len() <= 2 {
            true => product(inputs, 2),
            false => combinations,
        };
        (combinations, scratch)
    }
}

fn product(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
