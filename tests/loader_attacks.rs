//! Model files that are damaged, or made to harm whoever loads them: each is loaded, or refused with a
//! reason, in bounded memory and time, and its neighbours are served.
//!
//! Everything is loaded in child processes, so that a crash, an exhausted memory or a hang is a result.

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
use wisp_backend::{Backend, BackendError, LoadOptions};

/// The test that a child runs.
const CHILD: &str = "loader_attacks::a_child_loads_the_files_it_is_asked_about";

/// What a child may use of addresses, its own code and stacks included.
const MEMORY_BYTES: u64 = 4 << 30;

/// Loading any of the files takes a fraction of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// Children at work at the same time.
const CHILDREN: usize = 2;

/// The answer for a file that is a model.
const LOADED: &str = "loaded";

/// What the answer for any other file begins with.
const REFUSED: &str = "refused: ";

/// Does nothing unless a parent asks it.
#[test]
fn a_child_loads_the_files_it_is_asked_about() -> Result<()> {
    answer_questions(CHILD, |question| match load_here(question) {
        Ok(answer) => answer,
        Err(error) => format!("not asked well: {error:#}"),
    })
}

/// In a child: what becomes of the file, in the backend that the question names before it.
fn load_here(question: &str) -> Result<String> {
    let (backend, path) = question.split_once(' ').context("two words")?;
    let backend: Box<dyn Backend> = match backend {
        "tract" => Box::new(Tract::new()),
        _ => Box::new(crate::onnxruntime::engine()?),
    };
    Ok(
        match backend.load(Path::new(path), &LoadOptions::default()) {
            Ok(graph) => {
                // Whether it computes is not asked, only that it does not take the process along.
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

/// Load the file at `path` with tract in `child`, which is replaced if it does not survive.
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

/// Whether the answer is one that a file may have.
fn survived(answer: &Answer) -> bool {
    matches!(answer, Answer::Said(words) if words == LOADED || words.starts_with(REFUSED))
}

/// Do `check` for each of `things` in some child, two at a time; fail with all that it returns.
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
