//! ONNX files as messages, before any engine reads them.
//!
//! What is here serves every engine: how much there is in a file
//! ([`counts`]), where it keeps its data ([`external_tensor`]), and rewrites that leave
//! the answers as they are. [`zip_map`] makes tensors of outputs that are none, [`batch_norm`] puts a
//! normalisation into the weights before it, [`integer_division`] keeps processors from trapping. The messages are those of tract's reader: of parts of a file that
//! it does not know, it keeps nothing, so a file is written anew only where a rewrite changed it.

mod batch_norm;
#[cfg(feature = "onnxruntime")]
mod change_tensors;
mod counts;
mod external_tensor;
#[cfg(feature = "onnxruntime")]
mod integer_division;
#[cfg(feature = "onnxruntime")]
mod value_types;
mod zip_map;

#[cfg(feature = "onnxruntime")]
pub(crate) use self::change_tensors::change_tensors;
pub(crate) use self::counts::check_counts;
pub(crate) use self::external_tensor::{ExternalBytes, is_external, visit_tensors};
#[cfg(feature = "onnxruntime")]
pub(crate) use self::integer_division::guard_integer_divisions;
pub(crate) use self::zip_map::remove_zip_maps;

use crate::BackendError;
use crate::bounded_file::{open_regular, read_regular};
use prost::Message;
use std::path::Path;
use tract_onnx::pb::ModelProto;

/// What the format allows: a message of protobuf is smaller. What lies beside a file may be larger.
pub(crate) const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// The model in the file at `path`, for `engine`, which is named in errors.
pub(crate) fn read(path: &Path, engine: &'static str) -> Result<ModelProto, BackendError> {
    decode(&read_content(path, engine)?, engine)
}

/// The bytes of the file at `path`.
///
/// Only a regular file is read: others may never end, or wait for ever for who writes to them.
pub(crate) fn read_content(path: &Path, engine: &'static str) -> Result<Vec<u8>, BackendError> {
    let (_, size) = open_regular(path).map_err(BackendError::Read)?;
    if size > MAX_FILE_BYTES {
        return Err(BackendError::Load {
            engine,
            reason: format!(
                "the file has {size} bytes, more than the 2 GiB of an ONNX file: weights beyond it belong \
                 beside it, as external data"
            ),
        });
    }
    read_regular(path, MAX_FILE_BYTES).map_err(BackendError::Read)
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
