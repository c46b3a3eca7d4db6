//! The printed report of the settings: one table of all cases, the reasons of the automatic choices, and the comparison
//! with the targets and with the noise.
//!
//! Each case has two equal servers without batching. The ratio of their throughputs is the noise of the case: a difference
//! of the automatic choice that is no larger has no meaning.

use crate::measured::Measured;

/// The share of the best throughput that the automatic choice may lose.
const TOLERANCE: f64 = 0.05;

/// A model on a backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) model: &'a str,
    pub(crate) backend: &'a str,
}

/// The measurements of all settings with one number of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome<'a> {
    pub(crate) off: &'a Measured,
    pub(crate) fixed: &'a Measured,
    pub(crate) auto: &'a Measured,
    /// A second server without batching.
    pub(crate) off_again: &'a Measured,
}

/// The comparisons of the automatic choice with the targets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The reason of each choice, with its model and backend.
    choices: Vec<String>,
    cases: usize,
    /// The cases that are not within the tolerance of the best setting.
    missed: Vec<Missed>,
    /// The cases that are slower than without batching.
    slower: Vec<Missed>,
    /// The differences between the two servers without batching.
    noise: Vec<f64>,
}

/// A case that misses a target.
#[derive(Debug)]
struct Missed {
    case: String,
    ratio: f64,
    /// The difference between the two servers without batching.
    noise: f64,
}

pub(crate) fn print_heading() {
    println!(
        "\n| model | backend | connections | off: requests/s, p99 ms | 32 rows, 10 ms: requests/s, p99 ms | auto: requests/s, p99 ms | auto, of off | auto, of the best other | off again, of off |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

/// Prints a row of the table. Only the first one of a model on a backend has their names.
pub(crate) fn print_line(names: Option<Names<'_>>, connections: usize, outcome: &Outcome<'_>) {
    let Outcome {
        off, fixed, auto, ..
    } = outcome;
    let [off, fixed, auto] = [off, fixed, auto]
        .map(|measured| format!("{:.0}, {:.2}", measured.per_second(), measured.p99()));
    let names = names.map_or_else(
        || "| |".to_owned(),
        |names| format!("| `{}` | {}", names.model, names.backend),
    );
    println!(
        "{names} | {connections} | {off} | {fixed} | {auto} | {:.2} | {:.2} | {:.2} |",
        outcome.of_off(),
        outcome.of_best(),
        outcome.off_again.ratio(outcome.off),
    );
}

// === impl Outcome ===

impl Outcome<'_> {
    /// Returns the throughput of the automatic choice relative to that without batching.
    fn of_off(&self) -> f64 {
        self.auto.ratio(self.off)
    }

    /// Returns the throughput of the automatic choice relative to the better of the other settings.
    fn of_best(&self) -> f64 {
        let best = match self.off.per_second() < self.fixed.per_second() {
            true => self.fixed,
            false => self.off,
        };
        self.auto.ratio(best)
    }

    /// Returns the relative difference between the two servers without batching.
    fn noise(&self) -> f64 {
        (self.off_again.ratio(self.off) - 1.0).abs()
    }
}

// === impl Tally ===

impl Tally {
    /// Adds the reason of the automatic choice for a model on a backend.
    pub(crate) fn add_choice(&mut self, names: Names<'_>, reason: &str) {
        let Names { model, backend } = names;
        self.choices
            .push(format!("`{model}` with {backend}: {reason}"));
    }

    pub(crate) fn add(&mut self, case: &str, outcome: &Outcome<'_>) {
        self.cases += 1;
        let noise = outcome.noise();
        self.noise.push(noise);
        let missed = |ratio: f64| Missed {
            case: case.to_owned(),
            ratio,
            noise,
        };
        let (of_best, of_off) = (outcome.of_best(), outcome.of_off());
        if of_best < 1.0 - TOLERANCE {
            self.missed.push(missed(of_best));
        }
        if outcome.auto.is_slower(outcome.off) {
            self.slower.push(missed(of_off));
        }
    }

    pub(crate) fn print(mut self) {
        println!();
        for choice in &self.choices {
            println!("- {choice}");
        }
        let cases = self.cases;
        println!(
            "\nauto is within {:.0} % of the best setting in {} of {cases} cases",
            TOLERANCE * 100.0,
            cases - self.missed.len()
        );
        print_missed("the best", &self.missed);
        println!(
            "auto is slower than off, in more than three quarters of the rounds, in {} of {cases} cases",
            self.slower.len()
        );
        print_missed("off", &self.slower);
        self.noise.sort_by(f64::total_cmp);
        let median = self.noise.get(self.noise.len() / 2).copied();
        let most = self.noise.last().copied();
        println!(
            "two equal servers without batching differ by {:.1} % (median of the cases), and by {:.1} % at most",
            median.unwrap_or(f64::NAN) * 100.0,
            most.unwrap_or(f64::NAN) * 100.0
        );
    }
}

fn print_missed(of: &str, missed: &[Missed]) {
    for Missed { case, ratio, noise } in missed {
        let explained = match 1.0 - ratio <= *noise {
            true => ", as much as two equal servers differ there",
            false => "",
        };
        println!("  {case}: {ratio:.2} of {of}{explained}");
    }
}
