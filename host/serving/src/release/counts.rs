//! The counts of a release: all requests, for its status, and the recent ones, by which the release is judged.
//!
//! The recent requests belong to the current period and the one before. A period ends for both versions at the same
//! time, so that they are compared over the same time. It has a number of requests of the candidate: a candidate that begins to
//! fail is judged by its last requests, however many have succeeded before.

use super::comparison::OutputComparison;
use super::latency::Histogram;
use super::rollback::{Agreement, Evidence, LatencyMeasure, RollbackRule};
use std::collections::BTreeMap;
use std::time::Duration;
use wisp_protocol::release::{OutputCounts, ShadowCounts, VersionCounts};

/// The most outputs whose comparisons are counted apart. Only a model has more.
const MAX_OUTPUTS: usize = 64;

/// The least number of requests of the candidate, and of comparisons, in a period. The minimum of the rule may be larger.
const PERIOD_REQUESTS: u64 = 1_000;

/// The factor by which a period is longer at most if the stable version has too few requests to be compared with.
const MAX_STRETCH: u64 = 10;

/// The version of a release that a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    Stable,
    Candidate,
}

/// The outcome of a call that counts for its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Succeeded(Duration),
    /// The response was known, so that it shows nothing about the version.
    Remembered,
    Failed,
    /// The version rejected the request as invalid.
    Rejected,
}

/// The counts of a release. Lifetime: the release, or the process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    stable: ArmCounts,
    candidate: ArmCounts,
    shadow: ArmCounts,
    dropped: u64,
    agreement: Agreement,
    outputs: BTreeMap<String, OutputCounts>,
    /// The current period, and the one before.
    periods: [Period; 2],
    /// The comparisons have periods of their own, since there may be few of them among the requests.
    agreements: [Agreement; 2],
}

/// The recent requests of a release, by which it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) stable: Evidence,
    /// The requests of clients and the copies.
    pub(super) candidate: Evidence,
    pub(super) agreement: Agreement,
}

/// The requests of both versions in one period.
#[derive(Debug, Clone, Default)]
struct Period {
    stable: ArmCounts,
    candidate: ArmCounts,
}

#[derive(Debug, Clone, Default)]
struct ArmCounts {
    failures: u64,
    rejected: u64,
    latency: Histogram,
    /// The requests that the response cache answered.
    remembered: u64,
}

// === impl Counts ===

impl Counts {
    /// Adds a request of a client.
    pub(super) fn add(&mut self, arm: Arm, outcome: Outcome) {
        let [period, _] = &mut self.periods;
        let (all, recent) = match arm {
            Arm::Stable => (&mut self.stable, &mut period.stable),
            Arm::Candidate => (&mut self.candidate, &mut period.candidate),
        };
        all.add(outcome);
        recent.add(outcome);
    }

    /// Adds a copied request.
    pub(super) fn add_shadow(&mut self, outcome: Outcome) {
        let [period, _] = &mut self.periods;
        self.shadow.add(outcome);
        period.candidate.add(outcome);
    }

    /// Adds a copy that was not made.
    pub(super) fn add_dropped(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Adds the comparison of a response with the stable version's.
    pub(super) fn add_comparison(&mut self, outputs: &[OutputComparison], tolerance: Option<f64>) {
        let agrees = outputs.iter().all(|output| output.agrees(tolerance));
        let [recent, _] = &mut self.agreements;
        recent.add(agrees);
        self.agreement.add(agrees);
        for output in outputs {
            let is_known = self.outputs.contains_key(&output.name);
            if is_known || self.outputs.len() < MAX_OUTPUTS {
                let count = self.outputs.entry(output.name.clone()).or_default();
                output.add_to(count);
            }
        }
    }

    /// Returns the recent requests, after the end of periods that are complete.
    pub(super) fn recent(&mut self, rule: &RollbackRule) -> Recent {
        let [current, before] = &mut self.periods;
        if current.is_complete(rule.min_requests) {
            *before = std::mem::take(current);
        }
        let [compared, compared_before] = &mut self.agreements;
        if compared.compared >= PERIOD_REQUESTS.max(rule.min_requests) {
            *compared_before = std::mem::take(compared);
        }
        Recent {
            stable: evidence([&current.stable, &before.stable], rule),
            candidate: evidence([&current.candidate, &before.candidate], rule),
            agreement: compared.with(*compared_before),
        }
    }

    /// Returns the counts of all requests of clients to one version.
    pub(super) fn of(&self, arm: Arm) -> VersionCounts {
        match arm {
            Arm::Stable => self.stable.counts(),
            Arm::Candidate => self.candidate.counts(),
        }
    }

    /// Returns the counts of all copies.
    pub(super) fn of_shadow(&self) -> ShadowCounts {
        ShadowCounts {
            calls: self.shadow.counts(),
            dropped: self.dropped,
            compared: self.agreement.compared,
            disagreed: self.agreement.disagreed,
            outputs: self.outputs.clone(),
        }
    }
}

// === impl Period ===

impl Period {
    fn is_complete(&self, min_requests: u64) -> bool {
        let length = PERIOD_REQUESTS.max(min_requests);
        let calls = self.candidate.all_calls();
        calls >= length
            && (self.stable.all_calls() >= min_requests
                || calls >= length.saturating_mul(MAX_STRETCH))
    }
}

// === impl ArmCounts ===

impl ArmCounts {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Succeeded(duration) => self.latency.add(duration),
            Outcome::Remembered => self.remembered = self.remembered.saturating_add(1),
            Outcome::Failed => self.failures = self.failures.saturating_add(1),
            Outcome::Rejected => self.rejected = self.rejected.saturating_add(1),
        }
    }

    /// Returns the number of calls of the version with valid requests.
    fn calls(&self) -> u64 {
        self.failures.saturating_add(self.latency.count())
    }

    fn all_calls(&self) -> u64 {
        self.calls().saturating_add(self.rejected)
    }

    fn counts(&self) -> VersionCounts {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
        VersionCounts {
            requests: self.calls().saturating_add(self.remembered),
            failures: self.failures,
            rejected: self.rejected,
            mean_milliseconds: self.latency.mean().map(milliseconds),
            p99_milliseconds: self.latency.p99().map(milliseconds),
        }
    }
}

