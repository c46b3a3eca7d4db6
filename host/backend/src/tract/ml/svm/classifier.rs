//! `SVMClassifier`: a decision between each two classes, then votes, and scores or probabilities.

use super::super::attribute;
use super::super::labels::{Labels, Winner, greatest};
use super::super::linear::dot;
use super::super::operator::{
    Built, Fact, Kernel, built, elements, expect_columns, filled, floats, rows_and_columns, size,
};
use super::super::post_transform::{Pair, PostTransform, logistic};
use super::support_vectors::SupportVectors;
use std::ops::Range;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct SvmClassifier {
    machine: Machine,
    labels: Labels,
    transform: PostTransform,
    /// Set if no coefficient is negative. A score of 0.5 then decides between two classes, otherwise one of 0.
    all_positive: bool,
}

enum Machine {
    /// libsvm: support vectors, class by class.
    Pairs(Pairs),
    /// liblinear: coefficients for the columns, class by class, and one offset for all sums.
    Linear {
        coefficients: Vec<f32>,
        columns: usize,
        offset: f32,
    },
}

struct Pairs {
    support: SupportVectors,
    /// The vectors of each class.
    ranges: Vec<Range<usize>>,
    /// A row for each class but one, and a column for each vector.
    coefficients: Vec<f32>,
    /// The offset of each pair of classes.
    offsets: Vec<f32>,
    /// The slope and shift of Platt's logistic for each pair of classes; empty if the output is not probabilities.
    platt: Vec<(f32, f32)>,
}

/// The maximum number of classes. More would need a table of pairs that no real model has.
const MAX_CLASSES: usize = 4096;

pub(in super::super) fn build(_context: &ParsingContext, node: &NodeProto) -> Built {
    let labels = Labels::parse(node, "classlabels_ints")?;
    let classes = labels.len();
    node.expect_attr("classlabels_ints", classes <= MAX_CLASSES, "fewer classes")?;
    let transform = PostTransform::parse(node)?;
    let coefficients = attribute::floats(node, "coefficients")?;
    let all_positive = coefficients.iter().all(|&coefficient| coefficient >= 0.0);
    let counts: Vec<usize> = node
        .get_attr_opt_vec("vectors_per_class")?
        .unwrap_or_default();
    let vectors = counts
        .iter()
        .try_fold(0, |sum: usize, &count| sum.checked_add(count));
    let machine = match vectors {
        Some(0) => {
            let whole = !coefficients.is_empty() && coefficients.len() % classes == 0;
            node.expect_attr("coefficients", whole, "a multiple of the classes")?;
            let rho = attribute::floats(node, "rho")?;
            node.expect_attr("rho", !rho.is_empty(), "at least one entry")?;
            Machine::Linear {
                columns: coefficients.len() / classes,
                coefficients,
                offset: rho[0],
            }
        }
        Some(vectors) => {
            attribute::expect_length(node, "vectors_per_class", counts.len(), classes)?;
            Machine::Pairs(Pairs::parse(node, &counts, vectors, coefficients)?)
        }
        None => return node.bail_attr("vectors_per_class", "is too large"),
    };
    let classifier = SvmClassifier {
        machine,
        labels,
        transform,
        all_positive,
    };
    node.expect_attr(
        "post_transform",
        transform != PostTransform::Probit || !classifier.has_paired_scores(),
        "a transform other than PROBIT, which leaves the second score undefined",
    )?;
    built(node, classifier)
}

