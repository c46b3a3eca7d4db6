//! Tensors that an ONNX file keeps in files beside it.
//!
//! Refusals from here name what to change in the model, and no path of this machine.

use std::fs::File;
use std::path::{Component, Path};
use tract_onnx::pb::{GraphProto, TensorProto};

/// The size of the file at `location`, which must be one of the folder's own.
pub(crate) fn file_bytes(location: &str, folder: Option<&Path>) -> Result<usize, String> {
    let Some(folder) = folder else {
        return Err("cannot be read with a model that is not a file".to_owned());
    };
    let outside = || "lies outside the model's folder".to_owned();
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let location = Path::new(location);
    if !location.components().all(inside) {
        return Err(outside());
    }
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let unreadable = |error: std::io::Error| format!("cannot be read: {}", error.kind());
    let folder = folder.canonicalize().map_err(unreadable)?;
    let path = folder.join(location).canonicalize().map_err(unreadable)?;
    if !path.starts_with(&folder) {
        return Err(outside());
    }
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    usize::try_from(bytes).map_err(|_| "is too large".to_owned())
}

/// Call `visit` for every tensor stored in `graph` and in the graphs inside it.
///
/// The depth is bounded by the decoder's limit on nested messages.
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
