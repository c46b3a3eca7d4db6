//! The periods of the log, which begin at the multiples of their length since 1970, whenever the server was started.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a period, at least a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl Period {
    /// Returns the time until the end of a period, at most its length. It has `begun` at a boundary which may be a moment
    /// ahead of the clock.
    pub(super) fn wait(self, begun: SystemTime, now: SystemTime) -> Duration {
        let ahead = begun.duration_since(now).unwrap_or_default();
        let left = self.length().saturating_sub(self.elapsed(begun.max(now)));
        left.saturating_add(ahead).min(self.length())
    }

    /// Returns the boundary that is nearest. A timer may end a moment before the boundary that it was set for, since the
    /// clock is adjusted in the meantime.
    pub(super) fn nearest_boundary(self, now: SystemTime) -> SystemTime {
        let elapsed = self.elapsed(now);
        let boundary = match elapsed > self.length() / 2 {
            true => now.checked_add(self.length().saturating_sub(elapsed)),
            false => now.checked_sub(elapsed),
        };
        boundary.unwrap_or(now)
    }

    /// Returns the time since the last boundary.
    fn elapsed(self, now: SystemTime) -> Duration {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let elapsed = since.as_nanos() % self.length().as_nanos();
        Duration::from_nanos(u64::try_from(elapsed).unwrap_or_default())
    }

    fn length(self) -> Duration {
        self.0.max(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Period = Period(Duration::from_secs(60));

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_period_ends_at_a_multiple_of_its_length() {
        for (now, wait) in [(0, 60_000), (1, 59_999), (59_999, 1), (60_000, 60_000)] {
            let begun = at(0);
            assert_eq!(MINUTE.wait(begun, at(now)), Duration::from_millis(wait));
        }
        let second = Period(Duration::ZERO);
        assert_eq!(second.wait(at(0), at(250)), Duration::from_millis(750));
    }

    #[test]
    fn a_period_that_has_begun_early_or_before_the_clock_was_set_back_is_no_longer_than_others() {
        let begun = at(7_200_000);
        for now in [at(7_199_970), at(3_600_000)] {
            assert_eq!(MINUTE.wait(begun, now), Duration::from_secs(60));
        }
    }

    #[test]
    fn a_timer_that_ends_a_little_early_or_late_ends_at_the_boundary() {
        for now in [119_960, 120_000, 120_040] {
            assert_eq!(MINUTE.nearest_boundary(at(now)), at(120_000));
        }
        assert_eq!(MINUTE.nearest_boundary(at(10)), at(0));
    }
}
