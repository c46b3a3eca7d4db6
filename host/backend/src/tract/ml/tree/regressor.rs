//! `TreeEnsembleRegressor`, and `TreeEnsemble`, which differs only in its attributes.

use super::super::attribute;
use super::super::operator::{Built, Fact, Kernel, built, filled, size};
use super::super::post_transform::PostTransform;
use super::classifier::rows_with;
use super::flat::Number;
use super::parse::Forest;
use super::walk::{Aggregate, Finish, Goal, Score, Trees};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, ToDim, TractResult, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct TreeEnsembleRegressor {
    name: &'static str,
    trees: Trees,
    rule: Rule,
    output: Output,
}

/// The type of the output.
#[derive(Debug, Clone, Copy)]
enum Output {
    Float,
    /// The type of the input, for `TreeEnsemble`.
    AsInput,
}

/// The rule that turns scores into outputs.
struct Rule {
    goal: Goal,
    base_values: Vec<f64>,
    transform: PostTransform,
    trees: usize,
}

/// The maximum number of targets. No real model has more.
const MAX_TARGETS: usize = 1 << 16;

pub(in super::super) fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let targets = targets(node)?;
    let aggregate = match node.get_attr_opt::<&str>("aggregate_function")? {
        None | Some("SUM") => Aggregate::Sum,
        Some("AVERAGE") => Aggregate::Average,
        Some("MIN") => Aggregate::Min,
        Some("MAX") => Aggregate::Max,
        Some(other) => {
            return node.bail_attr("aggregate_function", &format!("unknown value `{other}`"));
        }
    };
    let forest = Forest::parse(context, node, "target", targets)?;
    let (base_values, _) = attribute::doubles(context, node, "base_values")?;
    let fits = base_values.is_empty() || base_values.len() == targets;
    node.expect_attr("base_values", fits, || {
        format!("{targets} entries, got {}", base_values.len())
    })?;
    let trees = Trees::new(node, &forest)?;
    let rule = Rule {
        goal: Goal { targets, aggregate },
        base_values,
        transform: PostTransform::parse(node)?,
        trees: trees.len(),
    };
    built(
        node,
        TreeEnsembleRegressor {
            name: "TreeEnsembleRegressor",
            trees,
            rule,
            output: Output::Float,
        },
    )
}

pub(in super::super) fn build_ensemble(context: &ParsingContext, node: &NodeProto) -> Built {
    let targets = targets(node)?;
    let aggregate = match node.get_attr_opt::<i64>("aggregate_function")?.unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return node.bail_attr("aggregate_function", &format!("unknown value {other}")),
    };
    let forest = Forest::parse_lists(context, node, targets)?;
    let trees = Trees::new(node, &forest)?;
    let rule = Rule {
        goal: Goal { targets, aggregate },
        base_values: vec![],
        transform: PostTransform::from_number(node)?,
        trees: trees.len(),
    };
    built(
        node,
        TreeEnsembleRegressor {
            name: "TreeEnsemble",
            trees,
            rule,
            output: Output::AsInput,
        },
    )
}

fn targets(node: &NodeProto) -> TractResult<usize> {
    let targets = node.get_attr_opt::<i64>("n_targets")?.unwrap_or(1);
    match usize::try_from(targets) {
        Ok(targets @ 1..=MAX_TARGETS) => Ok(targets),
        _ => node.bail_attr(
            "n_targets",
            &format!("{targets} is not a number of targets"),
        ),
    }
}

struct RowOutputs<'a> {
    rule: &'a Rule,
    outputs: &'a mut [f32],
}

impl Finish for RowOutputs<'_> {
    fn finish<T: Number>(&mut self, row: usize, scores: &mut [Score<T>]) {
        let Goal { targets, aggregate } = self.rule.goal;
        let output = &mut self.outputs[row * targets..][..targets];
        for (position, (to, score)) in output.iter_mut().zip(scores).enumerate() {
            if aggregate == Aggregate::Average {
                score.value = score.value.divide(self.rule.trees);
            }
            let base = self.rule.base_values.get(position).copied().unwrap_or(0.0);
            score.value = score.value.add(T::from_f64(base));
            // A target without a leaf in the row is zero even with a base value, unless it is the
            // only target, as in onnxruntime.
            score.present |= targets == 1;
            *to = score.or_zero();
        }
        self.rule.transform.apply(output);
    }
}

impl Kernel for TreeEnsembleRegressor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("{} takes one input", self.name);
        };
        ensure!(datum_type.is_number(), "{} needs numeric input", self.name);
        let rows = rows_with(&self.trees, shape, self.name)?;
        let datum_type = match self.output {
            Output::Float => DatumType::F32,
            Output::AsInput => *datum_type,
        };
        Ok(tvec![(
            datum_type,
            tvec![rows, self.rule.goal.targets.to_dim()]
        )])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (rows, _) = size(&inputs[0])?;
        let goal = self.rule.goal;
        let outputs = filled(&[rows, goal.targets], |outputs: &mut [f32]| {
            let mut outputs = RowOutputs {
                rule: &self.rule,
                outputs,
            };
            self.trees.evaluate(&inputs[0], goal, &mut outputs)
        })?;
        Ok(tvec![match self.output {
            Output::Float => outputs,
            Output::AsInput => outputs.cast_to_dt(inputs[0].datum_type())?.into_owned(),
        }])
    }
}
