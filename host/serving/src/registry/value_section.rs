//! The parts of the settings in `model.toml` that concern the values of inputs and outputs.
//!
//! These are the definitions of the keys; `quality_settings` makes rules of them.

use serde::Deserialize;

/// The rules for a feature of an input, which take precedence over the rules of the input.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureSection {
    /// The smallest value.
    pub min: Option<f64>,
    /// The largest value.
    pub max: Option<f64>,
    /// The policy for missing values; by default they are rejected if other values are limited.
    pub nulls: Option<NullPolicy>,
    /// The only values that are accepted.
    pub allowed: Option<Vec<AllowedValue>>,
}

/// The policy for missing values: NaN in a tensor of floats, an empty string in a BYTES tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullPolicy {
    Reject,
    Allow,
}

/// A value that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected an integer or a string")]
pub enum AllowedValue {
    Integer(i64),
    Text(String),
}

/// The handling of a response with an output outside of its range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnViolation {
    /// The client gets an error.
    #[default]
    Reject,
    /// The client gets the response, and the violation is counted.
    Warn,
}
