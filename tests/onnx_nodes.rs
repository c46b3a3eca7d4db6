//! Tests of every backend with the models of the onnx package's backend tests. A backend passes exactly
//! the cases listed in `tests/fixtures/onnx_nodes/<backend>.txt`, refuses the others with a reason, and
//! computes nothing wrong.
//!
//! Any difference from the list fails the test; with `WISP_BLESS=1` the test rewrites the list. Each
//! case runs in a child process. The outcome of every case is written to `target/onnx_nodes/`.

mod case;
mod compare;
mod server;

use self::case::{Case, Content};
use self::compare::{Tolerance, difference, kind_difference};
use crate::harness::child::{Answer, Child, answer_questions};
use crate::harness::root;
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions, ModelSource};

/// The test that a child runs.
const CHILD: &str = "onnx_nodes::a_child_judges_the_cases_it_is_asked_about";

/// Enough for the weights of VGG 19 in all representations that a backend keeps.
const MEMORY_BYTES: u64 = 8 << 30;

/// The time limit of a case, many times that of the slowest case.
const DEADLINE: Duration = Duration::from_secs(120);

/// The number of children that run at the same time.
const CHILDREN: usize = 2;

/// The answer for a case with the expected results.
const PASS: &str = "pass";

/// The prefix of the answers for refused cases. All others are failures.
const REFUSED: &str = "refused";

/// Returns every compiled-in backend.
fn backends() -> Result<Vec<Box<dyn Backend>>> {
    Ok(vec![
        Box::new(Tract::new()),
        Box::new(crate::onnxruntime::engine()?),
    ])
}

fn load(backend: &dyn Backend, path: &Path) -> Result<Arc<dyn Graph>, BackendError> {
    backend.load(ModelSource::Path(path), &LoadOptions::default())
}

#[test]
fn every_backend_passes_the_onnx_cases_it_is_said_to_pass() -> Result<()> {
    let cases = case::all()?;
    for backend in backends()? {
        let name = backend.name();
        let verdicts = judge(name, cases)?;
        report(name, cases, &verdicts)?;
        let wrong: BTreeSet<String> = verdicts
            .iter()
            .filter(|(_, verdict)| *verdict != PASS && !verdict.starts_with(REFUSED))
            .map(|(case, verdict)| format!("{case}: {verdict}"))
            .collect();
        let known = deviations(name)?;
        let unknown: Vec<_> = wrong.difference(&known).cloned().collect();
        ensure!(unknown.is_empty(), "{name}:\n{}", unknown.join("\n"));
        let mended: Vec<_> = known.difference(&wrong).cloned().collect();
        ensure!(
            mended.is_empty(),
            "{name} is said to deviate and does not:\n{}",
            mended.join("\n")
        );
        check_list(name, &verdicts)?;
    }
    Ok(())
}

/// Does nothing unless it runs as a child.
#[test]
fn a_child_judges_the_cases_it_is_asked_about() -> Result<()> {
    answer_questions(CHILD, |question| {
        let verdict = verdict(question);
        verdict.unwrap_or_else(|error| format!("not judged: {error:#}"))
    })
}

