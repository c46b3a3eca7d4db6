//! The rule by which a release is rolled back: the results of its recent requests, and the verdict. Pure functions.
//!
//! Nothing is decided before the minimum number of requests, since few requests show little. The candidate is compared
//! with the stable version, so a slowdown or failure of both versions causes no rollback.

use std::fmt;
use std::time::Duration;

/// The limits of a release, beyond which it is rolled back. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RollbackRule {
    /// The number of requests of the candidate, or of compared responses, before which nothing is decided.
    pub min_requests: u64,
    /// The largest part of failed requests in percent, and the largest difference of the parts of invalid requests.
    pub max_error_percent: Option<f64>,
    /// The largest ratio of the candidate's latency to the stable version's.
    pub max_latency_ratio: Option<f64>,
    /// The measure of latency.
    pub latency: LatencyMeasure,
    /// The largest part of compared responses that disagree, in percent.
    pub max_disagreement_percent: Option<f64>,
}

/// The measure by which latencies are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyMeasure {
    P99,
    Mean,
}

/// The requests of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The valid requests.
    pub requests: u64,
    pub failures: u64,
    /// The invalid requests.
    pub rejected: u64,
    /// The latency by the measure of the rule; `None` without successful requests.
    pub latency: Option<Duration>,
}

/// The responses of both versions to the same requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    pub compared: u64,
    pub disagreed: u64,
}

impl Evidence {
    /// Returns the number of valid and invalid requests.
    fn all_requests(&self) -> u64 {
        self.requests.saturating_add(self.rejected)
    }
}

impl Agreement {
    /// Adds a comparison.
    pub fn add(&mut self, agrees: bool) {
        self.compared = self.compared.saturating_add(1);
        self.disagreed = self.disagreed.saturating_add(u64::from(!agrees));
    }

    /// Returns the responses of both.
    pub fn with(self, other: Agreement) -> Agreement {
        Agreement {
            compared: self.compared.saturating_add(other.compared),
            disagreed: self.disagreed.saturating_add(other.disagreed),
        }
    }
}

/// The reason to roll a release back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RollbackReason {
    Errors {
        failures: u64,
        requests: u64,
        max_percent: f64,
    },
    Rejections {
        rejected: u64,
        requests: u64,
        stable_percent: f64,
        max_percent: f64,
    },
    Latency {
        candidate: Duration,
        stable: Duration,
        measure: LatencyMeasure,
        max_ratio: f64,
    },
    Disagreement {
        disagreed: u64,
        compared: u64,
        max_percent: f64,
    },
}

impl RollbackRule {
    /// Returns the reason to roll the release back, if there is one.
    pub fn verdict(
        &self,
        stable: Evidence,
        candidate: Evidence,
        agreement: Agreement,
    ) -> Option<RollbackReason> {
        if candidate.requests >= self.min_requests {
            let judged = self
                .judge_errors(stable, candidate)
                .or_else(|| self.judge_latency(stable, candidate));
            if judged.is_some() {
                return judged;
            }
        }
        self.judge_rejections(stable, candidate)
            .or_else(|| self.judge_agreement(agreement))
    }

    /// Compares the parts of invalid requests. Clients send such requests to both versions, so that only a difference
    /// shows something about the candidate, and only if both have had enough requests.
    fn judge_rejections(&self, stable: Evidence, candidate: Evidence) -> Option<RollbackReason> {
        let max_percent = self.max_error_percent?;
        let (own, other) = (candidate.all_requests(), stable.all_requests());
        if own < self.min_requests || other < self.min_requests {
            return None;
        }
        let stable_percent = percent(stable.rejected, other);
        let is_over = percent(candidate.rejected, own) > stable_percent + max_percent;
        is_over.then_some(RollbackReason::Rejections {
            rejected: candidate.rejected,
            requests: own,
            stable_percent,
            max_percent,
        })
    }

    fn judge_errors(&self, stable: Evidence, candidate: Evidence) -> Option<RollbackReason> {
        let max_percent = self.max_error_percent?;
        let found = percent(candidate.failures, candidate.requests);
        let is_worse = found > percent(stable.failures, stable.requests);
        (found > max_percent && is_worse).then_some(RollbackReason::Errors {
            failures: candidate.failures,
            requests: candidate.requests,
            max_percent,
        })
    }

    fn judge_latency(&self, stable: Evidence, candidate: Evidence) -> Option<RollbackReason> {
        let max_ratio = self.max_latency_ratio?;
        if stable.requests < self.min_requests {
            return None;
        }
        let (own, other) = (candidate.latency?, stable.latency?);
        let is_slow = own.as_secs_f64() > max_ratio * other.as_secs_f64();
        is_slow.then_some(RollbackReason::Latency {
            candidate: own,
            stable: other,
            measure: self.latency,
            max_ratio,
        })
    }

    fn judge_agreement(&self, agreement: Agreement) -> Option<RollbackReason> {
        let max_percent = self.max_disagreement_percent?;
        let Agreement {
            compared,
            disagreed,
        } = agreement;
        let is_over = compared >= self.min_requests && percent(disagreed, compared) > max_percent;
        is_over.then_some(RollbackReason::Disagreement {
            disagreed,
            compared,
            max_percent,
        })
    }
}

