//! `TreeEnsembleClassifier`: sums of leaves as scores of classes, and the predicted class.
//!
//! Two classes need special cases: files contain scores for one of them or for both, as probabilities or
//! with a sign, and the standard specifies little. This module follows onnxruntime case by case.

use super::super::attribute;
use super::super::labels::{Labels, Winner};
use super::super::operator::{Built, Fact, Kernel, built, filled, rows_and_columns, size};
use super::super::post_transform::{Pair, PostTransform};
use super::flat::Number;
use super::parse::Forest;
use super::walk::{Aggregate, Finish, Goal, Score, Trees};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct TreeEnsembleClassifier {
    trees: Trees,
    labels: Labels,
    rule: Rule,
}

/// The rule that turns scores into outputs.
struct Rule {
    classes: usize,
    base_values: Vec<f64>,
    transform: PostTransform,
    /// The meaning of a score for one of two classes, if all leaves have weights for the same class.
    pair: Option<Pair>,
}

pub(in super::super) fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let labels = Labels::parse(node, "classlabels_int64s")?;
    let classes = labels.len();
    let transform = PostTransform::parse(node)?;
    let forest = Forest::parse(context, node, "class", classes)?;
    let (base_values, _) = attribute::doubles(context, node, "base_values")?;
    node.expect_attr("base_values", base_values.len() <= classes, || {
        format!("no more than {classes} entries, got {}", base_values.len())
    })?;
    if classes == 1 {
        // onnxruntime returns 1 or 0, and with string labels reads a label that does not exist.
        let has_ints = matches!(labels, Labels::Ints(_));
        node.expect_attr("classlabels_strings", has_ints, "two classes or more")?;
    }
    let mut weights = forest.leaves.iter().flatten();
    let first = weights.clone().next().map(|(target, _)| *target);
    let one_column = weights.clone().all(|(target, _)| Some(*target) == first);
    let pair = match classes == 2 && one_column && first.is_some() {
        true if weights.all(|(_, weight)| *weight >= 0.0) => Some(Pair::Complement),
        true => Some(Pair::Opposite),
        false => None,
    };
    let rule = Rule {
        classes,
        base_values,
        transform,
        pair,
    };
    let trees = Trees::new(node, &forest)?;
    let is_defined = classes != 2 || rule.base_values.len() == 2 || forest.always_weighs(1);
    let undefined = "with which onnxruntime leaves the second score undefined in rows without weights for the second \
                     class";
    node.expect_attr(
        "post_transform",
        transform != PostTransform::Probit || is_defined,
        || format!("a transform other than PROBIT, {undefined}"),
    )?;
    node.expect_attr(
        "base_values",
        rule.base_values.len() != 1 || rule.pair.is_some() || is_defined,
        || format!("another number than one, {undefined}"),
    )?;
    built(
        node,
        TreeEnsembleClassifier {
            trees,
            labels,
            rule,
        },
    )
}

/// The outputs of the rows so far.
struct RowOutputs<'a> {
    rule: &'a Rule,
    winners: Vec<Winner>,
    scores: &'a mut [f32],
}

impl Finish for RowOutputs<'_> {
    fn finish<T: Number>(&mut self, row: usize, scores: &mut [Score<T>]) {
        let classes = self.rule.classes;
        let to = &mut self.scores[row * classes..][..classes];
        self.winners.push(self.rule.classify(scores, to));
    }
}

impl Rule {
    fn base<T: Number>(&self, position: usize) -> T {
        T::from_f64(self.base_values.get(position).copied().unwrap_or(0.0))
    }

    fn classify<T: Number>(&self, scores: &mut [Score<T>], output: &mut [f32]) -> Winner {
        match scores {
            [only] => {
                let sum = only.value.add(self.base(0));
                output[0] = sum.to_f32();
                self.transform.apply(output);
                Winner::Truth(sum > T::ZERO)
            }
            [first, second] => self.classify_pair(first, second, output),
            _ => self.classify_many(scores, output),
        }
    }

