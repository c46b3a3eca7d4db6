//! A limit on the rate of requests: the generic cell rate algorithm.
//!
//! The state is one time: when the next request would be due if all came at the exact rate. A request may come early
//! by a burst, which is twice the requests of a second. In any period, at most the burst and the rate times the period
//! are admitted; there is no window at whose border twice as many are.

use std::time::{Duration, Instant};

/// The seconds of requests that may come at once.
const BURST_SECONDS: u64 = 2;

/// The requests of one tenant.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// The time at which a request would be due; `None` before the first.
    due: Option<Instant>,
}

impl Rate {
    /// Admits a request, if `per_second` are allowed on average.
    ///
    /// # Errors
    /// Returns the time after which one would be admitted. The refused request uses nothing.
    pub(super) fn take(&mut self, now: Instant, per_second: u64) -> Result<(), Duration> {
        if per_second == 0 {
            return Err(Duration::MAX);
        }
        let interval = interval(per_second);
        let due = self.due.map_or(now, |due| due.max(now));
        // The first request of a burst uses one of its places.
        let places = per_second.saturating_mul(BURST_SECONDS).saturating_sub(1);
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let early = interval.saturating_mul(places);
        let ahead = due.saturating_duration_since(now);
        if ahead > early {
            return Err(ahead.saturating_sub(early));
        }
        self.due = due.checked_add(interval);
        Ok(())
    }
}

/// Returns the time between two requests at this rate, rounded up so that the rate is not exceeded.
fn interval(per_second: u64) -> Duration {
    Duration::from_nanos(1_000_000_000_u64.div_ceil(per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_requests_of_a_second_may_come_at_once_and_then_the_rate_holds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let burst = (0..100).filter(|_| rate.take(start, 10).is_ok());
        assert_eq!(burst.count(), 20);
        assert_eq!(rate.take(start, 10), Err(Duration::from_millis(100)));
        let mut admitted = 0;
        for millisecond in 1..=10_000 {
            let now = start + Duration::from_millis(millisecond);
            admitted += u32::from(rate.take(now, 10).is_ok());
        }
        assert_eq!(admitted, 100);
    }

    #[test]
    fn a_request_that_comes_after_the_announced_time_is_admitted() {
        let (mut rate, mut now) = (Rate::default(), Instant::now());
        for _ in 0..1000 {
            if let Err(wait) = rate.take(now, 7) {
                let before = now + wait - Duration::from_nanos(1);
                assert!(rate.take(before, 7).is_err());
                now += wait;
                assert_eq!(rate.take(now, 7), Ok(()));
            }
        }
    }

    #[test]
    fn no_period_admits_more_than_the_burst_and_the_rate() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut state: u64 = 7;
        let mut now = start;
        let mut times = Vec::new();
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            now += Duration::from_micros((state >> 33) % 20_000);
            if rate.take(now, 20).is_ok() {
                times.push(now);
            }
        }
        for (first, from) in times.iter().enumerate().step_by(97) {
            for (last, to) in times.iter().enumerate().skip(first).step_by(89) {
                let period = to.duration_since(*from).as_secs_f64();
                let count = u32::try_from(last - first + 1).map_or(0.0, f64::from);
                assert!(count <= 40.0 + 20.0 * period + 1e-6, "{count} in {period}");
            }
        }
    }

    #[test]
    fn extreme_rates_are_no_panic() {
        let now = Instant::now();
        assert!(Rate::default().take(now, 0).is_err());
        let mut rate = Rate::default();
        for _ in 0..10 {
            assert!(rate.take(now, u64::MAX).is_ok());
        }
        assert_eq!(Rate::default().take(now, 1), Ok(()));
    }
}
