//! The choice of a backend for graphs.

use clap::Args;
use std::path::PathBuf;

/// The choice of backend, for every command that loads graphs.
#[derive(Debug, Args)]
pub(crate) struct BackendArgs {
    /// Backend for models whose model.toml does not name one: `tract`, `rten`, `onnxruntime`, or `auto`
    /// for the fastest of the available ones that agree, measured when a version is first loaded.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        env = "WISP_BACKEND"
    )]
    pub(crate) backend: String,

    /// ONNX Runtime's shared library [default: the value of ORT_DYLIB_PATH, or the library that `wisp
    /// backend install onnxruntime` has installed].
    #[arg(long, value_name = "FILE", env = "WISP_ONNXRUNTIME_LIBRARY")]
    pub(crate) onnxruntime_library: Option<PathBuf>,
}

impl BackendArgs {
    /// Returns the configured path of ONNX Runtime's shared library. `ORT_DYLIB_PATH` is the variable
    /// that other programs with ONNX Runtime use.
    pub(crate) fn onnxruntime_library(&self) -> Option<PathBuf> {
        let shared = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        let configured = self.onnxruntime_library.clone();
        configured.or_else(|| shared().map(PathBuf::from))
    }
}

impl Default for BackendArgs {
    /// Returns options that work on every machine.
    fn default() -> BackendArgs {
        BackendArgs {
            backend: "auto".to_owned(),
            onnxruntime_library: None,
        }
    }
}
