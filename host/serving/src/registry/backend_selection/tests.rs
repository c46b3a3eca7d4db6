//! Tests of selections among backends whose graphs add a constant to their input.

use super::choice::fastest;
use super::contender::Contender;
use super::refusal::is_fault_of_file;
use super::*;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use wisp_backend::measure::REFERENCE;
use wisp_backend::{BackendError, MISSING_OPERATORS, ModelSource};
use wisp_tensor::number::{from_numbers, numbers};
use wisp_tensor::{Dimension, ElementType, NamedTensor, Signature, TensorSpec};

/// The value of the input `rate` that selects another branch, as the file of [`branching`] declares.
const RATE: i16 = 16_000;

/// A backend whose graphs add `plus` to every number of their input, after computing for `work`.
#[derive(Debug, Clone)]
struct Adding {
    name: &'static str,
    version: &'static str,
    plus: f64,
    work: Duration,
    shape: Vec<Dimension>,
    /// Set if the graphs have a second input, `rate`.
    has_rate: bool,
    habit: Habit,
    counts: Arc<Counts>,
}

/// A deviation from adding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    None,
    /// NaN counts as 0.
    HidesNan,
    /// More than one row is refused.
    RefusesBatches,
    /// [`RATE`] is refused.
    RefusesBranch,
    /// Files are refused.
    RefusesFiles,
    /// The backend is not installed.
    IsMissing,
}

#[derive(Debug, Default)]
struct Counts {
    loads: AtomicUsize,
    computations: AtomicUsize,
    refuses_files: AtomicBool,
}

impl Adding {
    fn new(name: &'static str, plus: f64) -> Adding {
        Adding {
            name,
            version: "1",
            plus,
            work: Duration::ZERO,
            shape: vec![Dimension::Variable, Dimension::Fixed(3)],
            has_rate: false,
            habit: Habit::None,
            counts: Arc::default(),
        }
    }

    fn slow(self) -> Adding {
        let work = Duration::from_millis(20);
        Adding { work, ..self }
    }

    fn with_rate(self) -> Adding {
        Adding {
            has_rate: true,
            ..self
        }
    }

    fn with(self, habit: Habit) -> Adding {
        Adding { habit, ..self }
    }

    fn loads(&self) -> usize {
        self.counts.loads.load(SeqCst)
    }

    fn computations(&self) -> usize {
        self.counts.computations.load(SeqCst)
    }
}

