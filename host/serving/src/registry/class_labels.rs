//! The class labels of an output: a text file in the directory of the version, or else of the model, with one label
//! per line, or the names in the file of the graph, such as the keys of the maps that scikit-learn's classifiers return.
//!
//! As with Triton's `label_filename`, the first line is the label of class 0, and classes after the last
//! line have none. The file must be in one of these directories: a path that leads elsewhere, by `..` or
//! through a symbolic link, is refused, so that the author of a model cannot read other files of the server.

use crate::registry::contained_path::contained;
use crate::registry::model_file::{FILE_NAME, ModelFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use wisp_backend::bounded_file::read_regular_text;
use wisp_backend::model_outline::ModelOutline;
use wisp_tensor::Signature;

/// The size limit of a label file in bytes: some hundred thousand classes.
const MAX_BYTES: u64 = 4 << 20;

/// The reason that the labels in `model.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClassLabelsError {
    #[error("{FILE_NAME} has labels for output `{output}`, which the model does not have")]
    UnknownOutput { output: String },
    #[error(
        "the labels of output `{output}` are not in the model's directory: outputs.{output}.labels in {FILE_NAME} is a path within it"
    )]
    Elsewhere { output: String },
    #[error("the labels of output `{output}` cannot be read")]
    Read { output: String, source: io::Error },
    #[error("the labels of output `{output}` have more than {MAX_BYTES} bytes")]
    TooLarge { output: String },
}

/// Returns the labels of a model, by output: those of the files that `model.toml` names, and for other
/// outputs those in the file of its graph. A file is taken from the first of `directories` that has it, of which there are
/// none for a single graph. A handler has outputs of its own, so it has no `graph` here.
pub fn load(
    model_file: &ModelFile,
    directories: &[&Path],
    signature: &Signature,
    graph: Option<&Path>,
) -> Result<BTreeMap<String, Vec<String>>, ClassLabelsError> {
    let is_output = |name: &str| signature.outputs.iter().any(|spec| spec.name == name);
    let mut labels = graph.map(of_graph).unwrap_or_default();
    labels.retain(|output, _| is_output(output));
    if directories.is_empty() {
        return Ok(labels);
    }
    for output in model_file.outputs.keys() {
        if !is_output(output) {
            let output = output.clone();
            return Err(ClassLabelsError::UnknownOutput { output });
        }
        if let Some(own) = of_output(model_file, directories, output)? {
            labels.insert(output.clone(), own);
        }
    }
    Ok(labels)
}

/// Returns the labels in the file of a graph, by output. A file without an outline has none.
pub fn of_graph(path: &Path) -> BTreeMap<String, Vec<String>> {
    let outline = ModelOutline::read(path);
    outline.map_or_else(|_| BTreeMap::new(), |outline| outline.class_names)
}

/// Reads the labels that `model.toml` names for an output, if it does.
pub fn of_output(
    model_file: &ModelFile,
    directories: &[&Path],
    output: &str,
) -> Result<Option<Vec<String>>, ClassLabelsError> {
    let section = model_file.outputs.get(output);
    let path = section.and_then(|section| section.labels.as_deref());
    path.map(|path| read(output.to_owned(), directories, path))
        .transpose()
}

