//! Arithmetic that most handlers need, on rows of `f32`.
//!
//! The functions accept rows as returned by [`View::rows`](crate::View::rows). They work in place
//! where possible, and allocate only their results.

/// Converts logits to probabilities that sum to 1. Safe for logits of any size. An empty row stays
/// empty.
///
/// ```
/// let mut row = [1000.0, 1000.0];
/// wisp_handler::math::softmax(&mut row);
/// assert_eq!(row, [0.5, 0.5]);
/// ```
pub fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

/// Returns the index of the largest value, the first among equal ones. NaN is never selected over a
/// number. Returns `None` for an empty row.
///
/// ```
/// assert_eq!(wisp_handler::math::argmax(&[0.1, 0.7, 0.2]), Some(1));
/// ```
pub fn argmax(row: &[f32]) -> Option<usize> {
    let best = |best: usize, index: usize| {
        if row[index] > row[best] || row[best].is_nan() {
            index
        } else {
            best
        }
    };
    (0..row.len()).reduce(best)
}

/// Returns the `count` largest values with their indices, largest first. Equal values are in the order
/// of their indices, and NaNs are last. Returns fewer values if the row is shorter.
///
/// ```
/// assert_eq!(wisp_handler::math::top_k(&[0.1, 0.7, 0.2], 2), [(1, 0.7), (2, 0.2)]);
/// ```
pub fn top_k(row: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(count.min(row.len()));
    for (index, value) in row.iter().copied().enumerate() {
        let rank = best.partition_point(|(_, other)| *other >= value || value.is_nan());
        if rank < count {
            best.truncate(count - 1);
            best.insert(rank.min(best.len()), (index, value));
        }
    }
    best
}

/// Standardizes a row: subtracts the mean and divides by the standard deviation of each column.
/// Columns without a mean and deviation are unchanged.
///
/// ```
/// let mut row = [14.0, 2.0];
/// wisp_handler::math::standardise(&mut row, [(10.0, 2.0), (2.0, 0.5)]);
/// assert_eq!(row, [2.0, 0.0]);
/// ```
pub fn standardise(row: &mut [f32], columns: impl IntoIterator<Item = (f32, f32)>) {
    for (value, (mean, deviation)) in row.iter_mut().zip(columns) {
        *value = (*value - mean) / deviation;
    }
}

/// Scales a vector to Euclidean length 1. A vector of length 0 is unchanged.
///
/// ```
/// let mut vector = [3.0, 4.0];
/// wisp_handler::math::normalise_l2(&mut vector);
/// assert_eq!(vector, [0.6, 0.8]);
/// ```
pub fn normalise_l2(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_keeps_order_among_equals_and_puts_nan_last() {
        assert_eq!(
            top_k(&[0.5, 0.9, 0.5, 0.1], 3),
            [(1, 0.9), (0, 0.5), (2, 0.5)]
        );
        assert_eq!(top_k(&[0.5, 0.9], 5), [(1, 0.9), (0, 0.5)]);
        assert_eq!(top_k(&[], 3), []);
        assert_eq!(top_k(&[0.5], 0), []);
        let ranked = top_k(&[f32::NAN, 0.2, f32::NAN, 0.3], 4);
        assert_eq!(
            ranked.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
            [3, 1, 0, 2]
        );
    }

    #[test]
    fn softmax_of_extremes_is_finite() {
        let mut row = [-1e30, 0.0, 88.0];
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(row[2] > 0.999 && row[0] == 0.0);
        softmax(&mut []);
    }
}
