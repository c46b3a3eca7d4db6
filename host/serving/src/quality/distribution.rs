//! The distribution of one feature in the data of a baseline: a histogram whose cells an observation is counted in.
//!
//! A numeric distribution has points, ascending values of the data. Each point is a cell, and so are the values
//! between each two of them, below the first and above the last. With at most [`MAX_POINTS`] distinct values, the
//! histogram is the empirical distribution function itself; otherwise the points are evenly spaced quantiles. A
//! coarser histogram for the PSI joins cells to the bins between deciles; few distinct values are a bin each. A
//! distribution of texts has the most frequent ones, and one cell for all others.

use std::collections::HashMap;

/// The number of bins between quantiles.
pub const BINS: usize = 10;

/// The maximum number of points.
pub const MAX_POINTS: usize = 256;

/// The maximum number of categories.
pub const MAX_CATEGORIES: usize = 256;

/// The maximum length of a category in bytes. Longer texts count among the others.
pub const MAX_CATEGORY_BYTES: usize = 256;

/// The largest number of values, which are exact as floats.
pub const MAX_VALUES: u64 = 1 << 53;

/// The mean, the standard deviation with `n` as the divisor, and the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub mean: f64,
    pub std: f64,
    pub min: f64,
    pub max: f64,
}

/// The distribution of a numeric feature.
#[derive(Debug, Clone, PartialEq)]
pub struct NumericDistribution {
    pub summary: Summary,
    /// Ascending values, at least one.
    pub points: Vec<f64>,
    /// The numbers of values: below the first point, equal to it, between it and the second, and so on.
    pub counts: Vec<u64>,
    /// The ends of all bins but the last, each a point. Without any, each point is a bin, and the values between them
    /// are one more.
    pub edges: Vec<f64>,
}

/// The distribution of a feature of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoricalDistribution {
    /// The most frequent texts, the most frequent first.
    pub categories: Vec<String>,
    /// The number of each category.
    pub counts: Vec<u64>,
    /// The number of all other texts.
    pub other: u64,
}

/// The distribution of a feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    Numeric(NumericDistribution),
    Categorical(CategoricalDistribution),
}

// === impl NumericDistribution ===

impl NumericDistribution {
    /// Returns the distribution of these finite values, with at most about `max_points` points; `None` if there are
    /// none.
    pub fn of(mut values: Vec<f64>, max_points: usize) -> Option<NumericDistribution> {
        for value in &mut values {
            // A negative zero is a zero.
            *value += 0.0;
        }
        values.sort_by(f64::total_cmp);
        let summary = summary(&values)?;
        let mut distinct: Vec<f64> = values.clone();
        distinct.dedup();
        let edges = match distinct.len() <= BINS {
            true => Vec::new(),
            false => edges(&values),
        };
        let mut points = distinct;
        let quantiles = max_points.clamp(2 * BINS, MAX_POINTS) - (BINS - 1);
        if points.len() > quantiles + edges.len() {
            points = (0..quantiles)
                .filter_map(|k| values.get(k * (values.len() - 1) / (quantiles - 1)))
                .chain(&edges)
                .copied()
                .collect();
            points.sort_by(f64::total_cmp);
            points.dedup();
        }
        let mut distribution = NumericDistribution {
            summary,
            counts: vec![0; 2 * points.len() + 1],
            points,
            edges,
        };
        for value in values {
            let cell = distribution.cell(value);
            if let Some(count) = distribution.counts.get_mut(cell) {
                *count += 1;
            }
        }
        Some(distribution)
    }

    /// Returns the cell of a value that is not NaN.
    pub fn cell(&self, value: f64) -> usize {
        let below = self.points.partition_point(|point| *point < value);
        let is_point = self.points.get(below).is_some_and(|point| *point == value);
        2 * below + usize::from(is_point)
    }

