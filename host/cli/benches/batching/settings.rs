//! The settings of `batching`: off, batches of up to 32 rows that wait for up to 10 ms, and the automatic choice.

use crate::environment::root;
use crate::load::Request;
use crate::measured::{Loaded, take_turns};
use crate::model::Model;
use crate::report::{self, Outcome, Tally, print_heading, print_line};
use crate::served::{Running, Served};
use crate::{Rounds, Tools, chosen};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// A classifier of tables, a network for small and one for larger images, and a text encoder.
const MODELS: [&str; 4] = [WINE, "mnist_cnn", "resnet20", "minilm_random"];

/// The graph of the example, without its handler.
const WINE: &str = "wine";

const WINE_BODY: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,13],
    "data":[14.23,1.71,2.43,15.6,127.0,2.8,3.06,0.28,2.29,5.64,1.04,3.92,1065.0]}]}"#;

const BACKENDS: [&str; 3] = ["tract", "rten", "onnxruntime"];

/// The lecture's setting.
pub(crate) const FIXED: &str =
    "batching = { max_batch_size = 32, max_queue_delay_microseconds = 10000 }";

pub(crate) const AUTO: &str = "batching = \"auto\"";

const OFF: &str = "batching = \"off\"";

/// The settings, in the order of the columns of the report. The first one is there twice: the difference between the two
/// servers is noise.
const SETTINGS: [&str; 4] = [OFF, FIXED, AUTO, OFF];

const CONNECTIONS: [usize; 3] = [1, 8, 64];

/// A model on disk, and a request for it.
struct Contest {
    name: &'static str,
    graph: PathBuf,
    request: Request,
}

/// Compares the settings for each model, backend and number of connections, and prints the results.
pub(crate) fn compare(tools: &Tools, rounds: Rounds) -> Result<()> {
    let models = chosen("WISP_BENCH_MODELS", &MODELS)?;
    let backends = chosen("WISP_BENCH_BACKENDS", &BACKENDS)?;
    let Rounds { count, time } = rounds;
    println!("\none thread on cpu 0, {count} rounds of at least {time:?}");
    let mut tally = Tally::default();
    // Models are made here, so that their output precedes the table.
    let contests = contests(tools, &models)?;
    print_heading();
    for contest in contests {
        for backend in &backends {
            let served = Served {
                graph: &contest.graph,
                backend,
                library: &tools.library,
            };
            let servers: Result<Vec<Running>> = SETTINGS
                .iter()
                .map(|setting| served.start(setting))
                .collect();
            let servers = match servers {
                Ok(servers) => servers,
                Err(problem) => {
                    let reason = format!("does not take part: {problem:#}");
                    let model = contest.name;
                    tally.add_choice(report::Names { model, backend }, &reason);
                    continue;
                }
            };
            let [_, _, auto, _] = &servers[..] else {
                anyhow::bail!("{} servers", servers.len());
            };
            let names = report::Names {
                model: contest.name,
                backend,
            };
            tally.add_choice(names, &auto.batching()?);
            let mut unprinted = Some(names);
            let loaded = servers.iter().map(|running| Loaded {
                address: running.server.address,
                request: contest.request.clone(),
            });
            let loaded: Vec<Loaded> = loaded.collect();
            for connections in CONNECTIONS {
                let measured = take_turns(&loaded, connections, rounds)?;
                let [off, fixed, auto, off_again] = &measured[..] else {
                    anyhow::bail!("{} measurements", measured.len());
                };
                let outcome = Outcome {
                    off,
                    fixed,
                    auto,
                    off_again,
                };
                print_line(unprinted.take(), connections, &outcome);
                let case = format!("{} with {backend} at {connections}", contest.name);
                tally.add(&case, &outcome);
            }
        }
    }
    tally.print();
    Ok(())
}

/// Returns the models of these names, which are made if they do not exist.
fn contests(tools: &Tools, names: &[&'static str]) -> Result<Vec<Contest>> {
    let made = names.iter().copied().filter(|name| *name != WINE);
    let made: Vec<&str> = made.collect();
    let directory = tools.make_models(&made)?;
    let mut contests = Vec::new();
    for name in names.iter().copied() {
        contests.push(match name {
            WINE => Contest {
                name,
                graph: root()?.join("examples/wine/1/model.onnx"),
                request: Request::json("/v2/models/model/infer", WINE_BODY),
            },
            _ => {
                let directory = directory.join(name);
                let model = Model::open(&directory).with_context(|| name.to_owned())?;
                Contest {
                    name,
                    graph: directory.join("model.onnx"),
                    request: model.v2_binary(1),
                }
            }
        });
    }
    Ok(contests)
}
