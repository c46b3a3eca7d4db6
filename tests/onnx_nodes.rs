//! Tests of every backend with the models of the onnx package's backend tests. A backend passes exactly
//! the cases listed in `tests/fixtures/onnx_nodes/<backend>.txt`, refuses the others with a reason, and
//! computes nothing wrong.
//!
//! Any difference from the list fails the test; with `WISP_BLESS=1` the test rewrites the list. Each
//! case runs in a child process. The outcome of every case is written to `target/onnx_nodes/`.

mod case;
mod compare;
mod server;

use self::case::Case;
use crate::harness::child::{ChildPool, serve_parent};
use crate::harness::root;
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wisp_backend::rten::Rten;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions, ModelSource};

/// The child processes in which the cases run. The memory is enough for the weights of VGG 19 in all
/// representations that a backend keeps, and the timeout many times the time of the slowest case.
const CHILDREN: ChildPool = ChildPool {
    test: "onnx_nodes::run_cases_of_a_parent_process",
    memory_bytes: 8 << 30,
    timeout: Duration::from_secs(120),
};

/// The outcome of a case with the expected results.
const PASS: &str = "pass";

/// The prefix of the outcomes of refused cases. All others are failures.
const REFUSED: &str = "refused";

/// Returns every compiled-in backend.
fn backends() -> Result<Vec<Box<dyn Backend>>> {
    Ok(vec![
        Box::new(Tract::new()),
        Box::new(Rten::new()),
        Box::new(crate::onnxruntime::engine()?),
    ])
}

fn load(backend: &dyn Backend, path: &Path) -> Result<Arc<dyn Graph>, BackendError> {
    backend.load(ModelSource::Path(path), &LoadOptions::default())
}

#[test]
fn every_backend_passes_the_onnx_cases_in_its_list() -> Result<()> {
    let cases = case::all()?;
    for backend in backends()? {
        let name = backend.name();
        let outcomes = run_cases(name, cases)?;
        report(name, cases, &outcomes)?;
        let wrong: BTreeSet<String> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome != PASS && !outcome.starts_with(REFUSED))
            .map(|(case, outcome)| format!("{case}: {outcome}"))
            .collect();
        let known = deviations(name)?;
        let unknown: Vec<_> = wrong.difference(&known).cloned().collect();
        ensure!(unknown.is_empty(), "{name}:\n{}", unknown.join("\n"));
        let fixed: Vec<_> = known.difference(&wrong).cloned().collect();
        ensure!(
            fixed.is_empty(),
            "{name} passes listed deviations:\n{}",
            fixed.join("\n")
        );
        check_list(name, &outcomes)?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in a child process of every_backend_passes_the_onnx_cases_in_its_list"]
fn run_cases_of_a_parent_process() -> Result<()> {
    serve_parent(CHILDREN.test, |request| {
        let outcome = run_case(request);
        outcome.unwrap_or_else(|error| format!("not run: {error:#}"))
    })
}

/// Returns the outcome of each case that a request can carry.
fn run_cases(backend: &str, cases: &[Case]) -> Result<BTreeMap<String, String>> {
    let servable = cases.iter().filter(|case| case.content.is_some());
    let outcomes = CHILDREN.run_all(servable, |child, case| {
        let outcome = child.request(&format!("{backend} {}", case.name))?;
        Ok((case.name.clone(), outcome.to_string()))
    })?;
    Ok(outcomes.into_iter().collect())
}

/// Runs in a child: returns the outcome of the case for the backend that the request names.
fn run_case(request: &str) -> Result<String> {
    let (backend, name) = request.split_once(' ').context("two words")?;
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
    if outputs.len() != content.outputs.len() {
        return Ok(format!("WRONG: {} outputs", outputs.len()));
    }
    for (output, expected) in outputs.iter().zip(&content.outputs) {
        let expected = expected.tensor(&tensors)?;
        let difference = content.difference(&output.tensor, &expected.tensor);
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
fn report(backend: &str, cases: &[Case], outcomes: &BTreeMap<String, String>) -> Result<()> {
    let directory = python::target_directory()?.join("onnx_nodes");
    std::fs::create_dir_all(&directory)?;
    let mut text = String::new();
    for Case {
        name, not_servable, ..
    } in cases
    {
        let outcome = match not_servable {
            Some(reason) => format!("not servable: {reason}"),
            None => outcomes.get(name).cloned().unwrap_or_default(),
        };
        text += &format!("{name}\t{outcome}\n");
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

fn check_list(backend: &str, outcomes: &BTreeMap<String, String>) -> Result<()> {
    let passed = outcomes.iter().filter(|(_, outcome)| *outcome == PASS);
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
        let outcome = outcomes
            .get(case)
            .map_or("there is no such case", String::as_str);
        format!("- {case}: {outcome}\n")
    });
    let new = passed.difference(&listed).map(|case| format!("+ {case}\n"));
    bail!(
        "{backend} does not pass what {} lists; WISP_BLESS=1 writes it anew:\n{}",
        list(backend).display(),
        gone.chain(new).collect::<String>(),
    )
}
