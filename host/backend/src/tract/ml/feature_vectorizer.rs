//! `FeatureVectorizer`: concatenates matrices by columns, as f32.

use super::attribute;
use super::operator::{
    Built, Fact, Kernel, built, elements, filled, floats, rows_and_columns, size,
};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::ensure;

struct FeatureVectorizer {
    /// The number of columns of each input in the output. Longer inputs are truncated, and
    /// shorter ones are padded with zeros.
    columns: Vec<usize>,
}

/// The maximum number of columns. A larger count comes from a damaged file and is not allocated.
const MAX_COLUMNS: usize = 1 << 24;

pub(super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    let columns: Vec<usize> = node.get_attr_vec("inputdimensions")?;
    attribute::expect_length(node, "inputdimensions", columns.len(), node.input.len())?;
    let fits = columns
        .iter()
        .try_fold(0, |sum: usize, &columns| sum.checked_add(columns))
        .is_some_and(|sum| sum <= MAX_COLUMNS);
    node.expect_attr("inputdimensions", fits, "fewer columns")?;
    built(node, FeatureVectorizer { columns })
}

impl Kernel for FeatureVectorizer {
    fn name(&self) -> &'static str {
        "FeatureVectorizer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        ensure!(
            inputs.len() == self.columns.len() && !inputs.is_empty(),
            "FeatureVectorizer has an input without dimension"
        );
        ensure!(
            inputs.iter().all(|(datum_type, _)| datum_type.is_number()),
            "FeatureVectorizer needs numeric input"
        );
        let (rows, _) = rows_and_columns(&inputs[0].1)?;
        let columns: usize = self.columns.iter().sum();
        Ok(tvec![(DatumType::F32, tvec![rows, columns.to_dim()])])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (rows, _) = size(&inputs[0])?;
        let width: usize = self.columns.iter().sum();
        let output = filled(&[rows, width], |output: &mut [f32]| {
            let mut start = 0;
            for (input, &columns) in inputs.iter().zip(&self.columns) {
                let (input_rows, input_columns) = size(input)?;
                ensure!(
                    input_rows == rows,
                    "inputs have {rows} and {input_rows} rows"
                );
                let input = floats(input)?;
                let input = elements::<f32>(&input)?;
                let copied = columns.min(input_columns);
                for row in 0..rows {
                    let from = &input[row * input_columns..][..copied];
                    output[row * width + start..][..copied].copy_from_slice(from);
                }
                start += columns;
            }
            Ok(())
        })?;
        Ok(tvec![output])
    }
}
