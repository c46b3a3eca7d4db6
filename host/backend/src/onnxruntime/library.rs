//! Opens ONNX Runtime's shared library, once in a process.
//!
//! The binding keeps the library and one environment for as long as the process lives, so a second one
//! from another file is refused.

use super::arena::Arena;
use crate::panic::panic_message;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static OPENED: Mutex<Option<Library>> = Mutex::new(None);

/// The library of this process, and what all its sessions share.
#[derive(Debug, Clone)]
pub(super) struct Library {
    path: PathBuf,
    pub(super) environment: Environment,
    /// It lives as long as the library does, which is never closed.
    pub(super) arena: &'static Arena,
}

/// The library at `path`, which is opened now if it was not, for computations that take up to `max_bytes`
/// together; or how to get one.
pub(super) fn open(path: Option<&Path>, max_bytes: usize) -> Result<Library, String> {
    const REMEDY: &str = "`wisp backend install onnxruntime` fetches it, and \
        `--onnxruntime-library FILE` or ORT_DYLIB_PATH names one that is there";
    let path = path.ok_or_else(|| format!("its library is not installed; {REMEDY}"))?;
    // The binding takes a path that is not absolute as relative to the program.
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
    // The binding panics where the library is one of that name, but of another interface.
    let opened = catch_unwind(|| {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        let environment = builder
            .with_name("wisp")
            .with_telemetry(false)
            .build()
            .map_err(|error| error.message().to_owned())?;
        // What goes wrong comes back as an error; the rest is of no use to who serves.
        environment.set_log_level(LogLevel::Fatal);
        let arena = Arena::new(&environment, max_bytes);
        let arena = arena.map_err(|error| error.message().to_owned())?;
        Ok((environment, arena))
    });
    match opened {
        Ok(result) => result,
        Err(panic) => Err(panic_message(&*panic).to_owned()),
    }
}

/// The version of the library that is open: as its file is called, such as `1.31.1`, or the commit that it
/// was built from.
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
    // `ORT Build Info: git-branch=HEAD, git-commit-id=26250ae, ...`
    let commit = ort::info().split("git-commit-id=").nth(1);
    let commit = commit.and_then(|text| text.split(',').next());
    commit.unwrap_or("unknown").to_owned()
}

/// Open the libraries of CUDA that lie in `directory`, in the order in which they need each other, so that
/// those of ONNX Runtime, which ask for them by name, find them.
pub(super) fn open_cuda(directory: &Path) -> Result<(), String> {
    /// What their names begin with. Those of cuDNN besides the first two come in any order.
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
