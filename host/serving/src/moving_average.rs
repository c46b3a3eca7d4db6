//! A recent mean of durations that several threads measure.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// An exponentially weighted mean in which a measurement has the weight `1 / 2^SHIFT`.
///
/// If two threads add at the same time, one of their measurements may be lost, which
/// changes the mean only a little.
#[derive(Debug, Default)]
pub(crate) struct MovingAverage<const SHIFT: u32> {
    nanoseconds: AtomicU64,
}

impl<const SHIFT: u32> MovingAverage<SHIFT> {
    /// Adds a measurement. The mean starts at zero and approaches the measured values.
    pub(crate) fn add(&self, measured: Duration) {
        let measured = u64::try_from(measured.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.nanoseconds.load(Relaxed);
        let mean = mean - (mean >> SHIFT) + (measured >> SHIFT);
        self.nanoseconds.store(mean, Relaxed);
    }

    /// Returns the mean.
    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_is_measured() {
        let mean = MovingAverage::<3>::default();
        assert_eq!(mean.get(), Duration::ZERO);
        mean.add(Duration::from_millis(8));
        assert_eq!(mean.get(), Duration::from_millis(1));
        for _ in 0..100 {
            mean.add(Duration::from_millis(8));
        }
        assert!(mean.get().abs_diff(Duration::from_millis(8)) < Duration::from_micros(1));
        mean.add(Duration::MAX);
        assert!(mean.get() > Duration::from_secs(1));
    }
}
