//! The printed report: a table for each model, and the comparison with the targets.

use crate::Turns;
use crate::contender::{Contender, EMBEDDED, FASTAPI_JSON, Measured, OURS, OURS_JSON};
use crate::direct::Took;
use crate::load::median;

/// The direct run time in microseconds from which the target for the share applies to a model.
const LONG: f64 = 3_000.0;

/// The results of one model against the targets.
pub(crate) struct Verdict {
    model: String,
    direct: f64,
    /// Computation time in Wisp, relative to onnxruntime's.
    computation: f64,
    /// Latency that the client sees beyond onnxruntime's own time, in microseconds.
    added: f64,
    /// The same latency as a share of onnxruntime's time.
    share: f64,
    /// JSON requests that Wisp serves for each one that FastAPI serves, with many connections.
    json: f64,
}

/// The results of a published model: times that a client sees, in microseconds, and NaN for servers that do not take part.
pub(crate) struct Times {
    model: String,
    direct: f64,
    onnxruntime: f64,
    embedded: [f64; 2],
    /// Processor time of the faster embedded backend, relative to that of a direct run.
    ratio: f64,
}

pub(crate) fn print(model: &str, turns: &Turns<'_>) {
    let direct = |read: &dyn Fn(&Took) -> f64| median(turns.direct.iter().map(read).collect());
    println!("\n{}\n", title(model, turns));
    println!(
        "| | p50, p99 at 1 | added to direct | computing, of direct | requests/s at 1, 16 | CPU |"
    );
    println!("|---|---|---|---|---|---|");
    println!(
        "| onnxruntime, direct | {:.0}, {:.0} us | | | {:.0} | {:.0} us |",
        direct(&|took| took.median),
        direct(&|took| took.p99),
        direct(&|took| 1e6 / took.median),
        direct(&|took| took.cpu),
    );
    for contender in &turns.contenders {
        let single =
            |read: &dyn Fn(&Measured) -> f64| median(contender.single.iter().map(read).collect());
        println!(
            "| {} | {:.0}, {:.0} us | {:.0} us, {:.1} % | {} | {:.0}, {} | {:.0} us |",
            contender.name,
            single(&|measured| measured.done.percentile(0.5)),
            single(&|measured| measured.done.percentile(0.99)),
            added(turns, contender),
            share(turns, contender) * 100.0,
            known(computation(turns, contender), 3),
            single(&|measured| measured.done.per_second),
            known(rate(contender), 0),
            cpu(contender),
        );
    }
}

pub(crate) fn print_verdicts(verdicts: &[Verdict]) {
    println!("\n{OURS}, against the aims\n");
    println!(
        "| | computing, of direct: at most 1.05 | added: at most 3 % from 3 ms on, else 100 us | JSON at 16, of FastAPI's: 1.5 for mnist_cnn |"
    );
    println!("|---|---|---|---|");
    for verdict in verdicts {
        let added = match verdict.direct >= LONG {
            true => format!("{:.1} %", verdict.share * 100.0),
            false => format!("{:.0} us", verdict.added),
        };
        let (computation, json) = (known(verdict.computation, 3), known(verdict.json, 2));
        println!("| {} | {computation} | {added} | {json} |", verdict.model);
    }
}

pub(crate) fn print_times(times: &[Times]) {
    println!("\nPublished models, one row, p50 of a request\n");
    println!(
        "| | onnxruntime, direct | Wisp, onnxruntime | Wisp, tract | Wisp, rten | faster embedded one, of direct |"
    );
    println!("|---|---|---|---|---|---|");
    for one in times {
        let [tract, rten] = one.embedded.map(|time| known(time, 0));
        println!(
            "| {} | {:.0} us | {} | {tract} | {rten} | {} |",
            one.model,
            one.direct,
            known(one.onnxruntime, 0),
            known(one.ratio, 2),
        );
    }
}

