//! The graphs that are loaded now, so that equal files with equal settings are loaded once, and the memory of each.
//!
//! Two files are equal if the hashes of their content and external data are. A graph stays loaded for
//! as long as a version uses it. A file whose outline cannot be read may have external data that is not known here, and
//! is not shared.
//!
//! The memory of a graph is what the loading thread has allocated and not freed, if the allocator counts it, and at least
//! the size of its files. rten packs a second copy of the weights on other threads, so its graphs count as at least twice
//! their files. ONNX Runtime has an allocator of its own, so its graphs count as twice their files, and so do all graphs
//! without a measurement.

use crate::file_state::FileState;
use crate::memory_ledger::MemoryPart;
use crate::registry::backend_selection::BackendSelection;
use crate::registry::load_error::LoadError;
use crate::registry::loaded_graph::LoadedGraph;
use crate::registry::model_file::BackendChoice;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wisp_backend::model_outline::ModelOutline;
use wisp_backend::{Graph, LoadOptions};

/// The backend that has another allocator than the program.
const FOREIGN_ALLOCATOR: &str = "onnxruntime";

/// The backend that allocates a copy of the weights on other threads than the loading one.
const PACKED_ELSEWHERE: &str = "rten";

/// The memory of a graph without a measurement, in terms of its files.
const FILE_FACTOR: u64 = 2;

/// A function that returns the bytes that the calling thread has allocated less those that it has freed, if the
/// allocator counts them.
pub type AllocationMeter = fn() -> Option<i64>;

/// The graphs that are loaded now. Lifetime: the process.
#[derive(Debug, Default)]
pub struct SharedGraphs {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    meter: Option<AllocationMeter>,
}

/// The place of one graph. Its lock is held while the graph is loaded, so that others wait for it.
#[derive(Debug, Default)]
struct Slot {
    graph: Mutex<Option<SharedGraph>>,
}

/// A graph in use, with the facts about its load.
#[derive(Debug)]
struct SharedGraph {
    graph: Weak<dyn Graph>,
    backend: &'static str,
    selection: Option<BackendSelection>,
    memory: MemoryPart,
}

/// The content and the settings of a graph before it is loaded. Lifetime: one load.
#[derive(Debug)]
pub(crate) struct GraphIdentity {
    /// The hash of the content and the settings; `None` if it cannot be shared.
    key: Option<String>,
    /// The files and their states before they were read.
    files: Vec<(PathBuf, FileState)>,
    bytes: u64,
}

// === impl SharedGraphs ===

impl SharedGraphs {
    /// Returns no graphs, and measures the memory of loads with `meter`.
    pub fn measured_by(meter: AllocationMeter) -> SharedGraphs {
        SharedGraphs {
            meter: Some(meter),
            ..SharedGraphs::default()
        }
    }

    /// Returns no graphs, and measures the memory of loads in the same way.
    pub(crate) fn separate(&self) -> SharedGraphs {
        SharedGraphs {
            meter: self.meter,
            ..SharedGraphs::default()
        }
    }

