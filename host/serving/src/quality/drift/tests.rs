//! Tests of observations and of their comparison with a baseline.

use super::*;
use crate::quality::baseline::FeatureBaseline;
use crate::quality::distribution::{CategoricalDistribution, MAX_POINTS, NumericDistribution};
use wisp_tensor::Shape;
use wisp_tensor::number::from_numbers;

/// The values of `baseline` and `window`, and their statistic and p-value by scipy 1.17.1 and numpy 2.4.6:
/// `scipy.stats.ks_2samp(a, b).statistic`, and `scipy.special.kolmogorov(d * np.sqrt(a.size * b.size / (a.size + b.size)))`.
const KS: f64 = 0.26;
const P_VALUE: f64 = 1.7990213660400912e-07;

/// The PSI of the same values by numpy, with the deciles of the baseline as edges, which belong to the bin below.
const PSI: f64 = 0.37711368305895265;

/// Values between 0 and 1 that look random: the fractions of the multiples of the golden ratio.
fn fractions(count: u32) -> Vec<f64> {
    (1..=count)
        .map(|n| (f64::from(n) * 0.618_033_988_749_894_9).fract())
        .collect()
}

fn numeric(name: &str, values: Vec<f64>) -> FeatureBaseline {
    let distribution = NumericDistribution::of(values, MAX_POINTS).expect("values");
    FeatureBaseline {
        name: Some(name.to_owned()),
        missing: 1,
        distribution: Distribution::Numeric(distribution),
    }
}

fn drift(element_type: ElementType, features: Vec<FeatureBaseline>, window: usize) -> Drift {
    Drift::new(Baseline {
        window,
        inputs: vec![InputBaseline {
            name: "x".to_owned(),
            element_type,
            features,
        }],
    })
}

fn table(columns: usize, values: &[f64]) -> NamedTensor {
    let rows = u32::try_from(values.len() / columns).expect("few rows");
    let columns = u32::try_from(columns).expect("few columns");
    let mut values = values.iter();
    let shape = Shape::new(vec![rows, columns]).expect("a shape");
    let next = || *values.next().expect("enough values");
    NamedTensor {
        name: "x".to_owned(),
        tensor: from_numbers(ElementType::Fp64, shape, next).expect("a tensor"),
    }
}

#[test]
fn the_comparison_is_that_of_scipy_and_numpy() {
    let window: Vec<f64> = fractions(300).iter().map(|x| x * x).collect();
    let drift = drift(ElementType::Fp64, vec![numeric("a", fractions(200))], 1000);
    for value in &window {
        drift.observe(&[table(1, &[*value])]);
    }
    let report = drift.report();
    let found = &report[0].features[0];
    assert_eq!(found.observations, 300);
    let close = |found: Option<f64>, expected: f64| {
        let is_close = found.is_some_and(|found| (found - expected).abs() < 1e-9);
        assert!(is_close, "{found:?} {expected}");
    };
    close(found.ks, KS);
    close(found.p_value, P_VALUE);
    close(found.psi, PSI);
    assert_eq!(found.baseline_missing, 1.0 / 201.0);
}

#[test]
fn each_column_is_compared_by_itself_over_its_last_rows() {
    let features = vec![numeric("a", fractions(50)), numeric("b", fractions(50))];
    let drift = drift(ElementType::Fp64, features, 100);
    assert_eq!(drift.report()[0].features[0].psi, None);
    // Rows that the later ones displace.
    for _ in 0..100 {
        drift.observe(&[table(2, &[-9.0, -9.0])]);
    }
    for value in fractions(50).into_iter().chain(fractions(50)) {
        drift.observe(&[table(2, &[value, f64::NAN])]);
    }
    let report = drift.report();
    let [a, b] = report[0].features.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!((a.feature.as_str(), b.feature.as_str()), ("a", "b"));
    assert!(a.psi.is_some_and(|psi| psi < 1e-12), "{a:?}");
    assert!(a.ks.is_some_and(|ks| ks < 1e-12), "{a:?}");
    assert_eq!(a.missing, 0.0);
    assert_eq!((b.psi, b.ks, b.p_value), (None, None, None));
    assert_eq!(b.missing, 1.0);
    assert_eq!(b.observations, 100);
}

#[test]
fn a_request_of_many_rows_is_observed_in_part() {
    let drift = drift(ElementType::Fp64, vec![numeric("a", fractions(50))], 10_000);
    let many = fractions(100_000);
    drift.observe(&[table(1, &many)]);
    let observed = drift.report()[0].features[0].observations;
    assert!((32..=64).contains(&observed), "{observed}");
}

#[test]
fn texts_are_compared_by_category() {
    let frequencies = [("red".to_owned(), 50), ("green".to_owned(), 30)].into();
    let distribution = CategoricalDistribution::of(frequencies, 20).expect("texts");
    let feature = FeatureBaseline {
        name: None,
        missing: 0,
        distribution: Distribution::Categorical(distribution),
    };
    let drift = drift(ElementType::Bytes, vec![feature], 100);
    let mut texts: Vec<&[u8]> = vec![b"red"; 5];
    texts.extend([b"green".as_slice(); 3]);
    texts.extend([b"blue".as_slice(), b"\xff", b""]);
    let tensor = Tensor::from_elements(texts.into_iter()).expect("a tensor");
    let name = "x".to_owned();
    drift.observe(&[NamedTensor { name, tensor }]);
    let report = drift.report();
    let found = &report[0].features[0];
    assert!(found.psi.is_some_and(|psi| psi.abs() < 1e-12), "{found:?}");
    assert_eq!(found.ks, None);
    assert_eq!(found.missing, 1.0 / 11.0);
    assert_eq!(found.feature, "0");
}

#[test]
fn nothing_is_observed_while_the_windows_are_in_use() {
    let drift = drift(ElementType::Fp64, vec![numeric("a", fractions(50))], 100);
    let used = drift.windows.lock().expect("nobody panicked");
    drift.observe(&[table(1, &[0.5])]);
    drop(used);
    assert_eq!(drift.report()[0].features[0].observations, 0);
    // Other tensors and tensors without rows are no observations.
    let other = NamedTensor {
        name: "y".to_owned(),
        ..table(1, &[0.5])
    };
    drift.observe(&[other, table(1, &[])]);
    assert_eq!(drift.report()[0].features[0].observations, 0);
}
