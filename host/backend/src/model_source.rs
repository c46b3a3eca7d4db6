//! The source of a model: a file, or bytes in memory.

use crate::format::Format;
#[cfg(feature = "onnx")]
use crate::model_folder::ModelFolder;
use std::path::Path;

/// The source that a backend loads a model from.
#[derive(Debug, Clone, Copy)]
pub enum ModelSource<'a> {
    /// A file. Its name determines the format, and its external data is in the same directory, or in the cache that
    /// its links lead to.
    Path(&'a Path),
    /// The content of a file. A model with external data cannot be loaded from memory.
    Bytes { format: Format, content: &'a [u8] },
}

impl<'a> ModelSource<'a> {
    /// Returns the source of an ONNX model whose file has this content.
    pub fn onnx(content: &'a [u8]) -> ModelSource<'a> {
        ModelSource::Bytes {
            format: Format::Onnx,
            content,
        }
    }

    /// Returns the format. A file is an ONNX file unless its name has the ending of another format.
    pub fn format(self) -> Format {
        match self {
            ModelSource::Path(path) => Format::of(path).map_or(Format::Onnx, |(format, _)| format),
            ModelSource::Bytes { format, .. } => format,
        }
    }

    /// Returns the folder of the external data, if the model may have some.
    #[cfg(feature = "onnx")]
    pub(crate) fn folder(self) -> Option<ModelFolder> {
        match self {
            ModelSource::Path(path) => ModelFolder::of(path),
            ModelSource::Bytes { .. } => None,
        }
    }
}
