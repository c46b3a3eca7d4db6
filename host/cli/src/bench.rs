//! `wisp bench`: compares the available backends on a model's graphs.
//!
//! The graphs alone are timed, as `backend = "auto"` does: each backend loads them and computes the same
//! inputs in turns. The cost of loading is measured in a separate process for each backend ([`load`]),
//! in which nothing else has used memory.

mod load;
mod table;

use crate::display;
use crate::failure::bad_configuration;
use crate::loading::{backends, cache_directory, expect_model_directory};
use crate::options::BenchArgs;
use anyhow::Context;
use load::LoadCost;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use wisp_backend::measure::{LatencySummary, REFERENCE, in_turns, varied_inputs};
use wisp_backend::{Backends, Graph, LoadOptions};
use wisp_serving::per_row_graph::load_graph;
use wisp_serving::registry::model_file::ModelFile;
use wisp_serving::registry::repository::{MAIN_GRAPH, version_files};
use wisp_tensor::Dimension;
use wisp_tensor::difference::largest_difference;

/// The results for one graph.
#[derive(Debug, Serialize)]
struct GraphReport {
    graph: String,
    device: String,
    threads: usize,
    backends: Vec<BackendReport>,
    batches: Vec<BatchReport>,
}

/// The cost of loading a graph with one backend, or the reason why that failed.
#[derive(Debug, Serialize)]
struct BackendReport {
    backend: &'static str,
    version: String,
    #[serde(flatten)]
    cost: Option<LoadCost>,
    problem: Option<String>,
}

/// The results of one backend for batches of one size.
#[derive(Debug, Serialize)]
struct BatchReport {
    batch: u32,
    backend: &'static str,
    median_microseconds: f64,
    p99_microseconds: f64,
    rows_per_second: f64,
    runs: usize,
    /// The largest difference from the reference's outputs, relative to numbers beyond 1.
    difference: f64,
}

/// Compares the backends and prints the results.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let cache = cache_directory(args.cache.cache_dir.as_deref())?;
    let backends = backends(&args.backend, &cache);
    let (graphs, model_file) = graphs(&args.model)?;
    let options = LoadOptions {
        device: (args.device.or(model_file.device)).unwrap_or_default(),
        threads: (args.threads.or(model_file.threads)).unwrap_or(NonZeroUsize::MIN),
    };
    if let Some(name) = &args.load_only {
        let backend = backends.find(name)?;
        let path = graphs.get(MAIN_GRAPH).context("there is no such graph")?;
        return load::measure_here(&**backend, path, &options);
    }
    let comparison = Comparison {
        backends: &backends,
        options: &options,
        args,
    };
    let mut reports = Vec::new();
    for (name, path) in &graphs {
        let report = comparison.report(name, path)?;
        if !args.json {
            table::print(&report, &mut std::io::stdout().lock())?;
        }
        reports.push(report);
    }
    if args.json {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &reports)?;
        writeln!(out)?;
    }
    let loaded = |report: &GraphReport| report.backends.iter().any(|b| b.problem.is_none());
    match reports.iter().all(loaded) {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// Returns the graphs of a model's highest version, or the single graph of a model file.
fn graphs(model: &Path) -> anyhow::Result<(BTreeMap<String, PathBuf>, ModelFile)> {
    if model.is_file() {
        let graphs = BTreeMap::from([(MAIN_GRAPH.to_owned(), model.to_owned())]);
        return Ok((graphs, ModelFile::default()));
    }
    expect_model_directory(model)?;
    let graphs = version_files(model)?.graphs;
    if graphs.is_empty() {
        let model = display::path(model);
        return Err(bad_configuration(format!("`{model}` has no graph")));
    }
    Ok((graphs, ModelFile::load(model)?))
}

/// The parameters of a comparison.
struct Comparison<'a> {
    backends: &'a Backends,
    options: &'a LoadOptions,
    args: &'a BenchArgs,
}

impl Comparison<'_> {
    fn report(&self, name: &str, path: &Path) -> anyhow::Result<GraphReport> {
        let Comparison {
            backends,
            options,
            args,
        } = *self;
        let mut reports = Vec::new();
        let mut loaded: Vec<(&'static str, Arc<dyn Graph>)> = Vec::new();
        for backend in backends.all() {
            let cost = load::measure(backend.name(), path, options, args)?;
            let graph = load_graph(&**backend, path, options);
            reports.push(BackendReport {
                backend: backend.name(),
                version: backend.version(),
                cost,
                problem: graph.as_ref().err().map(ToString::to_string),
            });
            loaded.extend(graph.map(|graph| (backend.name(), graph)));
        }
        let mut batches = Vec::new();
        for &batch in &args.batch {
            batches.extend(batch_reports(&loaded, batch, args.seconds.0)?);
            // If axis 0 is not a batch axis, there is only one size.
            if !loaded.iter().any(|(_, graph)| has_batch_axis(&**graph)) {
                break;
            }
        }
        Ok(GraphReport {
            graph: name.to_owned(),
            device: options.device.to_string(),
            threads: options.threads.get(),
            backends: reports,
            batches,
        })
    }
}

fn has_batch_axis(graph: &dyn Graph) -> bool {
    let inputs = &graph.signature().inputs;
    let is_open = |axis: Option<&Dimension>| axis == Some(&Dimension::Variable);
    inputs.iter().any(|input| is_open(input.shape.first()))
}

/// Computes a batch with all graphs in turns. Graphs that fail are left out.
fn batch_reports(
    loaded: &[(&'static str, Arc<dyn Graph>)],
    batch: u32,
    budget: Duration,
) -> anyhow::Result<Vec<BatchReport>> {
    let reference = loaded.iter().find(|(name, _)| *name == REFERENCE);
    let Some((_, reference)) = reference.or(loaded.first()) else {
        return Ok(Vec::new());
    };
    let inputs = varied_inputs(&**reference, batch)?;
    let expected = reference.compute(&inputs);
    let graphs: Vec<&dyn Graph> = loaded.iter().map(|(_, graph)| &**graph).collect();
    let paces = in_turns(&graphs, &inputs, budget);
    let mut reports = Vec::new();
    for ((backend, graph), pace) in loaded.iter().zip(paces) {
        let (Ok(LatencySummary { median, p99, runs }), Ok(answer)) = (pace, graph.compute(&inputs))
        else {
            continue;
        };
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        reports.push(BatchReport {
            batch,
            backend,
            median_microseconds: microseconds(median),
            p99_microseconds: microseconds(p99),
            rows_per_second: f64::from(batch) / median.as_secs_f64().max(f64::MIN_POSITIVE),
            runs,
            difference: match &expected {
                Ok(expected) => largest_difference(expected, &answer),
                Err(_) => f64::NAN,
            },
        });
    }
    Ok(reports)
}
