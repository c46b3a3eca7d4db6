//! The printed report of the settings: a table for each model and backend, and the comparison with the targets.

use crate::measured::Measured;

/// The share of the best throughput that the automatic choice may lose.
const TOLERANCE: f64 = 0.05;

/// The measurements of all settings with one number of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome<'a> {
    pub(crate) off: &'a Measured,
    pub(crate) fixed: &'a Measured,
    pub(crate) auto: &'a Measured,
}

/// The comparisons of the automatic choice with the targets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cases: usize,
    /// The cases that are not within the tolerance of the best setting.
    missed: Vec<String>,
    /// The cases that are slower than without batching.
    slower: Vec<String>,
}

pub(crate) fn print_heading(model: &str, backend: &str, batching: &str) {
    println!("\n{model} with {backend}, {batching}\n");
    println!(
        "| connections | off: requests/s, p99 | 32 rows, 10 ms: requests/s, p99 | auto: requests/s, p99 | auto, of off | auto, of the best other |"
    );
    println!("|---|---|---|---|---|---|");
}

pub(crate) fn print_line(connections: usize, outcome: &Outcome<'_>) {
    let Outcome { off, fixed, auto } = outcome;
    let [off, fixed, auto] = [off, fixed, auto]
        .map(|measured| format!("{:.0}, {:.2} ms", measured.per_second(), measured.p99()));
    println!(
        "| {connections} | {off} | {fixed} | {auto} | {:.2} | {:.2} |",
        outcome.of_off(),
        outcome.of_best()
    );
}

impl Outcome<'_> {
    /// Returns the throughput of the automatic choice relative to that without batching.
    fn of_off(&self) -> f64 {
        self.auto.ratio(self.off)
    }

    /// Returns the throughput of the automatic choice relative to that of the better of the other settings.
    fn of_best(&self) -> f64 {
        let best = match self.off.per_second() < self.fixed.per_second() {
            true => self.fixed,
            false => self.off,
        };
        self.auto.ratio(best)
    }
}

// === impl Tally ===

impl Tally {
    pub(crate) fn add(&mut self, case: String, outcome: &Outcome<'_>) {
        self.cases += 1;
        let (of_best, of_off) = (outcome.of_best(), outcome.of_off());
        if of_best < 1.0 - TOLERANCE {
            self.missed.push(format!("{case}: {of_best:.2}"));
        }
        if outcome.auto.is_slower(outcome.off) {
            self.slower.push(format!("{case}: {of_off:.2}"));
        }
    }

    pub(crate) fn print(&self) {
        let Tally {
            cases,
            missed,
            slower,
        } = self;
        let percent = TOLERANCE * 100.0;
        println!(
            "\nauto is within {percent:.0} % of the best setting in {} of {cases} cases",
            cases - missed.len()
        );
        for case in missed {
            println!("  not in {case} of the best");
        }
        println!(
            "auto is slower than off, in more than three quarters of the rounds, in {} of {cases} cases",
            slower.len()
        );
        for case in slower {
            println!("  {case} of off");
        }
    }
}