/// Returns the requests of two periods, with their latency if the rule has a limit on it.
fn evidence([current, before]: [&ArmCounts; 2], rule: &RollbackRule) -> Evidence {
    let latency = rule.max_latency_ratio.and_then(|_| {
        let mut latency = current.latency.clone();
        latency.merge(&before.latency);
        match rule.latency {
            LatencyMeasure::P99 => latency.p99(),
            LatencyMeasure::Mean => latency.mean(),
        }
    });
    Evidence {
        requests: current.calls().saturating_add(before.calls()),
        failures: current.failures.saturating_add(before.failures),
        rejected: current.rejected.saturating_add(before.rejected),
        latency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::comparison::compare;
    use wisp_tensor::number::from_numbers;
    use wisp_tensor::{ElementType, NamedTensor, Shape};

    const RULE: RollbackRule = RollbackRule {
        min_requests: 100,
        max_error_percent: Some(5.0),
        max_latency_ratio: None,
        latency: LatencyMeasure::P99,
        max_disagreement_percent: Some(1.0),
    };

    const QUICK: Outcome = Outcome::Succeeded(Duration::from_millis(1));

    /// Adds requests one by one, and returns the number of them after which the rule has a verdict.
    fn requests_until_verdict(counts: &mut Counts, arms: &[Arm], outcome: Outcome) -> Option<u64> {
        (1..=100_000).find(|_| {
            for arm in arms {
                let outcome = match arm {
                    Arm::Stable => QUICK,
                    Arm::Candidate => outcome,
                };
                counts.add(*arm, outcome);
            }
            let recent = counts.recent(&RULE);
            RULE.verdict(recent.stable, recent.candidate, recent.agreement)
                .is_some()
        })
    }

    #[test]
    fn many_good_requests_do_not_hide_a_candidate_that_begins_to_fail() {
        for arms in [
            vec![Arm::Stable, Arm::Candidate],
            vec![Arm::Stable, Arm::Stable, Arm::Stable, Arm::Candidate],
        ] {
            let mut counts = Counts::default();
            assert_eq!(requests_until_verdict(&mut counts, &arms, QUICK), None);
            let failed = requests_until_verdict(&mut counts, &arms, Outcome::Failed);
            // More than 5 % of at most two periods.
            assert!(
                failed.is_some_and(|failed| failed <= 106),
                "{arms:?}: {failed:?}"
            );
            assert!(counts.of(Arm::Candidate).requests > 100_000);
        }
    }

    #[test]
    fn a_candidate_that_begins_to_reject_requests_is_judged_like_one_that_fails() {
        let mut counts = Counts::default();
        let arms = [Arm::Stable, Arm::Candidate];
        assert_eq!(requests_until_verdict(&mut counts, &arms, QUICK), None);
        let rejected = requests_until_verdict(&mut counts, &arms, Outcome::Rejected);
        assert!(
            rejected.is_some_and(|rejected| rejected <= 106),
            "{rejected:?}"
        );
        let counted = counts.of(Arm::Candidate);
        assert_eq!(Some(counted.rejected), rejected);
        assert_eq!(counted.requests, 100_000);
    }

    #[test]
    fn a_candidate_with_all_requests_is_judged_by_recent_ones_too() {
        let mut counts = Counts::default();
        let all = [Arm::Candidate];
        assert_eq!(requests_until_verdict(&mut counts, &all, QUICK), None);
        let failed = requests_until_verdict(&mut counts, &all, Outcome::Failed);
        assert!(failed.is_some_and(|failed| failed <= 1_060), "{failed:?}");
    }

    #[test]
    fn a_period_waits_for_the_stable_version_which_the_candidate_is_compared_with() {
        let rule = RollbackRule {
            max_latency_ratio: Some(2.0),
            ..RULE
        };
        let mut counts = Counts::default();
        for number in 0..6_000 {
            counts.add(Arm::Candidate, QUICK);
            if number % 50 == 0 {
                counts.add(Arm::Stable, QUICK);
            }
            counts.recent(&rule);
        }
        let recent = counts.recent(&rule);
        assert!(recent.stable.requests >= rule.min_requests, "{recent:?}");
        assert!(recent.stable.latency.is_some(), "{recent:?}");
    }

    #[test]
    fn many_responses_that_agree_do_not_hide_those_that_do_not() {
        let mut counts = Counts::default();
        let element = || 1.0;
        let output = NamedTensor {
            name: "y".to_owned(),
            tensor: from_numbers(ElementType::Fp32, Shape::new(vec![1]).unwrap(), element).unwrap(),
        };
        let differs = compare(&[output], &[]);
        for _ in 0..100_000 {
            counts.add_comparison(&[], None);
            counts.recent(&RULE);
        }
        let judged = (1..=100).find(|_| {
            counts.add_comparison(&differs, None);
            let recent = counts.recent(&RULE);
            RULE.verdict(recent.stable, recent.candidate, recent.agreement)
                .is_some()
        });
        assert!(judged.is_some_and(|judged| judged <= 21), "{judged:?}");
    }
}