impl Backend for Adding {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        self.version.to_owned()
    }

    fn available(&self) -> Result<(), BackendError> {
        match self.habit {
            Habit::IsMissing => Err(BackendError::Unavailable {
                backend: self.name,
                reason: "it is not installed".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        _: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        self.counts.loads.fetch_add(1, SeqCst);
        if let ModelSource::Path(path) = source {
            std::fs::read(path).map_err(BackendError::Read)?;
        }
        if self.habit == Habit::RefusesFiles || self.counts.refuses_files.load(SeqCst) {
            return Err(BackendError::Load {
                backend: self.name,
                reason: format!("no operator of {}", self.name),
            });
        }
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Fp32,
            shape: self.shape.clone(),
            optional: false,
        };
        let rate = self.has_rate.then(|| TensorSpec {
            element_type: ElementType::Int64,
            shape: vec![Dimension::Fixed(1)],
            ..spec("rate")
        });
        Ok(Arc::new(AddingGraph {
            signature: Signature {
                inputs: std::iter::once(spec("x")).chain(rate).collect(),
                outputs: vec![spec("y")],
            },
            backend: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct AddingGraph {
    signature: Signature,
    backend: Adding,
}

impl Graph for AddingGraph {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let Adding { plus, habit, .. } = self.backend;
        self.backend.counts.computations.fetch_add(1, SeqCst);
        let until = Instant::now() + self.backend.work;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let tensor = &inputs[0].tensor;
        let refused = |reason: &str| BackendError::Inputs {
            backend: self.backend.name,
            reason: reason.to_owned(),
            explanation: String::new(),
        };
        if habit == Habit::RefusesBatches && tensor.shape().dimensions()[0] > 1 {
            return Err(refused("one row only"));
        }
        let is_rate = |input: &NamedTensor| {
            input.name == "rate" && numbers(&input.tensor).eq([f64::from(RATE)])
        };
        if habit == Habit::RefusesBranch && inputs.iter().any(is_rate) {
            return Err(refused("no such branch"));
        }
        let mut sums = numbers(tensor).map(|number| match habit {
            Habit::HidesNan if number.is_nan() => plus,
            _ => number + plus,
        });
        let next = || sums.next().unwrap_or_default();
        let tensor = from_numbers(ElementType::Fp32, tensor.shape().clone(), next);
        Ok(vec![NamedTensor {
            name: "y".to_owned(),
            tensor: tensor.expect("it is small"),
        }])
    }
}

/// Returns a field of a protobuf message with a string, bytes or a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7f).expect("it has seven bits") | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).expect("it has seven bits"));
    field.extend(content);
    field
}

fn node(operator: &str, domain: &str) -> Vec<u8> {
    let content = [field(4, operator.as_bytes()), field(7, domain.as_bytes())];
    field(1, &content.concat())
}

/// Returns an ONNX file that no rule applies to, with this operator.
fn network(operator: &str) -> Vec<u8> {
    field(7, &node(operator, "").repeat(17))
}

/// Returns an ONNX file that compares its input `rate` with [`RATE`].
fn branching() -> Vec<u8> {
    let equal = [
        field(1, b"rate"),
        field(1, b"other"),
        field(2, b"is_other"),
        field(4, b"Equal"),
    ];
    // A number of the type INT64.
    let other = [
        vec![2 << 3, 7],
        field(8, b"other"),
        field(9, &i64::from(RATE).to_le_bytes()),
    ];
    let graph = [
        field(1, &equal.concat()),
        node("If", "").repeat(17),
        field(5, &other.concat()),
        field(11, &field(1, b"rate")),
    ];
    field(7, &graph.concat())
}

/// A selection store and the directory with the graph to select for.
struct Selections {
    directory: tempfile::TempDir,
    store: BackendSelectionStore,
}

impl Selections {
    fn new() -> anyhow::Result<Selections> {
        let directory = tempfile::tempdir()?;
        let store = BackendSelectionStore::new(directory.path().join("selections"));
        Ok(Selections { directory, store })
    }

    fn try_select(
        &self,
        backends: &[&Adding],
        content: &[u8],
    ) -> Result<BackendSelection, BackendSelectionError> {
        self.try_select_with(backends, content, &LoadOptions::default())
    }

    fn try_select_with(
        &self,
        backends: &[&Adding],
        content: &[u8],
        options: &LoadOptions,
    ) -> Result<BackendSelection, BackendSelectionError> {
        let path = self.directory.path().join("model.onnx");
        std::fs::write(&path, content).expect("the directory is writable");
        let file = GraphFile {
            path: &path,
            options,
            probe: None,
        };
        let selected = self.store.select(&all(backends), &file)?;
        assert_eq!(selected.backend.name(), selected.selection.backend);
        Ok(selected.selection)
    }

    fn select(&self, backends: &[&Adding], content: &[u8]) -> anyhow::Result<BackendSelection> {
        Ok(self.try_select(backends, content)?)
    }

    fn records(&self) -> usize {
        let records = std::fs::read_dir(self.directory.path().join("selections"));
        records.map_or(0, Iterator::count)
    }
}

fn all(backends: &[&Adding]) -> Backends {
    let mut backends =
        (backends.iter()).map(|one| Arc::new(Adding::clone(one)) as Arc<dyn Backend>);
    let default = backends.next().expect("there is a backend");
    Backends::new(default, backends.collect())
}

fn problem<'a>(selection: &'a BackendSelection, backend: &str) -> Option<&'a str> {
    let mut candidates = selection.candidates.iter();
    let candidate = candidates.find(|candidate| candidate.backend == backend);
    candidate?.problem.as_deref()
}

// === Measurements ===

#[test]
fn the_fastest_backend_is_kept_and_not_measured_again() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (quick, reference) = (
        Adding::new("quick", 1.0),
        Adding::new(REFERENCE, 1.0).slow(),
    );
    let first = selections.select(&[&quick, &reference], &network("Conv"))?;
    assert_eq!(first.backend, "quick");
    assert!(first.candidates.iter().all(|c| c.difference == Some(0.0)));
    let again = selections.select(&[&quick, &reference], &network("Conv"))?;
    assert_eq!(again, first);
    assert_eq!((quick.loads(), reference.loads()), (2, 1));
    Ok(())
}

#[test]
fn a_tenant_uses_no_selection_of_another() -> anyhow::Result<()> {
    let mut selections = Selections::new()?;
    let (quick, slow) = (
        Adding::new("quick", 1.0),
        Adding::new(REFERENCE, 1.0).slow(),
    );
    let content = network("Conv");
    selections.select(&[&quick, &slow], &content)?;
    let public = selections.store.clone();
    for (tenant, records) in [("acme", 2), ("other", 3)] {
        selections.store = public.of_tenant(tenant);
        let before = slow.computations();
        selections.select(&[&quick, &slow], &content)?;
        let measured = slow.computations();
        assert!(measured > before, "{tenant}");
        selections.select(&[&quick, &slow], &content)?;
        assert_eq!(
            (slow.computations(), selections.records()),
            (measured, records)
        );
    }
    let before = slow.computations();
    selections.store = public;
    selections.select(&[&quick, &slow], &content)?;
    assert_eq!(slow.computations(), before);
    Ok(())
}

#[test]
fn a_slow_backend_is_computed_once_for_each_input() -> anyhow::Result<()> {
    let (quick, slow) = (Adding::new("quick", 1.0), Adding::new("slow", 1.0).slow());
    Selections::new()?.select(&[&quick, &slow], &network("Conv"))?;
    // One row, and a batch.
    assert_eq!(slow.computations(), 2);
    Ok(())
}

#[test]
fn a_later_backend_is_preferred_only_if_it_is_clearly_faster() {
    let graph: Arc<dyn Graph> = Arc::new(AddingGraph {
        signature: Signature::default(),
        backend: Adding::new("a", 1.0),
    });
    let contender = |backend, microseconds| Contender {
        backend,
        graph: Arc::clone(&graph),
        load: Duration::from_millis(500),
        shortest: Some(Duration::from_micros(microseconds)),
        difference: None,
        problem: None,
    };
    let earlier = contender("a", 100);
    assert_eq!(fastest(&[earlier, contender("b", 95)]), Some("a"));
    let earlier = contender("a", 100);
    assert_eq!(fastest(&[earlier, contender("b", 80)]), Some("b"));
    // One that loads much faster may be as slow as the earlier one, and no slower.
    let loads_in = |milliseconds, microseconds| Contender {
        load: Duration::from_millis(milliseconds),
        ..contender("b", microseconds)
    };
    for (load, microseconds, expected) in [
        (80, 105, "b"),
        (80, 95, "b"),
        (80, 120, "a"),
        (300, 105, "a"),
        (500, 105, "a"),
    ] {
        let contenders = [contender("a", 100), loads_in(load, microseconds)];
        assert_eq!(fastest(&contenders), Some(expected), "{load} ms");
    }
    let quick = Contender {
        load: Duration::from_millis(60),
        ..contender("a", 100)
    };
    assert_eq!(fastest(&[quick, loads_in(1, 100)]), Some("a"));
}

#[test]
fn a_batch_and_larger_sizes_are_computed_together_if_all_compute_them() -> anyhow::Result<()> {
    let both = |name| Adding {
        shape: vec![Dimension::Variable; 2],
        ..Adding::new(name, 1.0)
    };
    let (one, slow) = (
        both("one"),
        Adding {
            work: Duration::from_millis(20),
            ..both("slow")
        },
    );
    Selections::new()?.select(&[&one, &slow], &network("Conv"))?;
    assert_eq!(slow.computations(), 2);
    // In separate processes, the refusal of one does not hide the results of the other.
    let (one, slow) = (
        both("one").with(Habit::RefusesBatches),
        Adding {
            work: Duration::from_millis(20),
            ..both("slow")
        },
    );
    let selection = Selections::new()?.select(&[&one, &slow], &network("Conv"))?;
    assert_eq!(slow.computations(), 4);
    assert_eq!(selection.backend, "slow");
    Ok(())
}

#[test]
fn another_graph_or_another_version_of_a_backend_is_measured_anew() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (quick, reference) = (
        Adding::new("quick", 1.0),
        Adding::new(REFERENCE, 1.0).slow(),
    );
    selections.select(&[&quick, &reference], &network("Conv"))?;
    selections.select(&[&quick, &reference], &network("Gemm"))?;
    assert_eq!(reference.loads(), 2);
    let newer = Adding {
        version: "2",
        ..Adding::new("quick", 2.0)
    };
    let selection = selections.select(&[&newer, &reference], &network("Conv"))?;
    assert_eq!(selection.backend, REFERENCE, "{selection}");
    Ok(())
}

