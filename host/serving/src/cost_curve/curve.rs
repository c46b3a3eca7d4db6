//! The measured times of batches, and the cost of a row that follows from them.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The part of the cost of a single row that a row in a batch may cost at most, so that batches clearly pay.
const WORTHWHILE: f64 = 0.8;

/// The part of the cost of a row in a smaller batch that counts as less. A smaller difference may be noise.
const IMPROVED: f64 = 0.97;

/// The longest time of a batch that is larger although its rows cost as much as in a smaller one. Its members wait
/// for each other.
const SHORT: Duration = Duration::from_millis(20);

/// The shortest measured time to compute a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostPoint {
    pub rows: u32,
    pub took: Duration,
}

/// The measured times for rows of one size, in the order of the numbers of rows. The first is for a single row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CostCurve {
    /// The number of elements of a row, in all inputs together.
    pub row_elements: u64,
    pub points: Vec<CostPoint>,
}

/// The measured times of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphCost {
    /// The times by the size of the rows, in ascending order.
    pub curves: Vec<CostCurve>,
    /// Set if requests may have rows of other sizes, too.
    pub has_variable_rows: bool,
    /// The number of sets of input sizes for which the graph keeps a preparation; `None` if it needs none.
    pub preparation_capacity: Option<NonZeroUsize>,
}

// === impl CostPoint ===

impl CostPoint {
    /// Returns the microseconds for each row.
    pub(super) fn per_row(&self) -> f64 {
        self.took.as_secs_f64() * 1e6 / f64::from(self.rows.max(1))
    }
}

// === impl CostCurve ===

impl CostCurve {
    /// Returns whether this many rows can be computed twice within the time that is left, at the cost of single rows.
    pub(super) fn has_time_for(&self, rows: u32, left: Duration) -> bool {
        let Some(single) = self.points.first() else {
            return true;
        };
        single.took.saturating_mul(rows.saturating_mul(2)) <= left
    }

    /// Returns whether the last two sizes were no improvement, so that larger ones are not expected to be one.
    pub(super) fn has_turned(&self) -> bool {
        let Some(best) = self.best() else {
            return false;
        };
        let larger = self.points.iter().filter(|point| point.rows > best.rows);
        larger.count() >= 2
    }

    /// Returns the largest batch in which a row costs clearly less than alone, if there is one. Of short batches whose
    /// costs differ by what may be noise, it is the largest: it needs the fewest executions for the same rows.
    pub(super) fn worthwhile(&self) -> Option<CostPoint> {
        let single = self.points.first()?;
        let best = self.best()?;
        if best.per_row() >= WORTHWHILE * single.per_row() {
            return None;
        }
        let is_as_good = |point: &&CostPoint| {
            point.rows > best.rows
                && point.took <= SHORT
                && IMPROVED * point.per_row() <= best.per_row()
        };
        let larger = self.points.iter().rfind(is_as_good);
        Some(larger.copied().unwrap_or(best))
    }

    /// Returns the largest size up to which the cost of a row has decreased with every improvement.
    fn best(&self) -> Option<CostPoint> {
        let mut points = self.points.iter().copied();
        let mut best = points.next()?;
        for point in points {
            if point.per_row() < IMPROVED * best.per_row() {
                best = point;
            }
        }
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(u32, u64)]) -> CostCurve {
        let points = points.iter().map(|&(rows, microseconds)| CostPoint {
            rows,
            took: Duration::from_micros(microseconds),
        });
        CostCurve {
            row_elements: 10,
            points: points.collect(),
        }
    }

    #[test]
    fn sizes_are_measured_while_the_time_allows_and_until_two_are_no_improvement() {
        let single = curve(&[(1, 1000)]);
        assert!(single.has_time_for(30, Duration::from_millis(60)));
        assert!(!single.has_time_for(31, Duration::from_millis(60)));
        assert!(curve(&[]).has_time_for(32, Duration::ZERO));
        assert!(!curve(&[(1, 10), (2, 30)]).has_turned());
        assert!(curve(&[(1, 10), (2, 30), (4, 70)]).has_turned());
        assert!(!curve(&[(1, 10), (2, 30), (4, 20)]).has_turned());
    }

    #[test]
    fn the_largest_batch_that_improves_clearly_is_worthwhile() {
        let rows = |points: &[(u32, u64)]| curve(points).worthwhile().map(|point| point.rows);
        assert_eq!(rows(&[(1, 100), (2, 100), (4, 120), (8, 300)]), Some(4));
        assert_eq!(rows(&[(1, 100), (2, 190), (4, 350), (8, 690)]), None);
        assert_eq!(rows(&[(1, 100)]), None);
        assert_eq!(rows(&[]), None);
    }

    #[test]
    fn of_short_batches_whose_costs_differ_by_noise_the_largest_is_worthwhile() {
        let rows = |points: &[(u32, u64)]| curve(points).worthwhile().map(|point| point.rows);
        assert_eq!(rows(&[(1, 100), (2, 100), (4, 120), (8, 236)]), Some(8));
        // A little more is noise as well, and clearly more is not.
        assert_eq!(rows(&[(1, 100), (2, 100), (4, 120), (8, 246)]), Some(8));
        assert_eq!(rows(&[(1, 100), (2, 100), (4, 120), (8, 250)]), Some(4));
        // The members of a long batch would wait for each other without a gain.
        let long = [(1, 10_000), (2, 12_000), (4, 19_000), (8, 38_000)];
        assert_eq!(rows(&long), Some(4));
    }
}
