//! The settings and files of a model that its handler can read.
//!
//! A version holds them once, and every instance reads them through the imported interface
//! `wisp:handler/configuration`, by key or by range: a request pays only for what it reads. This module
//! reads no files itself.

pub(crate) mod interface;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::{ComponentType, Lower};

/// The interface by which handlers read their configuration.
pub const CONFIGURATION_INTERFACE: &str = "wisp:handler/configuration@0.1.0";

/// The settings and files of a model. Lifetime: a model version.
#[derive(Debug, Default)]
pub struct HandlerConfiguration {
    values: BTreeMap<String, Arc<ConfigValue>>,
    files: BTreeMap<String, Bytes>,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, ComponentType, Lower)]
#[component(variant)]
pub enum ConfigValue {
    #[component(name = "bool")]
    Bool(bool),
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "float")]
    Float(f64),
    #[component(name = "string")]
    String(String),
    #[component(name = "bools")]
    Bools(Vec<bool>),
    #[component(name = "integers")]
    Integers(Vec<i64>),
    #[component(name = "floats")]
    Floats(Vec<f64>),
    #[component(name = "strings")]
    Strings(Vec<String>),
}

impl HandlerConfiguration {
    /// Creates a configuration of these settings by key, and these files by name.
    pub fn new(
        values: BTreeMap<String, ConfigValue>,
        files: BTreeMap<String, Bytes>,
    ) -> HandlerConfiguration {
        let values = values.into_iter();
        HandlerConfiguration {
            values: values.map(|(key, value)| (key, Arc::new(value))).collect(),
            files,
        }
    }

    /// Returns the content of a file.
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.get(name)
    }

    /// Returns the settings in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = (&str, &ConfigValue)> {
        let values = self.values.iter();
        values.map(|(key, value)| (key.as_str(), &**value))
    }

    /// Returns the files in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let files = self.files.iter();
        files.map(|(name, content)| (name.as_str(), content))
    }

    fn value(&self, key: &str) -> Option<Arc<ConfigValue>> {
        self.values.get(key).map(Arc::clone)
    }

    fn keys(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    fn file_size(&self, name: &str) -> Option<u64> {
        let content = self.files.get(name)?;
        u64::try_from(content.len()).ok()
    }

    /// Returns a range of a file, which shares the file's memory.
    fn read(&self, name: &str, offset: u64, length: u32) -> Option<Bytes> {
        let content = self.files.get(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let start = start.min(content.len());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = start.saturating_add(length).min(content.len());
        Some(content.slice(start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_by_range_without_a_copy() {
        let content = Bytes::from_static(b"0123456789");
        let files = BTreeMap::from([("digits".to_owned(), content.clone())]);
        let configuration = HandlerConfiguration::new(BTreeMap::new(), files);
        assert_eq!(configuration.file_size("digits"), Some(10));
        for (offset, length, expected) in [
            (0, 10, "0123456789"),
            (0, u32::MAX, "0123456789"),
            (3, 4, "3456"),
            (8, 4, "89"),
            (10, 1, ""),
            (u64::MAX, u32::MAX, ""),
        ] {
            let range = configuration.read("digits", offset, length);
            assert_eq!(range.as_deref(), Some(expected.as_bytes()));
        }
        let whole = configuration.read("digits", 0, 10);
        assert_eq!(whole.map(|whole| whole.as_ptr()), Some(content.as_ptr()));
        assert_eq!(configuration.read("letters", 0, 1), None);
        assert_eq!(configuration.file_size("letters"), None);
    }

    #[test]
    fn settings_are_found_by_key_and_listed_in_order() {
        let values = [
            ("threshold", ConfigValue::Float(0.5)),
            ("labels", ConfigValue::Strings(vec!["cat".to_owned()])),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value));
        let configuration = HandlerConfiguration::new(values.into(), BTreeMap::new());
        let threshold = configuration.value("threshold");
        assert_eq!(threshold.as_deref(), Some(&ConfigValue::Float(0.5)));
        assert_eq!(configuration.value("absent"), None);
        assert_eq!(configuration.keys(), ["labels", "threshold"]);
    }
}
