//! The population stability index (PSI) of two histograms with the same bins.
//!
//! PSI is the sum over the bins of `(actual - expected) * ln(actual / expected)`, where both are shares. A share of
//! zero has no logarithm, so that each share is at least [`SMALLEST_SHARE`], as is usual. By convention, a
//! PSI below 0.1 is no drift, one from 0.1 to 0.25 a moderate drift, and a larger one a drift to act on.

/// The value that replaces smaller shares.
pub const SMALLEST_SHARE: f64 = 1e-4;

/// Returns the index of two histograms; `None` if either is empty.
pub fn index(baseline: &[u64], window: &[u64]) -> Option<f64> {
    let baseline_total: u64 = baseline.iter().sum();
    let window_total: u64 = window.iter().sum();
    if baseline_total == 0 || window_total == 0 {
        return None;
    }
    let terms = baseline.iter().zip(window).map(|(&expected, &actual)| {
        let expected = share(expected, baseline_total);
        let actual = share(actual, window_total);
        (actual - expected) * (actual / expected).ln()
    });
    Some(terms.sum())
}

fn share(count: u64, total: u64) -> f64 {
    (count as f64 / total as f64).max(SMALLEST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two histograms and their PSI by numpy 2.4.6: `p, q = (np.clip(x / x.sum(), 1e-4, None) for x in (a, b))`
    /// and `((q - p) * np.log(q / p)).sum()`.
    const EXAMPLES: [(&[u64], &[u64], f64); 4] = [
        (
            &[10, 10, 10, 10, 10, 10, 10, 10, 10, 10],
            &[10, 10, 10, 10, 10, 10, 10, 10, 10, 12],
            0.0032174392375403735,
        ),
        (
            &[10, 10, 10, 10, 10, 10, 10, 10, 10, 10],
            &[1, 2, 4, 8, 16, 16, 16, 16, 16, 5],
            0.5710864541046436,
        ),
        (&[50, 30, 20, 0], &[0, 30, 20, 50], 8.515489752777954),
        (&[100, 0], &[0, 7], 18.41883867587797),
    ];

    #[test]
    fn the_index_is_that_of_numpy() {
        for (baseline, window, expected) in EXAMPLES {
            let found = index(baseline, window);
            let close = found.is_some_and(|found| (found - expected).abs() < 1e-12);
            assert!(close, "{baseline:?} {window:?}: {found:?}");
        }
    }

    #[test]
    fn it_is_zero_for_equal_shares_and_absent_without_values() {
        assert_eq!(index(&[1, 2], &[10, 20]), Some(0.0));
        assert_eq!(index(&[1, 2], &[0, 0]), None);
        assert_eq!(index(&[0, 0], &[1, 2]), None);
    }
}
