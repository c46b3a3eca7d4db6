//! Makes rules of the settings for inputs and outputs in `model.toml`, and checks them against the signature.

use crate::quality::OutputRules;
use crate::quality::baseline::feature_count;
use crate::quality::rules::{TensorRules, ValueRule, rounded, shown_list};
use crate::registry::model_file::{FILE_NAME, InputSection, ModelFile, OutputSection};
use crate::registry::value_section::{AllowedValue, FeatureSection, NullPolicy, OnViolation};
use std::collections::BTreeSet;
use wisp_tensor::{ElementType, Signature, TensorSpec};

/// The end of the integers that are exact as floats.
const INTEGERS: u64 = 1 << 53;

/// The reason that a setting for the values of an input or output cannot be used. It names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} in {FILE_NAME} {reason}")]
pub struct QualitySettingsError {
    key: String,
    reason: String,
}

/// Returns the rules for inputs.
pub(crate) fn input_rules(
    model_file: &ModelFile,
    signature: &Signature,
) -> Result<Vec<TensorRules>, QualitySettingsError> {
    let mut rules = Vec::new();
    for (name, section) in &model_file.inputs {
        if has_rules(section) {
            let table = format!("inputs.{name}");
            let spec = find(&signature.inputs, name, &table)?;
            let input = of_input(section, spec, &table)?;
            // Names alone are for the baseline.
            if !input.features.iter().all(ValueRule::accepts_all) {
                rules.push(input);
            }
        }
    }
    Ok(rules)
}

/// Returns the rules for outputs.
pub(crate) fn output_rules(
    model_file: &ModelFile,
    signature: &Signature,
) -> Result<Vec<OutputRules>, QualitySettingsError> {
    let mut rules = Vec::new();
    for (name, section) in &model_file.outputs {
        let OutputSection {
            labels: _,
            min,
            max,
            nulls,
            on_violation,
        } = section;
        let table = format!("outputs.{name}");
        let own = FeatureSection {
            min: *min,
            max: *max,
            nulls: *nulls,
            allowed: None,
        };
        let warns = *on_violation == OnViolation::Warn;
        match (own == FeatureSection::default(), warns) {
            (true, false) => continue,
            (true, true) => {
                let reason = "has no effect without `min`, `max` or `nulls`";
                return Err(error(&table, "on_violation", reason));
            }
            (false, _) => {}
        }
        let spec = find(&signature.outputs, name, &table)?;
        rules.push(OutputRules {
            rules: TensorRules {
                name: name.clone(),
                features: vec![rule(&own, spec.element_type, &table)?],
                feature_names: Vec::new(),
            },
            rejects: !warns,
        });
    }
    Ok(rules)
}

fn has_rules(section: &InputSection) -> bool {
    own_section(section) != FeatureSection::default()
        || !section.features.is_empty()
        || !section.feature_names.is_empty()
}

/// Returns the settings of an input that are for each of its features.
fn own_section(section: &InputSection) -> FeatureSection {
    FeatureSection {
        min: section.min,
        max: section.max,
        nulls: section.nulls,
        allowed: section.allowed.clone(),
    }
}

fn of_input(
    section: &InputSection,
    spec: &TensorSpec,
    table: &str,
) -> Result<TensorRules, QualitySettingsError> {
    let count = feature_count(spec);
    let names = &section.feature_names;
    if !names.is_empty() && names.len() != count {
        let reason = format!(
            "has {} names, and the input has {count} features",
            names.len()
        );
        return Err(error(table, "feature_names", &reason));
    }
    let distinct: BTreeSet<&String> = names.iter().collect();
    if distinct.len() != names.len() {
        return Err(error(table, "feature_names", "has a name twice"));
    }
    let own = own_section(section);
    let common = rule(&own, spec.element_type, table)?;
    let mut features = match section.features.is_empty() {
        true => vec![common],
        false => vec![common; count],
    };
    for (name, feature) in &section.features {
        let named = names.iter().position(|other| other == name);
        let position = named.or_else(|| name.parse::<usize>().ok());
        let table = format!("{table}.features.{name}");
        let Some(place) = position.and_then(|position| features.get_mut(position)) else {
            let known = match names.is_empty() {
                true => format!("0 to {}", count.saturating_sub(1)),
                false => shown_list(names),
            };
            return Err(QualitySettingsError {
                key: table,
                reason: format!(
                    "is no feature of the input, expected one of: {known}; `feature_names` names them"
                ),
            });
        };
        let merged = FeatureSection {
            min: feature.min.or(own.min),
            max: feature.max.or(own.max),
            nulls: feature.nulls.or(own.nulls),
            allowed: feature.allowed.clone().or_else(|| own.allowed.clone()),
        };
        *place = rule(&merged, spec.element_type, &table)?;
    }
    Ok(TensorRules {
        name: spec.name.clone(),
        features,
        feature_names: names.clone(),
    })
}

