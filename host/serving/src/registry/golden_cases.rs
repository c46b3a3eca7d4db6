//! The golden cases of a model, computed by a version before it is served: they warm it up, and show that it is the
//! version that its author has tested.
//!
//! `wisp check` runs the same cases. The caller of this module provides the calls.

use super::contained_path::contained_from;
use crate::owner::Owner;
use crate::version::ModelVersion;
use std::path::{Path, PathBuf};
use wisp_backend::bounded_file::read_regular;
use wisp_protocol::call::{InferRequest, InferResponse};
use wisp_protocol::golden_case::{CaseFailure, GoldenCase};

/// The most cases that are computed, since a client waits for the load.
const MAX_CASES: usize = 64;

/// The size limit of a case and of each file of its inputs, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A function that runs one request as the server would for this owner, on a thread that may block.
pub(crate) type CaseCaller =
    fn(&ModelVersion, InferRequest, Owner) -> Result<InferResponse, CaseFailure>;

/// Returns the difference of the version from the first golden case in `model_directory` that it does not compute as
/// expected. Returns `None` without cases.
pub(crate) fn failure(
    model_directory: &Path,
    version: &ModelVersion,
    (call, owner): (CaseCaller, Owner),
) -> Option<String> {
    let directory = model_directory.join("cases");
    let paths = case_paths(&directory);
    paths.iter().find_map(|path| {
        let case = read((model_directory, &directory), path, version);
        let reason = case
            .and_then(|case| run(&case, version, (call, owner)))
            .err()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Some(format!("golden case `{name}`: {reason}"))
    })
}

/// Returns the first cases by name.
fn case_paths(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_case = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let mut paths: Vec<PathBuf> = paths.filter(is_case).collect();
    paths.sort();
    paths.truncate(MAX_CASES);
    paths
}

/// Reads a case. The files of its inputs are named from the directory of the cases, and are in that of the model.
fn read(
    (model_directory, directory): (&Path, &Path),
    path: &Path,
    version: &ModelVersion,
) -> Result<GoldenCase, String> {
    let text = read_regular(path, MAX_FILE_BYTES);
    let text = text.map_err(|error| format!("it cannot be read: {error}"))?;
    let read = |file: &str| {
        let path = contained_from(model_directory, directory, Path::new(file)).ok()??;
        read_regular(&path, MAX_FILE_BYTES).ok()
    };
    GoldenCase::parse(&text, version.description(), &read)
}

fn run(
    case: &GoldenCase,
    version: &ModelVersion,
    (call, owner): (CaseCaller, Owner),
) -> Result<(), String> {
    let outcome = call(version, case.request.clone(), owner);
    case.check(outcome.as_ref().map(|response| response.outputs.as_slice()))
}
