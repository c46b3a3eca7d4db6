//! Loads a model file in a child process first, so that a file which takes too much time or memory, or
//! crashes the process, ends only the child.
//!
//! A file that has passed is recorded by a hash of its content, so that the next start needs no child. A
//! file that the child could not load is loaded here as well, which reports the error.

use crate::file_state::FileState;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wisp_backend::{Backend, Device, LoadOptions};
use wisp_sandbox::limited_process::{ChildAnswer, ChildError, ChildProgram, ProcessLimits};
use wisp_tensor::Dimension;

/// The number of files beside a graph whose state is recorded. A graph with more of them is not recorded.
const MAX_NEIGHBOURS: usize = 1000;

/// The program that tries model files in child processes. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct GraphProbe {
    /// The program that takes `--backend NAME --threads N --shape INPUT=SIZES FILE` and loads the file.
    pub program: ChildProgram,
    pub limits: ProcessLimits,
    /// The directory with a record for each file that has passed. If `None`, no records are kept.
    pub passed: Option<PathBuf>,
}

impl GraphProbe {
    /// Checks that this backend loads the file within the limits. A file that the backend rejects
    /// within the limits passes as well.
    pub(crate) fn check(
        &self,
        path: &Path,
        backend: &dyn Backend,
        options: &LoadOptions,
    ) -> Result<(), ChildError> {
        // The driver of a GPU maps more memory than any useful limit.
        if options.device != Device::Cpu || backend.available().is_err() {
            return Ok(());
        }
        // The backend itself rejects a path that is not a readable file, without reading it.
        let Ok(name) = record_name(path, backend, options) else {
            return Ok(());
        };
        let record = self.passed.as_ref().zip(name);
        let record = record.map(|(passed, name)| passed.join(name));
        if record.as_ref().is_some_and(|record| record.exists()) {
            return Ok(());
        }
        let threads = options.threads.to_string();
        let shapes = options.shapes.iter();
        let shapes: Vec<String> = shapes
            .map(|(name, shape)| shape_argument(name, shape))
            .collect();
        let mut task: Vec<&OsStr> = vec![
            "--backend".as_ref(),
            backend.name().as_ref(),
            "--threads".as_ref(),
            threads.as_ref(),
        ];
        task.extend(shapes.iter().map(OsStr::new));
        task.extend([OsStr::new("--"), path.as_os_str()]);
        let answer = self.program.run(&task, &[], &self.limits)?;
        if let (ChildAnswer::Result(_), Some(record)) = (answer, record) {
            // A directory that cannot be written costs a child process at the next load and has no other effect.
            let _ = remember(&record);
        }
        Ok(())
    }
}

fn remember(record: &Path) -> io::Result<()> {
    if let Some(passed) = record.parent() {
        fs::create_dir_all(passed)?;
    }
    File::create(record).map(drop)
}

/// Returns the argument with the shape of an input, such as `--shape=x=1x3x640x640`.
fn shape_argument(name: &str, shape: &[Dimension]) -> String {
    let sizes: Vec<String> = shape
        .iter()
        .map(|size| size.to_wire().to_string())
        .collect();
    format!("--shape={name}={}", sizes.join("x"))
}

/// Returns the record name of a file with a backend and its settings, if it can be recorded.
fn record_name(
    path: &Path,
    backend: &dyn Backend,
    options: &LoadOptions,
) -> io::Result<Option<String>> {
    // Checked before the file is opened: opening a pipe waits for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    let (name, version) = (backend.name(), backend.version());
    let LoadOptions {
        device: _,
        threads,
        shapes,
    } = options;
    let wisp = env!("CARGO_PKG_VERSION");
    hasher.update(format!("\0{wisp}\0{name}\0{version}\0{threads}").as_bytes());
    if !shapes.is_empty() {
        hasher.update(format!("\0{shapes:?}").as_bytes());
    }
    let mut neighbours = Vec::new();
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let is_whole = list(folder.unwrap_or(Path::new(".")), &mut neighbours)?;
    neighbours.sort();
    for neighbour in &neighbours {
        hasher.update(neighbour.as_bytes());
    }
    Ok(is_whole.then(|| hasher.finalize().to_hex().to_string()))
}

/// Adds the files of a folder and its subfolders to `neighbours`: any of them may contain external data
/// of a size that takes long to read. Returns whether these are all files.
fn list(folder: &Path, neighbours: &mut Vec<OsString>) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(found) = path.symlink_metadata() else {
            continue;
        };
        if neighbours.len() >= MAX_NEIGHBOURS {
            return Ok(false);
        }
        if found.is_dir() {
            if !list(&path, neighbours)? {
                return Ok(false);
            }
            continue;
        }
        // A handler is often rebuilt and is not part of any graph.
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            continue;
        }
        // The state of a link's target counts; links are few.
        let metadata = path.metadata().unwrap_or(found);
        let mut state = path.into_os_string();
        state.push(format!("\0{}", FileState::from(&metadata)));
        neighbours.push(state);
    }
    Ok(true)
}
