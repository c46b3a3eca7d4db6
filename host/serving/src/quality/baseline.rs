//! The baseline of a version: the distributions of the features of its inputs in the data it was trained with.
//!
//! A feature is a column of an input of shape `[rows, n]` or an element of an input of shape `[n]`, with n fixed. Any
//! other input, and one with more than [`MAX_FEATURES`] columns, is a single feature with all of its elements.
//! `registry::baseline_file` reads and writes baselines.

use crate::quality::distribution::Distribution;
use wisp_tensor::{Dimension, ElementType, Signature, TensorSpec};

/// The maximum number of features of a baseline.
pub const MAX_FEATURES: usize = 1024;

/// The default number of observations in the window of a feature.
pub const DEFAULT_WINDOW: usize = 10_000;

/// The smallest number of observations in a window: fewer show no distribution.
pub const MIN_WINDOW: usize = 100;

/// The largest number of observations in a window.
pub const MAX_WINDOW: usize = 1_000_000;

/// The largest number of observations in all windows of a version, which take two bytes each.
pub const MAX_OBSERVATIONS: usize = 16 << 20;

/// A baseline. Lifetime: a model version.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// The number of observations that are compared with it.
    pub window: usize,
    pub inputs: Vec<InputBaseline>,
}

/// The baseline of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputBaseline {
    pub name: String,
    pub element_type: ElementType,
    /// The features in order, at least one.
    pub features: Vec<FeatureBaseline>,
}

/// The baseline of a feature.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureBaseline {
    pub name: Option<String>,
    /// The number of missing values, which are not part of the distribution.
    pub missing: u64,
    pub distribution: Distribution,
}

impl Baseline {
    /// Returns the number of features of all inputs.
    pub fn features(&self) -> usize {
        self.inputs.iter().map(|input| input.features.len()).sum()
    }

    /// Returns the reason that the distributions, the window or their numbers cannot be used, if they cannot.
    pub fn problem(&self) -> Option<String> {
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&self.window) {
            return Some(format!(
                "its window is {}, expected {MIN_WINDOW} to {MAX_WINDOW}",
                self.window
            ));
        }
        let features = self.features();
        if features == 0 || features > MAX_FEATURES {
            return Some(format!(
                "it has {features} features, expected 1 to {MAX_FEATURES}"
            ));
        }
        if features.saturating_mul(self.window) > MAX_OBSERVATIONS {
            return Some(format!(
                "the windows of its {features} features have more than {MAX_OBSERVATIONS} observations together"
            ));
        }
        for input in &self.inputs {
            for (position, feature) in input.features.iter().enumerate() {
                let is_text = matches!(feature.distribution, Distribution::Categorical(_));
                let problem = match is_text == (input.element_type == ElementType::Bytes) {
                    true => feature.distribution.problem(),
                    false => Some("its distribution belongs to another type"),
                };
                if let Some(problem) = problem {
                    return Some(format!(
                        "feature {position} of input `{}`: {problem}",
                        input.name
                    ));
                }
            }
        }
        None
    }

    /// Returns the difference between the inputs of the baseline and of a version, if there is one.
    pub fn mismatch(&self, signature: &Signature) -> Option<String> {
        for input in &self.inputs {
            let InputBaseline {
                name,
                element_type,
                features,
            } = input;
            let mut specs = signature.inputs.iter();
            let Some(spec) = specs.find(|spec| spec.name == *name) else {
                return Some(format!("the model has no input `{name}`"));
            };
            if spec.element_type != *element_type {
                return Some(format!(
                    "input `{name}` is {}, and {element_type} in the baseline",
                    spec.element_type
                ));
            }
            let (actual, expected) = (features.len(), feature_count(spec));
            if actual != expected {
                return Some(format!(
                    "input `{name}` has {expected} features, and {actual} in the baseline"
                ));
            }
        }
        None
    }
}

/// Returns the number of features of an input.
pub fn feature_count(spec: &TensorSpec) -> usize {
    let columns = match spec.shape.as_slice() {
        [Dimension::Fixed(columns)] | [_, Dimension::Fixed(columns)] => *columns,
        _ => 1,
    };
    match usize::try_from(columns) {
        Ok(columns) if (1..=MAX_FEATURES).contains(&columns) => columns,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::distribution::{MAX_POINTS, NumericDistribution};

    fn spec(name: &str, shape: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Fp32,
            shape: (shape.iter().filter_map(|&size| Dimension::from_wire(size))).collect(),
            optional: false,
        }
    }

    fn baseline(features: usize) -> Baseline {
        let distribution = NumericDistribution::of(vec![1.0, 2.0], MAX_POINTS).expect("values");
        let feature = FeatureBaseline {
            name: None,
            missing: 0,
            distribution: Distribution::Numeric(distribution),
        };
        Baseline {
            window: DEFAULT_WINDOW,
            inputs: vec![InputBaseline {
                name: "x".to_owned(),
                element_type: ElementType::Fp32,
                features: vec![feature; features],
            }],
        }
    }

    #[test]
    fn the_columns_of_a_table_are_features_and_other_inputs_are_one() {
        for (shape, features) in [
            (&[-1, 13][..], 13),
            (&[1, 13], 13),
            (&[13], 13),
            (&[-1], 1),
            (&[], 1),
            (&[-1, -1], 1),
            (&[-1, 0], 1),
            (&[-1, 1024], 1024),
            (&[-1, 1025], 1),
            (&[-1, 3, 224, 224], 1),
        ] {
            assert_eq!(feature_count(&spec("x", shape)), features, "{shape:?}");
        }
    }

    #[test]
    fn a_baseline_of_other_inputs_is_found_out() {
        let signature = |name: &str, shape: &[i64]| Signature {
            inputs: vec![spec(name, shape)],
            outputs: Vec::new(),
        };
        let baseline = baseline(2);
        assert_eq!(baseline.problem(), None);
        assert_eq!(baseline.mismatch(&signature("x", &[-1, 2])), None);
        for (other, expected) in [
            (signature("y", &[-1, 2]), "the model has no input `x`"),
            (signature("x", &[-1, 3]), "has 3 features, and 2 in"),
        ] {
            let found = baseline.mismatch(&other).expect("a mismatch");
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn the_memory_of_the_windows_is_bounded() {
        assert!(baseline(0).problem().is_some());
        assert!(baseline(MAX_FEATURES).problem().is_none());
        assert!(baseline(MAX_FEATURES + 1).problem().is_some());
        for (features, window) in [(1, 99), (1, MAX_WINDOW + 1), (17, MAX_WINDOW)] {
            let baseline = Baseline {
                window,
                ..baseline(features)
            };
            assert!(baseline.problem().is_some(), "{features} {window}");
        }
    }
}
