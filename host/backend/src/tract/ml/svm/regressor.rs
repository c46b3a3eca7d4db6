//! `SVMRegressor`: one number per row, or for a one-class machine, the side of the boundary that the row is on.

use super::super::attribute;
use super::super::linear::dot;
use super::super::operator::{
    Built, Fact, Kernel, built, elements, expect_columns, filled, floats, rows_and_columns, size,
};
use super::support_vectors::SupportVectors;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct SvmRegressor {
    /// `None` if the coefficients are for the columns themselves.
    support: Option<SupportVectors>,
    coefficients: Vec<f32>,
    offset: f32,
    output: Output,
}

#[derive(Debug, Clone, Copy)]
enum Output {
    Sum,
    /// 1 or -1, by the sign of the sum.
    Sign,
}

pub(in super::super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    let coefficients = attribute::floats(node, "coefficients")?;
    node.expect_attr(
        "coefficients",
        !coefficients.is_empty(),
        "at least one entry",
    )?;
    let count: usize = match node.get_attr_opt::<i64>("n_supports")?.unwrap_or(0) {
        0 => 0,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let support = match count {
        0 => None,
        count => {
            attribute::expect_length(node, "coefficients", coefficients.len(), count)?;
            Some(SupportVectors::parse(node, count)?)
        }
    };
    let rho = attribute::floats(node, "rho")?;
    node.expect_attr("rho", !rho.is_empty(), "at least one entry")?;
    let output = match node.get_attr_opt::<i64>("one_class")? {
        None | Some(0) => Output::Sum,
        Some(_) => Output::Sign,
    };
    built(
        node,
        SvmRegressor {
            support,
            coefficients,
            offset: rho[0],
            output,
        },
    )
}

impl SvmRegressor {
    fn columns(&self) -> usize {
        match &self.support {
            Some(support) => support.columns,
            None => self.coefficients.len(),
        }
    }
}

impl Kernel for SvmRegressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("SVMRegressor takes one input");
        };
        ensure!(datum_type.is_number(), "SVMRegressor needs numeric input");
        let (rows, columns) = rows_and_columns(shape)?;
        expect_columns("SVMRegressor", &columns, self.columns())?;
        Ok(tvec![(DatumType::F32, tvec![rows, 1.to_dim()])])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (rows, columns) = size(&inputs[0])?;
        ensure!(
            columns == self.columns(),
            "the input has {columns} columns, expected {}",
            self.columns()
        );
        let input = floats(&inputs[0])?;
        let input = elements::<f32>(&input)?;
        let mut similarities = vec![0.0; self.coefficients.len()];
        let output = filled(&[rows, 1], |output: &mut [f32]| {
            for (to, row) in output.iter_mut().zip(input.chunks(columns)) {
                let sum = match &self.support {
                    Some(support) => {
                        support.compare(row, &mut similarities);
                        dot(&similarities, &self.coefficients)
                    }
                    None => dot(row, &self.coefficients),
                } + self.offset;
                *to = match self.output {
                    Output::Sum => sum,
                    Output::Sign if sum > 0.0 => 1.0,
                    Output::Sign => -1.0,
                };
            }
            Ok(())
        })?;
        Ok(tvec![output])
    }
}
