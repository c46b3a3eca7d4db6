//! Tests of the cost of batches, on graphs that count their computations.

use super::*;
use crate::worker_pool::PoolThreads;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use wisp_backend::{Backend, BackendError, ModelSource, Rows};
use wisp_tensor::{Dimension, ElementType, NamedTensor, Signature, TensorSpec};

/// A backend whose graphs return their inputs.
#[derive(Debug)]
struct Counting {
    computations: Arc<AtomicUsize>,
    /// The number of sizes for which its graphs keep preparations; 0 if they do not prepare.
    capacity: usize,
}

#[derive(Debug)]
struct Counted {
    signature: Signature,
    computations: Arc<AtomicUsize>,
    capacity: usize,
}

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn load(&self, _: ModelSource<'_>, _: &LoadOptions) -> Result<Arc<dyn Graph>, BackendError> {
        let rows = [-1, 4].into_iter().filter_map(Dimension::from_wire);
        let spec = TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Fp32,
            shape: rows.collect(),
            optional: false,
        };
        Ok(Arc::new(Counted {
            signature: Signature {
                inputs: vec![spec.clone()],
                outputs: vec![spec],
            },
            computations: Arc::clone(&self.computations),
            capacity: self.capacity,
        }))
    }
}

impl Graph for Counted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        Rows::Independent
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        self.computations.fetch_add(1, Ordering::Relaxed);
        Ok(inputs.to_vec())
    }

    fn preparation_capacity(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.capacity)
    }
}

/// A server that starts, loads a graph, and asks for the cost of its batches.
struct Starts {
    directory: tempfile::TempDir,
    computations: Arc<AtomicUsize>,
}

impl Starts {
    fn new() -> anyhow::Result<Starts> {
        Ok(Starts {
            directory: tempfile::tempdir()?,
            computations: Arc::default(),
        })
    }

    /// Starts with a file of this content, and returns the cost and the number of computations for it.
    fn start(&self, content: &[u8], capacity: usize) -> anyhow::Result<(KnownCost, usize)> {
        let graph = self.directory.path().join("model.onnx");
        std::fs::write(&graph, content)?;
        let backend = Counting {
            computations: Arc::clone(&self.computations),
            capacity,
        };
        let store = self.directory.path().join("decisions");
        let loader = GraphLoader {
            choice: BackendChoice::Named(backend.name().to_owned()),
            backends: Backends::new(Arc::new(backend), Vec::new()),
            selections: BackendSelectionStore::new(store),
            probe: None,
            workers: WorkerPool::spawn("test", PoolThreads::fixed(NonZeroUsize::MIN))?,
            shared: SharedGraphs::default(),
        };
        let loaded = loader.load(("model", &graph), None, &LoadOptions::default())?;
        let before = self.computations.load(Ordering::Relaxed);
        let known = loader.cost(&loaded)?;
        Ok((known, self.computations.load(Ordering::Relaxed) - before))
    }
}

#[test]
fn a_second_start_measures_only_graphs_that_have_changed() -> anyhow::Result<()> {
    let starts = Starts::new()?;
    // An empty file is a message without fields.
    let (first, computations) = starts.start(b"", 0)?;
    assert!(!first.is_stored && computations > 0, "{first:?}");
    let (second, computations) = starts.start(b"", 0)?;
    assert!(second.is_stored && computations == 0, "{second:?}");
    assert_eq!(second.cost, first.cost);
    // Field 1 of the message: the version of the format.
    let (other, _) = starts.start(b"\x08\x08", 0)?;
    assert!(!other.is_stored, "{other:?}");
    Ok(())
}

#[test]
fn a_graph_that_keeps_another_number_of_preparations_is_measured_again() -> anyhow::Result<()> {
    let starts = Starts::new()?;
    starts.start(b"", 64)?;
    assert!(starts.start(b"", 64)?.0.is_stored);
    let (fewer, _) = starts.start(b"", 4)?;
    assert!(!fewer.is_stored, "{fewer:?}");
    assert!(starts.start(b"", 4)?.0.is_stored);
    Ok(())
}