    /// Returns the bin of each cell, in the order of the cells.
    pub fn bins(&self) -> Vec<usize> {
        let cells = 0..2 * self.points.len() + 1;
        if self.edges.is_empty() {
            let between = self.points.len();
            let bin = |cell: usize| if cell % 2 == 1 { cell / 2 } else { between };
            return cells.map(bin).collect();
        }
        let bin = |cell: usize| match (cell % 2 == 1, cell / 2) {
            (true, point) => self.points.get(point).map_or(self.edges.len(), |point| {
                self.edges.partition_point(|edge| edge < point)
            }),
            (false, 0) => 0,
            (false, next) => self
                .points
                .get(next - 1)
                .map_or(0, |point| self.edges.partition_point(|edge| edge <= point)),
        };
        cells.map(bin).collect()
    }

    /// Returns the number of bins.
    pub fn bin_count(&self) -> usize {
        match self.edges.len() {
            0 => self.points.len() + 1,
            edges => edges + 1,
        }
    }

    /// Returns the reason that this is no distribution, if it is none.
    pub fn problem(&self) -> Option<&'static str> {
        let Summary {
            mean,
            std,
            min,
            max,
        } = self.summary;
        let ascending = |values: &[f64]| {
            values.iter().all(|value| value.is_finite())
                && values.iter().zip(values.iter().skip(1)).all(|(a, b)| a < b)
        };
        if ![mean, std, min, max].iter().all(|value| value.is_finite()) || min > max || std < 0.0 {
            return Some("its mean, standard deviation and range are none");
        }
        if self.points.is_empty() || self.points.len() > MAX_POINTS || !ascending(&self.points) {
            return Some("its points are not up to 256 ascending numbers");
        }
        if self.counts.len() != 2 * self.points.len() + 1 || !is_count(&self.counts, 0) {
            return Some("its counts do not belong to its points");
        }
        let is_point = |edge: &f64| self.points.contains(edge);
        if self.edges.len() >= BINS || !ascending(&self.edges) || !self.edges.iter().all(is_point) {
            return Some("the edges of its bins are not up to 9 ascending points");
        }
        if self.edges.is_empty() && self.points.len() > BINS {
            return Some("it has no edges of bins");
        }
        None
    }
}

/// Returns the counts by bin for counts by cell.
pub fn binned(counts: &[u64], bins: &[usize], bin_count: usize) -> Vec<u64> {
    let mut joined = vec![0u64; bin_count];
    for (count, &bin) in counts.iter().zip(bins) {
        if let Some(sum) = joined.get_mut(bin) {
            *sum = sum.saturating_add(*count);
        }
    }
    joined
}

fn is_count(counts: &[u64], other: u64) -> bool {
    let total = counts
        .iter()
        .try_fold(other, |total, count| total.checked_add(*count));
    total.is_some_and(|total| (1..=MAX_VALUES).contains(&total))
}

/// Returns the deciles of sorted values without the largest value: the smallest values below or at which there are one
/// tenth, two tenths and so on of all.
fn edges(sorted: &[f64]) -> Vec<f64> {
    let last = sorted.last();
    let ranks = (1..BINS).map(|k| (k * sorted.len()).div_ceil(BINS).saturating_sub(1));
    let mut edges: Vec<f64> = ranks
        .filter_map(|rank| sorted.get(rank))
        .filter(|edge| Some(*edge) != last)
        .copied()
        .collect();
    edges.dedup();
    if edges.is_empty() {
        // More than nine tenths are the largest value: the other bin is the values below it.
        edges.extend(sorted.iter().rev().find(|value| Some(*value) != last));
    }
    edges
}

fn summary(sorted: &[f64]) -> Option<Summary> {
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let count = sorted.len() as f64;
    // The average of differences does not overflow, and is precise for values far from zero.
    let mean = min
        + sorted
            .iter()
            .map(|value| (value - min) / count)
            .sum::<f64>();
    let squares = sorted.iter().map(|value| (value - mean).powi(2) / count);
    let std = squares.sum::<f64>().sqrt();
    let summary = Summary {
        mean,
        std,
        min,
        max,
    };
    (mean.is_finite() && std.is_finite()).then_some(summary)
}

// === impl CategoricalDistribution ===

