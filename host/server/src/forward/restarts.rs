//! The pauses between the ends of a worker and its next starts.
//!
//! A worker that ends soon after its start would otherwise be started again with every request, and cost the other
//! tenants the time of its starts.

use std::time::Duration;

/// The pause after the first end. A request that arrives during it waits for the next start.
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// The time after which a worker that serves counts as one that works.
const STEADY: Duration = Duration::from_secs(60);

/// The number of ends of a worker in a row, each soon after a start. Lifetime: a worker's supervision.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    ends: u32,
}

impl Restarts {
    /// Returns the pause after the end of a worker that has served for this long.
    pub(super) fn ended(&mut self, served: Duration) -> Duration {
        if served >= STEADY {
            self.ends = 0;
        }
        let factor = 1_u32.checked_shl(self.ends).unwrap_or(u32::MAX);
        self.ends = self.ends.saturating_add(1);
        FIRST.saturating_mul(factor).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_early_end_doubles_the_pause_up_to_a_minute() {
        let mut restarts = Restarts::default();
        let pauses = (0..40).map(|_| restarts.ended(Duration::from_secs(1)).as_millis());
        let pauses: Vec<u128> = pauses.collect();
        assert_eq!(pauses[..5], [250, 500, 1000, 2000, 4000]);
        assert!(pauses[8..].iter().all(|pause| *pause == 60_000));
    }

    #[test]
    fn a_worker_that_has_run_for_a_minute_begins_anew() {
        let mut restarts = Restarts::default();
        for _ in 0..5 {
            restarts.ended(Duration::ZERO);
        }
        assert_eq!(restarts.ended(STEADY), FIRST);
        assert_eq!(restarts.ended(Duration::ZERO), FIRST * 2);
    }
}