impl Pairs {
    fn parse(
        node: &NodeProto,
        counts: &[usize],
        vectors: usize,
        coefficients: Vec<f32>,
    ) -> TractResult<Pairs> {
        let classes = counts.len();
        node.expect_attr("vectors_per_class", classes >= 2, "two classes or more")?;
        // Read before any allocation with the size `vectors`, which the file could exaggerate.
        let support = SupportVectors::parse(node, vectors)?;
        let expected = (classes - 1).saturating_mul(vectors);
        attribute::expect_length(node, "coefficients", coefficients.len(), expected)?;
        let pairs = classes * (classes - 1) / 2;
        let offsets = attribute::floats(node, "rho")?;
        node.expect_attr("rho", offsets.len() >= pairs, || format!("{pairs} entries"))?;
        let slopes = attribute::floats(node, "prob_a")?;
        let shifts = attribute::floats(node, "prob_b")?;
        attribute::expect_length(node, "prob_b", shifts.len(), slopes.len())?;
        let enough = slopes.is_empty() || slopes.len() >= pairs;
        node.expect_attr("prob_a", enough, || format!("{pairs} entries"))?;
        let mut start = 0;
        let ranges = counts
            .iter()
            .map(|count| {
                let range = start..start + count;
                start = range.end;
                range
            })
            .collect();
        Ok(Pairs {
            support,
            ranges,
            coefficients,
            offsets,
            platt: slopes.into_iter().zip(shifts).collect(),
        })
    }

    fn classes(&self) -> usize {
        self.ranges.len()
    }

    fn pairs(&self) -> usize {
        self.classes() * (self.classes() - 1) / 2
    }

    /// Computes a sum for each pair of classes, which is positive for the first of the two.
    fn decide(&self, similarities: &[f32], decisions: &mut [f32], votes: &mut [u32]) {
        votes.fill(0);
        let vectors = similarities.len();
        let mut pair = 0;
        for first in 0..self.classes() {
            for second in first + 1..self.classes() {
                // Each class has a row of coefficients against every other class. The row against itself
                // is left out, so the rows after it move up.
                let part = |class: usize, row: usize| -> f64 {
                    let range = self.ranges[class].clone();
                    let row = &self.coefficients[row * vectors..][range.clone()];
                    let products = row.iter().zip(&similarities[range]);
                    products.map(|(left, right)| f64::from(left * right)).sum()
                };
                let sum =
                    part(first, second - 1) + part(second, first) + f64::from(self.offsets[pair]);
                #[expect(clippy::cast_possible_truncation, reason = "scores are floats")]
                let decision = sum as f32;
                decisions[pair] = decision;
                votes[if sum > 0.0 { first } else { second }] += 1;
                pair += 1;
            }
        }
    }

    /// Computes the probability of each class from those of each pair (Wu, Lin and Weng 2004, second method).
    fn probabilities(&self, decisions: &[f32], between: &mut [f32], output: &mut [f32]) {
        let classes = self.classes();
        let mut pair = 0;
        for first in 0..classes {
            for second in first + 1..classes {
                let (slope, shift) = self.platt[pair];
                let probability = 1.0 - logistic(decisions[pair] * slope + shift);
                let probability = probability.clamp(1e-7, 1.0 - 1e-7);
                between[first * classes + second] = probability;
                between[second * classes + first] = 1.0 - probability;
                pair += 1;
            }
        }
        couple(classes, between, output);
    }
}

/// Solves for the probabilities that agree best with those of the pairs, as libsvm does.
fn couple(classes: usize, between: &[f32], probabilities: &mut [f32]) {
    const ROUNDS: usize = 100;
    let limit = 0.005 / classes as f32;
    let at = |row: usize, column: usize| between[row * classes + column];
    let entry = |row: usize, column: usize| match row == column {
        true => (0..classes)
            .filter(|other| *other != row)
            .map(|other| at(other, row) * at(other, row))
            .sum(),
        false => -at(column, row) * at(row, column),
    };
    let matrix: Vec<f32> = (0..classes * classes)
        .map(|place| entry(place / classes, place % classes))
        .collect();
    let mut products = vec![0.0; classes];
    probabilities.fill(1.0 / classes as f32);
    for _ in 0..ROUNDS {
        let mut total = 0.0;
        for (class, product) in products.iter_mut().enumerate() {
            let row = &matrix[class * classes..][..classes];
            *product = row.iter().zip(&*probabilities).map(|(q, p)| q * p).sum();
            total += probabilities[class] * *product;
        }
        if products
            .iter()
            .all(|product| (product - total).abs() < limit)
        {
            break;
        }
        for class in 0..classes {
            let row = &matrix[class * classes..][..classes];
            let step = (total - products[class]) / row[class];
            probabilities[class] += step;
            let scale = 1.0 + step;
            total = (total + step * (step * row[class] + 2.0 * products[class])) / scale / scale;
            for other in 0..classes {
                products[other] = (products[other] + step * row[other]) / scale;
                probabilities[other] /= scale;
            }
        }
    }
}