#[test]
fn a_faster_reference_that_is_gone_is_remembered() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (one, other) = (
        Adding::new("one", 1.0).slow(),
        Adding::new("other", 1.0).slow(),
    );
    let reference = Adding::new(REFERENCE, 1.0);
    let content = network("Conv");
    let first = selections.select(&[&one, &other, &reference], &content)?;
    assert_eq!(first.backend, REFERENCE);
    let gone = reference.clone().with(Habit::IsMissing);
    let without = selections.select(&[&one, &other, &gone], &content)?;
    assert_eq!(without.candidates.len(), 2);
    let text = without.to_string();
    assert!(text.contains("onnxruntime was"), "{text}");
    assert_eq!(
        selections.select(&[&one, &other, &gone], &content)?,
        without
    );
    let again = selections.select(&[&one, &other, &reference], &content)?;
    assert_eq!(again.absent, None);
    Ok(())
}

#[test]
fn other_shapes_of_inputs_are_measured_anew() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (one, other) = (Adding::new("one", 1.0), Adding::new("other", 1.0).slow());
    let content = network("Conv");
    for (sizes, loads) in [(1, 1), (2, 2), (2, 2)] {
        let shape = vec![Dimension::Fixed(sizes)];
        let options = LoadOptions {
            shapes: [("x".to_owned(), shape)].into(),
            ..LoadOptions::default()
        };
        selections.try_select_with(&[&one, &other], &content, &options)?;
        assert_eq!(other.loads(), loads);
    }
    Ok(())
}