/// Returns a part in percent; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RollbackReason::Errors {
                failures,
                requests,
                max_percent,
            } => write!(
                f,
                "{failures} of {requests} requests of the candidate failed, and the limit is {max_percent} %"
            ),
            RollbackReason::Rejections {
                rejected,
                requests,
                stable_percent,
                max_percent,
            } => write!(
                f,
                "{rejected} of {requests} requests were invalid for the candidate, and {stable_percent:.1} % for the \
                 stable version; the largest difference is {max_percent} %"
            ),
            RollbackReason::Latency {
                candidate,
                stable,
                measure,
                max_ratio,
            } => write!(
                f,
                "the {measure} latency of the candidate is {candidate:.1?}, the stable version's {stable:.1?}, \
                 and the largest ratio is {max_ratio}"
            ),
            RollbackReason::Disagreement {
                disagreed,
                compared,
                max_percent,
            } => write!(
                f,
                "{disagreed} of {compared} compared responses disagree, and the limit is {max_percent} %"
            ),
        }
    }
}

impl fmt::Display for LatencyMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LatencyMeasure::P99 => "p99",
            LatencyMeasure::Mean => "mean",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RollbackRule = RollbackRule {
        min_requests: 10,
        max_error_percent: Some(10.0),
        max_latency_ratio: Some(2.0),
        latency: LatencyMeasure::P99,
        max_disagreement_percent: Some(5.0),
    };

    fn evidence(requests: u64, failures: u64, milliseconds: u64) -> Evidence {
        Evidence {
            requests,
            failures,
            rejected: 0,
            latency: Some(Duration::from_millis(milliseconds)),
        }
    }

    fn verdict(stable: Evidence, candidate: Evidence) -> Option<String> {
        let reason = RULE.verdict(stable, candidate, Agreement::default());
        reason.map(|reason| reason.to_string())
    }

    #[test]
    fn few_requests_decide_nothing() {
        let stable = evidence(100, 0, 10);
        assert_eq!(verdict(stable, evidence(9, 9, 1_000)), None);
        let reason = verdict(stable, evidence(10, 9, 1_000));
        let expected = "9 of 10 requests of the candidate failed, and the limit is 10 %";
        assert_eq!(reason.as_deref(), Some(expected));
    }

    #[test]
    fn errors_up_to_the_limit_and_those_of_both_versions_are_no_reason() {
        let stable = evidence(100, 0, 10);
        assert_eq!(verdict(stable, evidence(100, 10, 10)), None);
        assert!(verdict(stable, evidence(100, 11, 10)).is_some());
        let broken = evidence(100, 50, 10);
        assert_eq!(verdict(broken, evidence(100, 50, 10)), None);
        assert!(verdict(broken, evidence(100, 51, 10)).is_some());
    }

    #[test]
    fn invalid_requests_are_judged_by_the_difference_between_the_versions() {
        let of = |requests, rejected| Evidence {
            rejected,
            ..evidence(requests, 0, 10)
        };
        // As many as with the stable version, up to the limit more, and beyond.
        assert_eq!(verdict(of(80, 20), of(80, 20)), None);
        assert_eq!(verdict(of(80, 20), of(70, 30)), None);
        let reason = verdict(of(80, 20), of(69, 31));
        let expected = "31 of 100 requests were invalid for the candidate, and 20.0 % for the stable version; the \
                        largest difference is 10 %";
        assert_eq!(reason.as_deref(), Some(expected));
        // A candidate that accepts nothing has no valid requests at all.
        assert!(verdict(of(100, 0), of(0, 10)).is_some());
        assert_eq!(verdict(of(100, 0), of(0, 9)), None);
        assert_eq!(verdict(of(9, 0), of(0, 100)), None);
    }

    #[test]
    fn latency_is_judged_by_its_ratio_once_both_versions_have_enough_requests() {
        let candidate = evidence(100, 0, 21);
        assert_eq!(verdict(evidence(9, 0, 10), candidate), None);
        assert_eq!(verdict(evidence(100, 0, 11), candidate), None);
        let reason = verdict(evidence(100, 0, 10), candidate);
        let expected = "the p99 latency of the candidate is 21.0ms, the stable version's 10.0ms, and the largest \
                        ratio is 2";
        assert_eq!(reason.as_deref(), Some(expected));
    }

    #[test]
    fn compared_responses_are_counted_apart() {
        let judged = |compared, disagreed| {
            let agreement = Agreement {
                compared,
                disagreed,
            };
            RULE.verdict(Evidence::default(), Evidence::default(), agreement)
        };
        assert_eq!(judged(9, 9), None);
        assert_eq!(judged(100, 5), None);
        assert!(judged(100, 6).is_some());
    }

    #[test]
    fn without_limits_nothing_is_rolled_back() {
        let rule = RollbackRule {
            max_error_percent: None,
            max_latency_ratio: None,
            max_disagreement_percent: None,
            ..RULE
        };
        let agreement = Agreement {
            compared: 100,
            disagreed: 100,
        };
        let reason = rule.verdict(evidence(100, 0, 1), evidence(100, 100, 999), agreement);
        assert_eq!(reason, None);
    }
}
