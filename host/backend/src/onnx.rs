//! ONNX files as protobuf messages, before a backend reads them.
//!
//! This module serves all backends. It counts the parts of a file ([`counts`]), finds data in other files
//! ([`external_tensor`]), reads what it declares ([`signature`], [`axis_symbols`], [`optional_input`]), fixes
//! variable axes ([`fixed_shapes`]), loads models with defaults ([`defaulted_graph`]), decides whether the rows
//! of a batch are independent ([`independent_rows`]), and rewrites graphs without changing their results:
//! [`zip_map`] replaces outputs that are not tensors, [`batch_norm`] folds a normalisation into the weights
//! before it, [`half_precision`] computes FP16 as FP32, [`integer_division`] and [`empty_values`] prevent signals
//! that would end the process, and [`text_locale`] sets a locale that every server has. [`equivalents`] replaces
//! operators that both embedded engines lack by others that they have, and [`rewriter`] nodes by the rules of a
//! backend, which know the types and constants around a node from [`values`]. [`node_parts`] reads nodes and
//! [`node_builder`] writes them, for all of these. [`operator_inputs`] remembers which inputs an operator depends
//! on. The message types are those of tract's reader. They do not keep unknown fields, so a file is re-encoded
//! only if a rewrite changed it.

mod axis_symbols;
mod batch_norm;
mod change_tensors;
mod counts;
mod defaulted_graph;
#[cfg(feature = "onnxruntime")]
mod empty_values;
pub(crate) mod equivalents;
mod external_tensor;
mod fixed_shapes;
#[cfg(feature = "tract")]
mod half_precision;
mod independent_rows;
#[cfg(feature = "onnxruntime")]
mod integer_division;
#[cfg_attr(
    not(all(feature = "onnxruntime", feature = "rten", feature = "tract")),
    allow(dead_code, reason = "one backend needs fewer nodes")
)]
pub(crate) mod node_builder;
pub(crate) mod node_parts;
mod operator_inputs;
mod operator_types;
mod optional_input;
mod quantised_gemm;
#[cfg_attr(
    not(all(feature = "rten", feature = "tract")),
    allow(dead_code, reason = "one backend needs fewer rewrites")
)]
pub(crate) mod rewriter;
mod signature;
#[cfg(test)]
#[cfg_attr(
    not(all(feature = "rten", feature = "tract")),
    allow(dead_code, reason = "one backend needs fewer graphs")
)]
pub(crate) mod test_graphs;
#[cfg(feature = "onnxruntime")]
mod text_locale;
#[cfg(feature = "onnxruntime")]
mod value_types;
#[cfg_attr(
    not(all(feature = "rten", feature = "tract")),
    allow(dead_code, reason = "one backend needs fewer rewrites")
)]
pub(crate) mod values;
mod zip_map;

pub(crate) use self::axis_symbols::AxisSymbols;
#[cfg(feature = "onnxruntime")]
pub(crate) use self::change_tensors::change_tensors;
#[cfg(not(feature = "onnxruntime"))]
use self::change_tensors::change_tensors;
pub(crate) use self::counts::check_counts;
pub(crate) use self::defaulted_graph::{load_with_defaults, with_values};
#[cfg(feature = "onnxruntime")]
pub(crate) use self::empty_values::guard_empty_values;
#[cfg(feature = "tract")]
pub(crate) use self::external_tensor::visit_tensors;
pub(crate) use self::external_tensor::{ExternalBytes, is_external};
pub(crate) use self::fixed_shapes::fix_shapes;
#[cfg(feature = "tract")]
pub(crate) use self::half_precision::widen as widen_half_precision;
pub(crate) use self::independent_rows::rows;
#[cfg(feature = "onnxruntime")]
pub(crate) use self::integer_division::guard_integer_divisions;
pub(crate) use self::operator_inputs::OperatorInputs;
#[cfg(any(feature = "onnxruntime", all(feature = "rten", feature = "threads")))]
pub(crate) use self::optional_input::optional_inputs;
#[cfg(feature = "rten")]
pub(crate) use self::signature::DeclaredSignature;
pub(crate) use self::signature::declared_outputs;
#[cfg(feature = "onnxruntime")]
pub(crate) use self::signature::element_type;
#[cfg(feature = "onnxruntime")]
pub(crate) use self::text_locale::set_locale;
pub(crate) use self::zip_map::remove_zip_maps;

