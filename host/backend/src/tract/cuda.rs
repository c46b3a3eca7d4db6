//! Plans that run on an NVIDIA GPU with tract's CUDA runtime.
//!
//! The runtime opens the driver and the libraries of CUDA at its first use, and compiles its kernels with
//! NVRTC from the headers in CUDA_HOME. tract supports only one GPU, the first.

use super::guard::guarded;
// Linking the crate registers its runtime with tract.
use tract_cuda as _;
use tract_onnx::tract_core::internal::format_err;
use tract_onnx::tract_core::runtime::{Runtime, runtime_for_name};

/// Returns the runtime for the GPU with this index.
///
/// # Errors
/// Returns a message with the missing part.
pub(super) fn runtime(index: u32) -> Result<&'static dyn Runtime, String> {
    if index != 0 {
        return Err(format!(
            "device `cuda:{index}` cannot be used: tract computes only on the first GPU"
        ));
    }
    let found = guarded(|| {
        let runtime = runtime_for_name("cuda")?;
        let runtime = runtime.ok_or_else(|| format_err!("its CUDA runtime is not linked in"))?;
        runtime.check()?;
        Ok(runtime)
    });
    found.map_err(|error| {
        format!(
            "device `cuda:{index}` cannot be used: {}; it needs an NVIDIA driver, and the \
             libraries that `wisp backend install cuda` installs: set LD_LIBRARY_PATH to their \
             `lib` directory and CUDA_HOME to its parent",
            error.into_reason()
        )
    })
}
