//! The settings of the model: the table `[handler.config]` of its `model.toml`.
//!
//! One component serves many models that differ in their settings:
//!
//! ```toml
//! [handler.config]
//! size = 224
//! mean = [0.485, 0.456, 0.406]
//! ```
//!
//! ```
//! use wisp_handler::{Result, config, testing::Model};
//!
//! struct Preprocessing {
//!     size: usize,
//!     mean: Vec<f32>,
//! }
//!
//! fn preprocessing() -> Result<Preprocessing> {
//!     Ok(Preprocessing {
//!         size: config::require("size")?,
//!         mean: config::get("mean")?.unwrap_or_else(|| vec![0.5; 3]),
//!     })
//! }
//!
//! # fn main() -> Result<()> {
//! let settings = Model::new().with_config("size", 224).run(preprocessing)?;
//! assert_eq!((settings.size, settings.mean), (224, vec![0.5; 3]));
//!
//! let error = Model::new().run(preprocessing).err().unwrap();
//! assert_eq!(error.message(), "`size` is missing in [handler.config] of model.toml");
//! # Ok(())
//! # }
//! ```

use crate::{Error, Result, deployment};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A string.
    String(String),
    /// An array of booleans.
    Bools(Vec<bool>),
    /// An array of integers.
    Integers(Vec<i64>),
    /// An array of numbers, at least one of them with a fraction.
    Floats(Vec<f64>),
    /// An array of strings, or an empty array.
    Strings(Vec<String>),
}

/// A type that settings convert to.
pub trait FromConfig: Sized {
    /// Returns the type as an error describes it.
    fn expected() -> String;

    /// Converts a value; returns `None` if its type does not fit.
    fn from_config(value: ConfigValue) -> Option<Self>;
}

/// Returns the value of a setting, or `None` if the model does not have it.
///
/// # Errors
/// Fails if the value has another type. The error names the key.
pub fn get<T: FromConfig>(key: &str) -> Result<Option<T>> {
    let Some(value) = deployment::setting(key) else {
        return Ok(None);
    };
    let wrong = || {
        let expected = T::expected();
        Error::handler(format_args!(
            "`{key}` in [handler.config] of model.toml is not {expected}"
        ))
    };
    T::from_config(value).ok_or_else(wrong).map(Some)
}

/// Returns the value of a setting that the model must have.
///
/// # Errors
/// Fails if the setting is missing, or has another type. The error names the key.
pub fn require<T: FromConfig>(key: &str) -> Result<T> {
    let missing = || {
        Error::handler(format_args!(
            "`{key}` is missing in [handler.config] of model.toml"
        ))
    };
    get(key)?.ok_or_else(missing)
}

/// Returns the keys of all settings, in alphabetical order, for handlers that reject unknown ones.
pub fn keys() -> Vec<String> {
    deployment::keys()
}

// === impl FromConfig ===

impl FromConfig for bool {
    fn expected() -> String {
        "a boolean".into()
    }

    fn from_config(value: ConfigValue) -> Option<Self> {
        match value {
            ConfigValue::Bool(value) => Some(value),
            _ => None,
        }
    }
}

impl FromConfig for i64 {
    fn expected() -> String {
        "an integer".into()
    }

    fn from_config(value: ConfigValue) -> Option<Self> {
        match value {
            ConfigValue::Integer(value) => Some(value),
            _ => None,
        }
    }
}

impl FromConfig for usize {
    fn expected() -> String {
        "a size".into()
    }

    fn from_config(value: ConfigValue) -> Option<Self> {
        i64::from_config(value)?.try_into().ok()
    }
}

impl FromConfig for f64 {
    fn expected() -> String {
        "a number".into()
    }

    fn from_config(value: ConfigValue) -> Option<Self> {
        match value {
            ConfigValue::Float(value) => Some(value),
            ConfigValue::Integer(value) => Some(value as f64),
            _ => None,
        }
    }
}

