//! Tests of model files that are damaged or crafted to harm the loader: each is loaded, or refused with
//! a reason, in bounded memory and time, and other models are served.
//!
//! All files are loaded in child processes, so that a crash, exhausted memory or a hang is a result.

mod corruption;
mod files;
mod graphs;
mod repository;

use crate::cases::backend;
use crate::harness::child::{Child, ChildPool, Outcome, serve_parent};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;
use wisp_backend::{BackendError, LoadOptions, ModelSource};

/// The child processes in which files are loaded. Each load takes a fraction of the timeout.
const CHILDREN: ChildPool = ChildPool {
    test: "loader_attacks::load_files_of_a_parent_process",
    memory_bytes: 4 << 30,
    timeout: Duration::from_secs(120),
};

/// The response for a file that is a model.
const LOADED: &str = "loaded";

/// The prefix of the response for any other file.
const REFUSED: &str = "refused: ";

#[test]
#[ignore = "runs in child processes of the other tests of this module"]
fn load_files_of_a_parent_process() -> Result<()> {
    serve_parent(CHILDREN.test, |request| match load_here(request) {
        Ok(response) => response,
        Err(error) => format!("invalid request: {error:#}"),
    })
}

/// Runs in a child: loads the file with the backend that the request names, and returns the outcome.
fn load_here(request: &str) -> Result<String> {
    let (backend, path) = request.split_once(' ').context("two words")?;
    let backend = backend::backend(backend)?;
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

/// Loads the file at `path` with tract in `child`.
fn load(child: &mut Child<'_>, path: &Path) -> Result<Outcome> {
    load_with("tract", child, path)
}

fn load_with(backend: &str, child: &mut Child<'_>, path: &Path) -> Result<Outcome> {
    let path = path.to_str().context("not UTF-8")?;
    child.request(&format!("{backend} {path}"))
}

/// Returns whether the child has survived.
fn survived(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Response(text) if text == LOADED || text.starts_with(REFUSED))
}

/// Runs `check` for each of `items` in a child, several at a time. Fails with all messages that it returns.
fn check_all<T: Send>(
    items: impl Iterator<Item = T> + Send,
    check: impl Fn(&mut Child<'_>, T) -> Result<Option<String>> + Sync,
) -> Result<()> {
    let faults = CHILDREN.run_all(items, check)?;
    let faults: Vec<_> = faults.into_iter().flatten().collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
