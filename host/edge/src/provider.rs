//! The manifest of the module that computes graphs and provides a handler with its settings.

mod float_text;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wisp_tensor::Dimension;

/// The graphs, settings and files of a version. Blobs are numbered in the order in which the module receives
/// them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderManifest {
    /// All graphs of the version.
    pub graphs: Vec<GraphEntry>,
    /// The table `[handler.config]`, in alphabetical order of the keys.
    pub config: Vec<(String, ConfigValue)>,
    /// The files that `[handler] files` lists.
    pub files: Vec<FileEntry>,
    /// The name of the graph that `wisp:handler/model` computes, for a version without a handler.
    pub model: Option<String>,
}

/// A graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphEntry {
    /// The names by which a handler loads the graph.
    pub names: Vec<String>,
    /// The blob with the ONNX file. For rten, it is the graph of a split model.
    pub model: usize,
    /// The blob with the weights of a split model, if it has any.
    pub weights: Option<usize>,
    /// The shapes of inputs in `model.toml`; -1 for a variable size. A split model has its shapes already.
    pub shapes: BTreeMap<String, Vec<i64>>,
}

/// A file of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The name by which a handler reads the file.
    pub name: String,
    /// The blob with the content.
    pub blob: usize,
}

/// The value of a setting, as in `wisp:handler/configuration`. Floats are written as texts, since JSON has no
/// infinity and readers of it round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigValue {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(#[serde(with = "float_text::one")] f64),
    /// A text.
    String(String),
    /// An array of truth values.
    Bools(Vec<bool>),
    /// An array of integers.
    Integers(Vec<i64>),
    /// An array of floats.
    Floats(#[serde(with = "float_text::many")] Vec<f64>),
    /// An array of texts, or an empty one.
    Strings(Vec<String>),
}

impl ProviderManifest {
    /// Returns the JSON that the module reads.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Parses the output of [`ProviderManifest::to_json`].
    pub fn from_json(json: &[u8]) -> Result<ProviderManifest, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl GraphEntry {
    /// Returns the shapes of inputs by name. The error names an input with a size that no axis has.
    pub fn input_shapes(&self) -> Result<BTreeMap<String, Vec<Dimension>>, String> {
        let shapes = self.shapes.iter().map(|(name, sizes)| {
            let sizes = sizes.iter().map(|&size| Dimension::from_wire(size));
            let sizes: Option<Vec<Dimension>> = sizes.collect();
            let sizes = sizes.ok_or_else(|| format!("input `{name}` has an impossible size"))?;
            Ok((name.clone(), sizes))
        });
        shapes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> ProviderManifest {
        let config = [
            ("bool", ConfigValue::Bool(true)),
            ("integer", ConfigValue::Integer(i64::MIN)),
            ("float", ConfigValue::Float(0.1 + 0.2)),
            ("string", ConfigValue::String("ä\n".to_owned())),
            ("bools", ConfigValue::Bools(vec![false])),
            ("integers", ConfigValue::Integers(vec![1, -1])),
            (
                "floats",
                ConfigValue::Floats(vec![f64::INFINITY, -0.0, f64::MIN_POSITIVE / 3.0]),
            ),
            ("strings", ConfigValue::Strings(Vec::new())),
        ];
        ProviderManifest {
            graphs: vec![GraphEntry {
                names: vec!["model".to_owned(), "digits".to_owned()],
                model: 0,
                weights: Some(1),
                shapes: BTreeMap::from([("x".to_owned(), vec![-1, 3])]),
            }],
            config: config.map(|(key, value)| (key.to_owned(), value)).into(),
            files: vec![FileEntry {
                name: "vocabulary.txt".to_owned(),
                blob: 2,
            }],
            model: Some("model".to_owned()),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let json = manifest().to_json().unwrap();
        assert_eq!(ProviderManifest::from_json(&json).unwrap(), manifest());
        let shapes = manifest().graphs[0].input_shapes().unwrap();
        assert_eq!(shapes["x"], [Dimension::Variable, Dimension::Fixed(3)]);
    }

    #[test]
    fn a_float_that_is_not_a_number_is_read_as_such() {
        let value = ConfigValue::Floats(vec![f64::NAN]);
        let json = serde_json::to_string(&value).unwrap();
        let read: ConfigValue = serde_json::from_str(&json).unwrap();
        assert!(matches!(read, ConfigValue::Floats(floats) if floats[0].is_nan()));
    }

    #[test]
    fn an_unknown_key_and_an_impossible_size_are_refused() {
        let error = ProviderManifest::from_json(b"{\"graph\": []}").unwrap_err();
        assert!(error.to_string().contains("unknown field `graph`"));
        let mut entry = manifest().graphs.remove(0);
        entry.shapes.insert("y".to_owned(), vec![-2]);
        assert!(entry.input_shapes().unwrap_err().contains("`y`"));
    }
}