#[test]
fn changed_external_data_is_measured_anew() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let weights = selections.directory.path().join("weights.bin");
    let entry = [field(1, b"location"), field(2, b"weights.bin")].concat();
    let graph = [node("Conv", ""), field(5, &field(13, &entry))].concat();
    let (content, one, other) = (
        field(7, &graph),
        Adding::new("one", 1.0),
        Adding::new("other", 1.0).slow(),
    );
    std::fs::write(&weights, "old")?;
    for _ in 0..2 {
        selections.select(&[&one, &other], &content)?;
    }
    assert_eq!(other.loads(), 1);
    std::fs::write(&weights, "newer")?;
    selections.select(&[&one, &other], &content)?;
    assert_eq!(other.loads(), 2);
    Ok(())
}

#[test]
fn a_stored_backend_that_no_longer_loads_the_graph_is_replaced() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (quick, slow) = (Adding::new("quick", 1.0), Adding::new("slow", 1.0).slow());
    selections.select(&[&quick, &slow], &network("Conv"))?;
    quick.counts.refuses_files.store(true, SeqCst);
    let selection = selections.select(&[&quick, &slow], &network("Conv"))?;
    assert_eq!(selection.backend, "slow");
    assert_eq!(quick.loads(), 2, "it is tried once");
    Ok(())
}

#[test]
fn a_directory_that_cannot_be_written_is_reported_once() -> anyhow::Result<()> {
    let mut selections = Selections::new()?;
    let file = selections.directory.path().join("file");
    std::fs::write(&file, "")?;
    selections.store = BackendSelectionStore::new(file.join("selections"));
    let (one, other) = (Adding::new("one", 1.0), Adding::new("other", 1.0));
    let first = selections.select(&[&one, &other], &network("Conv"))?;
    assert!(first.record_problem.is_some());
    let second = selections.select(&[&one, &other], &network("Conv"))?;
    assert_eq!(second.record_problem, None);
    Ok(())
}

