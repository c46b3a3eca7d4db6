//! A selected backend and the reasons, as they are recorded and shown.

use serde::{Deserialize, Serialize};
use std::fmt;
use wisp_backend::measure::REFERENCE;

/// The ratio of times from which an absent reference is worth its installation.
const FASTER: f64 = 1.5;

/// The chosen backend, and the results of all candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendSelection {
    /// The name of the backend.
    pub backend: String,
    /// The rule that chose it without measurements, if one did. Such a selection is not recorded.
    #[serde(skip)]
    pub rule: Option<SelectionRule>,
    /// The reason that selections cannot be recorded. Only the first selection of a process has it.
    #[serde(skip)]
    pub record_problem: Option<String>,
    /// All backends that were tried, in the order of [`wisp_backend::Backends::all`].
    pub candidates: Vec<Candidate>,
    /// The findings on the reference of an earlier selection for the same graph, if it is not installed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Candidate>,
}

/// The reason that the default backend computes a graph without any measurement, if it loads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectionRule {
    /// The graph has operators for tables, which take microseconds.
    Tabular,
    /// The graph has few nodes, few weights and small inputs.
    Tiny,
    /// The file is an NNEF archive.
    Nnef,
}

/// The findings on one backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub backend: String,
    pub version: String,
    /// The time to load the graph; `None` if the backend refused it.
    pub load_microseconds: Option<u64>,
    /// The shortest time to compute a batch of one row, if it was measured.
    pub compute_microseconds: Option<f64>,
    /// The difference of its outputs from those that are taken as right.
    pub difference: Option<f64>,
    /// The reason that it was refused or excluded, if it was.
    pub problem: Option<String>,
}

// === impl BackendSelection ===

impl BackendSelection {
    /// Returns the findings on the reference if it has computed the graph, now or earlier.
    pub(super) fn measured_reference(&self) -> Option<&Candidate> {
        let mut all = self.candidates.iter().chain(&self.absent);
        all.find(|one| one.backend == REFERENCE && one.compute_microseconds.is_some())
    }

    /// Returns the number of times that the absent reference is as fast as the backend chosen, if that is much.
    fn lost_speed(&self) -> Option<f64> {
        let mut candidates = self.candidates.iter();
        let chosen = candidates.find(|one| one.backend == self.backend)?;
        let absent = self.absent.as_ref()?.compute_microseconds?;
        let ratio = chosen.compute_microseconds? / absent.max(f64::MIN_POSITIVE);
        (ratio >= FASTER).then_some(ratio)
    }
}

impl fmt::Display for BackendSelection {
    /// Writes text such as `auto: onnxruntime 151.2 us, tract 412.0 us, rten refuses: it has no Scan`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auto: {}", self.backend)?;
        if let Some(rule) = self.rule {
            return write!(f, ", {rule}");
        }
        let is_chosen = |candidate: &&Candidate| candidate.backend == self.backend;
        if let Some(chosen) = self.candidates.iter().find(is_chosen) {
            chosen.write_time(f)?;
        }
        for candidate in self.candidates.iter().filter(|c| !is_chosen(c)) {
            write!(f, ", {}", candidate.backend)?;
            match (&candidate.problem, candidate.load_microseconds) {
                (Some(problem), None) => write!(f, " refuses: {problem}")?,
                (Some(problem), Some(_)) => write!(f, " is out: {problem}")?,
                (None, _) => candidate.write_time(f)?,
            }
        }
        match self.lost_speed() {
            Some(ratio) => write!(
                f,
                ", {REFERENCE} was {ratio:.1} times as fast when it was installed"
            ),
            None => Ok(()),
        }
    }
}

impl Candidate {
    fn write_time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compute_microseconds {
            Some(time) => write!(f, " {time:.1} us"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SelectionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SelectionRule::Tabular => "the graph has operators for tables",
            SelectionRule::Tiny => "the graph is tiny",
            SelectionRule::Nnef => "the file is an NNEF archive",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(backend: &str) -> Candidate {
        Candidate {
            backend: backend.to_owned(),
            version: "1".to_owned(),
            load_microseconds: Some(7),
            compute_microseconds: None,
            difference: None,
            problem: None,
        }
    }

    #[test]
    fn the_chosen_backend_comes_first_and_every_other_has_its_reason() {
        let mut selection = BackendSelection {
            backend: "b".to_owned(),
            rule: None,
            record_problem: None,
            absent: None,
            candidates: vec![
                Candidate {
                    load_microseconds: None,
                    problem: Some("no Scan".to_owned()),
                    ..candidate("a")
                },
                Candidate {
                    compute_microseconds: Some(3.2),
                    ..candidate("b")
                },
                Candidate {
                    problem: Some("its output differs".to_owned()),
                    ..candidate("c")
                },
                Candidate {
                    compute_microseconds: Some(10.0),
                    ..candidate("d")
                },
            ],
        };
        assert_eq!(
            selection.to_string(),
            "auto: b 3.2 us, a refuses: no Scan, c is out: its output differs, d 10.0 us"
        );
        let reference = |microseconds| {
            Some(Candidate {
                compute_microseconds: Some(microseconds),
                ..candidate(REFERENCE)
            })
        };
        let without = selection.to_string();
        selection.absent = reference(2.5);
        assert_eq!(selection.to_string(), without);
        selection.absent = reference(1.0);
        assert_eq!(
            selection.to_string(),
            format!("{without}, onnxruntime was 3.2 times as fast when it was installed")
        );
        selection.rule = Some(SelectionRule::Tabular);
        assert_eq!(
            selection.to_string(),
            "auto: b, the graph has operators for tables"
        );
    }
}