impl FromConfig for f32 {
    fn expected() -> String {
        f64::expected()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to the nearest f32"
    )]
    fn from_config(value: ConfigValue) -> Option<Self> {
        f64::from_config(value).map(|value| value as f32)
    }
}

impl FromConfig for String {
    fn expected() -> String {
        "a string".into()
    }

    fn from_config(value: ConfigValue) -> Option<Self> {
        match value {
            ConfigValue::String(value) => Some(value),
            _ => None,
        }
    }
}

impl<T: FromConfig> FromConfig for Vec<T> {
    fn expected() -> String {
        format!("an array in which each element is {}", T::expected())
    }

    fn from_config(value: ConfigValue) -> Option<Self> {
        fn convert<E, T: FromConfig>(
            elements: Vec<E>,
            variant: fn(E) -> ConfigValue,
        ) -> Option<Vec<T>> {
            let elements = elements.into_iter().map(variant);
            elements.map(T::from_config).collect()
        }
        match value {
            ConfigValue::Bools(elements) => convert(elements, ConfigValue::Bool),
            ConfigValue::Integers(elements) => convert(elements, ConfigValue::Integer),
            ConfigValue::Floats(elements) => convert(elements, ConfigValue::Float),
            ConfigValue::Strings(elements) => convert(elements, ConfigValue::String),
            _ => None,
        }
    }
}

// === impl ConfigValue ===

impl From<bool> for ConfigValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ConfigValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<i32> for ConfigValue {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<f64> for ConfigValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ConfigValue {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for ConfigValue {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Vec<bool>> for ConfigValue {
    fn from(elements: Vec<bool>) -> Self {
        Self::Bools(elements)
    }
}

impl From<Vec<i64>> for ConfigValue {
    fn from(elements: Vec<i64>) -> Self {
        Self::Integers(elements)
    }
}

impl From<Vec<f64>> for ConfigValue {
    fn from(elements: Vec<f64>) -> Self {
        Self::Floats(elements)
    }
}

impl From<Vec<String>> for ConfigValue {
    fn from(elements: Vec<String>) -> Self {
        Self::Strings(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Model;

    #[test]
    fn settings_convert_where_nothing_is_lost() -> Result<()> {
        let model = Model::new()
            .with_config("size", 224)
            .with_config("minus", -1)
            .with_config("threshold", 0.5)
            .with_config("crop", true)
            .with_config("mode", "fast")
            .with_config("sizes", vec![1_i64, 2])
            .with_config("empty", Vec::<String>::new());
        model.run(|| {
            assert_eq!(require::<usize>("size")?, 224);
            assert_eq!(require::<f32>("size")?, 224.0);
            assert_eq!(require::<f64>("threshold")?, 0.5);
            assert!(require::<bool>("crop")?);
            assert_eq!(require::<String>("mode")?, "fast");
            assert_eq!(require::<Vec<usize>>("sizes")?, [1, 2]);
            assert_eq!(require::<Vec<f64>>("sizes")?, [1.0, 2.0]);
            assert!(require::<Vec<f64>>("empty")?.is_empty());
            assert_eq!(get::<i64>("absent")?, None);
            let wrong = |error: Error| error.message().to_owned();
            assert_eq!(
                require::<usize>("minus").map_err(wrong),
                Err("`minus` in [handler.config] of model.toml is not a size".into())
            );
            assert_eq!(
                require::<Vec<String>>("sizes").map_err(wrong),
                Err("`sizes` in [handler.config] of model.toml is not an array in which each element \
                     is a string".into())
            );
            assert!(require::<i64>("threshold").is_err());
            assert_eq!(
                keys(),
                ["crop", "empty", "minus", "mode", "size", "sizes", "threshold"]
            );
            Ok(())
        })
    }

    #[test]
    fn without_a_model_there_are_no_settings() -> Result<()> {
        assert_eq!(get::<i64>("size")?, None);
        assert!(keys().is_empty());
        Ok(())
    }
}
