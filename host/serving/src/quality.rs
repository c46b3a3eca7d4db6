//! The quality of the data of a version: rules for its inputs and outputs, and the drift of its inputs.
//!
//! [`rules`] accept or reject values. A [`baseline`] has the [`distribution`] of each feature in the data
//! of the training; [`drift`] keeps a [`window`] over the last observations of each, and compares them by the
//! population stability index ([`psi`]) and the statistic of [`kolmogorov_smirnov`]. A version without rules and
//! without a baseline has no [`Quality`], and costs nothing. Invariant: no data changes a request or a response.

pub mod baseline;
pub mod distribution;
pub mod drift;
pub mod kolmogorov_smirnov;
pub mod psi;
pub mod rules;
pub mod window;

use baseline::Baseline;
use drift::Drift;
use rules::{RuleViolation, TensorRules};
use std::sync::atomic::{AtomicU64, Ordering};
use wisp_protocol::statistics::DataQuality;
use wisp_tensor::NamedTensor;

/// The rules and the baseline of a version. Lifetime: a model version.
#[derive(Debug, Default)]
pub struct Quality {
    inputs: Vec<TensorRules>,
    outputs: Vec<OutputRules>,
    drift: Option<Drift>,
    /// The number of requests with an input that the rules reject.
    rejected_inputs: AtomicU64,
    /// The number of responses with an output that the rules do not accept.
    output_violations: AtomicU64,
}

/// The rules for an output.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputRules {
    pub rules: TensorRules,
    /// Set if a violation is an error; otherwise it is counted.
    pub rejects: bool,
}

impl Quality {
    /// Returns the quality with these rules and this baseline; `None` if there are none.
    pub fn new(
        inputs: Vec<TensorRules>,
        outputs: Vec<OutputRules>,
        baseline: Option<Baseline>,
    ) -> Option<Quality> {
        let is_empty = inputs.is_empty() && outputs.is_empty() && baseline.is_none();
        (!is_empty).then(|| Quality {
            inputs,
            outputs,
            drift: baseline.map(Drift::new),
            ..Quality::default()
        })
    }

    /// Returns the baseline, if there is one.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.drift.as_ref().map(Drift::baseline)
    }

    /// Checks the inputs of a request, and observes them if they are accepted.
    pub fn check_inputs(&self, inputs: &[NamedTensor]) -> Result<(), RuleViolation> {
        for rules in &self.inputs {
            if let Some(violation) = violation(rules, inputs) {
                self.rejected_inputs.fetch_add(1, Ordering::Relaxed);
                return Err(violation);
            }
        }
        if let Some(drift) = &self.drift {
            drift.observe(inputs);
        }
        Ok(())
    }

    /// Checks the outputs of a response. The first violation that is not an error is logged, and all are counted.
    pub fn check_outputs(&self, outputs: &[NamedTensor]) -> Result<(), RuleViolation> {
        let mut is_counted = false;
        for OutputRules { rules, rejects } in &self.outputs {
            let Some(violation) = violation(rules, outputs) else {
                continue;
            };
            let before = match is_counted {
                false => self.output_violations.fetch_add(1, Ordering::Relaxed),
                true => 1,
            };
            is_counted = true;
            if *rejects {
                return Err(violation);
            }
            if before == 0 {
                tracing::warn!("output {violation}; further violations are only counted");
            }
        }
        Ok(())
    }

    /// Compares the observed inputs with the baseline.
    pub fn report(&self) -> DataQuality {
        let drift = self.drift.as_ref();
        DataQuality {
            window: drift.map(|drift| u64::try_from(drift.baseline().window).unwrap_or(u64::MAX)),
            rejected_inputs: self.rejected_inputs.load(Ordering::Relaxed),
            output_violations: self.output_violations.load(Ordering::Relaxed),
            inputs: drift.map(Drift::report).unwrap_or_default(),
        }
    }
}

/// Returns the first value that the rules for a tensor do not accept. A tensor that is absent has none.
fn violation(rules: &TensorRules, tensors: &[NamedTensor]) -> Option<RuleViolation> {
    let named = tensors.iter().find(|named| named.name == rules.name)?;
    rules.violation(&named.tensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::rules::ValueRule;
    use wisp_tensor::number::from_numbers;
    use wisp_tensor::{ElementType, Shape};

    fn named(name: &str, value: f64) -> NamedTensor {
        let shape = Shape::new(vec![1]).expect("a shape");
        NamedTensor {
            name: name.to_owned(),
            tensor: from_numbers(ElementType::Fp64, shape, || value).expect("a tensor"),
        }
    }

    fn at_most_one(name: &str) -> TensorRules {
        TensorRules {
            name: name.to_owned(),
            features: vec![ValueRule {
                max: Some(1.0),
                expected: "at most 1".to_owned(),
                ..ValueRule::default()
            }],
            feature_names: Vec::new(),
        }
    }

    #[test]
    fn a_version_without_rules_and_baseline_has_no_quality() {
        assert!(Quality::new(Vec::new(), Vec::new(), None).is_none());
    }

    #[test]
    fn violations_are_rejected_or_counted() {
        let warn = OutputRules {
            rules: at_most_one("y"),
            rejects: false,
        };
        let reject = OutputRules {
            rules: at_most_one("z"),
            rejects: true,
        };
        let quality = Quality::new(vec![at_most_one("x")], vec![warn, reject], None);
        let quality = quality.expect("there are rules");
        assert_eq!(
            quality.check_inputs(&[named("x", 1.0), named("w", 2.0)]),
            Ok(())
        );
        let error = quality
            .check_inputs(&[named("x", 2.0)])
            .expect_err("too large");
        assert_eq!(error.to_string(), "`x` has 2.0 at [0], expected at most 1");
        assert_eq!(
            quality.check_outputs(&[named("y", 2.0), named("z", 1.0)]),
            Ok(())
        );
        assert!(
            quality
                .check_outputs(&[named("y", 2.0), named("z", 2.0)])
                .is_err()
        );
        let report = quality.report();
        assert_eq!(report.rejected_inputs, 1);
        assert_eq!(report.output_violations, 2);
        assert_eq!(report.window, None);
        assert!(report.inputs.is_empty());
    }
}
