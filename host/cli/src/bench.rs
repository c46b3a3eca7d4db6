//! `wisp bench`: compares the available backends on a model's graphs.
//!
//! The graphs alone are timed, as `auto` does: each backend loads them and computes the same
//! inputs in turns. The cost of loading is measured in a separate process for each backend ([`load`]),
//! in which nothing else has used memory. [`report`] defines the results, and [`remarks`] puts large
//! differences into words. The command fails if no backend could be measured with one of the graphs.

mod load;
mod remarks;
mod report;
mod table;

use crate::display;
use crate::failure::bad_configuration;
use crate::loading::{checked_backends, expect_model, graph_threads, optional_cache_directory};
use crate::options::{BenchArgs, InputShape, NamedShape};
use anyhow::{Context, bail};
use report::{BackendReport, BatchFailure, BatchReport, GraphReport};
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use wisp_backend::measure::{LatencySummary, REFERENCE, in_turns, shaped_inputs};
use wisp_backend::{Backends, Graph, LoadOptions};
use wisp_serving::cost_curve::{choose, measure};
use wisp_serving::per_row_graph::load_graph;
use wisp_serving::registry::model_file::ModelFile;
use wisp_serving::registry::repository::{MAIN_GRAPH, is_main_graph, version_files};
use wisp_serving::worker_pool::WorkerPool;
use wisp_tensor::difference::largest_difference;
use wisp_tensor::{Dimension, NamedTensor, Signature};

/// The batch sizes that are measured by default.
const ROWS: [u32; 3] = [1, 8, 32];

/// Compares the backends and prints the results.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let cache = optional_cache_directory(args.cache.cache_dir.as_deref());
    let (backends, _) = checked_backends(&args.backend, cache.as_deref())?;
    let (graphs, model_file) = graphs(&args.model)?;
    let options = LoadOptions {
        device: (args.device.or(model_file.device)).unwrap_or_default(),
        threads: (args.threads.or(model_file.threads)).unwrap_or(NonZeroUsize::MIN),
        ..LoadOptions::default()
    };
    if let Some(name) = &args.load_only {
        let backend = backends.find(name)?;
        let path = graphs.get(MAIN_GRAPH).context("there is no such graph")?;
        let shapes = args.fixed_shape.iter().cloned();
        let options = LoadOptions {
            shapes: shapes.map(InputShape::into_pair).collect(),
            ..options
        };
        return load::measure_here(&**backend, path, &options, &args.shape);
    }
    let main_options = LoadOptions {
        shapes: model_file.load_options().shapes,
        ..options.clone()
    };
    let workers = graph_threads(options.threads)?;
    let mut reports = Vec::new();
    for (name, path) in &graphs {
        let comparison = Comparison {
            backends: &backends,
            options: match is_main_graph(name, &graphs) {
                true => &main_options,
                false => &options,
            },
            args,
            workers: &workers,
        };
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
    let unmeasured: Vec<String> = reports.iter().filter_map(GraphReport::unmeasured).collect();
    match unmeasured.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => bail!("{}", unmeasured.join("\n")),
    }
}

/// Returns the graphs of a model's highest version, or the single graph of a model file.
fn graphs(model: &Path) -> anyhow::Result<(BTreeMap<String, PathBuf>, ModelFile)> {
    expect_model(model)?;
    if model.is_file() {
        let graphs = BTreeMap::from([(MAIN_GRAPH.to_owned(), model.to_owned())]);
        return Ok((graphs, ModelFile::default()));
    }
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
    /// The threads that compute the rows of batches.
    workers: &'a Arc<WorkerPool>,
}

