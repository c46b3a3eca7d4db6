//! What takes the place of [`cuda`](super::cuda) in a build without it.

use tract_onnx::tract_core::runtime::Runtime;

/// No runtime, and how to get one.
pub(super) fn runtime(index: u32) -> Result<&'static dyn Runtime, String> {
    Err(format!(
        "in this build it computes on the processor, not on `cuda:{index}`: choose `backend = \
         \"onnxruntime\"`, or build Wisp with `--features cuda`"
    ))
}
