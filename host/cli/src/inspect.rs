//! `wisp inspect`: shows the contents of components and model files.
//!
//! `wasm` reads components and core modules, `onnx` reads models.
//! Each returns an outline, which is printed as text or as JSON. No code of the file runs, except that
//! `handler` calls a handler for its signature. The backend of a model is the one that was selected before, and so is
//! its batching; `wisp check` selects them, and tests whether a backend accepts a model.

mod baseline;
mod class_names;
mod handler;
mod onnx;
mod wasm;

use crate::display;
use crate::failure::bad_configuration;
use crate::loading::{backends, optional_cache_directory, selections};
use crate::options::{BackendArgs, InspectArgs};
use anyhow::Context;
use baseline::BaselineSummary;
use class_names::{ClassNames, model_directory};
use handler::{HandlerInspection, SignatureOutcome};
use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wasm::WasmReport;
use wisp_backend::{LoadOptions, foreign_content};
use wisp_serving::registry::batching::Batching;
use wisp_serving::registry::model_file::{BackendChoice, ModelFile};
use wisp_serving::registry::repository;
use wisp_serving::registry::stored_batching::GraphOfModel;
use wisp_tensor::OneLine;

/// The outline of one file, as printed with `--json`.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    bytes: u64,
    #[serde(flatten)]
    content: Content,
    #[serde(skip_serializing_if = "ClassNames::is_empty")]
    class_names: ClassNames,
    /// The backend of a model and the reason for it, as far as they are known without loading the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// The rules by which requests for a graph are computed together, as far as they are known without loading it.
    #[serde(skip_serializing_if = "Option::is_none")]
    batching: Option<String>,
    /// The baseline of a version's data, for the file that clients call.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<BaselineSummary>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Content {
    Component(wasm::ComponentReport),
    CoreModule(wasm::ModuleReport),
    Onnx(onnx::ModelReport),
}

/// Runs the subcommand and prints a paragraph for each file.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let mut handlers = HandlerInspection::new(args.cache.cache_dir.as_deref());
    let mut reports = Vec::new();
    for path in &args.files {
        for file in files(path)? {
            let shown = display::path(&file);
            let report = report(&file, &mut handlers);
            let mut report = report.with_context(|| format!("failed to inspect `{shown}`"))?;
            if let Content::Onnx(_) = report.content {
                report.backend = backend(&file, args.cache.cache_dir.as_deref());
                report.batching = batching(&file, args.cache.cache_dir.as_deref());
            }
            reports.push(report);
        }
    }
    let text = if args.json {
        serde_json::to_string_pretty(&reports)? + "\n"
    } else {
        let paragraphs: Vec<String> = reports.iter().map(Report::to_string).collect();
        paragraphs.join("\n")
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the files for `path`: the file itself, the files of a version's directory, or those of a
/// model's highest version.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot_open =
        |error| bad_configuration(format!("cannot open `{}`: {error}", path.display()));
    let path = path.canonicalize().map_err(cannot_open)?;
    if path.is_file() {
        return Ok(vec![path]);
    }
    let mut files = files_in(&path)?;
    if files.is_empty()
        && let Ok(version) = repository::version_files(&path)
    {
        files.extend(version.graphs.into_values());
        files.extend(version.handler);
    }
    if files.is_empty() {
        return Err(bad_configuration(format!(
            "no .onnx or .wasm file in `{}`; name a file, or a model's directory",
            display::path(&path)
        )));
    }
    Ok(files)
}

