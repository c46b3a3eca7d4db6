//! Tensors whose data an ONNX file stores in other files beside it.
//!
//! Errors from here contain the part of the model to change, and no path of this machine.

use crate::bounded_file::open_regular;
use crate::model_folder::ModelFolder;
#[cfg(feature = "tract")]
use crate::pb::GraphProto;
use crate::pb::TensorProto;
use crate::pb::tensor_proto::DataLocation;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The location of a tensor's bytes.
#[derive(Debug)]
pub(crate) struct ExternalBytes {
    path: PathBuf,
    /// The name of the file in the model.
    location: String,
    offset: u64,
    pub(crate) length: usize,
}

/// Returns whether the bytes of the tensor are in another file.
pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

impl ExternalBytes {
    /// Locates the bytes of an external `tensor` in the file that it names in `folder`.
    pub(crate) fn of(
        tensor: &TensorProto,
        folder: Option<&ModelFolder>,
    ) -> Result<ExternalBytes, String> {
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries
                .find(|entry| entry.key == key)
                .map(|entry| entry.value.as_str())
        };
        let location = entry("location").unwrap_or_default();
        let refused = |reason: String| format!("has external data `{location}`, which {reason}");
        let number = |key: &str| match entry(key).map(str::parse::<u64>) {
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(refused(format!("has no number for `{key}`"))),
            None => Ok(None),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let (path, size) = own_file(location, folder).map_err(refused)?;
        let length = match (size.checked_sub(offset), length) {
            (Some(rest), None) => rest,
            (Some(rest), Some(length)) if length <= rest => length,
            _ => return Err(refused(format!("has {size} bytes and ends before"))),
        };
        Ok(ExternalBytes {
            path,
            location: location.to_owned(),
            offset,
            length: usize::try_from(length).map_err(|_| refused("is too large".to_owned()))?,
        })
    }

    /// Returns the name of the file in the model.
    #[cfg(feature = "tract")]
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Returns whether a link leads from `folder` to the file.
    #[cfg(feature = "tract")]
    pub(crate) fn is_linked(&self, folder: &ModelFolder) -> bool {
        !folder.contains(&self.path)
    }

    /// Reads the bytes into `bytes`, which has their length, for a rewrite or a backend that does not read them itself.
    pub(crate) fn read(&self, bytes: &mut [u8]) -> Result<(), String> {
        let mut read = || {
            let (mut file, _) = open_regular(&self.path)?;
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_exact(bytes)
        };
        read().map_err(|error: std::io::Error| {
            let (location, kind) = (&self.location, error.kind());
            format!("has external data `{location}`, which cannot be read: {kind}")
        })
    }
}

/// Returns the path and the size of the file at `location`, which must belong to the model.
fn own_file(location: &str, folder: Option<&ModelFolder>) -> Result<(PathBuf, u64), String> {
    let Some(folder) = folder else {
        return Err("cannot be read for a model that is loaded from memory".to_owned());
    };
    let outside = || "lies outside the model's folder".to_owned();
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let location = Path::new(location);
    if !location.components().all(inside) {
        return Err(outside());
    }
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidInput => "is not a regular file".to_owned(),
        kind => format!("cannot be read: {kind}"),
    };
    let path = folder.real_path(location).map_err(unreadable)?;
    let path = path.ok_or_else(outside)?;
    let (_, size) = open_regular(&path).map_err(unreadable)?;
    Ok((path, size))
}

/// Calls `visit` for every tensor stored in `graph` and its inner graphs.
///
/// The recursion depth is bounded by the decoder's limit on nested messages.
#[cfg(feature = "tract")]
pub(crate) fn visit_tensors(graph: &GraphProto, visit: &mut dyn FnMut(&TensorProto)) {
    graph.initializer.iter().for_each(&mut *visit);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        let tensors = attribute.t.iter().chain(&attribute.tensors);
        tensors.for_each(&mut *visit);
        for inner in attribute.g.iter().chain(&attribute.graphs) {
            visit_tensors(inner, visit);
        }
    }
}