#[test]
fn a_store_without_a_directory_selects_each_time_and_reports_nothing() -> anyhow::Result<()> {
    let mut selections = Selections::new()?;
    selections.store = BackendSelectionStore::in_memory();
    let (one, other) = (Adding::new("one", 1.0), Adding::new("other", 1.0));
    for _ in 0..2 {
        let selection = selections.select(&[&one, &other], &network("Conv"))?;
        assert_eq!(selection.candidates.len(), 2);
        assert_eq!(selection.record_problem, None);
    }
    assert_eq!(other.loads(), 2, "it is measured again");
    Ok(())
}

// === Agreement ===

#[test]
fn a_backend_that_answers_otherwise_than_the_reference_is_out() -> anyhow::Result<()> {
    let (quick, reference) = (
        Adding::new("quick", 1.5),
        Adding::new(REFERENCE, 1.0).slow(),
    );
    let selection = Selections::new()?.select(&[&quick, &reference], &network("Conv"))?;
    assert_eq!(selection.backend, REFERENCE);
    assert_eq!(
        problem(&selection, "quick"),
        Some("its output differs by 5.0e-1")
    );
    Ok(())
}

#[test]
fn without_the_reference_the_majority_decides() -> anyhow::Result<()> {
    let (wrong, one) = (Adding::new("wrong", 1.5), Adding::new("one", 1.0).slow());
    let other = Adding::new("other", 1.0).slow();
    let selection = Selections::new()?.select(&[&wrong, &one, &other], &network("Conv"))?;
    assert!(problem(&selection, "wrong").is_some(), "{selection}");
    assert_ne!(selection.backend, "wrong");
    Ok(())
}

#[test]
fn of_two_that_differ_the_one_that_hides_nan_is_out() -> anyhow::Result<()> {
    let hiding = Adding::new("hiding", 1.5).with(Habit::HidesNan);
    let other = Adding::new("other", 1.0).slow();
    let selection = Selections::new()?.select(&[&hiding, &other], &network("Conv"))?;
    assert_eq!(selection.backend, "other");
    assert_eq!(
        problem(&selection, "hiding"),
        Some("it computes numbers from NaN")
    );
    Ok(())
}

#[test]
fn two_that_differ_are_refused_with_the_way_to_decide() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (one, other) = (Adding::new("one", 1.0), Adding::new("other", 1.5));
    let missing = Adding::new(REFERENCE, 1.0).with(Habit::IsMissing);
    let refused = selections.try_select(&[&one, &other, &missing], &network("Conv"));
    let error = refused.err().map(|error| error.to_string());
    let error = error.unwrap_or_default();
    assert!(error.starts_with("one and other compute"), "{error}");
    assert!(
        error.contains("wisp backend install onnxruntime"),
        "{error}"
    );
    assert_eq!(selections.records(), 0);
    Ok(())
}

#[test]
fn a_backend_that_refuses_sizes_which_another_computes_is_out() -> anyhow::Result<()> {
    let single = Adding::new("single", 1.0).with(Habit::RefusesBatches);
    let whole = Adding::new("whole", 1.0).slow();
    let selection = Selections::new()?.select(&[&single, &whole], &network("Conv"))?;
    assert_eq!(selection.backend, "whole");
    assert_eq!(
        problem(&selection, "single"),
        Some("it refuses inputs that another computes: one row only")
    );
    Ok(())
}

#[test]
fn sizes_that_the_reference_refuses_decide_nothing() -> anyhow::Result<()> {
    let quick = Adding::new("quick", 1.0);
    let reference = Adding::new(REFERENCE, 1.0)
        .slow()
        .with(Habit::RefusesBatches);
    let selection = Selections::new()?.select(&[&quick, &reference], &network("Conv"))?;
    assert_eq!(selection.backend, "quick");
    assert_eq!(problem(&selection, REFERENCE), None);
    Ok(())
}

