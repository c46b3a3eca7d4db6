//! Loads model files in a child process, for a server that does not trust them yet.

use crate::registry::backend_selection::compare_backends;
use crate::registry::graph_file::GraphFile;
use crate::registry::load_task::LoadTask;
use wisp_backend::{Backends, LoadOptions, ModelSource};
use wisp_sandbox::limited_process::ChildResponse;

/// Performs a [`LoadTask`]: loads the file as a server would, and computes the graph once, as a server
/// does to measure its time. Without a backend in the task, returns the selection among all of them as
/// TOML.
pub fn perform(task: &[u8], backends: &Backends) -> ChildResponse {
    match try_perform(task, backends) {
        Ok(result) => ChildResponse::Result(result),
        Err(reason) => ChildResponse::Refusal(reason),
    }
}

fn try_perform(task: &[u8], backends: &Backends) -> Result<Vec<u8>, String> {
    let task = LoadTask::decode(task)?;
    let options = task.options()?;
    if let Some(backend) = &task.backend {
        load(&task, (backend, &options), backends)?;
        return Ok(Vec::new());
    }
    let file = GraphFile {
        path: task.file(),
        options: &options,
        probe: None,
    };
    let selection = compare_backends(backends, &file).map_err(|error| error.to_string())?;
    let selection = toml::to_string(&selection).map_err(|error| error.to_string())?;
    Ok(selection.into_bytes())
}

fn load(
    task: &LoadTask,
    (backend, options): (&str, &LoadOptions),
    backends: &Backends,
) -> Result<(), String> {
    let loaded = backends.find(backend).and_then(|backend| {
        let source = ModelSource::Path(task.file());
        backend.load(source, options)
    });
    let graph = loaded.map_err(|error| error.to_string())?;
    if let Ok(inputs) = graph.sample_inputs() {
        // The result does not matter, only that the computation ends.
        let _ = graph.compute(&inputs);
    }
    Ok(())
}
