//! The task to load a model file in a child process, as it is sent to the child.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wisp_backend::LoadOptions;
use wisp_tensor::Dimension;

/// A model file, and the settings to load it with on the CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadTask {
    /// The bytes of its path.
    file: Vec<u8>,
    /// The backend that loads it; without one, all that are available load it and are compared.
    pub(super) backend: Option<String>,
    threads: NonZeroUsize,
    /// The sizes that are set for inputs, -1 for those that are not.
    shapes: BTreeMap<String, Vec<i64>>,
}

impl LoadTask {
    /// Creates the task to load a file with this backend, or with all that are available.
    pub fn new(file: &Path, backend: Option<&str>, options: &LoadOptions) -> LoadTask {
        let LoadOptions {
            device: _,
            threads,
            shapes,
        } = options;
        let sizes = |shape: &Vec<Dimension>| shape.iter().map(|size| size.to_wire()).collect();
        let shapes = shapes.iter();
        LoadTask {
            file: file.as_os_str().as_bytes().to_vec(),
            backend: backend.map(str::to_owned),
            threads: *threads,
            shapes: shapes
                .map(|(name, shape)| (name.clone(), sizes(shape)))
                .collect(),
        }
    }

    /// Returns the task as it is sent.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and strings can always be written.
        toml::to_string(self).unwrap_or_default().into_bytes()
    }

    /// Decodes the output of [`LoadTask::encode`].
    pub fn decode(text: &[u8]) -> Result<LoadTask, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        toml::from_str(text).map_err(|error| error.to_string())
    }

    pub(super) fn file(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.file))
    }

    pub(super) fn options(&self) -> Result<LoadOptions, String> {
        let size = |&size: &i64| Dimension::from_wire(size).ok_or(format!("{size} is no size"));
        let shapes = self.shapes.iter().map(|(name, shape)| {
            let shape: Result<Vec<Dimension>, String> = shape.iter().map(size).collect();
            Ok::<_, String>((name.clone(), shape?))
        });
        Ok(LoadOptions {
            threads: self.threads,
            shapes: shapes.collect::<Result<_, String>>()?,
            ..LoadOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_as_it_was_written() {
        let path = Path::new(OsStr::from_bytes(b"/models/\xff \"x\"/1/model.onnx"));
        let options = LoadOptions {
            threads: NonZeroUsize::MIN.saturating_add(2),
            shapes: BTreeMap::from([(
                "x y".to_owned(),
                vec![Dimension::Variable, Dimension::Fixed(3)],
            )]),
            ..LoadOptions::default()
        };
        for backend in [None, Some("tract")] {
            let task = LoadTask::new(path, backend, &options);
            let read = LoadTask::decode(&task.encode()).unwrap();
            assert_eq!(read, task);
            assert_eq!(read.file(), path);
            let read = read.options().unwrap();
            assert_eq!(read.threads, options.threads);
            assert_eq!(read.shapes, options.shapes);
        }
        assert!(LoadTask::decode(b"file = 1").is_err());
    }
}
