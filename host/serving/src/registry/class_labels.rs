//! The class labels of an output: a text file in the directory of the model with one label per line.
//!
//! As with Triton's `label_filename`, the first line is the label of class 0, and classes after the last
//! line have none. The file must be in the directory of the model: a path that leads elsewhere, by `..` or
//! through a symbolic link, is refused, so that the author of a model cannot read other files of the server.

use crate::registry::contained_path::contained;
use crate::registry::model_file::{FILE_NAME, ModelFile};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use wisp_backend::bounded_file::read_regular_text;
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

/// Reads the labels that a model file names, by output.
pub fn load(
    model_file: &ModelFile,
    model_directory: Option<&Path>,
    signature: &Signature,
) -> Result<BTreeMap<String, Vec<String>>, ClassLabelsError> {
    let mut labels = BTreeMap::new();
    let Some(directory) = model_directory else {
        return Ok(labels);
    };
    for (output, section) in &model_file.outputs {
        let output = output.clone();
        if !signature.outputs.iter().any(|spec| spec.name == output) {
            return Err(ClassLabelsError::UnknownOutput { output });
        }
        if let Some(path) = &section.labels {
            labels.insert(output.clone(), read(output, directory, path)?);
        }
    }
    Ok(labels)
}

fn read(output: String, directory: &Path, path: &Path) -> Result<Vec<String>, ClassLabelsError> {
    let read = |source| ClassLabelsError::Read {
        output: output.clone(),
        source,
    };
    let Some(path) = contained(directory, path).map_err(read)? else {
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
        Ok(load(&model_file, Some(&directory), &signature))
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
