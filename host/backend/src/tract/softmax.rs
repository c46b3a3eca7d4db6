//! `Softmax` and `LogSoftmax` along axes before the last, in blocks of neighbouring columns.
//!
//! tract computes such a column with a stride, one number at a time. Here the columns of a block are gathered
//! into rows beside each other, so that every step is a loop over neighbouring numbers.
//!
//! tract reads `LogSoftmax` as the logarithm of its Softmax, which is negative infinity from -104. It has an
//! operator that is not, which is used instead.

use super::draft::Draft;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::tract_num_traits::Float;
use tract_onnx::prelude::{
    DatumType, IntoTValue, IntoTensor, SpecialOps, TValue, TVec, TractResult, TypedFact,
    TypedModel, TypedNode, TypedOp, tvec,
};
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, AxisOp, EvalContext, EvalOp, InOut, Op, OutletId,
    StaticName, as_op, bail, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_core::tract_linalg::routines::Func;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::internal::{Expansion, InferenceResult, Solver, TensorProxy, expand};

/// The number of elements of a block, which stays in the first cache.
const BLOCK_ELEMENTS: usize = 4096;

/// The minimum number of columns of a block.
const MIN_COLUMNS: usize = 16;

/// tract's `LogSoftmax` without its last step.
#[derive(Debug, Clone)]
struct LogSoftmax(Box<dyn Expansion>);

/// tract's operator with another computation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ColumnSoftmax(Softmax);

/// Registers `LogSoftmax`.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("LogSoftmax", build);
}

fn build(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (theirs, closures) = super::draft::build_theirs(context, node)?;
    Ok((expand(LogSoftmax(theirs)), closures))
}

impl Expansion for LogSoftmax {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(solver, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let draft = Draft::of(&*self.0, prefix, model, inputs)?;
        let mut nodes = draft.nodes().iter();
        let Some(softmax) = nodes.find_map(|node| node.op_as::<Softmax>()) else {
            bail!("tract's LogSoftmax has no Softmax");
        };
        let softmax = Softmax {
            kind: SoftmaxKind::LogSoftmax,
            ..softmax.clone()
        };
        model.wire_node(prefix, softmax, inputs)
    }
}

impl ColumnSoftmax {
    /// Returns the operator that replaces one of tract on elements of this type and rank, if it is faster.
    pub(super) fn replacing(softmax: &Softmax, fact: &TypedFact) -> Option<ColumnSoftmax> {
        let is_float = matches!(fact.datum_type, DatumType::F32 | DatumType::F64);
        let (_, end) = neighbouring(&softmax.axes)?;
        (is_float && end < fact.rank()).then(|| ColumnSoftmax(softmax.clone()))
    }

    /// Returns the rows and columns of each table in a tensor of this shape, or `None` if tract computes
    /// it as fast.
    fn table(&self, shape: &[usize]) -> Option<(usize, usize)> {
        let (start, end) = neighbouring(&self.0.axes)?;
        let rows: usize = shape.get(start..end)?.iter().product();
        let columns: usize = shape.get(end..)?.iter().product();
        (columns > 1).then_some((rows, columns))
    }

    /// Computes tables of `rows` and `columns`, which follow each other in `numbers`.
    fn compute<T: Float>(
        &self,
        numbers: &mut [T],
        (rows, columns): (usize, usize),
        exponentials: impl Fn(&mut [T]) -> TractResult<()>,
    ) -> TractResult<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let width = (BLOCK_ELEMENTS / rows).max(MIN_COLUMNS);
        let mut block = Block {
            columns: 0,
            numbers: Vec::new(),
            powers: Vec::new(),
        };
        for table in numbers.chunks_exact_mut(rows * columns) {
            for first in (0..columns).step_by(width) {
                let last = columns.min(first + width);
                block.columns = last - first;
                block.numbers.clear();
                for row in table.chunks_exact(columns) {
                    block.numbers.extend_from_slice(&row[first..last]);
                }
                block.normalize(self.0.kind, &exponentials)?;
                let finished = block.numbers.chunks_exact(block.columns);
                for (row, finished) in table.chunks_exact_mut(columns).zip(finished) {
                    row[first..last].copy_from_slice(finished);
                }
            }
        }
        Ok(())
    }
}

