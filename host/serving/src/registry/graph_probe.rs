//! Loads a model file in a child process first, so that a file which takes too much time or memory, or
//! crashes the process, ends only the child.
//!
//! A file that has passed is recorded by a hash of its content, so that the next start needs no child. A
//! file that the child could not load is loaded here as well, which reports the error. While many models
//! are loaded, one child loads several small files in turn.

use crate::file_state::FileState;
use crate::registry::load_task::LoadTask;
use crate::registry::record_name::record_name;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wisp_backend::{Backend, Device, LoadOptions};
use wisp_sandbox::limited_process::{ChildError, ChildProgram, ChildResponse, ProcessLimits};
use wisp_sandbox::worker_process::WorkerProcess;

/// The number of files beside a graph whose state is recorded. A graph with more of them is not recorded.
const MAX_NEIGHBOURS: usize = 1000;

/// The size limit in bytes of a file that a child loads after others. What it leaves behind in the memory
/// of the child counts against the limit of the next one.
const MAX_SMALL_BYTES: u64 = 1 << 20;

/// The maximum number of files that one child loads.
const MAX_TASKS: usize = 250;

/// The program that tries model files in child processes. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct GraphProbe {
    program: ChildProgram,
    limits: ProcessLimits,
    passed: Option<PathBuf>,
    /// The tenant whose files these are; empty for public models.
    tenant: String,
    children: Arc<Mutex<IdleChildren>>,
}

/// The children that wait for the next small file.
#[derive(Debug, Default)]
struct IdleChildren {
    /// The number of [`KeepChildren`] that exist. Without one, no child is kept.
    keepers: usize,
    children: Vec<WorkerProcess>,
}

/// The right to keep children from one file to the next, while many files are loaded.
#[derive(Debug)]
pub(crate) struct KeepChildren<'a>(&'a GraphProbe);

impl GraphProbe {
    /// Returns the probe whose children are `program`, which performs each [`LoadTask`] that it receives.
    /// `passed` is the directory with a record for each file that has passed; if `None`, no records are kept.
    pub fn new(
        program: ChildProgram,
        limits: ProcessLimits,
        passed: Option<PathBuf>,
    ) -> GraphProbe {
        GraphProbe {
            program,
            limits,
            passed,
            tenant: String::new(),
            children: Arc::default(),
        }
    }

    /// Returns the probe of a tenant's own files. No child of it has loaded, or will load, a file of another tenant, so that
    /// one that a hostile file has taken over reports on files of the same tenant only.
    pub(crate) fn of_tenant(&self, tenant: &str) -> GraphProbe {
        GraphProbe {
            tenant: tenant.to_owned(),
            children: Arc::default(),
            ..self.clone()
        }
    }

