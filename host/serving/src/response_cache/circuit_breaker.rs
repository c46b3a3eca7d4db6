//! The decision whether a request may wait for Redis now.
//!
//! A few failures in a row open the circuit: from then on no request waits, except one from time to time that tries
//! whether Redis answers again. An outage therefore costs few requests the time limit of an operation. A server that
//! has not reached Redis yet begins in the same state, so that one request at a time opens the connection.
//! This module has no clock and no connection; callers pass the time in.

use std::time::{Duration, Instant};

/// The failures in a row that open the circuit. One alone may be a single slow operation.
const MAX_FAILURES: u32 = 3;

/// The time between two trials of an open circuit.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the circuit. Lifetime: the process.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Redis answers. Contains the number of failures since its last answer.
    Closed { failures: u32 },
    /// Redis does not answer. The next trial is at this time.
    Open { retry_at: Instant },
    /// One request tries whether Redis answers.
    Trying,
}

/// The permission to use Redis once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// The circuit is closed.
    Normally,
    /// The request is the trial of an open circuit.
    OnTrial,
}

impl CircuitBreaker {
    /// Returns a circuit that is open until a first trial at `now` succeeds.
    pub(super) fn new(now: Instant) -> CircuitBreaker {
        CircuitBreaker {
            state: State::Open { retry_at: now },
        }
    }

    /// Admits an operation, or returns `None` if it would probably wait in vain. The result of an admitted
    /// operation must be passed to [`CircuitBreaker::succeed`], [`CircuitBreaker::fail`] or
    /// [`CircuitBreaker::abandon`].
    pub(super) fn admit(&mut self, now: Instant) -> Option<Admitted> {
        match self.state {
            State::Closed { .. } => Some(Admitted::Normally),
            State::Open { retry_at } if now >= retry_at => {
                self.state = State::Trying;
                Some(Admitted::OnTrial)
            }
            State::Open { .. } | State::Trying => None,
        }
    }

    /// Records that Redis has answered. Returns whether that closed the circuit.
    pub(super) fn succeed(&mut self, admitted: Admitted) -> bool {
        match (self.state, admitted) {
            (State::Trying, Admitted::OnTrial) => {
                self.state = State::Closed { failures: 0 };
                true
            }
            (State::Closed { .. }, _) => {
                self.state = State::Closed { failures: 0 };
                false
            }
            // A late answer to an operation from before the outage proves little.
            (State::Open { .. } | State::Trying, _) => false,
        }
    }

    /// Records that Redis has not answered in time. Returns whether that opened the circuit.
    pub(super) fn fail(&mut self, admitted: Admitted, now: Instant) -> bool {
        let retry_at = now.checked_add(RETRY).unwrap_or(now);
        match (self.state, admitted) {
            (State::Trying, Admitted::OnTrial) => {
                self.state = State::Open { retry_at };
                false
            }
            (State::Closed { failures }, _) => {
                let failures = failures.saturating_add(1);
                let opens = failures >= MAX_FAILURES;
                self.state = match opens {
                    true => State::Open { retry_at },
                    false => State::Closed { failures },
                };
                opens
            }
            (State::Open { .. } | State::Trying, _) => false,
        }
    }

    /// Records that nobody waits for the answer any more. Another request may try at once.
    pub(super) fn abandon(&mut self, admitted: Admitted, now: Instant) {
        if (self.state, admitted) == (State::Trying, Admitted::OnTrial) {
            self.state = State::Open { retry_at: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a circuit that has been closed by a first trial at `now`.
    fn closed(now: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(now);
        assert_eq!(breaker.admit(now), Some(Admitted::OnTrial));
        assert!(breaker.succeed(Admitted::OnTrial));
        breaker
    }

    #[test]
    fn one_request_opens_the_connection_while_others_do_not_wait() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        assert_eq!(breaker.admit(now), Some(Admitted::OnTrial));
        assert_eq!(breaker.admit(now), None);
        assert!(breaker.succeed(Admitted::OnTrial));
        assert_eq!(breaker.admit(now), Some(Admitted::Normally));
        assert_eq!(breaker.admit(now), Some(Admitted::Normally));
    }

    #[test]
    fn failures_in_a_row_open_the_circuit() {
        let now = Instant::now();
        let mut breaker = closed(now);
        let opened = [0; 3].map(|_| breaker.fail(Admitted::Normally, now));
        assert_eq!(opened, [false, false, true]);
        assert_eq!(breaker.admit(now), None);
        assert!(!breaker.fail(Admitted::Normally, now), "it is open already");
    }

    #[test]
    fn an_answer_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = closed(now);
        for _ in 0..10 {
            assert!(!breaker.fail(Admitted::Normally, now));
            assert!(!breaker.fail(Admitted::Normally, now));
            assert!(!breaker.succeed(Admitted::Normally));
        }
        assert_eq!(breaker.admit(now), Some(Admitted::Normally));
    }

    #[test]
    fn an_open_circuit_is_tried_once_a_second() {
        let mut now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        for _ in 0..5 {
            assert_eq!(breaker.admit(now), Some(Admitted::OnTrial));
            assert!(!breaker.fail(Admitted::OnTrial, now));
            assert_eq!(breaker.admit(now + RETRY - Duration::from_nanos(1)), None);
            now += RETRY;
        }
        assert_eq!(breaker.admit(now), Some(Admitted::OnTrial));
        assert!(breaker.succeed(Admitted::OnTrial));
        assert_eq!(breaker.admit(now), Some(Admitted::Normally));
    }

    #[test]
    fn an_abandoned_trial_is_made_by_the_next_request() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        assert_eq!(breaker.admit(now), Some(Admitted::OnTrial));
        breaker.abandon(Admitted::OnTrial, now);
        assert_eq!(breaker.admit(now), Some(Admitted::OnTrial));
        breaker.abandon(Admitted::Normally, now);
        assert_eq!(breaker.admit(now), None, "the trial is still on");
    }

    #[test]
    fn a_late_answer_does_not_close_an_open_circuit() {
        let now = Instant::now();
        let mut breaker = closed(now);
        let late = breaker.admit(now).unwrap();
        for _ in 0..3 {
            breaker.fail(Admitted::Normally, now);
        }
        assert!(!breaker.succeed(late));
        assert_eq!(breaker.admit(now), None);
    }
}
