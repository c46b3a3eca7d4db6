//! The rules for the values of an input or output: a range, allowed values, and whether there may be missing ones.
//!
//! A missing value is NaN in a tensor of floats and an empty string in a BYTES tensor. `registry::quality_settings`
//! makes rules of the settings in model.toml.

use std::collections::BTreeSet;
use std::fmt;
use wisp_tensor::number::{from_numbers, numbers};
use wisp_tensor::sanitize::shorten;
use wisp_tensor::{ElementType, Shape, Tensor};

/// The maximum length of a value in an error, which may be the client's own text.
const MAX_VALUE_CHARS: usize = 64;

/// The maximum length of a list of allowed values in an error.
const MAX_LIST_CHARS: usize = 200;

/// The rules for a tensor. Lifetime: a model version.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorRules {
    /// The name of the input or output.
    pub name: String,
    /// The rule for each feature, or a single one for all elements.
    pub features: Vec<ValueRule>,
    /// The names of the features, if they have names.
    pub feature_names: Vec<String>,
}

/// The rule for the values of a feature. By default, every value is accepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ValueRule {
    /// The smallest accepted number, rounded to the type of the tensor.
    pub min: Option<f64>,
    /// The largest accepted number, rounded to the type of the tensor.
    pub max: Option<f64>,
    /// The accepted numbers, if only some are.
    pub numbers: Option<Vec<f64>>,
    /// The accepted texts, if only some are.
    pub texts: Option<BTreeSet<String>>,
    /// Set if missing values are rejected.
    pub rejects_nulls: bool,
    /// The accepted values, for errors.
    pub expected: String,
}

/// A value that a rule does not accept. The message names the tensor, and is for the client in case of an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleViolation {
    pub tensor: String,
    /// The position of the value, per axis.
    pub index: Vec<usize>,
    pub feature: Option<String>,
    pub value: String,
    pub expected: String,
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleViolation {
            tensor,
            index,
            feature,
            value,
            expected,
        } = self;
        write!(f, "`{tensor}` has {value} at {index:?}")?;
        if let Some(feature) = feature {
            write!(f, " (feature `{feature}`)")?;
        }
        write!(f, ", expected {expected}")
    }
}

// === impl TensorRules ===

impl TensorRules {
    /// Returns the first value that the rules do not accept, if there is one.
    pub fn violation(&self, tensor: &Tensor) -> Option<RuleViolation> {
        let element_type = tensor.element_type();
        let rules = self.features.iter().cycle();
        let (element, value, rule) = match element_type {
            ElementType::Bytes => {
                let mut checked = tensor.elements().zip(rules).enumerate();
                let (element, (text, rule)) =
                    checked.find(|(_, (text, rule))| !rule.has_text(text))?;
                (element, shown_text(text), rule)
            }
            _ => {
                let mut checked = numbers(tensor).zip(rules).enumerate();
                let (element, (number, rule)) =
                    checked.find(|(_, (number, rule))| !rule.has_number(*number))?;
                (element, shown_number(number, element_type), rule)
            }
        };
        let feature = element.checked_rem(self.features.len());
        let feature = feature.and_then(|feature| self.feature_names.get(feature));
        Some(RuleViolation {
            tensor: self.name.clone(),
            index: position(tensor.shape(), element),
            feature: feature.cloned(),
            value,
            expected: rule.expected.clone(),
        })
    }
}

// === impl ValueRule ===

impl ValueRule {
    /// Returns whether there is no value that the rule rejects.
    pub fn accepts_all(&self) -> bool {
        let is_limited = self.min.is_some() || self.max.is_some();
        let is_listed = self.numbers.is_some() || self.texts.is_some();
        !is_limited && !is_listed && !self.rejects_nulls
    }

    fn has_number(&self, number: f64) -> bool {
        if number.is_nan() {
            return !self.rejects_nulls;
        }
        self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
            && (self.numbers.as_ref()).is_none_or(|numbers| numbers.contains(&number))
    }

    fn has_text(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            return !self.rejects_nulls;
        }
        self.texts
            .as_ref()
            .is_none_or(|texts| std::str::from_utf8(text).is_ok_and(|text| texts.contains(text)))
    }
}

/// Returns the number that a tensor of this type of floats holds for `number`; any other number is returned as it is.
pub fn rounded(element_type: ElementType, number: f64) -> f64 {
    match element_type {
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 => {
            let tensor = Shape::new(vec![1])
                .ok()
                .and_then(|shape| from_numbers(element_type, shape, || number).ok());
            let rounded = tensor.and_then(|tensor| numbers(&tensor).next());
            rounded.unwrap_or(number)
        }
        _ => number,
    }
}

