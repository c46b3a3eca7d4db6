//! Compares Wisp and other servers on whole models: `cargo bench --workspace --bench models`.
//!
//! The same model, without pre- or postprocessing, runs (a) in a loop around onnxruntime's Python
//! interface, without a server; (b) in Wisp, computed by onnxruntime's own library, by tract and by rten; (c) in
//! FastAPI with onnxruntime, with binary and with JSON bodies; (d) in MLServer with onnxruntime. Published models run
//! in (a) and (b) only. Each computes with one thread on cpu 0, and the load generator runs on cpu 1. The contenders
//! take turns within a round, and the report prints medians over rounds. Ratios and differences are taken within
//! each round, against (a) of that round.
//!
//! Models and servers are created and installed below target/ on first use. `WISP_BENCH_ROUNDS` sets the
//! number of rounds (5 by default); `WISP_BENCH_MODELS` selects models by comma-separated names, or all published ones
//! by `published` (all by default).

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

mod contender;
mod direct;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../peers/environment.rs"]
mod environment;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/load.rs"]
mod load;
mod model;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/process.rs"]
mod process;
mod report;
mod server;

use anyhow::{Context, Result};
use contender::{Contender, contenders};
use direct::{Direct, Took};
use environment::{root, scripts};
use model::Model;
use report::{Times, Verdict};
use server::{Installed, Servers};
use std::time::Duration;

/// The models and their batch sizes. Only fast models also run with more than one row.
const MODELS: [(&str, &[usize]); 6] = [
    ("mnist_cnn", &[1, 8]),
    ("gbt", &[1]),
    ("mobilenetv2", &[1, 8]),
    ("minilm", &[1]),
    ("minilm_int8", &[1]),
    ("resnet50", &[1]),
];

/// The files of packages on PyPI, as `make_models.py` names them. Each runs with one row.
const PUBLISHED: [&str; 12] = [
    "silero_vad",
    "silero_vad_16k_op15",
    "silero_vad_half",
    "silero_vad_op18_ifless",
    "silero_vad_16k_sequence",
    "silero_vad_openvino_16k",
    "magika",
    "ch_PP-OCRv4_det_infer",
    "ch_PP-OCRv4_rec_infer",
    "ch_ppocr_mobile_v2.0_cls_infer",
    "320n",
    "nmp",
];

/// The batch sizes of these.
const ONE_ROW: &[usize] = &[1];

/// The name that selects all of them.
const ALL_PUBLISHED: &str = "published";

/// The time that each contender is loaded per round.
const ROUND: Duration = Duration::from_millis(500);

/// The warm-up time per kind of load, for interpreters and caches; not measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// The number of connections in the second setting.
const MANY: usize = 16;

/// The threshold in microseconds above which a contender is loaded with `MANY` connections in the first
/// round only: that many slow requests take seconds, and show the same as sequential ones.
const SLOW: f64 = 10_000.0;

fn main() -> Result<()> {
    let rounds = std::env::var("WISP_BENCH_ROUNDS").ok();
    let rounds: usize = rounds.map_or(Ok(5), |rounds| rounds.parse())?;
    let chosen = chosen(std::env::var("WISP_BENCH_MODELS").ok().as_deref())?;
    process::pin(1);
    let with_peers = |name: &str| !PUBLISHED.contains(&name);
    let installed = Installed::install(chosen.iter().any(|(name, _)| with_peers(name)))?;
    let models = root()?.join("target/bench-models");
    let mut make = installed.models.command("python", &scripts("models"));
    make.arg("make_models.py").arg(&models);
    make.args(chosen.iter().map(|(name, _)| name));
    make.stdout(std::process::Stdio::inherit());
    environment::succeed(make.stderr(std::process::Stdio::inherit()))?;

    println!("\none thread on cpu 0, {rounds} rounds of {ROUND:?}");
    let (mut verdicts, mut published) = (Vec::new(), Vec::new());
    for (name, batches) in chosen {
        let directory = models.join(name);
        let model = Model::open(&directory)?;
        let mut direct = Direct::start(&installed.models, &directory)?;
        let servers = Servers::start(&installed, &directory, with_peers(name))?;
        for &batch in batches {
            let mut turns = Turns {
                batch,
                direct: Vec::new(),
                contenders: contenders(&model, &servers, batch)?,
            };
            turns
                .take(&mut direct, rounds)
                .with_context(|| name.to_owned())?;
            report::print(name, &turns);
            match with_peers(name) {
                true => verdicts.push(Verdict::new(name, &turns)),
                false => published.push(Times::new(name, &turns)),
            }
        }
    }
    if !verdicts.is_empty() {
        report::print_verdicts(&verdicts);
    }
    if !published.is_empty() {
        report::print_times(&published);
    }
    Ok(())
}

/// Returns the chosen models with their batch sizes.
fn chosen(names: Option<&str>) -> Result<Vec<(&'static str, &'static [usize])>> {
    let published = PUBLISHED.map(|name| (name, ONE_ROW));
    let all = [MODELS.as_slice(), published.as_slice()].concat();
    let Some(names) = names else {
        return Ok(all);
    };
    let mut chosen = Vec::new();
    for name in names.split(',').map(str::trim) {
        if name == ALL_PUBLISHED {
            chosen.extend(published);
            continue;
        }
        let found = all.iter().find(|(model, _)| *model == name);
        chosen.push(*found.with_context(|| format!("no model `{name}`"))?);
    }
    Ok(chosen)
}

/// One model with batches of one size: the measurements of all contenders, round by round.
pub(crate) struct Turns<'a> {
    pub(crate) batch: usize,
    pub(crate) direct: Vec<Took>,
    pub(crate) contenders: Vec<Contender<'a>>,
}

impl Turns<'_> {
    fn take(&mut self, direct: &mut Direct, rounds: usize) -> Result<()> {
        direct.run(self.batch, WARM_UP)?;
        self.contenders.retain(|contender| {
            let answered = contender.answer();
            if let Err(problem) = &answered {
                println!("{} does not take part: {problem:#}", contender.name);
            }
            answered.is_ok()
        });
        // Larger batches compare backends, which many connections do not.
        let with_many = self.batch == 1;
        for contender in &mut self.contenders {
            let warm = contender.load(1, WARM_UP)?;
            contender.slow = warm.done.percentile(0.5) > SLOW;
            if with_many && !contender.slow {
                contender.load(MANY, WARM_UP)?;
            }
        }
        for round in 0..rounds {
            self.direct.push(direct.run(self.batch, ROUND)?);
            for contender in &mut self.contenders {
                contender.single.push(contender.load(1, ROUND)?);
            }
            for contender in &mut self.contenders {
                if with_many && (round == 0 || !contender.slow) {
                    contender.many.push(contender.load(MANY, ROUND)?);
                }
            }
        }
        Ok(())
    }
}