impl SvmClassifier {
    fn columns(&self) -> usize {
        match &self.machine {
            Machine::Pairs(pairs) => pairs.support.columns,
            Machine::Linear { columns, .. } => *columns,
        }
    }

    /// Returns whether two scores are derived from a single decision.
    fn has_paired_scores(&self) -> bool {
        matches!(&self.machine, Machine::Pairs(pairs) if pairs.platt.is_empty() && pairs.classes() == 2)
    }

    /// Returns the number of scores in a row.
    fn width(&self) -> usize {
        match &self.machine {
            Machine::Pairs(pairs) if pairs.platt.is_empty() && pairs.classes() > 2 => pairs.pairs(),
            _ => self.labels.len(),
        }
    }

    /// Returns the class of two that a linear machine chooses.
    fn linear_winner(&self, scores: &[f32]) -> Winner {
        let winner = greatest(scores);
        let score = scores[winner];
        let is_second = match self.all_positive {
            true => score >= 0.5,
            false => score > 0.0,
        };
        match scores.len() {
            2 if is_second => Winner::Class(1),
            _ => Winner::Class(winner),
        }
    }
}

impl Kernel for SvmClassifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("SVMClassifier takes one input");
        };
        ensure!(datum_type.is_number(), "SVMClassifier needs numeric input");
        let (rows, columns) = rows_and_columns(shape)?;
        expect_columns("SVMClassifier", &columns, self.columns())?;
        Ok(tvec![
            (self.labels.datum_type(), tvec![rows.clone()]),
            (DatumType::F32, tvec![rows, self.width().to_dim()]),
        ])
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
        let mut winners = Vec::with_capacity(rows);
        let scores = filled(&[rows, self.width()], |output: &mut [f32]| {
            let rows = input.chunks(columns).zip(output.chunks_mut(self.width()));
            match &self.machine {
                Machine::Linear {
                    coefficients,
                    offset,
                    ..
                } => {
                    for (row, scores) in rows {
                        for (score, coefficients) in
                            scores.iter_mut().zip(coefficients.chunks(columns))
                        {
                            *score = dot(row, coefficients) + offset;
                        }
                        winners.push(self.linear_winner(scores));
                        self.transform.apply(scores);
                    }
                }
                Machine::Pairs(pairs) => {
                    let classes = pairs.classes();
                    let vectors = pairs.support.vectors.len() / columns;
                    let mut similarities = vec![0.0; vectors];
                    let mut decisions = vec![0.0; pairs.pairs()];
                    let mut between = vec![0.0; classes * classes];
                    let mut votes = vec![0; classes];
                    for (row, scores) in rows {
                        pairs.support.compare(row, &mut similarities);
                        pairs.decide(&similarities, &mut decisions, &mut votes);
                        let most = votes.iter().max().copied().unwrap_or_default();
                        let winner = votes.iter().position(|&count| count == most);
                        winners.push(Winner::Class(winner.unwrap_or_default()));
                        if !pairs.platt.is_empty() {
                            pairs.probabilities(&decisions, &mut between, scores);
                            self.transform.apply(scores);
                        } else if let [decision] = *decisions {
                            let pair = match self.transform {
                                PostTransform::None => Pair::Opposite,
                                _ => Pair::Complement,
                            };
                            scores.copy_from_slice(&pair.scores(decision, self.transform));
                        } else {
                            scores.copy_from_slice(&decisions);
                            self.transform.apply(scores);
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok(tvec![self.labels.tensor(winners.into_iter()), scores])
    }
}
