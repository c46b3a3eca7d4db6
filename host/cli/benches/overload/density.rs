//! Part `density`: the start, the memory and the cold starts of a process with thousands of models.
//!
//! The models have 1 MiB of weights each, all different, and are loaded on demand. The start-up is the time from the start
//! of the process to its banner. The memory of an idle model is the difference between a process with all models and one
//! with a single model, none of which is loaded, divided by the other models.
//!
//! Then a server with a budget for a tenth of the models gets one request after the other, one for each of them in a random
//! order, and the same again. In the first round no file has been loaded before, so a child process loads each of them first.
//! The order is the same in both rounds, so that all models of the second round have been unloaded since the first one.
//! Latencies are those of the client, with the connection. The memory is the resident memory of the server's process, without
//! its children; the kernel keeps the peak.

use crate::clock::sleep;
use crate::fetch::fetch;
use crate::matrix::{self, HIGHEST, SIDE};
use crate::numbers::Numbers;
use crate::outcome::{median, percentile};
use crate::process::Server;
use crate::repository::Repository;
use crate::{request, server};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The number of models, unless `WISP_BENCH_MODELS` sets another one.
const MODELS: u16 = 3000;

/// The share of the models that the budget has memory for is one over this.
const SHARE: u16 = 10;

/// The number of starts of each server.
const STARTS: usize = 5;

/// The time after which the memory of a new process is measured. Its allocator returns freed memory within a second.
const SETTLE: Duration = Duration::from_secs(3);

/// The case that the order of the calls derives from.
const ORDER: usize = 1;

/// The rounds of calls, in this order.
const ROUNDS: [&str; 2] = ["of files never loaded before", "of files loaded before"];

/// Measured starts of servers of the same models.
#[derive(Debug, Default)]
struct Starts {
    milliseconds: Vec<f64>,
    /// The resident memory in bytes.
    resident: Vec<f64>,
}

/// The models that are measured, and one that differs from all of them.
#[derive(Debug)]
struct Models {
    count: u16,
    all: PathBuf,
    single: PathBuf,
}

/// Prints the tables of starts, of cold starts and of the budget.
pub(crate) fn measure(repository: &Repository) -> Result<()> {
    let models = Models::create(repository)?;
    println!(
        "\n{} models with 1 MiB of weights each. Medians of {STARTS} starts in turns.\n",
        models.count
    );
    report_starts(repository, &models)?;
    let model_bytes = model_bytes(repository, &models.single)?;
    let fits = models.count / SHARE;
    let budget = model_bytes * f64::from(fits);
    println!(
        "\nA loaded model counts {:.2} MB. A budget for {fits} of them is {:.1} MB.\n",
        model_bytes / 1e6,
        budget / 1e6
    );
    let budget_option = format!("{budget:.0}");
    let options = [
        "--load-on-demand",
        "--metrics",
        "127.0.0.1:0",
        "--max-model-memory-bytes",
        &budget_option,
    ];
    let server = server::start(repository, &models.all, &options)?;
    let order = order(models.count);
    report_cold_starts(&server, &order)?;
    report_budget(&server, budget)?;
    println!(
        "\nAll {} responses have the numbers of their models.",
        ROUNDS.len() * order.len()
    );
    Ok(())
}

// === impl Models ===

impl Models {
    fn create(repository: &Repository) -> Result<Models> {
        let count = match std::env::var("WISP_BENCH_MODELS").ok() {
            Some(count) => count
                .parse::<u16>()
                .with_context(|| format!("WISP_BENCH_MODELS: `{count}`"))?,
            None => MODELS,
        };
        ensure!(
            (SHARE..HIGHEST).contains(&count),
            "WISP_BENCH_MODELS: {count} is not from {SHARE} to {}",
            HIGHEST - 1
        );
        let models = Models {
            count,
            all: repository.others("all"),
            single: repository.others("single"),
        };
        for number in 1..=count {
            matrix::add(&models.all, number)?;
        }
        matrix::add(&models.single, HIGHEST)?;
        Ok(models)
    }
}