    /// Does the work, and returns the bytes that this thread has allocated in it and not freed, if they are known.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> T) -> (T, Option<u64>) {
        let before = self.meter.and_then(|meter| meter());
        let done = work();
        let after = self.meter.and_then(|meter| meter());
        let grown = before.zip(after);
        let grown =
            grown.map(|(before, after)| u64::try_from(after.saturating_sub(before)).unwrap_or(0));
        (done, grown)
    }

    /// Returns the graph of this identity: the one that is in use, or the one that `load` loads.
    pub(crate) fn get_or_load(
        &self,
        identity: &GraphIdentity,
        load: impl FnOnce() -> Result<LoadedGraph, LoadError>,
    ) -> Result<LoadedGraph, LoadError> {
        let Some(key) = &identity.key else {
            return self.load(identity, load);
        };
        let slot = self.slot(key);
        // A load that has panicked has left no graph here.
        let mut held = slot.graph.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = held.as_ref().and_then(SharedGraph::loaded) {
            return Ok(shared);
        }
        let mut loaded = self.load(identity, load)?;
        *held = match identity.is_unchanged() {
            true => Some(SharedGraph::of(&loaded)),
            // Its hash may belong to another graph.
            false => {
                loaded.memory.key = None;
                None
            }
        };
        Ok(loaded)
    }

    fn load(
        &self,
        identity: &GraphIdentity,
        load: impl FnOnce() -> Result<LoadedGraph, LoadError>,
    ) -> Result<LoadedGraph, LoadError> {
        let (loaded, measured) = self.measure(load);
        let mut loaded = loaded?;
        let twice = identity.bytes.saturating_mul(FILE_FACTOR);
        loaded.memory = MemoryPart {
            key: identity.key.clone(),
            bytes: match measured {
                Some(bytes) if loaded.backend == PACKED_ELSEWHERE => bytes.max(twice),
                Some(bytes) if loaded.backend != FOREIGN_ALLOCATOR => bytes.max(identity.bytes),
                _ => twice,
            },
        };
        loaded.measured_bytes = measured.unwrap_or(0);
        Ok(loaded)
    }

    fn slot(&self, key: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock of a slot that nobody else has is free.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.is_in_use());
        Arc::clone(slots.entry(key.to_owned()).or_default())
    }
}

impl Slot {
    fn is_in_use(&self) -> bool {
        let held = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref()
            .is_some_and(|shared| shared.graph.strong_count() > 0)
    }
}

impl SharedGraph {
    fn of(loaded: &LoadedGraph) -> SharedGraph {
        SharedGraph {
            graph: Arc::downgrade(&loaded.graph),
            backend: loaded.backend,
            selection: loaded.selection.clone(),
            memory: loaded.memory.clone(),
        }
    }

    /// Returns the graph for another user, unless it is no longer loaded.
    fn loaded(&self) -> Option<LoadedGraph> {
        Some(LoadedGraph {
            graph: self.graph.upgrade()?,
            backend: self.backend,
            selection: self.selection.clone(),
            memory: self.memory.clone(),
            measured_bytes: 0,
        })
    }
}

// === impl GraphIdentity ===

impl GraphIdentity {
    /// Reads the files of the graph at `path` and returns its identity with these settings.
    pub(crate) fn read(
        path: &Path,
        choice: &BackendChoice,
        options: &LoadOptions,
    ) -> GraphIdentity {
        let mut identity = GraphIdentity {
            key: None,
            files: Vec::new(),
            bytes: 0,
        };
        // A file that cannot be read is reported by the load.
        identity.key = identity.hash(path, choice, options).ok();
        identity
    }

