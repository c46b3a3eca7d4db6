//! The choice among backends that have tried to load a graph: the fastest that agrees with the others.

use super::basis::Basis;
use super::comparison::compare;
use super::contender::Contender;
use super::refusal::{Advice, BackendSelectionError, Refusal, is_fault_of_file};
use super::selection::{BackendSelection, Candidate};
use crate::registry::graph_file::GraphFile;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::{Backend, Graph};

/// The part of the time of the best backend so far that a later one may take to be preferred to it. A smaller
/// difference may be noise, and would make selections differ between machines of one kind.
const PREFERRED: f64 = 0.9;

/// The part of the time of the best backend's load so far that a later one may take to be preferred to it, if their
/// computations take about the same time.
const PREFERRED_LOAD: f64 = 0.5;

/// The least difference of two times to load for which one backend is preferred to another.
const LOADS_FASTER_BY: Duration = Duration::from_millis(100);

/// A backend and the graph as it has loaded it, or its reason for not loading it.
pub(super) struct Attempt<'a> {
    pub(super) backend: &'a Arc<dyn Backend>,
    took: Duration,
    pub(super) loaded: Result<Arc<dyn Graph>, Refusal>,
}

impl<'a> Attempt<'a> {
    pub(super) fn load(backend: &'a Arc<dyn Backend>, file: &GraphFile<'_>) -> Attempt<'a> {
        let started = Instant::now();
        let loaded = file.load(&**backend);
        Attempt {
            backend,
            took: started.elapsed(),
            loaded: loaded.map_err(|error| Refusal::new(&**backend, error)),
        }
    }

    /// Returns the attempt that was made with this backend before, or makes one.
    pub(super) fn take_or_load(
        made: &mut Option<Attempt<'a>>,
        backend: &'a Arc<dyn Backend>,
        file: &GraphFile<'_>,
    ) -> Attempt<'a> {
        let same = made.take_if(|made| made.backend.name() == backend.name());
        same.unwrap_or_else(|| Attempt::load(backend, file))
    }

    fn contender(&self) -> Option<Contender> {
        Some(Contender {
            backend: self.backend.name(),
            graph: Arc::clone(self.loaded.as_ref().ok()?),
            load: self.took,
            shortest: None,
            difference: None,
            problem: None,
        })
    }

    /// Returns the findings on the backend, including the comparison's if it took part.
    fn candidate(&self, compared: Option<&Contender>) -> Candidate {
        let refusal = self.loaded.as_ref().err();
        let took = u64::try_from(self.took.as_micros()).ok();
        let shortest = compared.and_then(|compared| compared.shortest);
        Candidate {
            backend: self.backend.name().to_owned(),
            version: self.backend.version(),
            load_microseconds: took.filter(|_| refusal.is_none()),
            compute_microseconds: shortest.map(|time| time.as_nanos() as f64 / 1e3),
            difference: compared.and_then(|compared| compared.difference),
            problem: match refusal {
                Some(refusal) => Some(refusal.reason.clone()),
                None => compared.and_then(|compared| compared.problem.clone()),
            },
        }
    }
}

/// Compares the backends that have loaded the graph, and returns the fastest that agrees with the others.
pub(super) fn choose<'a, 'b>(
    attempts: &'b [Attempt<'a>],
    basis: &Basis,
    advice: &dyn Fn() -> Advice,
) -> Result<(&'b Attempt<'a>, BackendSelection), BackendSelectionError> {
    let mut contenders: Vec<Contender> = attempts.iter().filter_map(Attempt::contender).collect();
    // A single backend is not computed: there is nothing to compare it with.
    if contenders.len() > 1 {
        let compared = compare(&mut contenders, basis);
        compared.map_err(|disagreement| BackendSelectionError::Disagreement {
            backends: disagreement.backends,
            difference: disagreement.difference,
            advice: advice(),
        })?;
    }
    let fastest = fastest(&contenders);
    let mut all = attempts.iter();
    let chosen = all.find(|attempt| Some(attempt.backend.name()) == fastest);
    let chosen = chosen.ok_or_else(|| no_backend(attempts, advice()))?;
    let candidates = attempts.iter().map(|attempt| {
        let mut compared = contenders.iter();
        attempt.candidate(compared.find(|one| one.backend == attempt.backend.name()))
    });
    let selection = BackendSelection {
        backend: chosen.backend.name().to_owned(),
        rule: None,
        record_problem: None,
        candidates: candidates.collect(),
        absent: None,
    };
    Ok((chosen, selection))
}

/// Returns the backend of the fastest contender that is not excluded. If the difference is small, it is the one that
/// loads much faster, or else the earlier one.
pub(super) fn fastest(contenders: &[Contender]) -> Option<&'static str> {
    let mut best: Option<&Contender> = None;
    for contender in contenders.iter().filter(|one| one.problem.is_none()) {
        let Some(so_far) = best else {
            best = Some(contender);
            continue;
        };
        if let (Some(time), Some(shortest)) = (contender.shortest, so_far.shortest) {
            let is_faster = time < shortest.mul_f64(PREFERRED);
            let is_slower = shortest < time.mul_f64(PREFERRED);
            if is_faster || (!is_slower && loads_faster(contender, so_far)) {
                best = Some(contender);
            }
        }
    }
    best.map(|best| best.backend)
}

/// Returns whether a contender loads so much faster than another that every start is noticeably shorter.
fn loads_faster(contender: &Contender, other: &Contender) -> bool {
    contender.load < other.load.mul_f64(PREFERRED_LOAD)
        && contender.load.saturating_add(LOADS_FASTER_BY) <= other.load
}

pub(super) fn no_backend(attempts: &[Attempt<'_>], advice: Advice) -> BackendSelectionError {
    let refusals = attempts.iter().filter_map(|one| one.loaded.as_ref().err());
    let refusals: Vec<Refusal> = refusals.cloned().collect();
    let advice = match is_fault_of_file(&refusals) {
        true => Advice::Nothing,
        false => advice,
    };
    BackendSelectionError::NoBackend { refusals, advice }
}