/// Returns the rule of a section for tensors of this type.
fn rule(
    section: &FeatureSection,
    element_type: ElementType,
    table: &str,
) -> Result<ValueRule, QualitySettingsError> {
    let FeatureSection {
        min,
        max,
        nulls,
        allowed,
    } = section;
    let is_text = element_type == ElementType::Bytes;
    for (key, bound) in [("min", min), ("max", max)] {
        match bound {
            Some(_) if is_text => {
                return Err(error(
                    table,
                    key,
                    "is a number, and the type is BYTES: use `allowed`",
                ));
            }
            Some(bound) if bound.is_nan() => return Err(error(table, key, "is not a number")),
            _ => {}
        }
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let reason = format!("is {min}, which is above `max`, {max}");
        return Err(error(table, "min", &reason));
    }
    let (numbers, texts) = match allowed {
        None => (None, None),
        Some(allowed) if allowed.is_empty() => {
            return Err(error(
                table,
                "allowed",
                "is empty, so that no value is accepted",
            ));
        }
        Some(allowed) if is_text => (None, Some(allowed_texts(allowed, table)?)),
        Some(allowed) => (Some(allowed_numbers(allowed, table)?), None),
    };
    let is_limited = min.is_some() || max.is_some() || allowed.is_some();
    let rejects_nulls = match nulls {
        Some(NullPolicy::Reject) => true,
        Some(NullPolicy::Allow) => false,
        None => is_limited,
    };
    Ok(ValueRule {
        min: min.map(|min| rounded(element_type, min)),
        max: max.map(|max| rounded(element_type, max)),
        numbers,
        texts,
        rejects_nulls,
        expected: expected(section, is_text),
    })
}

/// Returns the accepted values, for errors.
fn expected(section: &FeatureSection, is_text: bool) -> String {
    let range = match (section.min, section.max) {
        (Some(min), Some(max)) => Some(format!("{} to {}", shown_bound(min), shown_bound(max))),
        (Some(min), None) => Some(format!("at least {}", shown_bound(min))),
        (None, Some(max)) => Some(format!("at most {}", shown_bound(max))),
        (None, None) => None,
    };
    let allowed = section.allowed.as_ref().map(|allowed| {
        let values: Vec<String> = allowed.iter().map(AllowedValue::to_string).collect();
        format!("one of {}", shown_list(&values))
    });
    match (range, allowed) {
        (Some(range), Some(allowed)) => format!("{range}, and {allowed}"),
        (Some(expected), None) | (None, Some(expected)) => expected,
        (None, None) if is_text => "a text that is not empty".to_owned(),
        (None, None) => "a number".to_owned(),
    }
}

/// Returns a bound as its author would write it.
fn shown_bound(bound: f64) -> String {
    match bound.fract() == 0.0 && bound.abs() < 1e15 {
        true => bound.to_string(),
        false => format!("{bound:?}"),
    }
}

fn allowed_texts(
    allowed: &[AllowedValue],
    table: &str,
) -> Result<BTreeSet<String>, QualitySettingsError> {
    let texts = allowed.iter().map(|value| match value {
        AllowedValue::Text(text) => Ok(text.clone()),
        AllowedValue::Integer(number) => {
            let reason = format!("has the number {number}, and the type is BYTES");
            Err(error(table, "allowed", &reason))
        }
    });
    texts.collect()
}

fn allowed_numbers(
    allowed: &[AllowedValue],
    table: &str,
) -> Result<Vec<f64>, QualitySettingsError> {
    let numbers = allowed.iter().map(|value| match value {
        AllowedValue::Integer(number) if number.unsigned_abs() < INTEGERS => Ok(*number as f64),
        AllowedValue::Integer(number) => {
            let reason = format!("has {number}, expected integers between -2^53 and 2^53");
            Err(error(table, "allowed", &reason))
        }
        AllowedValue::Text(text) => {
            let reason = format!("has the string \"{text}\", and the type is not BYTES");
            Err(error(table, "allowed", &reason))
        }
    });
    numbers.collect()
}

fn find<'s>(
    specs: &'s [TensorSpec],
    name: &str,
    table: &str,
) -> Result<&'s TensorSpec, QualitySettingsError> {
    let found = specs.iter().find(|spec| spec.name == name);
    found.ok_or_else(|| {
        let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        QualitySettingsError {
            key: table.to_owned(),
            reason: format!(
                "is for a tensor that the model does not have, expected one of: {}",
                shown_list(&names)
            ),
        }
    })
}

fn error(table: &str, key: &str, reason: &str) -> QualitySettingsError {
    QualitySettingsError {
        key: format!("{table}.{key}"),
        reason: reason.to_owned(),
    }
}