    fn classify_many<T: Number>(&self, scores: &mut [Score<T>], output: &mut [f32]) -> Winner {
        for (position, score) in scores.iter_mut().enumerate().take(self.base_values.len()) {
            score.value = score.value.add(self.base(position));
            score.present = true;
        }
        let mut winner: Option<usize> = None;
        for (position, score) in scores.iter().enumerate() {
            output[position] = score.or_zero();
            if score.present && winner.is_none_or(|winner| score.value > scores[winner].value) {
                winner = Some(position);
            }
        }
        self.transform.apply(output);
        Winner::Class(winner.unwrap_or_default())
    }

    fn classify_pair<T: Number>(
        &self,
        first: &mut Score<T>,
        second: &mut Score<T>,
        output: &mut [f32],
    ) -> Winner {
        let mut is_alone = false;
        match self.base_values.len() {
            2 if second.present => {
                // As in onnxruntime: the sum of the first class with the base value of the second.
                second.value = first.value.add(self.base(1));
                first.value = T::from_f64(-f64::from(second.value.to_f32()));
            }
            2 => {
                first.value = first.value.add(self.base(0));
                second.value = second.value.add(self.base(1));
            }
            _ => {
                first.value = first.value.add(self.base(0));
                is_alone = !second.present;
            }
        }
        let decisive = match (second.present, first.present) {
            (true, _) => second.value,
            (false, true) => first.value,
            (false, false) => T::ZERO,
        };
        let winner = match self.pair {
            Some(Pair::Complement) => Winner::Class(usize::from(decisive > T::from_f64(0.5))),
            Some(Pair::Opposite) => Winner::Class(usize::from(decisive > T::ZERO)),
            None => Winner::Truth(decisive > T::ZERO),
        };
        if is_alone {
            let pair = self.pair.unwrap_or(Pair::Opposite);
            output.copy_from_slice(&pair.scores(first.value.to_f32(), self.transform));
        } else {
            output.copy_from_slice(&[first.or_zero(), second.or_zero()]);
            self.transform.apply(output);
        }
        winner
    }
}

impl Kernel for TreeEnsembleClassifier {
    fn name(&self) -> &'static str {
        "TreeEnsembleClassifier"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("TreeEnsembleClassifier takes one input");
        };
        ensure!(
            datum_type.is_number(),
            "TreeEnsembleClassifier needs numeric input"
        );
        let rows = rows_with(&self.trees, shape, "TreeEnsembleClassifier")?;
        Ok(tvec![
            (self.labels.datum_type(), tvec![rows.clone()]),
            (DatumType::F32, tvec![rows, self.labels.len().to_dim()]),
        ])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (rows, _) = size(&inputs[0])?;
        let classes = self.labels.len();
        let goal = Goal {
            targets: classes,
            aggregate: Aggregate::Sum,
        };
        let mut winners = Vec::new();
        let scores = filled(&[rows, classes], |scores: &mut [f32]| {
            let mut outputs = RowOutputs {
                rule: &self.rule,
                winners: Vec::with_capacity(rows),
                scores,
            };
            self.trees.evaluate(&inputs[0], goal, &mut outputs)?;
            winners = outputs.winners;
            Ok(())
        })?;
        Ok(tvec![self.labels.tensor(winners.into_iter()), scores])
    }
}

/// Returns the number of rows of an input that has the columns that the trees need.
pub(super) fn rows_with(
    trees: &Trees,
    shape: &[tract_onnx::prelude::TDim],
    name: &str,
) -> TractResult<tract_onnx::prelude::TDim> {
    let (rows, columns) = rows_and_columns(shape)?;
    if let Some(columns) = columns.as_i64() {
        ensure!(
            usize::try_from(columns).is_ok_and(|columns| columns >= trees.features()),
            "{name} needs {} columns, but its input has {columns}",
            trees.features()
        );
    }
    Ok(rows)
}
