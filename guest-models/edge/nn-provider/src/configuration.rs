//! The settings and files of a handler, which it reads by key and by range.

use wisp_edge::provider::ConfigValue;
use wisp_edge_preload::Blob;

/// The settings and files of a model. Lifetime: the module.
#[derive(Debug, Default)]
pub struct Configuration {
    /// In alphabetical order of the keys.
    values: Vec<(String, ConfigValue)>,
    files: Vec<(String, Blob)>,
}

impl Configuration {
    /// Creates a configuration of these settings by key, and these files by name.
    pub fn new(
        mut values: Vec<(String, ConfigValue)>,
        files: Vec<(String, Blob)>,
    ) -> Configuration {
        values.sort_by(|(one, _), (other, _)| one.cmp(other));
        Configuration { values, files }
    }

    /// Returns the value of a key.
    pub fn value(&self, key: &str) -> Option<&ConfigValue> {
        let mut values = self.values.iter();
        values.find(|(own, _)| own == key).map(|(_, value)| value)
    }

    /// Returns all keys, in alphabetical order.
    pub fn keys(&self) -> Vec<String> {
        self.values.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Returns the size of a file in bytes.
    pub fn file_size(&self, name: &str) -> Option<u64> {
        u64::try_from(self.file(name)?.len()).ok()
    }

    /// Returns up to `length` bytes of a file from `offset` on.
    pub fn read(&self, name: &str, offset: u64, length: u32) -> Option<Blob> {
        let content = self.file(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(start..).unwrap_or_default();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Some(&rest[..length.min(rest.len())])
    }

    fn file(&self, name: &str) -> Option<Blob> {
        let mut files = self.files.iter();
        files
            .find(|(own, _)| own == name)
            .map(|(_, content)| *content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_by_range_and_ends_where_it_ends() {
        let files = vec![("digits".to_owned(), b"0123456789".as_slice())];
        let configuration = Configuration::new(Vec::new(), files);
        for (offset, length, expected) in [
            (0, 10, "0123456789"),
            (0, u32::MAX, "0123456789"),
            (7, 10, "789"),
            (3, 2, "34"),
            (10, 1, ""),
            (u64::MAX, 1, ""),
        ] {
            let read = configuration.read("digits", offset, length);
            assert_eq!(read, Some(expected.as_bytes()), "{offset} {length}");
        }
        assert_eq!(configuration.read("letters", 0, 1), None);
    }

    #[test]
    fn keys_are_in_alphabetical_order() {
        let values = ["b", "a"].map(|key| (key.to_owned(), ConfigValue::Bool(key == "a")));
        let configuration = Configuration::new(values.into(), Vec::new());
        assert_eq!(configuration.keys(), ["a", "b"]);
        assert_eq!(configuration.value("a"), Some(&ConfigValue::Bool(true)));
        assert_eq!(configuration.value("c"), None);
    }
}
