//! Tests of decisions among backends with a fixed output.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use wisp_backend::ModelSource;
use wisp_tensor::number::from_numbers;
use wisp_tensor::{Dimension, ElementType, Shape, Signature, TensorSpec};

/// A backend whose graphs return `answer` after computing for `work`.
#[derive(Debug)]
struct Rote {
    name: &'static str,
    version: &'static str,
    answer: f64,
    work: Duration,
    loads: AtomicUsize,
}

#[derive(Debug)]
struct RoteGraph {
    signature: Signature,
    answer: f64,
    work: Duration,
}

impl Rote {
    fn new(name: &'static str, answer: f64, work: Duration) -> Rote {
        Rote {
            name,
            version: "1",
            answer,
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
            answer: self.answer,
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
        let tensor = from_numbers(ElementType::Fp32, shape, || self.answer);
        Ok(vec![NamedTensor {
            name: "y".to_owned(),
            tensor: tensor.expect("it is small"),
        }])
    }
}

/// A decision store and the directory with the graph to decide for.
struct Decisions {
    directory: tempfile::TempDir,
    store: DecisionStore,
}

impl Decisions {
    fn new() -> anyhow::Result<Decisions> {
        let directory = tempfile::tempdir()?;
        let store = DecisionStore::new(directory.path().join("decisions"));
        Ok(Decisions { directory, store })
    }

    fn decide(&self, engines: &[Arc<Rote>], content: &str) -> anyhow::Result<Decision> {
        let path = self.directory.path().join("model.onnx");
        std::fs::write(&path, content)?;
        let mut engines = engines.iter().map(|e| Arc::clone(e) as Arc<dyn Backend>);
        let default = engines.next().expect("there is an engine");
        let backends = Backends::new(default, engines.collect());
        let decided = self
            .store
            .decide(&backends, &path, &LoadOptions::default())?;
        assert_eq!(decided.backend.name(), decided.decision.backend);
        Ok(decided.decision)
    }
}

const SLOW: Duration = Duration::from_millis(3);

fn engines(answer_of_quick: f64) -> [Arc<Rote>; 2] {
    [
        Arc::new(Rote::new("quick", answer_of_quick, Duration::ZERO)),
        Arc::new(Rote::new(REFERENCE, 1.0, SLOW)),
    ]
}

#[test]
fn the_fastest_engine_is_kept_and_not_measured_again() -> anyhow::Result<()> {
    let decisions = Decisions::new()?;
    let engines = engines(1.0);
    let first = decisions.decide(&engines, "a")?;
    assert_eq!(first.backend, "quick");
    assert!(first.candidates.iter().all(|c| c.difference == Some(0.0)));
    assert_eq!(decisions.decide(&engines, "a")?, first);
    let loads = engines.each_ref().map(|engine| engine.loads.load(SeqCst));
    assert_eq!(loads, [2, 1], "only the one that is kept is loaded again");
    Ok(())
}

#[test]
fn an_engine_that_answers_otherwise_is_out_however_fast() -> anyhow::Result<()> {
    let decision = Decisions::new()?.decide(&engines(1.5), "a")?;
    assert_eq!(decision.backend, REFERENCE);
    let problem = decision.candidates[0].problem.as_deref();
    assert_eq!(problem, Some("its answer differs by 5.0e-1"));
    Ok(())
}

#[test]
fn another_graph_or_another_version_of_an_engine_is_measured_anew() -> anyhow::Result<()> {
    let decisions = Decisions::new()?;
    let [quick, reference] = engines(1.0);
    let all = [quick, Arc::clone(&reference)];
    decisions.decide(&all, "a")?;
    decisions.decide(&all, "b")?;
    assert_eq!(reference.loads.load(SeqCst), 2);
    let newer = Arc::new(Rote {
        version: "2",
        ..Rote::new("quick", 2.0, Duration::ZERO)
    });
    let decision = decisions.decide(&[newer, Arc::clone(&reference)], "a")?;
    assert_eq!(decision.backend, REFERENCE, "{decision}");
    Ok(())
}

#[test]
fn a_graph_that_no_engine_loads_has_no_decision() -> anyhow::Result<()> {
    let decisions = Decisions::new()?;
    let engine: Arc<dyn Backend> = Arc::new(Rote::new("quick", 1.0, Duration::ZERO));
    let backends = Backends::new(engine, Vec::new());
    let missing = decisions.directory.path().join("missing.onnx");
    let decided = (decisions.store).decide(&backends, &missing, &LoadOptions::default());
    assert!(matches!(
        decided,
        Err(DecisionError::Backend(BackendError::Read(_)))
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
