//! ONNX files as messages, before any engine reads them.
//!
//! What is here serves every engine: where a file keeps its data ([`external_tensor`]), and rewrites that leave
//! the answers as they are. [`zip_map`] makes tensors of outputs that are none, [`batch_norm`] puts a
//! normalisation into the weights before it. The messages are those of tract's reader: of parts of a file that
//! it does not know, it keeps nothing, so a file is written anew only where a rewrite changed it.

mod batch_norm;
mod external_tensor;
mod zip_map;

pub(crate) use self::external_tensor::check_external_data;
pub(crate) use self::zip_map::remove_zip_maps;

use tract_onnx::pb::ModelProto;

/// All rewrites, for an engine that has nothing of its own for them.
pub(crate) fn prepare(model: &mut ModelProto) {
    remove_zip_maps(model);
    if let Some(graph) = &mut model.graph {
        batch_norm::fold(graph);
    }
}
