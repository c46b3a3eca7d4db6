//! The replacement of [`cuda`](super::cuda) in a build without CUDA.

use tract_onnx::tract_core::runtime::Runtime;

/// Returns an error with instructions for a runtime.
pub(super) fn runtime(index: u32) -> Result<&'static dyn Runtime, String> {
    Err(format!(
        "in this build it computes on the processor, not on `cuda:{index}`: choose `backend = \
         \"onnxruntime\"`, or build Wisp with `--features cuda`"
    ))
}
