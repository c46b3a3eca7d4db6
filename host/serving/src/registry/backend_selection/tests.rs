//! Tests of selections among backends with a fixed output.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use wisp_backend::ModelSource;
use wisp_tensor::number::from_numbers;
use wisp_tensor::{Dimension, ElementType, Shape, Signature, TensorSpec};

/// A backend whose graphs return `output` after computing for `work`.
#[derive(Debug)]
struct Rote {
    name: &'static str,
    version: &'static str,
    output: f64,
    work: Duration,
    loads: AtomicUsize,
}

#[derive(Debug)]
struct RoteGraph {
    signature: Signature,
    output: f64,
    work: Duration,
}

impl Rote {
    fn new(name: &'static str, output: f64, work: Duration) -> Rote {
        Rote {
            name,
            version: "1",
            output,
            work,
            loads: AtomicUsize::new(0),
        }
    }
}

impl Backend for Rote {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        self.version.to_owned()
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        _: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        self.loads.fetch_add(1, SeqCst);
        if let ModelSource::Path(path) = source {
            std::fs::read(path).map_err(BackendError::Read)?;
        }
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Fp32,
            shape: vec![Dimension::Variable],
            optional: false,
        };
        Ok(Arc::new(RoteGraph {
            signature: Signature {
                inputs: vec![spec("x")],
                outputs: vec![spec("y")],
            },
            output: self.output,
            work: self.work,
        }))
    }
}

impl Graph for RoteGraph {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let until = Instant::now() + self.work;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let size = inputs[0].tensor.shape().dimensions()[0];
        let shape = Shape::new(vec![size]).expect("one axis is a shape");
        let tensor = from_numbers(ElementType::Fp32, shape, || self.output);
        Ok(vec![NamedTensor {
            name: "y".to_owned(),
            tensor: tensor.expect("it is small"),
        }])
    }
}

/// A selection store and the directory with the graph to select for.
struct Decisions {
    directory: tempfile::TempDir,
    store: BackendSelectionStore,
}

impl Decisions {
    fn new() -> anyhow::Result<Decisions> {
        let directory = tempfile::tempdir()?;
        let store = BackendSelectionStore::new(directory.path().join("selections"));
        Ok(Decisions { directory, store })
    }

    fn select(&self, candidates: &[Arc<Rote>], content: &str) -> anyhow::Result<BackendSelection> {
        let path = self.directory.path().join("model.onnx");
        std::fs::write(&path, content)?;
        let mut candidates = candidates.iter().map(|e| Arc::clone(e) as Arc<dyn Backend>);
        let default = candidates.next().expect("there is a backend");
        let backends = Backends::new(default, candidates.collect());
        let selected = self
            .store
            .select(&backends, &path, &LoadOptions::default())?;
        assert_eq!(selected.backend.name(), selected.selection.backend);
        Ok(selected.selection)
    }
}

const SLOW: Duration = Duration::from_millis(3);

fn candidates(answer_of_quick: f64) -> [Arc<Rote>; 2] {
    [
        Arc::new(Rote::new("quick", answer_of_quick, Duration::ZERO)),
        Arc::new(Rote::new(REFERENCE, 1.0, SLOW)),
    ]
}

#[test]
fn the_fastest_engine_is_kept_and_not_measured_again() -> anyhow::Result<()> {
    let selections = Decisions::new()?;
    let candidates = candidates(1.0);
    let first = selections.select(&candidates, "a")?;
    assert_eq!(first.backend, "quick");
    assert!(first.candidates.iter().all(|c| c.difference == Some(0.0)));
    assert_eq!(selections.select(&candidates, "a")?, first);
    let loads = candidates
        .each_ref()
        .map(|engine| engine.loads.load(SeqCst));
    assert_eq!(loads, [2, 1], "only the one that is chosen is loaded again");
    Ok(())
}

#[test]
fn an_engine_that_answers_otherwise_is_out_however_fast() -> anyhow::Result<()> {
    let selection = Decisions::new()?.select(&candidates(1.5), "a")?;
    assert_eq!(selection.backend, REFERENCE);
    let problem = selection.candidates[0].problem.as_deref();
    assert_eq!(problem, Some("its output differs by 5.0e-1"));
    Ok(())
}

#[test]
fn another_graph_or_another_version_of_an_engine_is_measured_anew() -> anyhow::Result<()> {
    let selections = Decisions::new()?;
    let [quick, reference] = candidates(1.0);
    let all = [quick, Arc::clone(&reference)];
    selections.select(&all, "a")?;
    selections.select(&all, "b")?;
    assert_eq!(reference.loads.load(SeqCst), 2);
    let newer = Arc::new(Rote {
        version: "2",
        ..Rote::new("quick", 2.0, Duration::ZERO)
    });
    let selection = selections.select(&[newer, Arc::clone(&reference)], "a")?;
    assert_eq!(selection.backend, REFERENCE, "{selection}");
    Ok(())
}

#[test]
fn a_graph_that_no_engine_loads_has_no_decision() -> anyhow::Result<()> {
    let selections = Decisions::new()?;
    let engine: Arc<dyn Backend> = Arc::new(Rote::new("quick", 1.0, Duration::ZERO));
    let backends = Backends::new(engine, Vec::new());
    let missing = selections.directory.path().join("missing.onnx");
    let selected = (selections.store).select(&backends, &missing, &LoadOptions::default());
    assert!(matches!(
        selected,
        Err(BackendSelectionError::Backend(BackendError::Read(_)))
    ));
    Ok(())
}

#[test]
fn a_device_that_never_ends_is_not_read_to_its_end() -> anyhow::Result<()> {
    let store = Decisions::new()?.store;
    let options = LoadOptions::default();
    let record = |path: &str| store.record(Path::new(path), &options);
    assert_eq!(record("/dev/zero"), record("/nowhere"));
    Ok(())
}