/// Returns the model and Wasm files directly in a directory, sorted by name.
fn files_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || {
        format!(
            "failed to read the directory `{}`",
            display::path(directory)
        )
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(read)? {
        let path = entry.with_context(read)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("onnx" | "wasm")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn report(path: &Path, handlers: &mut HandlerInspection<'_>) -> anyhow::Result<Report> {
    let content = std::fs::read(path)?;
    let mut report = outline(path, &content)?;
    if let Content::Component(component) = &mut report.content
        && component.is_granted_handler()
    {
        component.signature = Some(handlers.signature(&content)?);
    }
    if let Content::Onnx(_) = report.content {
        report.class_names = ClassNames::of_graph(path);
    }
    let content = &report.content;
    let names = &mut report.class_names;
    names.add_labels(path, |output| content.has_output(output))?;
    report.baseline = BaselineSummary::of_file(path);
    Ok(report)
}

/// Returns the model file of the graph's model, if the graph belongs to a model whose file can be read.
fn model_file(graph: &Path) -> Option<ModelFile> {
    let directory = model_directory(graph.parent()?)?;
    ModelFile::load(directory).ok()
}

/// Returns the settings that a graph of this model is loaded with.
fn load_options(graph: &Path, model_file: &ModelFile) -> LoadOptions {
    let mut options = model_file.load_options();
    let version = graph.parent().unwrap_or(Path::new(""));
    let graphs = repository::graphs(version).unwrap_or_default();
    let mut named = graphs.iter().filter(|(_, path)| *path == graph);
    if named.any(|(name, _)| !repository::is_main_graph(name, &graphs)) {
        options.shapes.clear();
    }
    options
}

/// Returns the backend of a graph file and the reason for it: named by its model, or selected before.
fn backend(graph: &Path, cache_dir: Option<&Path>) -> Option<String> {
    let model_file = model_file(graph).unwrap_or_default();
    if let Some(BackendChoice::Named(name)) = &model_file.backend {
        return Some(format!("{name}, named in model.toml"));
    }
    let cache = optional_cache_directory(cache_dir);
    let cache = cache.as_deref();
    let backends = backends(&BackendArgs::default(), cache);
    let options = load_options(graph, &model_file);
    selections(cache).explain(&backends, graph, &options)
}

/// Returns the rules by which requests for a graph file are computed together: set by its model, or chosen by the costs
/// that an earlier load has measured.
fn batching(graph: &Path, cache_dir: Option<&Path>) -> Option<String> {
    let model_file = model_file(graph)?;
    Some(match &model_file.batching {
        Batching::Off => "off, set in model.toml".to_owned(),
        Batching::Auto => {
            let cache = optional_cache_directory(cache_dir);
            let cache = cache.as_deref();
            let backends = backends(&BackendArgs::default(), cache);
            let graph = GraphOfModel {
                path: graph,
                model_file: &model_file,
                options: &load_options(graph, &model_file),
            };
            match graph.stored_choice(&backends, &selections(cache)) {
                Some(decision) => decision.to_string(),
                None => "auto: measured when the model is loaded, as by `wisp check`".to_owned(),
            }
        }
        Batching::Dynamic(policy) => format!(
            "up to {} rows and a delay of {} us, set in model.toml",
            policy.max_batch_size,
            policy.max_queue_delay.as_micros()
        ),
    })
}

/// Returns the outline of a file, without running any of its code.
fn outline(path: &Path, content: &[u8]) -> anyhow::Result<Report> {
    Ok(Report {
        file: display::path(path),
        bytes: content.len().try_into()?,
        content: if content.starts_with(b"\0asm") {
            match wasm::report(content)? {
                WasmReport::Component(component) => Content::Component(component),
                WasmReport::CoreModule(module) => Content::CoreModule(module),
            }
        } else if let Some(reason) = foreign_content::describe(content) {
            return Err(bad_configuration(reason));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
        {
            Content::Onnx(onnx::report(content)?)
        } else {
            return Err(bad_configuration(
                "the file is neither WebAssembly (by its first bytes) nor an .onnx file (by its name)",
            ));
        },
        class_names: ClassNames::default(),
        backend: None,
        batching: None,
        baseline: None,
    })
}

impl Content {
    /// Returns whether the file is a graph or a handler with this output.
    fn has_output(&self, name: &str) -> bool {
        match self {
            Content::Component(component) => match &component.signature {
                Some(SignatureOutcome::Signature(signature)) => signature.has_output(name),
                Some(SignatureOutcome::Failure { .. }) | None => false,
            },
            Content::CoreModule(_) => false,
            Content::Onnx(model) => model.has_output(name),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.content {
            Content::Component(_) => "component",
            Content::CoreModule(_) => "core module",
            Content::Onnx(_) => "ONNX model",
        };
        writeln!(f, "{}: {kind}, {}", self.file, display::size(self.bytes))?;
        let written = match &self.content {
            Content::Component(component) => component.fmt(f),
            Content::CoreModule(module) => {
                module.fmt(f)?;
                writeln!(
                    f,
                    "  not a component: `wisp build` creates one from a handler's crate"
                )
            }
            Content::Onnx(model) => model.fmt(f),
        };
        written?;
        self.class_names.fmt(f)?;
        if let Some(backend) = &self.backend {
            writeln!(f, "  backend      {}", OneLine(backend))?;
        }
        if let Some(batching) = &self.batching {
            writeln!(f, "  batching     {}", OneLine(batching))?;
        }
        match &self.baseline {
            Some(baseline) => baseline.fmt(f),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_means_its_own_files_or_those_of_the_highest_version() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let model = directory.path().canonicalize()?.join("m");
        for version in ["1", "2"] {
            std::fs::create_dir_all(model.join(version))?;
            std::fs::write(model.join(version).join("model.onnx"), "")?;
            std::fs::write(model.join(version).join("notes.txt"), "")?;
        }
        std::fs::write(model.join("2/handler.wasm"), "")?;
        assert_eq!(
            files(&model)?,
            [model.join("2/model.onnx"), model.join("2/handler.wasm")]
        );
        assert_eq!(files(&model.join("1"))?, [model.join("1/model.onnx")]);
        assert!(files(directory.path()).is_err());
        assert!(files(&directory.path().join("none")).is_err());
        Ok(())
    }

    #[test]
    fn a_file_that_is_neither_is_refused() {
        assert!(outline(Path::new("model.pt"), b"PK").is_err());
    }
}