    /// Keeps children from one file to the next until the returned value is dropped.
    pub(crate) fn keep_children(&self) -> KeepChildren<'_> {
        self.children().keepers += 1;
        KeepChildren(self)
    }

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
        let Ok(record) = self.record(path, backend, options) else {
            return Ok(());
        };
        if record.as_ref().is_some_and(|record| record.exists()) {
            return Ok(());
        }
        let task = LoadTask::new(path, Some(backend.name()), options);
        let answer = self.perform(&task, path)?;
        if let (ChildResponse::Result(_), Some(record)) = (answer, record) {
            // A directory that cannot be written costs a child process at the next load and has no other effect.
            let _ = remember(&record);
        }
        Ok(())
    }

    /// Compares all backends on the file in one child process. Returns the selection as the child has
    /// written it; `None` if the child did not finish, or found no backend.
    pub(crate) fn compare(&self, path: &Path, options: &LoadOptions) -> Option<Vec<u8>> {
        if options.device != Device::Cpu {
            return None;
        }
        let task = LoadTask::new(path, None, options);
        match self.perform(&task, path) {
            Ok(ChildResponse::Result(selection)) => Some(selection),
            Ok(ChildResponse::Refusal(_)) | Err(_) => None,
        }
    }

    /// Records that this backend has loaded the file within the limits.
    pub(crate) fn pass(&self, path: &Path, backend: &dyn Backend, options: &LoadOptions) {
        if let Ok(Some(record)) = self.record(path, backend, options) {
            // As in `check`, without a record the next load takes a child process.
            let _ = remember(&record);
        }
    }

    /// Returns the path of the record of a file with a backend and its settings, if it can be recorded.
    fn record(
        &self,
        path: &Path,
        backend: &dyn Backend,
        options: &LoadOptions,
    ) -> io::Result<Option<PathBuf>> {
        let digest = digest(path, backend, options)?;
        let record = self.passed.as_ref().zip(digest);
        Ok(record.map(|(passed, digest)| passed.join(record_name(&digest, &self.tenant))))
    }

    /// Performs the task in a child: one that has loaded small files before, if this file is small too.
    fn perform(&self, task: &LoadTask, path: &Path) -> Result<ChildResponse, ChildError> {
        let is_small = path
            .metadata()
            .is_ok_and(|file| file.len() <= MAX_SMALL_BYTES);
        let task = task.encode();
        let used = is_small.then(|| self.children().children.pop()).flatten();
        if let Some(mut used) = used
            && let Ok(answer) = used.perform(&task)
        {
            self.keep(used);
            return Ok(answer);
        }
        // The effects of an earlier file on the child must not be held against this one.
        let mut fresh = WorkerProcess::start(&self.program, &self.limits)?;
        let answer = fresh.perform(&task)?;
        if is_small {
            self.keep(fresh);
        }
        Ok(answer)
    }

    /// Keeps a child for the next file, or ends it.
    fn keep(&self, child: WorkerProcess) {
        let mut idle = self.children();
        if idle.keepers > 0 && child.tasks() < MAX_TASKS {
            idle.children.push(child);
        }
    }

    fn children(&self) -> MutexGuard<'_, IdleChildren> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeepChildren<'_> {
    fn drop(&mut self) {
        let mut idle = self.0.children();
        idle.keepers -= 1;
        if idle.keepers == 0 {
            idle.children.clear();
        }
    }
}

fn remember(record: &Path) -> io::Result<()> {
    if let Some(passed) = record.parent() {
        fs::create_dir_all(passed)?;
    }
    File::create(record).map(drop)
}

/// Returns the digest of a file with a backend and its settings, if it can be recorded.
fn digest(path: &Path, backend: &dyn Backend, options: &LoadOptions) -> io::Result<Option<String>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_backend::{BackendError, Graph, ModelSource};
    use wisp_sandbox::aot::COMPILATION;

    /// A backend that loads nothing.
    #[derive(Debug)]
    struct Empty;

    impl Backend for Empty {
        fn name(&self) -> &'static str {
            "empty"
        }

        fn version(&self) -> String {
            "1".to_owned()
        }

        fn load(
            &self,
            _: ModelSource<'_>,
            _: &LoadOptions,
        ) -> Result<Arc<dyn Graph>, BackendError> {
            Err(BackendError::Cancelled)
        }
    }

    #[test]
    fn the_files_of_tenants_have_children_and_records_of_their_own() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("model.onnx");
        fs::write(&file, "a graph")?;
        let program = ChildProgram::new("/nowhere", ["load"]);
        let passed = directory.path().join("passed");
        let public = GraphProbe::new(program, COMPILATION, Some(passed));
        let (acme, other) = (public.of_tenant("acme"), public.of_tenant("other"));
        let record = |probe: &GraphProbe| probe.record(&file, &Empty, &LoadOptions::default());
        for (one, another) in [(&public, &acme), (&public, &other), (&acme, &other)] {
            assert!(!Arc::ptr_eq(&one.children, &another.children));
            let (one, another) = (record(one)?, record(another)?);
            assert!(one.is_some() && one != another);
        }
        assert_eq!(record(&acme)?, record(&public.of_tenant("acme"))?);
        Ok(())
    }
}
