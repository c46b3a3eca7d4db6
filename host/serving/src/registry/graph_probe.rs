//! Loads a model file in a child process before this one does, so that a file that takes too much time or
//! memory, or ends its process, ends that one.
//!
//! A file that has passed is remembered by what is in it, so that the next start needs no child. What is
//! wrong with a file that a child has refused is found out again by whoever loads it here.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wisp_backend::{Backend, Device, LoadOptions};
use wisp_sandbox::limited_process::{ChildAnswer, ChildError, ChildProgram, ProcessLimits};

/// Files beside a graph's whose state is noted. Where there are more, the graph is not remembered.
const MAX_NEIGHBOURS: usize = 1000;

/// Child processes that try model files. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct GraphProbe {
    /// Takes `--backend NAME --threads N FILE` and loads the file.
    pub program: ChildProgram,
    pub limits: ProcessLimits,
    /// Where it is remembered what has passed.
    pub passed: PathBuf,
}

impl GraphProbe {
    /// Whether this engine loads the file within the limits; a reason why it does not load it at all counts as
    /// well.
    pub(crate) fn check(
        &self,
        path: &Path,
        backend: &dyn Backend,
        options: &LoadOptions,
    ) -> Result<(), ChildError> {
        // A GPU's driver maps more than any limit that is worth its name.
        if options.device != Device::Cpu || backend.available().is_err() {
            return Ok(());
        }
        // What is no file, or cannot be read, its engine refuses without reading it.
        let Ok(name) = record_name(path, backend, options) else {
            return Ok(());
        };
        let record = name.map(|name| self.passed.join(name));
        if record.as_ref().is_some_and(|record| record.exists()) {
            return Ok(());
        }
        let threads = options.threads.to_string();
        let task: [&OsStr; 6] = [
            "--backend".as_ref(),
            backend.name().as_ref(),
            "--threads".as_ref(),
            threads.as_ref(),
            "--".as_ref(),
            path.as_os_str(),
        ];
        let answer = self.program.run(&task, &[], &self.limits)?;
        if let (ChildAnswer::Result(_), Some(record)) = (answer, record) {
            // A directory that cannot be written costs a child process at the next load, nothing else.
            let _ = self.remember(&record);
        }
        Ok(())
    }

    fn remember(&self, record: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.passed)?;
        File::create(record).map(drop)
    }
}

/// The name that a file is remembered by with an engine and its settings, if it can be.
fn record_name(
    path: &Path,
    backend: &dyn Backend,
    options: &LoadOptions,
) -> io::Result<Option<String>> {
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    let (name, version) = (backend.name(), backend.version());
    let threads = options.threads;
    let wisp = env!("CARGO_PKG_VERSION");
    hasher.update(format!("\0{wisp}\0{name}\0{version}\0{threads}").as_bytes());
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

/// Notes the files of a folder and of those in it: external data may be in any of them, of a size that takes
/// long to read. Returns whether these are all.
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
        // Which is often built anew, and is no part of any graph.
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            continue;
        }
        // What a link leads to counts, and links are few.
        let metadata = path.metadata().unwrap_or(found);
        let mut state = path.into_os_string();
        state.push(state_of(&metadata));
        neighbours.push(state);
    }
    Ok(true)
}

/// What changes whenever a file does, whoever changes it.
fn state_of(metadata: &Metadata) -> String {
    format!(
        "\0{} {} {} {}.{}",
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.ctime(),
        metadata.ctime_nsec()
    )
}
