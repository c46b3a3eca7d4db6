//! The two-sample Kolmogorov-Smirnov statistic of two histograms with the same ordered cells, and its asymptotic
//! p-value.
//!
//! The statistic is the largest distance between the two empirical distribution functions. It equals that of the
//! samples if every distinct value of one sample has a cell of its own, with a cell for the values between each
//! two of them: between two steps of one function, the other is furthest away at one of the two ends.

use std::f64::consts::PI;

/// The argument below which the series for small arguments converges faster than the other.
const SMALL: f64 = 1.18;

/// The number of terms of each series. The terms beyond are smaller than the last digit of the sum.
const TERMS: i32 = 8;

/// Returns the statistic of two histograms with the same cells, in the order of the values; `None` if either is
/// empty.
pub fn statistic(baseline: &[u64], window: &[u64]) -> Option<f64> {
    let baseline_total: u64 = baseline.iter().sum();
    let window_total: u64 = window.iter().sum();
    if baseline_total == 0 || window_total == 0 {
        return None;
    }
    let (mut below_baseline, mut below_window) = (0u64, 0u64);
    let mut largest = 0.0f64;
    for (expected, actual) in baseline.iter().zip(window) {
        below_baseline += expected;
        below_window += actual;
        let expected = below_baseline as f64 / baseline_total as f64;
        let actual = below_window as f64 / window_total as f64;
        largest = largest.max((expected - actual).abs());
    }
    Some(largest)
}

/// Returns the asymptotic probability that two samples of one distribution, with these numbers of values, have a
/// statistic of at least `statistic`.
pub fn p_value(statistic: f64, baseline: u64, window: u64) -> f64 {
    let (baseline, window) = (baseline as f64, window as f64);
    let effective = baseline * window / (baseline + window);
    survival(effective.sqrt() * statistic)
}

/// Returns the survival function of the Kolmogorov distribution.
fn survival(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return 1.0;
    }
    if x < SMALL {
        let sum: f64 = (1..=TERMS)
            .map(|k| {
                let odd = f64::from(2 * k - 1);
                (-(odd * PI).powi(2) / (8.0 * x * x)).exp()
            })
            .sum();
        return (1.0 - (2.0 * PI).sqrt() / x * sum).clamp(0.0, 1.0);
    }
    let sum: f64 = (1..=TERMS)
        .map(|k| {
            let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
            sign * (-2.0 * f64::from(k * k) * x * x).exp()
        })
        .sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.special.kolmogorov` (scipy 1.17.1).
    const SURVIVAL: [(f64, f64); 9] = [
        (0.1, 1.0),
        (0.3, 0.9999906941986655),
        (0.5, 0.9639452436648751),
        (0.8, 0.5441424115741981),
        (1.0, 0.26999967167735456),
        (1.17, 0.12939004218561884),
        (1.19, 0.11774229287977166),
        (1.5, 0.022217962616525127),
        (2.5, 7.453306344157342e-06),
    ];

    #[test]
    fn the_survival_function_is_that_of_scipy() {
        for (x, expected) in SURVIVAL {
            let found = survival(x);
            assert!((found - expected).abs() < 1e-13, "{x}: {found}");
        }
        assert_eq!(survival(0.0), 1.0);
        assert_eq!(survival(f64::NAN), 1.0);
        assert_eq!(survival(100.0), 0.0);
    }

    #[test]
    fn equal_histograms_have_no_distance_and_disjoint_ones_the_largest() {
        assert_eq!(statistic(&[1, 2, 3], &[2, 4, 6]), Some(0.0));
        assert_eq!(statistic(&[5, 0, 0], &[0, 0, 7]), Some(1.0));
        assert_eq!(statistic(&[5, 0], &[0, 0]), None);
        assert_eq!(statistic(&[0, 0], &[1, 0]), None);
    }

    #[test]
    fn the_p_value_falls_with_the_statistic_and_the_numbers_of_values() {
        assert_eq!(p_value(0.0, 10, 10), 1.0);
        assert!(p_value(0.2, 100, 100) < p_value(0.1, 100, 100));
        assert!(p_value(0.1, 1000, 1000) < p_value(0.1, 100, 100));
    }
}
