//! Plans whose operators run on an NVIDIA GPU: tract's own CUDA runtime.
//!
//! It opens the driver and the libraries of CUDA when it is asked for, and compiles its kernels with NVRTC
//! from the headers in CUDA_HOME. tract knows one GPU, the first.

use super::guard::guarded;
// Linked in, it enters its runtime in tract's list.
use tract_cuda as _;
use tract_onnx::tract_core::internal::format_err;
use tract_onnx::tract_core::runtime::{Runtime, runtime_for_name};

/// The runtime for the GPU with this index, or what it lacks.
pub(super) fn runtime(index: u32) -> Result<&'static dyn Runtime, String> {
    if index != 0 {
        return Err(format!(
            "device `cuda:{index}` cannot be used: tract computes on the first GPU only"
        ));
    }
    let found = guarded(|| {
        let runtime = runtime_for_name("cuda")?;
        let runtime = runtime.ok_or_else(|| format_err!("its CUDA runtime is not linked in"))?;
        runtime.check()?;
        Ok(runtime)
    });
    found.map_err(|fault| {
        format!(
            "device `cuda:{index}` cannot be used: {}; it takes an NVIDIA driver, and the libraries that \
             `wisp backend install cuda` fetches: let LD_LIBRARY_PATH name their `lib` and CUDA_HOME \
             what is above it",
            fault.into_reason()
        )
    })
}
