//! A histogram of durations with buckets of constant relative width, for the comparison of two versions.
//!
//! A quantile is exact to an eighth. Adding a duration costs a few operations and allocates nothing after the first.

use std::time::Duration;

/// The buckets of each power of two, as a power of two.
const PARTS_LOG2: u32 = 3;

/// The buckets of each power of two.
const PARTS: usize = 1 << PARTS_LOG2;

/// The number of buckets: durations of 0 to 2^64 - 1 nanoseconds.
const BUCKETS: usize = 64 * PARTS;

/// The distribution of some durations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Empty until the first duration is added.
    counts: Vec<u64>,
    count: u64,
    nanoseconds: u64,
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        if let Some(count) = self.counts.get_mut(bucket(nanoseconds)) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds the durations of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
        } else {
            for (count, more) in self.counts.iter_mut().zip(&other.counts) {
                *count = count.saturating_add(*more);
            }
        }
        self.count = self.count.saturating_add(other.count);
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// Returns the mean, or `None` without durations.
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.nanoseconds.checked_div(self.count)?;
        Some(Duration::from_nanos(mean))
    }

    /// Returns the duration that 99 of 100 do not exceed, or `None` without durations.
    pub fn p99(&self) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        // The rank is rounded up, so that the largest of fewer than a hundred durations is the quantile.
        let above = self.count / 100;
        let rank = self.count.saturating_sub(above);
        let mut seen = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(Duration::from_nanos(upper_bound(bucket)));
            }
        }
        None
    }
}

/// Returns the bucket of a duration: its exponent, and the bits after the highest one.
fn bucket(nanoseconds: u64) -> usize {
    let exponent = nanoseconds.checked_ilog2().unwrap_or(0);
    let part = match exponent.checked_sub(PARTS_LOG2) {
        Some(shift) => nanoseconds >> shift,
        None => nanoseconds << PARTS_LOG2.saturating_sub(exponent),
    };
    let part = usize::try_from(part).unwrap_or(0) % PARTS;
    let exponent = usize::try_from(exponent).unwrap_or(0);
    exponent.saturating_mul(PARTS).saturating_add(part)
}

/// Returns the largest duration of a bucket in nanoseconds, about.
fn upper_bound(bucket: usize) -> u64 {
    let exponent = u32::try_from(bucket / PARTS).unwrap_or(u32::MAX);
    let part = u64::try_from(bucket % PARTS).unwrap_or(0);
    let parts = u128::from(part) + u128::from(1_u64 << PARTS_LOG2) + 1;
    let bound = parts.checked_shl(exponent).unwrap_or(u128::MAX) >> PARTS_LOG2;
    u64::try_from(bound).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for duration in milliseconds {
            histogram.add(Duration::from_millis(duration));
        }
        histogram
    }

    #[test]
    fn each_duration_is_at_most_an_eighth_below_the_bound_of_its_bucket() {
        for shift in 0..63_u32 {
            for offset in [0, 1, 12_345] {
                let nanoseconds = (1_u64 << shift).saturating_add(offset);
                let bound = upper_bound(bucket(nanoseconds));
                assert!(bound >= nanoseconds, "{nanoseconds}: {bound}");
                let excess = bound - nanoseconds;
                assert!(excess <= nanoseconds / 8 + 1, "{nanoseconds}: {bound}");
            }
        }
        assert!(bucket(0) < BUCKETS && bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn the_99th_percentile_ignores_one_in_a_hundred() {
        let p99 = |histogram: &Histogram| histogram.p99().unwrap_or_default().as_millis();
        let mut slow = of(std::iter::repeat_n(10, 99));
        slow.add(Duration::from_millis(1_000));
        assert!((10..12).contains(&p99(&slow)), "{}", p99(&slow));
        slow.add(Duration::from_millis(1_000));
        assert!(p99(&slow) >= 1_000);
        assert!(p99(&of([5, 80])) >= 80);
        assert_eq!(Histogram::default().p99(), None);
    }

    #[test]
    fn merged_histograms_are_those_of_all_durations() {
        let mut merged = Histogram::default();
        merged.merge(&of([1, 2]));
        merged.merge(&of([3]));
        merged.merge(&Histogram::default());
        assert_eq!(merged, of([1, 2, 3]));
        assert_eq!(merged.mean(), Some(Duration::from_millis(2)));
        assert_eq!(merged.count(), 3);
    }
}