/// Returns the first of the axes and the one after the last, if no other axis is between them.
fn neighbouring(axes: &[usize]) -> Option<(usize, usize)> {
    let start = *axes.iter().min()?;
    let end = start + axes.len();
    (start..end)
        .all(|axis| axes.contains(&axis))
        .then_some((start, end))
}

/// Some columns, row by row.
struct Block<T> {
    columns: usize,
    numbers: Vec<T>,
    /// Scratch memory for the exponentials.
    powers: Vec<T>,
}

impl<T: Float> Block<T> {
    fn normalize(
        &mut self,
        kind: SoftmaxKind,
        exponentials: &impl Fn(&mut [T]) -> TractResult<()>,
    ) -> TractResult<()> {
        let Block {
            columns,
            numbers,
            powers,
        } = self;
        // NaN that is not the maximum of its column makes the sum NaN.
        let mut greatest = numbers[..*columns].to_vec();
        for row in numbers.chunks_exact(*columns) {
            for (greatest, x) in greatest.iter_mut().zip(row) {
                *greatest = if *x > *greatest { *x } else { *greatest };
            }
        }
        for row in numbers.chunks_exact_mut(*columns) {
            for (x, greatest) in row.iter_mut().zip(&greatest) {
                *x = *x - *greatest;
            }
        }
        powers.clear();
        powers.extend_from_slice(numbers);
        exponentials(powers)?;
        let mut sums = vec![T::zero(); *columns];
        for row in powers.chunks_exact(*columns) {
            for (sum, power) in sums.iter_mut().zip(row) {
                *sum = *sum + *power;
            }
        }
        match kind {
            SoftmaxKind::Softmax => {
                let rows = numbers.chunks_exact_mut(*columns);
                for (row, powers) in rows.zip(powers.chunks_exact(*columns)) {
                    for (x, (power, sum)) in row.iter_mut().zip(powers.iter().zip(&sums)) {
                        *x = *power / *sum;
                    }
                }
            }
            SoftmaxKind::LogSoftmax => {
                for sum in &mut sums {
                    *sum = sum.ln();
                }
                for row in numbers.chunks_exact_mut(*columns) {
                    for (x, sum) in row.iter_mut().zip(&sums) {
                        *x = *x - *sum;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Op for ColumnSoftmax {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    op_as_typed_op!();
}

impl EvalOp for ColumnSoftmax {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let table = inputs.first().and_then(|input| self.table(input.shape()));
        let Some(table) = table else {
            return self.0.eval(context, inputs);
        };
        let mut output = inputs.remove(0).into_tensor();
        match output.datum_type() {
            DatumType::F32 => {
                let kernel = Func::Exp.ew_f32()?;
                let mut plain = output.try_as_plain_ram_mut()?;
                let numbers = plain.as_slice_mut::<f32>()?;
                self.compute(numbers, table, |numbers| kernel.run(numbers))?;
            }
            DatumType::F64 => {
                let mut plain = output.try_as_plain_ram_mut()?;
                let numbers = plain.as_slice_mut::<f64>()?;
                self.compute(numbers, table, |numbers| {
                    for x in numbers {
                        *x = x.exp();
                    }
                    Ok(())
                })?;
            }
            other => bail!("{} of {other:?}", self.name()),
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for ColumnSoftmax {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.output_facts(inputs)
    }

    fn axes_mapping(
        &self,
        inputs: &[&TypedFact],
        outputs: &[&TypedFact],
    ) -> TractResult<AxesMapping> {
        self.0.axes_mapping(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        let Some(mut consequence) = self.0.change_axes(model, node, io, change)? else {
            return Ok(None);
        };
        let substitute = consequence.substitute_op.as_ref();
        match substitute.and_then(|operator| operator.downcast_ref::<Softmax>()) {
            Some(softmax) => {
                consequence.substitute_op = Some(Box::new(ColumnSoftmax(softmax.clone())));
                Ok(Some(consequence))
            }
            None => Ok(None),
        }
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{DatumExt, Tensor, tensor2};

    fn columns(kind: SoftmaxKind, axes: &[usize], input: &Tensor) -> Vec<f32> {
        let softmax = Softmax {
            axes: axes.into(),
            quant_output_dt: None,
            kind,
        };
        let softmax = ColumnSoftmax(softmax);
        let inputs = tvec!(input.clone().into_tvalue());
        let outputs = softmax.eval(&EvalContext::out_of_plan(), inputs).unwrap();
        let plain = outputs[0].try_as_plain_ram().unwrap();
        plain.as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn columns_have_the_values_of_onnxruntime() {
        let (infinite, nan) = (f32::INFINITY, f32::NAN);
        // Each column is one case of onnxruntime 1.31.
        let cases: [([f32; 3], [f32; 3]); 5] = [
            (
                [1.0, 2.0, -105.0],
                [-1.313_261_6, -0.313_261_7, -107.313_26],
            ),
            ([88.0, 1e4, -1e4], [-9912.0, 0.0, -20_000.0]),
            ([nan, 1.0, 2.0], [nan; 3]),
            ([0.0, infinite, 1.0], [nan; 3]),
            ([-infinite; 3], [nan; 3]),
        ];
        let mut table = [[0f32; 5]; 3];
        for (column, (input, _)) in cases.iter().enumerate() {
            for (row, x) in input.iter().enumerate() {
                table[row][column] = *x;
            }
        }
        let table = tensor2(&table);
        let logarithms = columns(SoftmaxKind::LogSoftmax, &[0], &table);
        let shares = columns(SoftmaxKind::Softmax, &[0], &table);
        for (column, (input, expected)) in cases.iter().enumerate() {
            for (row, expected) in expected.iter().enumerate() {
                let (log, share) = (logarithms[row * 5 + column], shares[row * 5 + column]);
                if expected.is_nan() {
                    assert!(log.is_nan() && share.is_nan(), "{input:?}");
                    continue;
                }
                assert!(
                    (log - expected).abs() <= 1e-6 * expected.abs(),
                    "{input:?}: {log}"
                );
                assert!((share - expected.exp()).abs() <= 1e-6, "{input:?}: {share}");
            }
        }
    }

    #[test]
    fn every_column_of_several_blocks_is_computed() {
        let shape = [2usize, 3, 5, 700];
        let number = |n: usize| f32::from(u16::try_from(n * 7919 % 1013).unwrap()) / 100.0;
        let input: Vec<f32> = (0..2 * 3 * 5 * 700).map(number).collect();
        let tensor = Tensor::from_shape(&shape, &input).unwrap();
        // Axis 1 alone, and axes 1 and 2 together.
        for (axes, rows) in [(vec![1], 3), (vec![1, 2], 15)] {
            let output = columns(SoftmaxKind::Softmax, &axes, &tensor);
            let columns = 3 * 5 * 700 / rows;
            for (table, input) in output
                .chunks(rows * columns)
                .zip(input.chunks(rows * columns))
            {
                for column in 0..columns {
                    let at = |row: usize| row * columns + column;
                    let sum: f64 = (0..rows).map(|row| f64::from(input[at(row)]).exp()).sum();
                    for row in 0..rows {
                        let expected = f64::from(input[at(row)]).exp() / sum;
                        let found = f64::from(table[at(row)]);
                        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_axes_before_the_last_are_replaced() {
        let replaced = |axes: &[usize], shape: &[usize]| {
            let softmax = Softmax {
                axes: axes.into(),
                ..Softmax::default()
            };
            ColumnSoftmax::replacing(&softmax, &f32::fact(shape)).is_some()
        };
        assert!(replaced(&[1], &[1, 16, 4, 8400]));
        assert!(replaced(&[0, 1], &[2, 3, 4]));
        assert!(!replaced(&[2], &[1, 2, 3]));
        assert!(!replaced(&[1, 2], &[1, 2, 3]));
        assert!(!replaced(&[0, 2], &[1, 2, 3, 4]));
    }
}
