//! The names of the classes of a file's outputs: from a graph, and from the label files that
//! `model.toml` names.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use wisp_serving::registry::class_labels;
use wisp_serving::registry::model_file::ModelFile;
use wisp_serving::registry::repository::HANDLER_FILE;
use wisp_tensor::OneLine;

/// The maximum number of names of an output in text. JSON contains all of them.
const SHOWN: usize = 20;

/// The names of classes in order, by output.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct ClassNames(BTreeMap<String, Vec<String>>);

impl ClassNames {
    /// Returns the names that the graph in a file contains.
    pub(super) fn of_graph(file: &Path) -> ClassNames {
        ClassNames(class_labels::of_graph(file))
    }

    /// Adds the names in the label files of the model that a file belongs to, for the outputs that the file
    /// has. They replace those in a graph, and are the handler's if the version has one.
    pub(super) fn add_labels(
        &mut self,
        file: &Path,
        has_output: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let Some(version) = file.parent() else {
            return Ok(());
        };
        let handler = version.join(HANDLER_FILE);
        let Some(model) =
            model_directory(version).filter(|_| file == handler || !handler.is_file())
        else {
            return Ok(());
        };
        // The outline of a file does not depend on a valid model file.
        let model_file = ModelFile::load(model).unwrap_or_default();
        let directories = [version, model];
        for output in model_file.outputs.keys().filter(|name| has_output(name)) {
            if let Some(labels) = class_labels::of_output(&model_file, &directories, output)? {
                self.0.insert(output.clone(), labels);
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the directory of the model with this directory of a version.
pub(super) fn model_directory(version: &Path) -> Option<&Path> {
    let number = version.file_name()?.to_str()?.parse::<u64>();
    version.parent().filter(|_| number.is_ok())
}

impl fmt::Display for ClassNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (output, names) in &self.0 {
            let shown = names.iter().take(SHOWN);
            let shown: Vec<String> = shown.map(|name| OneLine(name).to_string()).collect();
            write!(
                f,
                "  classes      {}  {}",
                OneLine(output),
                shown.join(", ")
            )?;
            match names.len().saturating_sub(SHOWN) {
                0 => writeln!(f)?,
                others => writeln!(f, ", and {others} more")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_shown_with_their_output_and_many_are_counted() {
        let many = (0..23).map(|class| format!("c{class}")).collect();
        let shown = ClassNames(BTreeMap::from([
            ("p".to_owned(), names(&["cat", "two\nlines"])),
            ("q".to_owned(), many),
        ]));
        let text = shown.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("  classes      p  cat, two"), "{text}");
        assert!(lines[1].ends_with("c18, c19, and 3 more"), "{text}");
    }

    #[test]
    fn labels_belong_to_the_graph_or_to_the_handler_before_it() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let model = directory.path().join("m");
        let version = model.join("1");
        std::fs::create_dir_all(&version)?;
        std::fs::write(model.join("labels.txt"), "cat\ndog\n")?;
        std::fs::write(
            model.join("model.toml"),
            "[outputs.p]\nlabels = 'labels.txt'",
        )?;
        let labels = |file: &str, output: &str| {
            let mut found = ClassNames::default();
            found.add_labels(&version.join(file), |name| name == output)?;
            anyhow::Ok(found.0)
        };
        let expected = BTreeMap::from([("p".to_owned(), names(&["cat", "dog"]))]);
        assert_eq!(labels("model.onnx", "p")?, expected);
        assert!(labels("model.onnx", "q")?.is_empty());
        std::fs::write(version.join(HANDLER_FILE), "")?;
        assert!(labels("model.onnx", "p")?.is_empty());
        assert_eq!(labels(HANDLER_FILE, "p")?, expected);
        // Another file is no part of a model.
        let mut found = ClassNames::default();
        found.add_labels(&model.join("model.onnx"), |_| true)?;
        assert!(found.is_empty());
        Ok(())
    }
}
