//! Tests of model files that are damaged or crafted to harm the loader: each is loaded, or refused with
//! a reason, in bounded memory and time, and other models are served.
//!
//! All files are loaded in child processes, so that a crash, exhausted memory or a hang is a result.

mod damage;
mod files;
mod graphs;
mod repository;

use crate::harness::child::{Answer, Child, answer_questions};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, LoadOptions, ModelSource};

/// The test that a child runs.
const CHILD: &str = "loader_attacks::a_child_loads_the_files_it_is_asked_about";

/// The limit on a child's address space, including its own code and stacks.
const MEMORY_BYTES: u64 = 4 << 30;

/// The time limit for loading a file; each takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The number of children that run at the same time.
const CHILDREN: usize = 2;

/// The answer for a file that is a model.
const LOADED: &str = "loaded";

/// The prefix of the answer for any other file.
const REFUSED: &str = "refused: ";

/// Does nothing unless it runs as a child.
#[test]
fn a_child_loads_the_files_it_is_asked_about() -> Result<()> {
    answer_questions(CHILD, |question| match load_here(question) {
        Ok(answer) => answer,
        Err(error) => format!("not asked well: {error:#}"),
    })
}

/// Runs in a child: loads the file in the backend that the question names, and returns the outcome.
fn load_here(question: &str) -> Result<String> {
    let (backend, path) = question.split_once(' ').context("two words")?;
    let backend: Box<dyn Backend> = match backend {
        "tract" => Box::new(Tract::new()),
        _ => Box::new(crate::onnxruntime::engine()?),
    };
    Ok(
        match backend.load(ModelSource::Path(Path::new(path)), &LoadOptions::default()) {
            Ok(graph) => {
                // The result does not matter, only that the process survives.
                if let Ok(inputs) = graph.sample_inputs() {
                    let _ = graph.compute(&inputs);
                }
                LOADED.to_owned()
            }
            Err(error @ BackendError::Read(_)) => {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(ToString::to_string).unwrap_or_default();
                format!("{REFUSED}{error}: {cause}")
            }
            Err(error) => format!("{REFUSED}{error}"),
        },
    )
}

/// Loads the file at `path` with tract in `child`, which is replaced if it does not survive.
fn load(child: &mut Child, path: &Path) -> Result<Answer> {
    load_with("tract", child, path)
}

fn load_with(backend: &str, child: &mut Child, path: &Path) -> Result<Answer> {
    let path = path.to_str().context("not UTF-8")?;
    let answer = child.ask(&format!("{backend} {path}"), DEADLINE)?;
    if !matches!(answer, Answer::Said(_)) {
        *child = spawn()?;
    }
    Ok(answer)
}

fn spawn() -> Result<Child> {
    Child::spawn(CHILD, MEMORY_BYTES)
}

/// Returns whether the answer shows that the child survived.
fn survived(answer: &Answer) -> bool {
    matches!(answer, Answer::Said(words) if words == LOADED || words.starts_with(REFUSED))
}

/// Runs `check` for each of `things` in a child, two at a time. Fails with all messages that it returns.
fn check_all<T: Send>(
    things: impl Iterator<Item = T> + Send,
    check: impl Fn(&mut Child, T) -> Result<Option<String>> + Sync,
) -> Result<()> {
    let things = Mutex::new(things);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CHILDREN)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut child = spawn()?;
                    loop {
                        let next = things.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(thing) = next else { return Ok(()) };
                        if let Some(fault) = check(&mut child, thing)? {
                            faults
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(fault);
                        }
                    }
                })
            })
            .collect();
        let mut workers = workers.into_iter();
        workers.try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