/// Returns a list of values for an error.
pub fn shown_list(values: &[String]) -> String {
    shorten(&values.join(", "), MAX_LIST_CHARS)
}

fn shown_text(text: &[u8]) -> String {
    if text.is_empty() {
        return "an empty string".to_owned();
    }
    let text = String::from_utf8_lossy(text);
    format!("\"{}\"", shorten(&text, MAX_VALUE_CHARS))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the number was a float of at most 32 bits before"
)]
fn shown_number(number: f64, element_type: ElementType) -> String {
    match element_type {
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 => format!("{:?}", number as f32),
        ElementType::Fp64 => format!("{number:?}"),
        _ => number.to_string(),
    }
}

/// Returns the position of an element, per axis.
fn position(shape: &Shape, element: usize) -> Vec<usize> {
    let mut rest = element;
    let mut position: Vec<usize> = Vec::new();
    for &size in shape.dimensions().iter().rev() {
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        position.push(rest % size);
        rest /= size;
    }
    position.reverse();
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(dimensions: &[u32], values: &[f64]) -> Tensor {
        let mut values = values.iter();
        let shape = Shape::new(dimensions.to_vec()).expect("a shape");
        let next = || *values.next().expect("enough values");
        from_numbers(ElementType::Fp32, shape, next).expect("a tensor")
    }

    fn range(min: f64, max: f64, rejects_nulls: bool) -> ValueRule {
        ValueRule {
            min: Some(rounded(ElementType::Fp32, min)),
            max: Some(rounded(ElementType::Fp32, max)),
            rejects_nulls,
            expected: format!("{min} to {max}"),
            ..ValueRule::default()
        }
    }

    #[test]
    fn the_first_value_out_of_range_is_named() {
        let rules = TensorRules {
            name: "x".to_owned(),
            features: vec![
                range(0.0, 1.0, true),
                ValueRule::default(),
                range(0.1, 0.3, false),
            ],
            feature_names: ["a", "b", "c"].map(ToOwned::to_owned).to_vec(),
        };
        let good = [0.0, 99.0, 0.1, 1.0, f64::NAN, 0.3, 0.5, -7.0, f64::NAN];
        assert_eq!(rules.violation(&floats(&[3, 3], &good)), None);
        let bad = [0.0, 99.0, 0.1, 1.0, 5.0, 0.31];
        let violation = rules.violation(&floats(&[2, 3], &bad)).expect("one");
        let expected = "`x` has 0.31 at [1, 2] (feature `c`), expected 0.1 to 0.3";
        assert_eq!(violation.to_string(), expected);
        let missing = rules.violation(&floats(&[1, 3], &[f64::NAN, 0.0, 0.2]));
        assert_eq!(missing.map(|found| found.value), Some("NaN".to_owned()));
        let infinite = rules.violation(&floats(&[3], &[f64::INFINITY, 0.0, 0.2]));
        assert_eq!(infinite.map(|found| found.index), Some(vec![0]));
    }

    #[test]
    fn texts_are_allowed_one_by_one() {
        let texts = ["red", "green"].map(ToOwned::to_owned);
        let mut rules = TensorRules {
            name: "color".to_owned(),
            features: vec![ValueRule {
                texts: Some(texts.into()),
                expected: "one of red, green".to_owned(),
                ..ValueRule::default()
            }],
            feature_names: Vec::new(),
        };
        let tensor = |texts: &[&[u8]]| Tensor::from_elements(texts.iter().copied()).expect("one");
        assert_eq!(rules.violation(&tensor(&[b"red", b"", b"green"])), None);
        let violation = rules.violation(&tensor(&[b"red", b"blue\n\xff"]));
        let text = violation.expect("one").to_string();
        let expected = "`color` has \"blue \u{fffd}\" at [1], expected one of red, green";
        assert_eq!(text, expected);
        rules.features[0].rejects_nulls = true;
        let violation = rules.violation(&tensor(&[b""])).expect("one");
        assert_eq!(violation.value, "an empty string");
    }

    #[test]
    fn numbers_are_shown_as_their_type_holds_them() {
        let number = |element_type, value| shown_number(rounded(element_type, value), element_type);
        assert_eq!(number(ElementType::Fp32, 0.1), "0.1");
        assert_eq!(number(ElementType::Fp64, 1e300), "1e300");
        assert_eq!(number(ElementType::Int64, 5.0), "5");
    }
}
