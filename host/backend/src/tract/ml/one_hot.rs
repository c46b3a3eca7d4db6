//! `OneHotEncoder`: a column for each category, with a one in the column of the element.

use super::super::guard::RefusedValue;
use super::attribute;
use super::operator::{Built, Fact, Kernel, built, elements, filled};
use std::collections::BTreeMap;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct OneHotEncoder {
    categories: Categories,
    count: usize,
    unknown: Unknown,
}

/// The column of each category; the last one of a repeated category.
enum Categories {
    Ints(BTreeMap<i64, usize>),
    Strings(BTreeMap<String, usize>),
}

/// The result for an element without a category.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unknown {
    Zeros,
    Refused,
}

pub(super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    let ints = attribute::ints(node, "cats_int64s")?;
    let strings = attribute::strings(node, "cats_strings")?;
    node.expect_attr(
        "cats_int64s",
        ints.is_empty() != strings.is_empty(),
        "categories either here or in cats_strings",
    )?;
    let count = ints.len().max(strings.len());
    let categories = match strings.is_empty() {
        true => Categories::Ints(ints.into_iter().zip(0..).collect()),
        false => Categories::Strings(strings.into_iter().zip(0..).collect()),
    };
    let unknown = match node.get_attr_opt::<i64>("zeros")? {
        Some(0) => Unknown::Refused,
        _ => Unknown::Zeros,
    };
    built(
        node,
        OneHotEncoder {
            categories,
            count,
            unknown,
        },
    )
}

impl Kernel for OneHotEncoder {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("OneHotEncoder takes one input");
        };
        let takes_strings = matches!(self.categories, Categories::Strings(_));
        ensure!(
            takes_strings == (*datum_type == DatumType::String),
            "OneHotEncoder has categories of another type than its input, {datum_type:?}"
        );
        let shape = shape.iter().cloned().chain([self.count.to_dim()]).collect();
        Ok(tvec![(DatumType::F32, shape)])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        let columns: Vec<Option<usize>> = match &self.categories {
            // Floats are truncated, as the standard requires.
            Categories::Ints(columns) => elements::<i64>(&*input.cast_to::<i64>()?)?
                .iter()
                .map(|element| columns.get(element).copied())
                .collect(),
            Categories::Strings(columns) => elements::<String>(input)?
                .iter()
                .map(|element| columns.get(element).copied())
                .collect(),
        };
        if self.unknown == Unknown::Refused && !columns.iter().all(Option::is_some) {
            let reason = "a value is of no category that the model knows";
            return Err(RefusedValue::new(reason).into());
        }
        let shape: TVec<usize> = input.shape().iter().copied().chain([self.count]).collect();
        let output = filled(&shape, |output: &mut [f32]| {
            for (row, column) in output.chunks_mut(self.count).zip(columns) {
                if let Some(column) = column {
                    row[column] = 1.0;
                }
            }
            Ok(())
        })?;
        Ok(tvec![output])
    }
}