fn report_starts(repository: &Repository, models: &Models) -> Result<()> {
    let (mut single, mut all) = (Starts::default(), Starts::default());
    for _ in 0..STARTS {
        single.add(repository, &models.single)?;
        all.add(repository, &models.all)?;
    }
    let [single_memory, all_memory] = [single.resident, all.resident].map(median);
    let [single_start, all_start] = [single.milliseconds, all.milliseconds].map(median);
    let each = (all_memory - single_memory) / f64::from(models.count - 1);
    println!("| models | start-up, ms | memory when idle, MB | of each model, kB |");
    println!("|---|---|---|---|");
    println!("| 1 | {single_start:.0} | {:.1} | |", single_memory / 1e6);
    println!(
        "| {} | {all_start:.0} | {:.1} | {:.2} |",
        models.count,
        all_memory / 1e6,
        each / 1e3
    );
    Ok(())
}

// === impl Starts ===

impl Starts {
    /// Starts a server that loads nothing, and ends it.
    fn add(&mut self, repository: &Repository, models: &Path) -> Result<()> {
        let started = Instant::now();
        let server = server::start(repository, models, &["--load-on-demand"])?;
        self.milliseconds
            .push(started.elapsed().as_secs_f64() * 1e3);
        sleep(SETTLE);
        self.resident.push(server.resident_memory()?);
        Ok(())
    }
}

/// Returns the memory that a loaded model takes in the budget, according to the metrics.
fn model_bytes(repository: &Repository, single: &Path) -> Result<f64> {
    let options = ["--load-on-demand", "--metrics", "127.0.0.1:0"];
    let server = server::start(repository, single, &options)?;
    call(&server, HIGHEST)?;
    let bytes = sum(&metrics(&server)?, "wisp_model_bytes")?;
    ensure!(bytes > 0.0, "no memory of the model");
    Ok(bytes)
}

/// Calls all models in each round, and prints the latencies.
fn report_cold_starts(server: &Server, order: &[u16]) -> Result<()> {
    println!("| first requests | p50, p99 ms |");
    println!("|---|---|");
    for round in ROUNDS {
        let mut latencies = Vec::new();
        for &number in order {
            latencies.push(call(server, number)?);
        }
        let milliseconds = |share: f64| percentile(latencies.iter().copied(), share);
        println!(
            "| {round} | {:.1}, {:.1} |",
            milliseconds(0.5),
            milliseconds(0.99)
        );
    }
    Ok(())
}

/// Prints the memory of the process after all calls.
fn report_budget(server: &Server, budget: f64) -> Result<()> {
    // The page of metrics takes memory too.
    let (peak, now) = (server.peak_memory()?, server.resident_memory()?);
    let page = metrics(server)?;
    let loads = sum(&page, "wisp_model_loads_total")?;
    let evictions = sum(&page, "wisp_model_evictions_total")?;
    println!(
        "\n| loads | evictions | budget, MB | memory at the end, at its peak, MB | peak, of the budget |"
    );
    println!("|---|---|---|---|---|");
    println!(
        "| {loads:.0} | {evictions:.0} | {:.1} | {:.1}, {:.1} | {:.3} |",
        budget / 1e6,
        now / 1e6,
        peak / 1e6,
        peak / budget
    );
    Ok(())
}

/// Returns the numbers of all models in the order of the calls.
fn order(count: u16) -> Vec<u16> {
    let mut order: Vec<u16> = (1..=count).collect();
    let mut random = Numbers::of(ORDER);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

/// Calls a model once, checks what it answers, and returns the latency.
fn call(server: &Server, number: u16) -> Result<Duration> {
    let model = matrix::name(number);
    let request = request::ones(&model, SIDE);
    let started = Instant::now();
    let body = fetch(server.address, &request).with_context(|| model.clone())?;
    let latency = started.elapsed();
    matrix::check(&body, number)?;
    Ok(latency)
}

fn metrics(server: &Server) -> Result<String> {
    let address = server.metrics.context("no address of the metrics")?;
    fetch(address, &request::metrics())
}

/// Returns the sum of the samples of all models.
fn sum(page: &str, family: &str) -> Result<f64> {
    let mut sum = 0.0;
    for line in page.lines() {
        let labels = line.strip_prefix(family);
        if labels.is_some_and(|labels| labels.starts_with("{model=")) {
            let value = line.rsplit(' ').next().context("no value")?;
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}