    /// Returns the hash of the content and the settings; `None` if the files cannot be read.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn hash(
        &mut self,
        path: &Path,
        choice: &BackendChoice,
        options: &LoadOptions,
    ) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        self.add(path, &mut hasher)?;
        let outline = ModelOutline::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in &outline.external_files {
            hasher.update(format!("\0{file}\0").as_bytes());
            self.add(&folder.join(file), &mut hasher)?;
        }
        hasher.update(format!("\0{choice:?}\0{options:?}").as_bytes());
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Adds a file with its length and its content.
    fn add(&mut self, path: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
        let metadata = path.metadata()?;
        // Checked before the file is opened: opening a pipe waits for a writer.
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.bytes = self.bytes.saturating_add(metadata.len());
        self.files
            .push((path.to_owned(), FileState::from(&metadata)));
        hasher.update(&metadata.len().to_le_bytes());
        hasher.update_reader(File::open(path)?)?;
        Ok(())
    }

    /// Returns whether the files are still those that were read.
    fn is_unchanged(&self) -> bool {
        let mut files = self.files.iter();
        files.all(|(path, state)| FileState::of(path).is_ok_and(|now| now == *state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use wisp_backend::BackendError;
    use wisp_tensor::{NamedTensor, Signature};

    #[derive(Debug, Default)]
    struct Empty(Signature);

    impl Graph for Empty {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            Ok(Vec::new())
        }
    }

    fn identity(key: Option<&str>) -> GraphIdentity {
        GraphIdentity {
            key: key.map(str::to_owned),
            files: Vec::new(),
            bytes: 100,
        }
    }

    fn loaded() -> LoadedGraph {
        LoadedGraph {
            graph: Arc::new(Empty::default()),
            backend: "test",
            selection: None,
            memory: MemoryPart {
                key: None,
                bytes: 0,
            },
            measured_bytes: 0,
        }
    }

    #[test]
    fn equal_graphs_are_loaded_once_while_one_is_used() -> anyhow::Result<()> {
        let (graphs, loads) = (SharedGraphs::default(), Cell::new(0));
        let load = || {
            loads.set(loads.get() + 1);
            Ok(loaded())
        };
        let first = graphs.get_or_load(&identity(Some("a")), load)?;
        let second = graphs.get_or_load(&identity(Some("a")), load)?;
        assert!(Arc::ptr_eq(&first.graph, &second.graph));
        assert_eq!(first.memory, second.memory);
        assert_eq!(loads.get(), 1);
        let other = graphs.get_or_load(&identity(Some("b")), load)?;
        assert!(!Arc::ptr_eq(&first.graph, &other.graph));
        drop((first, second));
        graphs.get_or_load(&identity(Some("a")), load)?;
        assert_eq!(loads.get(), 3);
        for _ in 0..2 {
            graphs.get_or_load(&identity(None), load)?;
        }
        assert_eq!(loads.get(), 5, "what has no identity is not shared");
        Ok(())
    }

    #[test]
    fn graphs_that_are_no_longer_used_are_forgotten() -> anyhow::Result<()> {
        let graphs = SharedGraphs::default();
        for number in 0..100 {
            graphs.get_or_load(&identity(Some(&number.to_string())), || Ok(loaded()))?;
        }
        assert!(graphs.slots.lock().unwrap().len() <= 1);
        Ok(())
    }

    #[test]
    fn the_measured_memory_is_at_least_that_of_the_files() -> anyhow::Result<()> {
        for (meter, backend, expected) in [
            (None, "test", 200),
            (Some((|| Some(5)) as AllocationMeter), "test", 100),
            (
                Some((|| Some(5)) as AllocationMeter),
                FOREIGN_ALLOCATOR,
                200,
            ),
            (Some((|| Some(5)) as AllocationMeter), PACKED_ELSEWHERE, 200),
            (Some((|| None) as AllocationMeter), "test", 200),
        ] {
            let graphs = SharedGraphs {
                meter,
                ..SharedGraphs::default()
            };
            let load = || {
                Ok(LoadedGraph {
                    backend,
                    ..loaded()
                })
            };
            let loaded = graphs.get_or_load(&identity(None), load)?;
            assert_eq!(loaded.memory.bytes, expected, "{backend}");
        }
        Ok(())
    }

    #[test]
    fn the_content_and_the_settings_are_the_identity() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let key = |content: &[u8], choice: &str, options: &LoadOptions| -> anyhow::Result<_> {
            let path = directory.path().join("model.onnx");
            std::fs::write(&path, content)?;
            let choice = BackendChoice::Named(choice.to_owned());
            let identity = GraphIdentity::read(&path, &choice, options);
            assert!(identity.is_unchanged());
            Ok(identity.key)
        };
        let options = LoadOptions::default();
        // An empty file is a message without fields.
        let first = key(b"", "a", &options)?;
        assert!(first.is_some());
        assert_eq!(key(b"", "a", &options)?, first);
        assert_ne!(key(b"", "b", &options)?, first);
        // Field 1 of the message: the version of the format.
        assert_ne!(key(b"\x08\x08", "a", &options)?, first);
        let threads = LoadOptions {
            threads: options.threads.saturating_add(1),
            ..options.clone()
        };
        assert_ne!(key(b"", "a", &threads)?, first);
        assert_eq!(key(b"\xff", "a", &options)?, None, "no message");
        let path = directory.path().join("none.onnx");
        let choice = BackendChoice::Named("a".to_owned());
        assert_eq!(GraphIdentity::read(&path, &choice, &options).key, None);
        Ok(())
    }
}