#[test]
fn a_backend_that_refuses_a_branch_which_another_computes_is_out() -> anyhow::Result<()> {
    let half = Adding::new("half", 1.0).with(Habit::RefusesBranch);
    let (half, whole) = (
        half.with_rate(),
        Adding::new("whole", 1.0).with_rate().slow(),
    );
    let selection = Selections::new()?.select(&[&half, &whole], &branching())?;
    assert_eq!(selection.backend, "whole");
    assert_eq!(
        problem(&selection, "half"),
        Some("it refuses inputs that another computes: no such branch")
    );
    // Of a file without the comparison, both compute all inputs that are tried.
    let selection = Selections::new()?.select(&[&half, &whole], &network("If"))?;
    assert_eq!(selection.backend, "half");
    assert_eq!(problem(&selection, "half"), None);
    Ok(())
}

#[test]
fn a_branch_that_is_refused_counts_more_than_sizes() -> anyhow::Result<()> {
    let half = Adding::new("half", 1.0).with(Habit::RefusesBranch);
    let single = Adding::new("single", 1.0).with(Habit::RefusesBatches);
    let (half, single) = (half.with_rate(), single.with_rate().slow());
    let selection = Selections::new()?.select(&[&half, &single], &branching())?;
    assert_eq!(selection.backend, "single");
    assert!(problem(&selection, "half").is_some(), "{selection}");
    Ok(())
}

#[test]
fn a_branch_that_the_reference_refuses_decides_nothing() -> anyhow::Result<()> {
    let quick = Adding::new("quick", 1.0).with_rate();
    let reference = Adding::new(REFERENCE, 1.0).with(Habit::RefusesBranch);
    let reference = reference.with_rate().slow();
    let selection = Selections::new()?.select(&[&quick, &reference], &branching())?;
    assert_eq!(selection.backend, "quick");
    assert_eq!(problem(&selection, REFERENCE), None);
    Ok(())
}

#[test]
fn the_only_backend_that_loads_a_graph_is_not_computed() -> anyhow::Result<()> {
    let refusing = Adding::new("refusing", 1.0).with(Habit::RefusesFiles);
    let only = Adding::new("only", 1.0);
    let selection = Selections::new()?.select(&[&refusing, &only], &network("Conv"))?;
    assert_eq!(
        selection.to_string(),
        "auto: only, refusing refuses: no operator of refusing"
    );
    assert_eq!(only.computations(), 0);
    Ok(())
}

// === Refusals ===

#[test]
fn a_graph_that_no_backend_loads_has_the_reasons_of_all() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let one = Adding::new("one", 1.0).with(Habit::RefusesFiles);
    let other = Adding::new("other", 1.0).with(Habit::RefusesFiles);
    let missing = Adding::new(REFERENCE, 1.0).with(Habit::IsMissing);
    let reason = |operator: &str, domain: &str| {
        let content = field(7, &node(operator, domain).repeat(17));
        let refused = selections.try_select(&[&one, &other, &missing], &content);
        refused.err().map(|error| error.to_string())
    };
    let refusals = "no backend can serve it: one refuses: no operator of one; \
                    other refuses: no operator of other";
    assert_eq!(
        reason("Conv", ""),
        Some(format!(
            "{refusals}; ONNX Runtime has these operators, install it with \
             `wisp backend install onnxruntime`"
        ))
    );
    assert_eq!(
        reason("Own", "own.domain"),
        Some(format!(
            "{refusals}; ONNX Runtime has no operators of `own.domain` and would refuse it too"
        ))
    );
    assert_eq!(
        reason("NoSuchOp", ""),
        Some(format!(
            "{refusals}; ONNX Runtime has no operator `NoSuchOp` and would refuse it too"
        ))
    );
    Ok(())
}

#[test]
fn for_a_reason_that_backends_share_no_other_backend_is_advised() -> anyhow::Result<()> {
    let one = Adding::new("one", 1.0).with(Habit::RefusesFiles);
    let missing = Adding::new(REFERENCE, 1.0).with(Habit::IsMissing);
    let content = field(7, &node("Conv", "").repeat(17));
    let refused = Selections::new()?.try_select(&[&one, &one, &missing], &content);
    let text = refused.err().map(|error| error.to_string());
    let expected = "no backend can serve it: one and one refuse: no operator of one";
    assert_eq!(text.as_deref(), Some(expected));
    Ok(())
}