impl Comparison<'_> {
    fn report(&self, name: &str, path: &Path) -> anyhow::Result<GraphReport> {
        let Comparison {
            backends,
            options,
            args,
            workers,
        } = *self;
        let mut reports = Vec::new();
        let mut loaded: Vec<(&'static str, Arc<dyn Graph>)> = Vec::new();
        for backend in backends.all() {
            let cost = load::measure(backend.name(), path, options, args)?;
            let graph = load_graph(&**backend, path, options, workers);
            reports.push(BackendReport {
                backend: backend.name(),
                version: backend.version(),
                cost,
                problem: graph.as_ref().err().map(ToString::to_string),
            });
            loaded.extend(graph.map(|graph| (backend.name(), graph)));
        }
        let (mut batches, mut failures) = (Vec::new(), Vec::new());
        for rows in self.rows() {
            for measured in self.batch_reports(&loaded, rows)? {
                match measured {
                    Ok(report) => batches.push(report),
                    Err(failure) => failures.push(failure),
                }
            }
            // If axis 0 is not a batch axis, there is only one size.
            if !loaded.iter().any(|(_, graph)| has_batch_axis(&**graph)) {
                break;
            }
        }
        let mut remarks = remarks::remarks(&batches);
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        remarks.extend(loaded.iter().map(|(backend, graph)| {
            let choice = match measure(&**graph) {
                Ok(cost) => choose(&cost, cores).to_string(),
                Err(reason) => format!("auto: off, {reason}"),
            };
            format!("batching with {backend}: {choice}")
        }));
        Ok(GraphReport {
            graph: name.to_owned(),
            device: options.device.to_string(),
            threads: options.threads.get(),
            backends: reports,
            remarks,
            batches,
            failures,
        })
    }

    /// Returns the numbers of rows to measure; `None` for the rows of `--shape`.
    fn rows(&self) -> Vec<Option<u32>> {
        let args = self.args;
        match (args.batch.as_slice(), args.shape.as_slice()) {
            ([], []) => ROWS.map(Some).to_vec(),
            ([], _) => vec![None],
            (batches, _) => batches.iter().copied().map(Some).collect(),
        }
    }

    /// Computes a batch with all graphs in turns, and returns the results of each.
    fn batch_reports(
        &self,
        loaded: &[(&'static str, Arc<dyn Graph>)],
        rows: Option<u32>,
    ) -> anyhow::Result<Vec<Result<BatchReport, BatchFailure>>> {
        let reference = loaded.iter().find(|(name, _)| *name == REFERENCE);
        let Some((_, reference)) = reference.or(loaded.first()) else {
            return Ok(Vec::new());
        };
        let inputs = shaped_inputs(&**reference, rows, &load::by_name(&self.args.shape))?;
        check_shapes(reference.signature(), &inputs, &self.args.shape)?;
        let given = self.args.shape.first();
        let given = given.and_then(|shape| shape.sizes.first().copied());
        let batch = rows.or(given).unwrap_or(1);
        let expected = reference.compute(&inputs);
        let graphs: Vec<&dyn Graph> = loaded.iter().map(|(_, graph)| &**graph).collect();
        let paces = in_turns(&graphs, &inputs, self.args.seconds.0);
        let mut reports = Vec::new();
        for ((backend, graph), pace) in loaded.iter().zip(paces) {
            let computed = pace.and_then(|pace| Ok((pace, graph.compute(&inputs)?)));
            let (LatencySummary { median, p99, runs }, answer) = match computed {
                Ok(computed) => computed,
                Err(error) => {
                    let reason = error.to_string();
                    reports.push(Err(BatchFailure {
                        batch,
                        backend,
                        reason,
                    }));
                    continue;
                }
            };
            let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
            reports.push(Ok(BatchReport {
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
            }));
        }
        Ok(reports)
    }
}

fn has_batch_axis(graph: &dyn Graph) -> bool {
    let inputs = &graph.signature().inputs;
    let is_open = |axis: Option<&Dimension>| axis == Some(&Dimension::Variable);
    inputs.iter().any(|input| is_open(input.shape.first())) && graph.rows().may_be_batch()
}

/// Checks that every shape on the command line is one of an input of the graph.
fn check_shapes(
    signature: &Signature,
    inputs: &[NamedTensor],
    shapes: &[NamedShape],
) -> anyhow::Result<()> {
    for NamedShape { name, .. } in shapes {
        let spec = signature.inputs.iter().find(|spec| spec.name == *name);
        let input = inputs.iter().find(|input| input.name == *name);
        let Some((spec, input)) = spec.zip(input) else {
            let names: Vec<&str> = signature.inputs.iter().map(|spec| &*spec.name).collect();
            return Err(bad_configuration(format!(
                "--shape: the graph has no input `{name}`; its inputs are: {}",
                names.join(", ")
            )));
        };
        let checked = spec.check(&input.tensor);
        checked.map_err(|error| bad_configuration(format!("--shape: input {error}")))?;
    }
    Ok(())
}