impl CategoricalDistribution {
    /// Returns the distribution of texts with these frequencies; `None` if there are none.
    pub fn of(frequencies: HashMap<String, u64>, other: u64) -> Option<CategoricalDistribution> {
        let mut frequencies: Vec<(String, u64)> = frequencies.into_iter().collect();
        frequencies.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
        let mut distribution = CategoricalDistribution {
            categories: Vec::new(),
            counts: Vec::new(),
            other,
        };
        for (category, count) in frequencies {
            let is_full = distribution.categories.len() == MAX_CATEGORIES;
            if is_full || category.len() > MAX_CATEGORY_BYTES {
                distribution.other = distribution.other.saturating_add(count);
            } else {
                distribution.categories.push(category);
                distribution.counts.push(count);
            }
        }
        is_count(&distribution.counts, distribution.other).then_some(distribution)
    }

    /// Returns the counts of the categories, and of all others as the last.
    pub fn all_counts(&self) -> Vec<u64> {
        let mut counts = self.counts.clone();
        counts.push(self.other);
        counts
    }

    /// Returns the reason that this is no distribution, if it is none.
    pub fn problem(&self) -> Option<&'static str> {
        let distinct: std::collections::HashSet<&String> = self.categories.iter().collect();
        if self.categories.len() > MAX_CATEGORIES || distinct.len() != self.categories.len() {
            return Some("its categories are not up to 256 different texts");
        }
        if (self.categories.iter()).any(|category| category.len() > MAX_CATEGORY_BYTES) {
            return Some("a category has more than 256 bytes");
        }
        if self.counts.len() != self.categories.len() || !is_count(&self.counts, self.other) {
            return Some("its counts do not belong to its categories");
        }
        None
    }
}

// === impl Distribution ===

impl Distribution {
    /// Returns the number of values of each cell.
    pub fn counts(&self) -> Vec<u64> {
        match self {
            Distribution::Numeric(numeric) => numeric.counts.clone(),
            Distribution::Categorical(categorical) => categorical.all_counts(),
        }
    }