#[test]
fn an_operator_that_no_embedded_backend_has_is_no_fault_of_the_file() {
    let refusal = |backend, reason: &str| Refusal {
        backend,
        reason: reason.to_owned(),
        is_unavailable: false,
    };
    let missing = format!("{MISSING_OPERATORS}: Unique");
    let both = |reason: &str| [refusal("one", reason), refusal("other", reason)];
    assert!(!is_fault_of_file(&both(&missing)));
    assert!(is_fault_of_file(&both("it is a zip archive")));
    let differing = [refusal("one", "no A"), refusal("other", "no B")];
    assert!(!is_fault_of_file(&differing));
    assert!(!is_fault_of_file(&[refusal("one", "no A")]));
}

#[test]
fn a_missing_file_is_refused_for_that_reason() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let missing = selections.directory.path().join("missing.onnx");
    let file = GraphFile {
        path: &missing,
        options: &LoadOptions::default(),
        probe: None,
    };
    let backends = all(&[&Adding::new("one", 1.0)]);
    let refused = selections.store.select(&backends, &file);
    let error = refused.err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("the file cannot be read")));
    Ok(())
}

#[test]
fn a_device_that_never_ends_is_not_read_to_its_end() -> anyhow::Result<()> {
    let store = Selections::new()?.store;
    let backends = all(&[&Adding::new("one", 1.0)]);
    let options = LoadOptions::default();
    let explained = store.explain(&backends, Path::new("/dev/zero"), &options);
    assert_eq!(explained, None);
    Ok(())
}

// === Rules ===

#[test]
fn tables_and_tiny_graphs_get_the_first_backend_without_measurements() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let (first, other) = (Adding::new("first", 1.0), Adding::new("other", 1.0));
    let tables = field(7, &node("Scaler", "ai.onnx.ml").repeat(17));
    let tiny = field(7, &node("MatMul", ""));
    for (content, reason) in [
        (&tables, "auto: first, the graph has operators for tables"),
        (&tiny, "auto: first, the graph is tiny"),
    ] {
        let selection = selections.select(&[&first, &other], content)?;
        assert_eq!(selection.to_string(), reason);
    }
    assert_eq!((first.computations(), other.loads()), (0, 0));
    assert_eq!(selections.records(), 0);
    let path = selections.directory.path().join("model.onnx");
    let backends = all(&[&first, &other]);
    let explained = (selections.store).explain(&backends, &path, &LoadOptions::default());
    assert_eq!(
        explained.as_deref(),
        Some("auto: first unless it refuses, the graph is tiny")
    );
    Ok(())
}

#[test]
fn tables_that_the_first_backend_refuses_get_another() -> anyhow::Result<()> {
    let selections = Selections::new()?;
    let first = Adding::new("first", 1.0).with(Habit::RefusesFiles);
    let other = Adding::new("other", 1.0);
    let tables = field(7, &node("Scaler", "ai.onnx.ml"));
    let selection = selections.select(&[&first, &other], &tables)?;
    assert_eq!(selection.backend, "other");
    assert_eq!(first.loads(), 1, "it is tried once");
    assert_eq!(selections.records(), 1);
    Ok(())
}

#[test]
fn few_weights_for_large_inputs_are_measured() -> anyhow::Result<()> {
    let tiny = field(7, &node("Softmax", ""));
    for shape in [
        vec![Dimension::Variable, Dimension::Variable],
        vec![Dimension::Fixed(3), Dimension::Fixed(5000)],
    ] {
        let first = Adding {
            shape: shape.clone(),
            ..Adding::new("first", 1.0).slow()
        };
        let quick = Adding {
            shape,
            ..Adding::new("quick", 1.0)
        };
        let selection = Selections::new()?.select(&[&first, &quick], &tiny)?;
        assert_eq!(selection.backend, "quick", "{selection}");
        assert_eq!(first.loads(), 1, "it is loaded once");
    }
    Ok(())
}
