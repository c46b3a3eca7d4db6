//! ONNX files as messages, before any engine makes a graph of them.

use crate::BackendError;
use prost::Message;
use std::path::Path;
use tract_onnx::pb::ModelProto;

pub(crate) use crate::tract::check_external_data;

/// What the format allows: a message of protobuf is smaller.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// The model in the file at `path`, for `engine`, which is named in errors.
///
/// Only a regular file is read: others may never end, or wait for ever for who writes to them.
pub(crate) fn read(path: &Path, engine: &'static str) -> Result<ModelProto, BackendError> {
    let facts = std::fs::metadata(path).map_err(BackendError::Read)?;
    if facts.is_dir() {
        return Err(BackendError::Read(std::io::ErrorKind::IsADirectory.into()));
    }
    let refused = |reason: String| BackendError::Load { engine, reason };
    if !facts.is_file() {
        return Err(refused("it is not a regular file".to_owned()));
    }
    if facts.len() > MAX_FILE_BYTES {
        return Err(refused(
            "an ONNX file has at most 2 GB: keep the weights outside, as external data".to_owned(),
        ));
    }
    let content = std::fs::read(path).map_err(BackendError::Read)?;
    ModelProto::decode(&*content).map_err(|error| refused(format!("it is no ONNX file: {error}")))
}

/// The model as a file holds it.
pub(crate) fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Let outputs of ZipMap be the probabilities that it takes.
pub(crate) fn remove_zip_maps(_: &mut ModelProto) -> bool {
    false
}