impl Times {
    pub(crate) fn new(model: &str, turns: &Turns<'_>) -> Times {
        let find = |name: &str| turns.contenders.iter().find(|other| other.name == name);
        let time = |name: &str| {
            find(name).map_or(f64::NAN, |contender| {
                let rounds = contender.single.iter();
                median(rounds.map(|one| one.done.percentile(0.5)).collect())
            })
        };
        let ratio = |name: &str| {
            find(name).map_or(f64::NAN, |contender| {
                paired(turns, contender, &|one, direct| one.cpu / direct.cpu)
            })
        };
        let [tract, rten] = EMBEDDED.map(ratio);
        Times {
            model: model.to_owned(),
            direct: median(turns.direct.iter().map(|took| took.median).collect()),
            onnxruntime: time(OURS),
            embedded: EMBEDDED.map(time),
            // The smaller one, or the only one.
            ratio: tract.min(rten),
        }
    }
}

impl Verdict {
    pub(crate) fn new(model: &str, turns: &Turns<'_>) -> Verdict {
        let find = |name: &str| turns.contenders.iter().find(|other| other.name == name);
        let of = |name, read: &dyn Fn(&Contender<'_>) -> f64| find(name).map_or(f64::NAN, read);
        Verdict {
            model: title(model, turns),
            direct: median(turns.direct.iter().map(|took| took.median).collect()),
            computation: of(OURS, &|ours| computation(turns, ours)),
            added: of(OURS, &|ours| added(turns, ours)),
            share: of(OURS, &|ours| share(turns, ours)),
            json: find(FASTAPI_JSON).map_or(f64::NAN, |fastapi| {
                of(OURS_JSON, &|ours| times(ours, fastapi))
            }),
        }
    }
}

fn title(model: &str, turns: &Turns<'_>) -> String {
    match turns.batch {
        1 => model.to_owned(),
        batch => format!("{model}, batches of {batch}"),
    }
}

/// Returns the time that a request takes beyond a direct run, in microseconds.
fn added(turns: &Turns<'_>, contender: &Contender<'_>) -> f64 {
    paired(turns, contender, &|measured, direct| {
        measured.done.percentile(0.5) - direct.median
    })
}

/// Returns the same time as a share of the direct run.
fn share(turns: &Turns<'_>, contender: &Contender<'_>) -> f64 {
    paired(turns, contender, &|measured, direct| {
        measured.done.percentile(0.5) / direct.median - 1.0
    })
}

/// Returns the computation time that the server reports, relative to a direct run. The server reports
/// whole microseconds.
fn computation(turns: &Turns<'_>, contender: &Contender<'_>) -> f64 {
    paired(turns, contender, &|measured, direct| {
        measured.done.computation() / direct.median
    })
}

/// Returns the median over rounds of `compare`, applied to requests with one connection and a direct run
/// of the same round.
fn paired(
    turns: &Turns<'_>,
    contender: &Contender<'_>,
    compare: &dyn Fn(&Measured, &Took) -> f64,
) -> f64 {
    let rounds = contender.single.iter().zip(&turns.direct);
    median(
        rounds
            .map(|(measured, direct)| compare(measured, direct))
            .collect(),
    )
}

/// Returns the ratio of the two contenders' request rates with many connections, as a median over
/// rounds.
fn times(contender: &Contender<'_>, other: &Contender<'_>) -> f64 {
    let rounds = contender.many.iter().zip(&other.many);
    median(
        rounds
            .map(|(one, other)| one.done.per_second / other.done.per_second)
            .collect(),
    )
}

/// Returns the requests per second with many connections.
fn rate(contender: &Contender<'_>) -> f64 {
    let rounds = contender.many.iter();
    median(rounds.map(|measured| measured.done.per_second).collect())
}

/// Returns the processor time per request in microseconds, with many connections if those were measured.
fn cpu(contender: &Contender<'_>) -> f64 {
    let rounds = match contender.many.is_empty() {
        true => &contender.single,
        false => &contender.many,
    };
    median(rounds.iter().map(|measured| measured.cpu).collect())
}

/// Formats a number, or a dash if the value is NaN.
fn known(value: f64, digits: usize) -> String {
    match value.is_nan() {
        true => "-".to_owned(),
        false => format!("{value:.digits$}"),
    }
}
