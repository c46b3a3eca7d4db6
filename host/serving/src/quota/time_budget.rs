//! A limit on time that is used, such as processor time: a bucket whose level may fall below empty.
//!
//! The cost of a request is known only afterwards. It is charged the recent mean when it is admitted and what was
//! measured when it ends; while the level is below zero, no request is admitted. Over a long time the use is therefore
//! the limit, beyond it only by the requests that were in progress, however wrong the estimates are.

use std::time::{Duration, Instant};

/// The seconds of time that may be used at once.
const BURST_SECONDS: u64 = 2;

/// The time that one tenant has used.
#[derive(Debug, Default)]
pub(super) struct TimeBudget {
    /// The time that has been used and not been granted yet, in thousandths of a nanosecond, so that grants of frequent
    /// requests are not rounded away. It may be less than nothing when estimates are corrected.
    debt: i128,
    /// The time up to which the grants are counted; `None` before the first request.
    granted: Option<Instant>,
    /// The recent mean of a request.
    mean: Duration,
}

impl TimeBudget {
    /// Checks that a request may use time now, if this number of milliseconds may be used in each second.
    ///
    /// # Errors
    /// Returns the time after which one may.
    pub(super) fn check(&mut self, now: Instant, per_second: u64) -> Result<(), Duration> {
        if per_second == 0 {
            return Err(Duration::MAX);
        }
        let granted = self.granted.unwrap_or(now);
        let passed = now.saturating_duration_since(granted);
        self.granted = Some(granted.max(now));
        // A millisecond in a second is a thousandth.
        let grant = nanoseconds(passed).saturating_mul(i128::from(per_second));
        self.debt = self.debt.saturating_sub(grant).max(0);
        let burst = per_second.saturating_mul(BURST_SECONDS);
        let burst = thousandths(Duration::from_millis(burst));
        let excess = self.debt.saturating_sub(burst);
        if excess < 0 {
            return Ok(());
        }
        // Until the debt is a nanosecond below the burst.
        let wait = excess.saturating_add(1000) / i128::from(per_second);
        let wait = u64::try_from(wait).unwrap_or(u64::MAX).saturating_add(1000);
        Err(Duration::from_nanos(wait))
    }

    /// Forgets the time that was used while there was no limit.
    pub(super) fn forgive(&mut self) {
        self.debt = 0;
        self.granted = None;
    }

    /// Charges the expected time of a request, and returns it.
    pub(super) fn reserve(&mut self) -> Duration {
        let estimate = self.mean;
        self.debt = self.debt.saturating_add(thousandths(estimate));
        estimate
    }

    /// Replaces the time that a request has been charged by another.
    pub(super) fn replace(&mut self, charged: Duration, cost: Duration) {
        let difference = thousandths(cost).saturating_sub(thousandths(charged));
        self.debt = self.debt.saturating_add(difference);
    }

    /// Replaces the time that a request has been charged by the one that it has used, which is expected of the next ones.
    pub(super) fn correct(&mut self, charged: Duration, cost: Duration) {
        self.replace(charged, cost);
        self.mean = (self.mean.saturating_mul(7).saturating_add(cost)) / 8;
    }
}

fn nanoseconds(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

fn thousandths(time: Duration) -> i128 {
    nanoseconds(time).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_come_all_the_time_do_not_keep_time_from_being_granted() {
        let (mut budget, start) = (TimeBudget::default(), Instant::now());
        assert_eq!(budget.check(start, 1), Ok(()));
        // The burst and a microsecond, which are granted in a millisecond.
        let cost = Duration::from_millis(2) + Duration::from_micros(1);
        budget.correct(Duration::ZERO, cost);
        let times = (1..=2_000_000).map(|number| start + Duration::from_nanos(number * 900));
        let refused = times.take_while(|now| budget.check(*now, 1).is_err());
        let refused = refused.count();
        assert!((1000..1200).contains(&refused), "{refused}");
    }

    /// Sends a request whenever one is admitted, for `seconds`, and returns the seconds that all used.
    fn used(per_second: u64, cost: Duration, seconds: u64) -> f64 {
        let (mut budget, start) = (TimeBudget::default(), Instant::now());
        let mut used = Duration::ZERO;
        for millisecond in 0..seconds * 1000 {
            let now = start + Duration::from_millis(millisecond);
            while budget.check(now, per_second).is_ok() {
                let estimate = budget.reserve();
                budget.correct(estimate, cost);
                used += cost;
            }
        }
        used.as_secs_f64()
    }

    #[test]
    fn the_time_that_is_used_is_the_limit_whatever_a_request_costs() {
        for cost in [1, 10, 100, 5000] {
            let cost = Duration::from_millis(cost);
            let used = used(200, cost, 60);
            // 12 s, the burst of 0.4 s, and the last request.
            let most = 12.4 + cost.as_secs_f64();
            assert!(used >= 12.0 && used <= most + 1e-6, "{cost:?}: {used}");
        }
    }

    #[test]
    fn a_request_that_cost_much_is_paid_for_before_the_next() {
        let (mut budget, now) = (TimeBudget::default(), Instant::now());
        assert_eq!(budget.check(now, 100), Ok(()));
        let estimate = budget.reserve();
        assert_eq!(estimate, Duration::ZERO);
        budget.correct(estimate, Duration::from_secs(1));
        let wait = budget.check(now, 100).unwrap_err();
        assert!(wait.abs_diff(Duration::from_secs(8)) < Duration::from_millis(1));
        let before = now + wait - Duration::from_millis(1);
        assert!(budget.check(before, 100).is_err());
        assert_eq!(budget.check(now + wait, 100), Ok(()));
    }

    #[test]
    fn requests_in_progress_are_charged_in_advance() {
        let (mut budget, now) = (TimeBudget::default(), Instant::now());
        for _ in 0..100 {
            budget.correct(Duration::ZERO, Duration::from_millis(100));
        }
        let later = now + Duration::from_secs(3600);
        assert_eq!(budget.check(now, 100).map_err(|_| ()), Err(()));
        assert_eq!(budget.check(later, 100), Ok(()));
        let mut admitted = 0;
        while budget.check(later, 100).is_ok() {
            budget.reserve();
            admitted += 1;
        }
        assert_eq!(admitted, 3, "0.2 s at once, of about 0.1 s each");
    }

    #[test]
    fn an_estimate_that_was_too_high_is_given_back() {
        let (mut budget, now) = (TimeBudget::default(), Instant::now());
        budget.correct(Duration::ZERO, Duration::from_secs(8));
        assert!(budget.check(now, 1000).is_err());
        let estimate = budget.reserve();
        assert_eq!(estimate, Duration::from_secs(1));
        budget.correct(estimate, Duration::ZERO);
        let wait = budget.check(now, 1000).unwrap_err();
        assert!(wait < Duration::from_millis(6001), "{wait:?}");
    }

    #[test]
    fn extreme_values_are_no_panic() {
        let now = Instant::now();
        let mut budget = TimeBudget::default();
        assert_eq!(budget.check(now, 0), Err(Duration::MAX));
        budget.correct(Duration::ZERO, Duration::MAX);
        assert!(budget.check(now, 1).is_err());
        assert!(TimeBudget::default().check(now, u64::MAX).is_ok());
    }
}
