//! The samples of a histogram, in the unit of its family.

use std::time::Duration;
use wisp_protocol::statistics::Sums;
use wisp_serving::histogram::DurationHistogram;

/// The bounds of histograms of numbers of rows.
const ROWS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// The samples of one histogram. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HistogramSamples {
    /// Each bound with the number of values up to it, without the infinite one.
    pub(super) buckets: Vec<(String, u64)>,
    pub(super) sum: String,
    pub(super) count: u64,
}

impl HistogramSamples {
    /// Returns the samples of durations in microseconds.
    pub(super) fn microseconds(histogram: &DurationHistogram) -> HistogramSamples {
        let buckets = histogram.cumulative();
        HistogramSamples {
            buckets: buckets
                .map(|(bound, count)| (bound.to_string(), count))
                .collect(),
            sum: (histogram.nanoseconds() / 1_000).to_string(),
            count: histogram.count(),
        }
    }

    /// Returns the samples of durations in seconds.
    pub(super) fn seconds(histogram: &DurationHistogram) -> HistogramSamples {
        let seconds = |microseconds: u64| Duration::from_micros(microseconds).as_secs_f64();
        let buckets = histogram.cumulative();
        HistogramSamples {
            buckets: buckets
                .map(|(bound, count)| (seconds(bound).to_string(), count))
                .collect(),
            sum: Duration::from_nanos(histogram.nanoseconds())
                .as_secs_f64()
                .to_string(),
            count: histogram.count(),
        }
    }

    /// Returns the samples of the numbers of rows of executions.
    pub(super) fn rows(sums: &Sums) -> HistogramSamples {
        let up_to = |bound: u64| {
            let batches = sums.batches.iter().filter(|batch| batch.size <= bound);
            let executions = batches.map(|batch| batch.phases.compute_infer.count);
            // Executions of sizes that are not told apart are in the infinite bucket only.
            executions.fold(0, u64::saturating_add).min(sums.executions)
        };
        HistogramSamples {
            buckets: ROWS
                .into_iter()
                .map(|bound| (bound.to_string(), up_to(bound)))
                .collect(),
            sum: sums.inferences.to_string(),
            count: sums.executions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::statistics::{Batch, Phases, Sum};

    #[test]
    fn the_bounds_are_in_the_unit_of_the_family() {
        let mut histogram = DurationHistogram::default();
        histogram.add(Duration::from_micros(30));
        let microseconds = HistogramSamples::microseconds(&histogram);
        assert_eq!(microseconds.buckets[0], ("10".to_owned(), 0));
        assert_eq!((microseconds.sum.as_str(), microseconds.count), ("30", 1));
        let seconds = HistogramSamples::seconds(&histogram);
        assert_eq!(seconds.buckets[0], ("0.00001".to_owned(), 0));
        assert_eq!(seconds.buckets[2], ("0.00005".to_owned(), 1));
        assert_eq!(seconds.buckets[18], ("10".to_owned(), 1));
        assert_eq!(seconds.sum, "0.00003");
    }

    #[test]
    fn executions_are_counted_by_their_rows() {
        let batch = |size, count| Batch {
            size,
            phases: Phases {
                compute_infer: Sum {
                    count,
                    nanoseconds: 1,
                },
                ..Phases::default()
            },
        };
        let sums = Sums {
            inferences: 3 + 5 * 2,
            executions: 6,
            batches: vec![batch(1, 3), batch(5, 2)],
            ..Sums::default()
        };
        let rows = HistogramSamples::rows(&sums);
        let counts: Vec<u64> = rows.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [3, 3, 3, 5, 5, 5, 5, 5, 5, 5]);
        assert_eq!((rows.sum.as_str(), rows.count), ("13", 6));
    }
}