#[cfg(feature = "rten")]
use self::node_parts::inner_graphs_mut;
use crate::bounded_file::{open_regular, read_regular};
use crate::error::BackendError;
use crate::foreign_content;
use crate::model_folder::ModelFolder;
use crate::model_source::ModelSource;
#[cfg(feature = "rten")]
use crate::pb::GraphProto;
use crate::pb::ModelProto;
use crate::pb::tensor_proto::DataLocation;
use prost::Message;
use std::borrow::Cow;

/// The size limit of the format: a protobuf message is smaller. External data files may be larger.
pub(crate) const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// Reads the model. Errors contain the name `backend`.
pub(crate) fn read(
    source: ModelSource<'_>,
    backend: &'static str,
) -> Result<ModelProto, BackendError> {
    decode(&read_content(source, backend)?, backend)
}

/// Returns the bytes of the model.
///
/// Only a regular file is read: another file may be endless or block for ever without a writer.
pub(crate) fn read_content<'a>(
    source: ModelSource<'a>,
    backend: &'static str,
) -> Result<Cow<'a, [u8]>, BackendError> {
    match source {
        ModelSource::Path(path) => {
            let (_, size) = open_regular(path).map_err(BackendError::Read)?;
            check_size(size, backend)?;
            let content = read_regular(path, MAX_FILE_BYTES).map_err(BackendError::Read)?;
            Ok(Cow::Owned(content))
        }
        ModelSource::Bytes { content, .. } => {
            check_size(u64::try_from(content.len()).unwrap_or(u64::MAX), backend)?;
            Ok(Cow::Borrowed(content))
        }
    }
}

fn check_size(size: u64, backend: &'static str) -> Result<(), BackendError> {
    match size <= MAX_FILE_BYTES {
        true => Ok(()),
        false => Err(BackendError::Load {
            backend,
            reason: format!(
                "the file has {size} bytes, the limit for an ONNX file is 2 GiB: store the \
                 weights as external data"
            ),
        }),
    }
}

/// Decodes the model in `content`.
pub(crate) fn decode(content: &[u8], backend: &'static str) -> Result<ModelProto, BackendError> {
    let refused = |reason| BackendError::Load { backend, reason };
    if let Some(reason) = foreign_content::describe(content) {
        return Err(refused(reason));
    }
    ModelProto::decode(content).map_err(|error| refused(format!("it is not an ONNX file: {error}")))
}

/// Removes the types and shapes that a file declares for intermediate values, which may be wrong.
#[cfg(feature = "rten")]
pub(crate) fn remove_value_info(model: &mut ModelProto) {
    fn remove(graph: &mut GraphProto) {
        graph.value_info.clear();
        let inner = graph.node.iter_mut().flat_map(inner_graphs_mut);
        inner.for_each(remove);
    }
    if let Some(graph) = &mut model.graph {
        remove(graph);
    }
}

/// Returns whether links lead from `folder` to data of the model.
#[cfg(feature = "tract")]
pub(crate) fn has_linked_data(model: &ModelProto, folder: Option<&ModelFolder>) -> bool {
    let (Some(graph), Some(folder)) = (&model.graph, folder) else {
        return false;
    };
    let mut found = false;
    visit_tensors(graph, &mut |tensor| {
        let is_linked = || {
            let stored = ExternalBytes::of(tensor, Some(folder));
            stored.is_ok_and(|stored| stored.is_linked(folder))
        };
        found = found || (is_external(tensor) && is_linked());
    });
    found
}

/// Reads all external tensors, whose files are in `folder`, into the model.
pub(crate) fn read_external_tensors(
    model: &mut ModelProto,
    folder: Option<&ModelFolder>,
) -> Result<(), String> {
    // The model is encoded afterwards, and the format is limited in size.
    let mut left = MAX_FILE_BYTES;
    change_tensors(model, &mut |tensor| {
        if !is_external(tensor) {
            return Ok(());
        }
        let mut read = || {
            let stored = ExternalBytes::of(tensor, folder)?;
            let length = u64::try_from(stored.length).unwrap_or(u64::MAX);
            left = left.checked_sub(length).ok_or_else(|| {
                "and those before it have more than 2 GiB of external data".to_owned()
            })?;
            let mut bytes = vec![0; stored.length];
            stored.read(&mut bytes)?;
            Ok(bytes)
        };
        let bytes =
            read().map_err(|reason: String| format!("tensor `{}` {reason}", tensor.name))?;
        tensor.raw_data = bytes;
        tensor.external_data.clear();
        tensor.data_location = Some(DataLocation::Default as i32);
        Ok(())
    })
}

/// Applies all rewrites, for a backend without equivalents of its own.
pub(crate) fn prepare(model: &mut ModelProto) {
    remove_zip_maps(model);
    if let Some(graph) = &mut model.graph {
        batch_norm::fold(graph);
    }
}
