//! Whether what an ONNX file keeps outside of itself is the model's own.
//!
//! The refusal names no path of this machine.

use crate::onnx::{file_bytes, visit_tensors};
use std::path::Path;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataLocation;

/// Check that every tensor kept outside the file lies in the file's own folder and can be opened.
///
/// The library checks the place again when it reads.
pub(super) fn check_external_data(graph: &GraphProto, folder: Option<&Path>) -> Result<(), String> {
    let mut fault = Ok(());
    visit_tensors(graph, &mut |tensor| {
        if fault.is_err() || tensor.data_location != Some(DataLocation::External as i32) {
            return;
        }
        let location = tensor
            .external_data
            .iter()
            .find(|entry| entry.key == "location")
            .map_or("", |entry| entry.value.as_str());
        if let Err(reason) = file_bytes(location, folder) {
            fault = Err(format!("external data `{location}` {reason}"));
        }
    });
    fault
}