    /// Returns the number of values.
    pub fn values(&self) -> u64 {
        self.counts()
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the reason that this is no distribution, if it is none.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Distribution::Numeric(numeric) => numeric.problem(),
            Distribution::Categorical(categorical) => categorical.problem(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> NumericDistribution {
        let distribution = NumericDistribution::of(values.to_vec(), MAX_POINTS).expect("values");
        assert_eq!(distribution.problem(), None, "{distribution:?}");
        assert_eq!(distribution.counts.iter().sum::<u64>(), values.len() as u64);
        distribution
    }

    fn bin_counts(distribution: &NumericDistribution) -> Vec<u64> {
        binned(
            &distribution.counts,
            &distribution.bins(),
            distribution.bin_count(),
        )
    }

    /// A sequence that looks random.
    fn noise(count: usize, scale: f64) -> Vec<f64> {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24) * scale
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_bins_of_many_values_are_deciles() {
        let distribution = of(&(1..=1000).map(f64::from).collect::<Vec<_>>());
        let deciles: Vec<f64> = (1..10).map(|k| f64::from(k * 100)).collect();
        assert_eq!(distribution.edges, deciles);
        assert_eq!(bin_counts(&distribution), [100; 10]);
        assert!(
            distribution.points.len() > 240,
            "{:?}",
            distribution.points.len()
        );
        assert_eq!(distribution.summary.mean, 500.5);
        // numpy 2.4.6: np.arange(1, 1001).std()
        assert!((distribution.summary.std - 288.674_990_257_210_1).abs() < 1e-9);
    }

    #[test]
    fn each_of_few_values_is_a_bin_and_so_are_those_between() {
        let distribution = of(&[3.0, 1.0, 1.0, -0.0, 0.0]);
        assert_eq!(distribution.points, [0.0, 1.0, 3.0]);
        assert_eq!(distribution.counts, [0, 2, 0, 2, 0, 1, 0]);
        assert!(distribution.edges.is_empty());
        assert_eq!(bin_counts(&distribution), [2, 2, 1, 0]);
        let bins = distribution.bins();
        for (value, bin) in [(-1.0, 3), (0.0, 0), (0.5, 3), (1.0, 1), (3.0, 2), (4.0, 3)] {
            assert_eq!(bins[distribution.cell(value)], bin, "{value}");
        }
    }

    #[test]
    fn a_constant_has_one_value_and_everything_else() {
        let distribution = of(&[4.0; 50]);
        assert_eq!(bin_counts(&distribution), [50, 0]);
        assert_eq!(distribution.summary.std, 0.0);
    }

    #[test]
    fn a_frequent_value_takes_several_bins_together() {
        let mut values = vec![0.0; 80];
        values.extend((1..=20).map(f64::from));
        let distribution = of(&values);
        assert_eq!(distribution.edges, [0.0, 10.0]);
        assert_eq!(bin_counts(&distribution), [80, 10, 10]);
        let mut values = vec![100.0; 990];
        values.extend((1..=20).map(f64::from));
        let distribution = of(&values);
        assert_eq!(distribution.edges, [20.0]);
        assert_eq!(bin_counts(&distribution), [20, 990]);
    }

    #[test]
    fn a_value_is_in_the_bin_that_its_edges_give() {
        let distribution = of(&noise(5000, 10.0));
        assert!(distribution.points.len() <= MAX_POINTS);
        let bins = distribution.bins();
        for value in noise(3000, 12.0)
            .into_iter()
            .chain([f64::INFINITY, f64::NEG_INFINITY])
        {
            let expected = distribution
                .edges
                .iter()
                .filter(|edge| **edge < value)
                .count();
            assert_eq!(bins[distribution.cell(value)], expected, "{value}");
        }
        for &edge in &distribution.edges {
            let expected = distribution
                .edges
                .iter()
                .filter(|other| **other < edge)
                .count();
            assert_eq!(bins[distribution.cell(edge)], expected, "{edge}");
        }
    }

    #[test]
    fn fewer_points_are_kept_on_request_and_none_without_values() {
        let few = NumericDistribution::of(noise(5000, 1.0), 32).expect("values");
        assert_eq!(few.problem(), None);
        assert!(few.points.len() <= 32, "{}", few.points.len());
        assert_eq!(NumericDistribution::of(Vec::new(), MAX_POINTS), None);
        assert_eq!(
            NumericDistribution::of(vec![f64::MAX, f64::MIN], MAX_POINTS),
            None
        );
    }

    #[test]
    fn an_invalid_distribution_is_rejected() {
        let good = of(&noise(500, 1.0));
        let mut short = good.clone();
        short.counts.pop();
        let mut unordered = good.clone();
        unordered.points.reverse();
        let mut foreign = good.clone();
        foreign.edges[0] -= 1e-9;
        let mut empty = good.clone();
        empty.counts.fill(0);
        let mut endless = good.clone();
        endless.counts[0] = u64::MAX;
        let mut edgeless = good.clone();
        edgeless.edges.clear();
        for bad in [short, unordered, foreign, empty, endless, edgeless] {
            assert!(bad.problem().is_some());
        }
    }

    #[test]
    fn the_most_frequent_texts_are_kept() {
        let mut frequencies: HashMap<String, u64> =
            (0..400).map(|n| (format!("c{n:03}"), 1 + n % 3)).collect();
        frequencies.insert("x".repeat(300), 1000);
        let distribution = CategoricalDistribution::of(frequencies, 5).expect("texts");
        assert_eq!(distribution.problem(), None);
        assert_eq!(distribution.categories.len(), MAX_CATEGORIES);
        assert_eq!(distribution.categories[0], "c002");
        assert_eq!(distribution.counts[0], 3);
        let total: u64 = distribution.all_counts().iter().sum();
        assert_eq!(total, 5 + 1000 + (0..400).map(|n| 1 + n % 3).sum::<u64>());
        assert_eq!(CategoricalDistribution::of(HashMap::new(), 0), None);
    }
}
