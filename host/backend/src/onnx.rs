//! ONNX files as messages, before any engine reads them.
//!
//! What is here serves every engine: where a file keeps its data ([`external_tensor`]), and rewrites that leave
//! the answers as they are. [`zip_map`] makes tensors of outputs that are none, [`batch_norm`] puts a
//! normalisation into the weights before it. The messages are those of tract's reader: of parts of a file that
//! it does not know, it keeps nothing, so a file is written anew only where a rewrite changed it.

mod batch_norm;
mod external_tensor;
mod zip_map;

pub(crate) use self::external_tensor::{file_bytes, visit_tensors};
pub(crate) use self::zip_map::remove_zip_maps;

use crate::BackendError;
use prost::Message;
use std::io::{Error, ErrorKind};
use std::path::Path;
use tract_onnx::pb::ModelProto;

/// What the format allows: a message of protobuf is smaller.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// The model in the file at `path`, for `engine`, which is named in errors.
///
/// Only a regular file is read: others may never end, or wait for ever for who writes to them.
pub(crate) fn read(path: &Path, engine: &'static str) -> Result<ModelProto, BackendError> {
    let facts = std::fs::metadata(path).map_err(BackendError::Read)?;
    if facts.is_dir() {
        return Err(BackendError::Read(ErrorKind::IsADirectory.into()));
    }
    if !facts.is_file() {
        let error = Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        return Err(BackendError::Read(error));
    }
    if facts.len() > MAX_FILE_BYTES {
        return Err(BackendError::Load {
            engine,
            reason: format!(
                "the file has {} bytes, more than the 2 GiB of an ONNX file: weights beyond it belong \
                 beside it, as external data",
                facts.len()
            ),
        });
    }
    decode(&std::fs::read(path).map_err(BackendError::Read)?, engine)
}

/// The model in `content`.
pub(crate) fn decode(content: &[u8], engine: &'static str) -> Result<ModelProto, BackendError> {
    ModelProto::decode(content).map_err(|error| BackendError::Load {
        engine,
        reason: format!("it is no ONNX file: {error}"),
    })
}

/// All rewrites, for an engine that has nothing of its own for them.
pub(crate) fn prepare(model: &mut ModelProto) {
    remove_zip_maps(model);
    if let Some(graph) = &mut model.graph {
        batch_norm::fold(graph);
    }
}
