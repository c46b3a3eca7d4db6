//! Opens the shared library of ONNX Runtime, once per process.
//!
//! The binding keeps the library and one environment as long as the process lives, so a second library
//! from another file is refused.

use super::arena::Arena;
use crate::panic::catch;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static OPENED: Mutex<Option<Library>> = Mutex::new(None);

/// The library of this process and the objects that all its sessions share.
#[derive(Debug, Clone)]
pub(super) struct Library {
    path: PathBuf,
    pub(super) environment: Environment,
    /// Lives as long as the library, which is never closed.
    pub(super) arena: &'static Arena,
}

/// Returns the library at `path`, which is opened now if it is not open yet, for computations
/// of up to `max_bytes` in total.
///
/// # Errors
/// Returns a message with instructions for installing the library.
pub(super) fn open(path: Option<&Path>, max_bytes: usize) -> Result<Library, String> {
    const REMEDY: &str = "run `wisp backend install onnxruntime`, or name an existing library with \
        `--onnxruntime-library FILE` or ORT_DYLIB_PATH";
    let path = path.ok_or_else(|| format!("the library is not installed; {REMEDY}"))?;
    // The binding resolves a relative path against the program.
    let path = path
        .canonicalize()
        .map_err(|error| format!("`{}` cannot be opened: {error}; {REMEDY}", path.display()))?;
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*opened {
        Some(library) if library.path == path => Ok(library.clone()),
        Some(other) => Err(format!(
            "this process has opened `{}`",
            other.path.display()
        )),
        None => {
            let (environment, arena) = first(&path, max_bytes)?;
            let library = Library {
                path,
                environment,
                arena: Box::leak(Box::new(arena)),
            };
            *opened = Some(library.clone());
            Ok(library)
        }
    }
}

fn first(path: &Path, max_bytes: usize) -> Result<(Environment, Arena), String> {
    // The binding panics if a library of that name has another interface.
    let opened = catch(|| {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        let environment = builder
            .with_name("wisp")
            .with_telemetry(false)
            .build()
            .map_err(|error| error.message().to_owned())?;
        // Failures are returned as errors; other messages are of no use to an operator.
        environment.set_log_level(LogLevel::Fatal);
        let arena = Arena::new(&environment, max_bytes);
        let arena = arena.map_err(|error| error.message().to_owned())?;
        Ok((environment, arena))
    });
    opened.unwrap_or_else(Err)
}

/// Returns the version of the open library: the one in its file name, such as `1.31.1`, or the
/// commit that it was built from.
pub(super) fn version() -> String {
    let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Library { path, .. }) = &*opened else {
        return "none".to_owned();
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.split(".so.").nth(1).unwrap_or_default();
    if !digits.is_empty() {
        return digits.to_owned();
    }
    // The text is `ORT Build Info: git-branch=HEAD, git-commit-id=26250ae, ...`.
    let commit = ort::info().split("git-commit-id=").nth(1);
    let commit = commit.and_then(|text| text.split(',').next());
    commit.unwrap_or("unknown").to_owned()
}

/// Opens the CUDA libraries in `directory` in the order of their dependencies. The libraries of ONNX
/// Runtime request them by name and then find them.
pub(super) fn open_cuda(directory: &Path) -> Result<(), String> {
    /// The prefixes of their names. The libraries of cuDNN after the first two come in any order.
    const ORDER: [&str; 11] = [
        "libcudart.",
        "libnvrtc-builtins.",
        "libnvrtc.",
        "libcublasLt.",
        "libcublas.",
        "libnvJitLink.",
        "libcufft.",
        "libcurand.",
        "libcudnn_graph.",
        "libcudnn.",
        "libcudnn_",
    ];
    let shown = directory.display();
    let entries = std::fs::read_dir(directory).map_err(|error| format!("`{shown}`: {error}"))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    for start in ORDER {
        let begins = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(start)
        };
        for file in files.iter().filter(begins) {
            let opened = ort::util::preload_dylib(file);
            opened.map_err(|error| format!("`{}` cannot be opened: {error}", file.display()))?;
        }
    }
    Ok(())
}
