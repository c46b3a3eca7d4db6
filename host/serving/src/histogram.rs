//! A histogram of durations with fixed buckets, as plain numbers.
//!
//! The bounds are the same for every phase of every model, so that histograms can be added up. They go from ten
//! microseconds, which a small model takes on one thread, to ten seconds, the default timeout of a request, with three
//! bounds for each power of ten: a quantile that is interpolated between two of them is off by at most a factor of 2.5.

use std::time::Duration;

/// The inclusive upper bounds of the buckets, in microseconds. Longer durations are in the last bucket, without a bound.
pub const BOUNDS_MICROSECONDS: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// The numbers of durations in each bucket, and their sum. Lifetime: a model version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationHistogram {
    /// The durations up to each bound and above the one before it, and those above all.
    buckets: [u64; BOUNDS_MICROSECONDS.len() + 1],
    nanoseconds: u64,
}

impl DurationHistogram {
    /// Adds one duration.
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let is_above = |bound: &u64| bound.saturating_mul(1_000) < nanoseconds;
        let position = BOUNDS_MICROSECONDS.partition_point(is_above);
        if let Some(bucket) = self.buckets.get_mut(position) {
            *bucket = bucket.saturating_add(1);
        }
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    /// Returns each bound with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.buckets.iter().scan(0_u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        });
        BOUNDS_MICROSECONDS.into_iter().zip(counts)
    }

    /// Returns the number of all durations.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the sum of all durations.
    pub fn nanoseconds(&self) -> u64 {
        self.nanoseconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_from_its_own_on() {
        let mut histogram = DurationHistogram::default();
        for duration in [
            Duration::ZERO,
            Duration::from_micros(10),
            Duration::from_nanos(10_001),
            Duration::from_millis(1),
            Duration::from_secs(11),
            Duration::MAX,
        ] {
            histogram.add(duration);
        }
        let counts: Vec<(u64, u64)> = histogram.cumulative().collect();
        assert_eq!(counts.len(), BOUNDS_MICROSECONDS.len());
        assert_eq!(counts.first(), Some(&(10, 2)));
        assert_eq!(counts.get(1), Some(&(25, 3)));
        assert!(counts.contains(&(500, 3)));
        assert!(counts.contains(&(1_000, 4)));
        assert_eq!(counts.last(), Some(&(10_000_000, 4)));
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.nanoseconds(), u64::MAX);
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(BOUNDS_MICROSECONDS.is_sorted_by(|a, b| a < b));
    }
}