impl std::fmt::Display for AllowedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AllowedValue::Integer(number) => write!(f, "{number}"),
            AllowedValue::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::Dimension;

    fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            element_type,
            shape: (shape.iter().filter_map(|&size| Dimension::from_wire(size))).collect(),
            optional: false,
        }
    }

    fn signature() -> Signature {
        Signature {
            inputs: vec![
                spec("x", ElementType::Fp32, &[-1, 3]),
                spec("n", ElementType::Int64, &[-1]),
                spec("text", ElementType::Bytes, &[-1]),
            ],
            outputs: vec![spec("y", ElementType::Fp32, &[-1])],
        }
    }

    fn inputs(text: &str) -> anyhow::Result<Result<Vec<TensorRules>, QualitySettingsError>> {
        Ok(input_rules(&toml::from_str(text)?, &signature()))
    }

    #[test]
    fn a_feature_has_its_own_rule_or_that_of_its_input() -> anyhow::Result<()> {
        let text = "[inputs.x]\nfeature_names = ['a', 'b', 'c']\nmin = 0\nnulls = 'allow'\n\
                    [inputs.x.features]\na = { max = 0.1 }\n2 = { min = -5, nulls = 'reject' }";
        let rules = inputs(text)??;
        let [rules] = rules.as_slice() else {
            anyhow::bail!("{rules:?}");
        };
        let [a, b, c] = rules.features.as_slice() else {
            anyhow::bail!("{rules:?}");
        };
        assert_eq!((a.min, a.max), (Some(0.0), Some(f64::from(0.1f32))));
        assert_eq!(a.expected, "0 to 0.1");
        assert_eq!((b.min, b.max, b.rejects_nulls), (Some(0.0), None, false));
        assert_eq!((c.min, c.rejects_nulls), (Some(-5.0), true));
        // Sections with other settings only are no rules.
        assert!(inputs("[inputs.graph_input]\nshape = [1]")??.is_empty());
        Ok(())
    }

    #[test]
    fn missing_values_are_rejected_where_others_are_limited() -> anyhow::Result<()> {
        for (text, rejects) in [
            ("min = 0", true),
            ("allowed = [1]", true),
            ("min = 0\nnulls = 'allow'", false),
            ("nulls = 'reject'", true),
        ] {
            let rules = inputs(&format!("[inputs.x]\n{text}"))??;
            assert_eq!(rules[0].features[0].rejects_nulls, rejects, "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() -> anyhow::Result<()> {
        for (text, expected) in [
            (
                "[inputs.z]\nmin = 0",
                "inputs.z in model.toml is for a tensor",
            ),
            (
                "[inputs.x]\nmin = 2\nmax = 1",
                "inputs.x.min in model.toml is 2, ",
            ),
            (
                "[inputs.x]\nmin = nan",
                "inputs.x.min in model.toml is not a number",
            ),
            (
                "[inputs.text]\nmax = 1",
                "inputs.text.max in model.toml is a number, ",
            ),
            (
                "[inputs.text]\nallowed = [1]",
                "inputs.text.allowed in model.toml has the number 1",
            ),
            (
                "[inputs.n]\nallowed = ['a']",
                "inputs.n.allowed in model.toml has the string",
            ),
            (
                "[inputs.n]\nallowed = []",
                "inputs.n.allowed in model.toml is empty",
            ),
            (
                "[inputs.n]\nallowed = [9007199254740992]",
                "inputs.n.allowed in model.toml has 900",
            ),
            (
                "[inputs.x]\nfeature_names = ['a']",
                "inputs.x.feature_names in model.toml has 1",
            ),
            (
                "[inputs.x]\nfeature_names = ['a', 'b', 'a']",
                "inputs.x.feature_names in model.toml has a",
            ),
            (
                "[inputs.x.features.d]\nmin = 1",
                "inputs.x.features.d in model.toml is no feature",
            ),
            (
                "[inputs.x.features.3]\nmin = 1",
                "inputs.x.features.3 in model.toml is no feature",
            ),
            (
                "[inputs.x.features.1]\nmin = 2\nmax = 1",
                "inputs.x.features.1.min in model.toml is 2",
            ),
        ] {
            let error = inputs(text)?.expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        Ok(())
    }

    #[test]
    fn outputs_are_rejected_or_warned_about() -> anyhow::Result<()> {
        let outputs = |text: &str| {
            let file: ModelFile = toml::from_str(text)?;
            anyhow::Ok(output_rules(&file, &signature()))
        };
        let rules = outputs("[outputs.y]\nmin = 0\nmax = 1")??;
        assert!(rules[0].rejects && rules[0].rules.features[0].rejects_nulls);
        let rules = outputs("[outputs.y]\nnulls = 'reject'\non_violation = 'warn'")??;
        assert!(!rules[0].rejects);
        assert!(outputs("[outputs.y]\nlabels = 'labels.txt'")??.is_empty());
        for text in ["[outputs.z]\nmin = 0", "[outputs.y]\non_violation = 'warn'"] {
            assert!(outputs(text)?.is_err(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn the_accepted_values_are_shown() -> anyhow::Result<()> {
        for (text, expected) in [
            ("[inputs.x]\nmin = 1.5", "at least 1.5"),
            ("[inputs.x]\nmax = 1e30", "at most 1e30"),
            (
                "[inputs.n]\nmin = 1\nallowed = [1, 2]",
                "at least 1, and one of 1, 2",
            ),
            ("[inputs.text]\nallowed = ['a', 'b']", "one of a, b"),
            (
                "[inputs.text]\nnulls = 'reject'",
                "a text that is not empty",
            ),
            ("[inputs.x]\nnulls = 'reject'", "a number"),
        ] {
            assert_eq!(inputs(text)??[0].features[0].expected, expected, "{text}");
        }
        Ok(())
    }
}