/// Returns the outcome of each case that a request can carry.
fn judge(backend: &str, cases: &[Case]) -> Result<BTreeMap<String, String>> {
    let left = Mutex::new(cases.iter().filter(|case| case.content.is_some()));
    let verdicts = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let judges: Vec<_> = (0..CHILDREN)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut child = Child::spawn(CHILD, MEMORY_BYTES)?;
                    loop {
                        let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(case) = next else { return Ok(()) };
                        let question = format!("{backend} {}", case.name);
                        let answer = child.ask(&question, DEADLINE)?;
                        if !matches!(answer, Answer::Said(_)) {
                            child = Child::spawn(CHILD, MEMORY_BYTES)?;
                        }
                        let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                        verdicts.insert(case.name.clone(), answer.to_string());
                    }
                })
            })
            .collect();
        let mut judges = judges.into_iter();
        judges.try_for_each(|judge| judge.join().expect("a judge does not panic"))
    })?;
    Ok(verdicts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// Runs in a child: returns the outcome of the case for the backend that the question names.
fn verdict(question: &str) -> Result<String> {
    let (backend, name) = question.split_once(' ').context("two words")?;
    let backend = backends()?
        .into_iter()
        .find(|known| known.name() == backend);
    let backend = backend.context("no such backend")?;
    let case = case::all()?.iter().find(|case| case.name == name);
    let case = case.context("no such case")?;
    let content = case.content.as_ref().context("it is not servable")?;
    let graph = match load(&*backend, &case.model()?) {
        Ok(graph) => graph,
        Err(error) => return Ok(format!("{REFUSED} when loaded: {}", chain(&error))),
    };
    let tensors = case.tensors()?;
    let inputs = content.inputs.iter().map(|input| input.tensor(&tensors));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let outputs = match graph.compute(&inputs) {
        Ok(outputs) => outputs,
        Err(error) => return Ok(format!("{REFUSED} when computed: {}", chain(&error))),
    };
    let Content { rtol, atol, .. } = *content;
    let tolerance = Tolerance {
        relative: rtol,
        absolute: atol,
    };
    if outputs.len() != content.outputs.len() {
        return Ok(format!("WRONG: {} outputs", outputs.len()));
    }
    for (output, expected) in outputs.iter().zip(&content.outputs) {
        let expected = expected.tensor(&tensors)?;
        let difference = match content.random {
            true => kind_difference(&output.tensor, &expected.tensor),
            false => difference(&output.tensor, &expected.tensor, tolerance),
        };
        let renamed = (output.name != expected.name).then(|| format!("is called {}", output.name));
        if let Some(difference) = renamed.or(difference) {
            return Ok(format!("WRONG: `{}` {difference}", expected.name));
        }
    }
    Ok(PASS.to_owned())
}

/// Returns the error with its causes.
fn chain(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Writes the outcome of every case to a file, for the analysis of a failed test.
fn report(backend: &str, cases: &[Case], verdicts: &BTreeMap<String, String>) -> Result<()> {
    let directory = python::target_directory()?.join("onnx_nodes");
    std::fs::create_dir_all(&directory)?;
    let mut text = String::new();
    for Case {
        name, not_servable, ..
    } in cases
    {
        let verdict = match not_servable {
            Some(reason) => format!("not servable: {reason}"),
            None => verdicts.get(name).cloned().unwrap_or_default(),
        };
        text += &format!("{name}\t{verdict}\n");
    }
    std::fs::write(directory.join(format!("{backend}.tsv")), text)?;
    Ok(())
}

fn list(backend: &str) -> PathBuf {
    let lists = root().join("tests/fixtures/onnx_nodes");
    lists.join(format!("{backend}.txt"))
}

/// Returns the known cases in which a third-party backend returns other results than expected. The
/// embedded backend has none.
fn deviations(backend: &str) -> Result<BTreeSet<String>> {
    let list = list(backend).with_extension("deviations.txt");
    match std::fs::read_to_string(&list) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| list.display().to_string()),
    }
}

/// Returns the names of the cases that the backend must pass.
fn listed(backend: &str) -> Result<BTreeSet<String>> {
    let list = list(backend);
    let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn check_list(backend: &str, verdicts: &BTreeMap<String, String>) -> Result<()> {
    let passed = verdicts.iter().filter(|(_, verdict)| *verdict == PASS);
    let passed: BTreeSet<String> = passed.map(|(case, _)| case.clone()).collect();
    if std::env::var("WISP_BLESS").as_deref() == Ok("1") {
        let lines = passed.iter().map(|case| format!("{case}\n"));
        std::fs::write(list(backend), lines.collect::<String>())?;
        return Ok(());
    }
    let listed = listed(backend)?;
    if listed == passed {
        return Ok(());
    }
    let gone = listed.difference(&passed).map(|case| {
        let verdict = verdicts
            .get(case)
            .map_or("there is no such case", String::as_str);
        format!("- {case}: {verdict}\n")
    });
    let new = passed.difference(&listed).map(|case| format!("+ {case}\n"));
    bail!(
        "{backend} does not pass what {} lists; WISP_BLESS=1 writes it anew:\n{}",
        list(backend).display(),
        gone.chain(new).collect::<String>(),
    )
}