fn read(
    output: String,
    directories: &[&Path],
    path: &Path,
) -> Result<Vec<String>, ClassLabelsError> {
    let read = |source| ClassLabelsError::Read {
        output: output.clone(),
        source,
    };
    let mut found: io::Result<Option<PathBuf>> = Err(io::ErrorKind::NotFound.into());
    for directory in directories {
        found = contained(directory, path);
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if !found.as_ref().is_err_and(is_missing) {
            break;
        }
    }
    let Some(path) = found.map_err(read)? else {
        return Err(ClassLabelsError::Elsewhere { output });
    };
    let text = read_regular_text(&path, MAX_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => ClassLabelsError::TooLarge {
            output: output.clone(),
        },
        _ => read(error),
    })?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::{ElementType, TensorSpec};

    /// Creates a model directory with labels, and a file beside it that does not belong to the model.
    fn directory() -> anyhow::Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let model = directory.path().join("m");
        std::fs::create_dir_all(model.join("texts"))?;
        std::fs::write(model.join("texts/labels.txt"), "cat\r\ndog\n\nbird")?;
        std::fs::write(directory.path().join("secret"), "secret")?;
        std::os::unix::fs::symlink("../secret", model.join("link"))?;
        Ok(directory)
    }

    fn labels_of(
        directory: &Path,
        model_file: &str,
    ) -> anyhow::Result<Result<BTreeMap<String, Vec<String>>, ClassLabelsError>> {
        let directory = directory.join("m");
        std::fs::write(directory.join(FILE_NAME), model_file)?;
        let signature = Signature {
            inputs: Vec::new(),
            outputs: vec![TensorSpec {
                name: "y".to_owned(),
                element_type: ElementType::Fp32,
                shape: Vec::new(),
                optional: false,
            }],
        };
        let model_file = ModelFile::load(&directory)?;
        let graph = directory.join("model.onnx");
        Ok(load(&model_file, &[&directory], &signature, Some(&graph)))
    }

    #[test]
    fn each_line_is_the_label_of_a_class() -> anyhow::Result<()> {
        let directory = directory()?;
        let file = "[outputs.y]\nlabels = './texts/labels.txt'";
        let labels = labels_of(directory.path(), file)??;
        assert_eq!(labels["y"], ["cat", "dog", "", "bird"]);
        assert!(labels_of(directory.path(), "[outputs.y]")??.is_empty());
        Ok(())
    }

    #[test]
    fn names_in_the_graph_are_the_labels_of_outputs_without_a_file() -> anyhow::Result<()> {
        let directory = directory()?;
        let field = |number: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).expect("a field of the test is short");
            [&[number << 3 | 2, length], content].concat()
        };
        let attribute = [
            field(1, b"classlabels_strings"),
            field(9, b"no"),
            field(9, b"yes"),
        ];
        let zip_map = |output: &[u8]| {
            let node = [
                field(1, b"scores"),
                field(2, output),
                field(4, b"ZipMap"),
                field(5, &attribute.concat()),
            ];
            [field(1, &node.concat()), field(12, &field(1, output))].concat()
        };
        // The model has no output `z`.
        let graph = [zip_map(b"y"), zip_map(b"z")].concat();
        std::fs::write(directory.path().join("m/model.onnx"), field(7, &graph))?;
        for file in ["", "[outputs.y]"] {
            let labels = labels_of(directory.path(), file)??;
            assert_eq!(labels.len(), 1);
            assert_eq!(labels["y"], ["no", "yes"]);
        }
        let file = "[outputs.y]\nlabels = 'texts/labels.txt'";
        let labels = labels_of(directory.path(), file)??;
        assert_eq!(labels["y"][0], "cat");
        Ok(())
    }

    #[test]
    fn labels_are_the_models_own_and_of_an_output_that_it_has() -> anyhow::Result<()> {
        let directory = directory()?;
        let absolute = directory.path().join("m/texts/labels.txt");
        let absolute = absolute.display().to_string();
        for path in ["../secret", "texts/../../secret", "link", &absolute] {
            let file = format!("[outputs.y]\nlabels = '{path}'");
            let labels = labels_of(directory.path(), &file)?;
            let is_refused = matches!(labels, Err(ClassLabelsError::Elsewhere { .. }));
            assert!(is_refused, "{path}: {labels:?}");
        }
        let pipe = directory.path().join("m/pipe");
        anyhow::ensure!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()?
                .success()
        );
        let irregular = labels_of(directory.path(), "[outputs.y]\nlabels = 'pipe'")?;
        assert!(matches!(irregular, Err(ClassLabelsError::Read { .. })));
        let long = directory.path().join("m/long");
        std::fs::File::create(&long)?.set_len(1 << 40)?;
        let long = labels_of(directory.path(), "[outputs.y]\nlabels = 'long'")?;
        assert!(matches!(long, Err(ClassLabelsError::TooLarge { .. })));
        let missing = labels_of(directory.path(), "[outputs.y]\nlabels = 'none'")?;
        assert!(matches!(missing, Err(ClassLabelsError::Read { .. })));
        let unknown = labels_of(directory.path(), "[outputs.z]")?;
        assert!(matches!(
            unknown,
            Err(ClassLabelsError::UnknownOutput { .. })
        ));
        Ok(())
    }
}
