//! The settings of a handler in `model.toml`, as values that handlers can read.
//!
//! A setting is a string, a number, a boolean or an array of one of these types. Anything else is an error
//! with the setting's key, since a handler could not read it.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use toml::Value;
use wisp_sandbox::configuration::ConfigValue;

/// Reads the table of settings.
pub(super) fn values<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ConfigValue>, D::Error> {
    let table = toml::Table::deserialize(deserializer)?;
    let values = table.into_iter().map(|(key, value)| match convert(value) {
        Ok(value) => Ok((key, value)),
        Err(kind) => Err(D::Error::custom(format!(
            "handler.config.{key} is {kind}: expected a string, a number, a boolean or an array of one of them"
        ))),
    });
    values.collect()
}

/// Converts a value, or returns a description of its type.
fn convert(value: Value) -> Result<ConfigValue, &'static str> {
    match value {
        Value::String(value) => Ok(ConfigValue::String(value)),
        Value::Integer(value) => Ok(ConfigValue::Integer(value)),
        Value::Float(value) => Ok(ConfigValue::Float(value)),
        Value::Boolean(value) => Ok(ConfigValue::Bool(value)),
        Value::Array(elements) => array(&elements),
        Value::Datetime(_) => Err("a date or time"),
        Value::Table(_) => Err("a table"),
    }
}

fn array(elements: &[Value]) -> Result<ConfigValue, &'static str> {
    let string = |element: &Value| element.as_str().map(str::to_owned);
    // An empty array is one of strings.
    if let Some(strings) = elements.iter().map(string).collect::<Option<Vec<_>>>() {
        return Ok(ConfigValue::Strings(strings));
    }
    if let Some(bools) = elements
        .iter()
        .map(Value::as_bool)
        .collect::<Option<Vec<_>>>()
    {
        return Ok(ConfigValue::Bools(bools));
    }
    if let Some(integers) = elements
        .iter()
        .map(Value::as_integer)
        .collect::<Option<Vec<_>>>()
    {
        return Ok(ConfigValue::Integers(integers));
    }
    let number = |element: &Value| match element {
        Value::Float(value) => Some(*value),
        Value::Integer(value) => Some(*value as f64),
        _ => None,
    };
    match elements.iter().map(number).collect::<Option<Vec<_>>>() {
        Some(floats) => Ok(ConfigValue::Floats(floats)),
        None => Err("an array of something else"),
    }
}

#[cfg(test)]
mod tests {
    use crate::registry::model_file::{FILE_NAME, ModelFile, ModelFileError};
    use std::collections::BTreeMap;
    use wisp_sandbox::configuration::ConfigValue;

    fn load(config: &str) -> anyhow::Result<Result<ModelFile, ModelFileError>> {
        let directory = tempfile::tempdir()?;
        let text = format!("[handler.config]\n{config}\n");
        std::fs::write(directory.path().join(FILE_NAME), text)?;
        Ok(ModelFile::load(directory.path()))
    }

    #[test]
    fn settings_are_strings_numbers_booleans_and_arrays_of_them() -> anyhow::Result<()> {
        let file = load(
            "name = 'a'\nsize = 224\nthreshold = 0.5\ncrop = true\nempty = []\nlabels = ['x', 'y']\n\
             flags = [true]\nsizes = [1, 2]\nmean = [0, 0.5]",
        )??;
        let strings = |strings: &[&str]| {
            ConfigValue::Strings(strings.iter().map(|string| (*string).to_owned()).collect())
        };
        let expected = [
            ("name", ConfigValue::String("a".to_owned())),
            ("size", ConfigValue::Integer(224)),
            ("threshold", ConfigValue::Float(0.5)),
            ("crop", ConfigValue::Bool(true)),
            ("empty", strings(&[])),
            ("labels", strings(&["x", "y"])),
            ("flags", ConfigValue::Bools(vec![true])),
            ("sizes", ConfigValue::Integers(vec![1, 2])),
            ("mean", ConfigValue::Floats(vec![0.0, 0.5])),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(file.handler.config, BTreeMap::from(expected));
        Ok(())
    }

    #[test]
    fn other_settings_are_errors_with_their_key() -> anyhow::Result<()> {
        for (config, complaint) in [
            (
                "since = 2026-01-01",
                "handler.config.since is a date or time",
            ),
            ("inner = { a = 1 }", "handler.config.inner is a table"),
            (
                "mixed = [1, 'a']",
                "handler.config.mixed is an array of something else",
            ),
            (
                "nested = [[1]]",
                "handler.config.nested is an array of something else",
            ),
        ] {
            let Err(ModelFileError::Parse { source, .. }) = load(config)? else {
                anyhow::bail!("`{config}` was accepted");
            };
            let text = source.to_string();
            anyhow::ensure!(text.contains(complaint), "{text}");
        }
        Ok(())
    }
}
