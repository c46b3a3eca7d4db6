//! `LinearClassifier` and `LinearRegressor`: a product with the coefficients and a transform of the result.

use super::attribute;
use super::labels::{Labels, Winner, greatest};
use super::operator::{
    Built, Fact, Kernel, built, elements, expect_columns, filled, floats, rows_and_columns, size,
};
use super::post_transform::{Pair, PostTransform};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

/// A matrix of coefficients, one row for each score.
struct Scores {
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    columns: usize,
}

struct LinearClassifier {
    scores: Scores,
    labels: Labels,
    transform: PostTransform,
}

struct LinearRegressor {
    scores: Scores,
    transform: PostTransform,
}

pub(super) fn build_classifier(_context: &ParsingContext, node: &NodeProto) -> Built {
    let labels = Labels::parse(node, "classlabels_ints")?;
    let transform = PostTransform::parse(node)?;
    let mut intercepts = attribute::floats(node, "intercepts")?;
    if intercepts.is_empty() {
        intercepts = vec![0.0; labels.len()];
    }
    if intercepts.len() == 1 {
        let is_pair = labels.len() == 2 && transform != PostTransform::Probit;
        node.expect_attr("intercepts", is_pair, "one entry for each class")?;
    } else {
        attribute::expect_length(node, "intercepts", intercepts.len(), labels.len())?;
    }
    let scores = Scores::parse(node, intercepts)?;
    built(
        node,
        LinearClassifier {
            scores,
            labels,
            transform,
        },
    )
}

pub(super) fn build_regressor(_context: &ParsingContext, node: &NodeProto) -> Built {
    let transform = PostTransform::parse(node)?;
    let targets = match node.get_attr_opt::<i64>("targets")? {
        None => 1,
        Some(targets) => usize::try_from(targets).unwrap_or(0),
    };
    let coefficients = attribute::floats(node, "coefficients")?.len();
    node.expect_attr(
        "targets",
        (1..=coefficients.max(1)).contains(&targets),
        "a positive number, no more than coefficients",
    )?;
    let mut intercepts = attribute::floats(node, "intercepts")?;
    if intercepts.is_empty() {
        intercepts = vec![0.0; targets];
    }
    attribute::expect_length(node, "intercepts", intercepts.len(), targets)?;
    let scores = Scores::parse(node, intercepts)?;
    built(node, LinearRegressor { scores, transform })
}

/// Returns the dot product, computed in lanes that the compiler vectorises.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    sum_of(left, right, |left, right| left * right)
}

/// Returns the sum of `term` over pairs of elements.
pub(super) fn sum_of(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] += term(left[lane], right[lane]);
        }
    }
    let rest: f32 = left_rest
        .iter()
        .zip(right_rest)
        .map(|(l, r)| term(*l, *r))
        .sum();
    sums.iter().sum::<f32>() + rest
}

impl Scores {
    fn parse(node: &NodeProto, intercepts: Vec<f32>) -> TractResult<Scores> {
        let coefficients = attribute::floats(node, "coefficients")?;
        let whole = !coefficients.is_empty() && coefficients.len() % intercepts.len() == 0;
        node.expect_attr("coefficients", whole, || {
            format!(
                "a multiple of {} entries, got {}",
                intercepts.len(),
                coefficients.len()
            )
        })?;
        let columns = coefficients.len() / intercepts.len();
        Ok(Scores {
            coefficients,
            intercepts,
            columns,
        })
    }

    fn len(&self) -> usize {
        self.intercepts.len()
    }

    fn check(&self, name: &str, inputs: &[Fact]) -> TractResult<tract_onnx::prelude::TDim> {
        let [(datum_type, shape)] = inputs else {
            bail!("{name} takes one input");
        };
        ensure!(datum_type.is_number(), "{name} needs numeric input");
        let (rows, columns) = rows_and_columns(shape)?;
        expect_columns(name, &columns, self.columns)?;
        Ok(rows)
    }

    /// Calls `each` with the position and the scores of every row.
    fn rows(&self, input: &Tensor, mut each: impl FnMut(usize, &mut [f32])) -> TractResult<()> {
        let (_, columns) = size(input)?;
        ensure!(
            columns == self.columns,
            "the input has {columns} columns, expected {}",
            self.columns
        );
        let input = floats(input)?;
        let mut scores = vec![0.0; self.len()];
        for (position, row) in elements::<f32>(&input)?.chunks(columns).enumerate() {
            let coefficients = self.coefficients.chunks(columns);
            for ((score, coefficients), intercept) in
                scores.iter_mut().zip(coefficients).zip(&self.intercepts)
            {
                *score = dot(row, coefficients) + intercept;
            }
            each(position, &mut scores);
        }
        Ok(())
    }
}

impl Kernel for LinearClassifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let rows = self.scores.check("LinearClassifier", inputs)?;
        Ok(tvec![
            (self.labels.datum_type(), tvec![rows.clone()]),
            (DatumType::F32, tvec![rows, self.labels.len().to_dim()]),
        ])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (rows, _) = size(&inputs[0])?;
        let width = self.labels.len();
        let mut winners = Vec::with_capacity(rows);
        let output = filled(&[rows, width], |output: &mut [f32]| {
            self.scores.rows(&inputs[0], |position, scores| {
                let to = &mut output[position * width..][..width];
                if let [score] = *scores {
                    winners.push(Winner::Class(usize::from(score > 0.0)));
                    // Only LOGISTIC gives another result, as in onnxruntime.
                    to.copy_from_slice(&Pair::Complement.scores(score, self.transform));
                } else {
                    winners.push(Winner::Class(greatest(scores)));
                    self.transform.apply(scores);
                    to.copy_from_slice(scores);
                }
            })
        })?;
        Ok(tvec![self.labels.tensor(winners.into_iter()), output])
    }
}

impl Kernel for LinearRegressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let rows = self.scores.check("LinearRegressor", inputs)?;
        Ok(tvec![(
            DatumType::F32,
            tvec![rows, self.scores.len().to_dim()]
        )])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (rows, _) = size(&inputs[0])?;
        let width = self.scores.len();
        let output = filled(&[rows, width], |output: &mut [f32]| {
            self.scores.rows(&inputs[0], |position, scores| {
                self.transform.apply(scores);
                output[position * width..][..width].copy_from_slice(scores);
            })
        })?;
        Ok(tvec![output])
    }
}
