//! The rules of batching that follow from the measured cost of a graph, and the reason for them.

use super::curve::{CostCurve, GraphCost};
use crate::batcher::batch_sizes::{BatchSizes, RowLimit};
use crate::batcher::policy::BatchPolicy;
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};

/// The rules by which the requests for a graph are computed together, if they are, and the reason for them.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchingDecision {
    /// `None` if requests are computed one by one.
    pub policy: Option<BatchPolicy>,
    /// The text for people, such as `auto: up to 32 rows, 1.2 us a row instead of 10.4 us`.
    pub reason: String,
    /// The measured times, if the graph was measured.
    pub cost: Option<GraphCost>,
}

impl fmt::Display for BatchingDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Returns the rules for a graph of this cost, which is computed on up to `threads` threads at the same time.
///
/// The rules are greedy: a thread that becomes free takes the requests that wait, and none waits for company. Since
/// requests only wait while all threads are busy, a lower cost of each row is a gain whatever the number of threads.
///
/// If requests have rows of several sizes, the rows of each size are batched as far as the measured ones gain. If the
/// backend prepares for each number of rows, batches have numbers that were measured, and thus prepared. Others are only
/// joined if a preparation for each number is kept.
pub fn choose(cost: &GraphCost, threads: NonZeroUsize) -> BatchingDecision {
    let policy = policy(cost);
    let names_sizes = cost.has_variable_rows;
    let curves = cost.curves.iter();
    let curves: Vec<String> = match policy.is_some() {
        true => curves.map(|curve| described(curve, names_sizes)).collect(),
        false => curves
            .map(|curve| without_gain(curve, names_sizes))
            .collect(),
    };
    let mut text = match curves.is_empty() {
        true => "nothing was measured".to_owned(),
        false => curves.join("; "),
    };
    let reason = match &policy {
        None => format!("auto: off, {text}; requests are computed alone, {threads} at a time"),
        Some(policy) => {
            if !policy.sizes.allowed.is_empty() {
                let allowed = NumberList(&policy.sizes.allowed);
                let often = match policy.sizes.keeps_others {
                    true => " if possible",
                    false => "",
                };
                text = format!(
                    "{text}; batches have {allowed} rows{often}, since the backend prepares for each size"
                );
            }
            format!("auto: {text}")
        }
    };
    BatchingDecision {
        policy,
        reason,
        cost: Some(cost.clone()),
    }
}

/// Returns the rules; `None` if rows of no size gain.
fn policy(cost: &GraphCost) -> Option<BatchPolicy> {
    let max_rows = cost.curves.iter().map(rows_that_gain).max()?;
    let max_batch_size = NonZeroU32::new(max_rows).filter(|most| most.get() > 1)?;
    let mut sizes = BatchSizes::default();
    if cost.has_variable_rows {
        let limits = cost.curves.iter().map(|curve| RowLimit {
            row_elements: curve.row_elements,
            max_rows: rows_that_gain(curve),
        });
        sizes.limits = limits.collect();
    }
    if let Some(capacity) = cost.preparation_capacity {
        let measured = cost.curves.iter().flat_map(|curve| &curve.points);
        let measured: BTreeSet<u32> = measured.map(|point| point.rows).collect();
        sizes.allowed = measured.range(..=max_rows).copied().collect();
        // One is left for requests of more rows.
        let all_fit = usize::try_from(max_rows).is_ok_and(|rows| rows < capacity.get());
        sizes.keeps_others = all_fit && !cost.has_variable_rows;
    }
    Some(BatchPolicy {
        max_batch_size,
        sizes,
        ..BatchPolicy::default()
    })
}

/// Returns the maximum number of rows of this size; 1 if batches do not pay.
fn rows_that_gain(curve: &CostCurve) -> u32 {
    curve.worthwhile().map_or(1, |best| best.rows)
}

/// Describes rows of one size of a graph that is batched, such as `up to 32 rows, 1.2 us a row instead of 10.4 us`.
fn described(curve: &CostCurve, names_size: bool) -> String {
    let Some((single, best)) = curve.points.first().zip(curve.worthwhile()) else {
        return format!("no batches where {}", without_gain(curve, names_size));
    };
    let rows = match names_size {
        true => format!("{} rows of {} elements", best.rows, curve.row_elements),
        false => format!("{} rows", best.rows),
    };
    let (together, alone) = (Cost(best.per_row()), Cost(single.per_row()));
    format!("up to {rows}, {together} a row instead of {alone}")
}

/// Describes rows of one size that gain nothing in batches, such as `a row takes 1.2 ms, and 2.4 ms in a batch of 4`.
fn without_gain(curve: &CostCurve, names_size: bool) -> String {
    let row = match names_size {
        true => format!("a row of {} elements", curve.row_elements),
        false => "a row".to_owned(),
    };
    let Some(single) = curve.points.first() else {
        return format!("{row} was not measured");
    };
    let alone = Cost(single.per_row());
    match curve.points.last().filter(|last| last.rows > 1) {
        None => format!("{row} takes {alone}, and no batch was measured"),
        Some(largest) => format!(
            "{row} takes {alone}, and {} in a batch of {}",
            Cost(largest.per_row()),
            largest.rows
        ),
    }
}

/// A number of microseconds, as a text with a unit.
struct Cost(f64);

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            time if time >= 1e3 => write!(f, "{:.1} ms", time / 1e3),
            time => write!(f, "{time:.1} us"),
        }
    }
}

/// Numbers of which one is chosen, such as `1, 2 or 4`.
struct NumberList<'a>(&'a [u32]);

impl fmt::Display for NumberList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, number) in self.0.iter().enumerate() {
            let separator = match self.0.len() - position {
                _ if position == 0 => "",
                1 => " or ",
                _ => ", ",
            };
            write!(f, "{separator}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::CostPoint;
    use super::*;
    use std::time::Duration;

    const THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

    type Points = [(u32, u64)];

    fn curve(row_elements: u64, points: &Points) -> CostCurve {
        let points = points.iter().map(|&(rows, microseconds)| CostPoint {
            rows,
            took: Duration::from_micros(microseconds),
        });
        CostCurve {
            row_elements,
            points: points.collect(),
        }
    }

    /// Returns the cost of a graph of fixed sizes.
    fn fixed(points: &Points) -> GraphCost {
        GraphCost {
            curves: vec![curve(10, points)],
            has_variable_rows: false,
            preparation_capacity: None,
        }
    }

    fn max_rows(points: &Points) -> Option<u32> {
        let policy = choose(&fixed(points), THREADS).policy?;
        assert!(policy.max_queue_delay.is_zero(), "{policy:?}");
        assert_eq!(policy.sizes, BatchSizes::default());
        Some(policy.max_batch_size.get())
    }

    #[test]
    fn rows_that_cost_less_together_are_batched_up_to_the_largest_size_that_improves() {
        let network = [(1, 10), (2, 11), (4, 13), (8, 16), (16, 20), (32, 28)];
        assert_eq!(max_rows(&network), Some(32));
        let saturated = [
            (1, 100),
            (2, 140),
            (4, 240),
            (8, 400),
            (16, 810),
            (32, 1700),
        ];
        // 16 rows cost as much as 8, apart from noise, and 32 cost more.
        assert_eq!(max_rows(&saturated), Some(16));
        let decision = choose(&fixed(&saturated), THREADS);
        assert_eq!(
            decision.to_string(),
            "auto: up to 16 rows, 50.6 us a row instead of 100.0 us"
        );
    }

    #[test]
    fn rows_that_cost_as_much_or_more_together_are_computed_alone() {
        let convolutions = [(1, 1200), (2, 3800), (4, 9600)];
        assert_eq!(max_rows(&convolutions), None);
        let linear = [(1, 100), (2, 200), (4, 400), (8, 800)];
        assert_eq!(max_rows(&linear), None);
        // The gain does not outweigh what a member waits for the others.
        let slightly = [(1, 100), (2, 190), (4, 350), (8, 690)];
        assert_eq!(max_rows(&slightly), None);
        assert_eq!(
            choose(&fixed(&convolutions), THREADS).to_string(),
            "auto: off, a row takes 1.2 ms, and 2.4 ms in a batch of 4; requests are computed alone, 2 at a time"
        );
    }

    #[test]
    fn a_graph_whose_batches_were_not_measured_is_not_batched() {
        assert_eq!(max_rows(&[(1, 45_000)]), None);
        assert_eq!(max_rows(&[]), None);
        assert_eq!(
            choose(&fixed(&[(1, 45_000)]), THREADS).to_string(),
            "auto: off, a row takes 45.0 ms, and no batch was measured; requests are computed alone, 2 at a time"
        );
    }

    #[test]
    fn short_texts_are_batched_and_long_ones_are_not() {
        let cost = GraphCost {
            curves: vec![
                curve(24, &[(1, 3000), (2, 3600), (4, 5200), (8, 9600)]),
                curve(96, &[(1, 6000), (2, 9000), (4, 17_200), (8, 35_200)]),
                curve(384, &[(1, 20_000), (2, 41_000)]),
            ],
            has_variable_rows: true,
            preparation_capacity: None,
        };
        let decision = choose(&cost, THREADS);
        assert_eq!(
            decision.to_string(),
            "auto: up to 8 rows of 24 elements, 1.2 ms a row instead of 3.0 ms; up to 4 rows of 96 elements, 4.3 ms a \
             row instead of 6.0 ms; no batches where a row of 384 elements takes 20.0 ms, and 20.5 ms in a batch of 2"
        );
        let policy = decision.policy.unwrap();
        assert_eq!(policy.max_batch_size.get(), 8);
        let rows = [1, 24, 48, 96, 192, 384, 1000].map(|elements| policy.max_rows(elements));
        assert_eq!(rows, [8, 8, 8, 4, 2, 1, 1]);
        assert_eq!(decision.cost, Some(cost));
    }

    #[test]
    fn a_graph_of_which_only_one_size_was_measured_is_limited_by_it() {
        let cost = GraphCost {
            curves: vec![curve(24, &[(1, 3000), (2, 3600), (4, 5200), (8, 9600)])],
            has_variable_rows: true,
            preparation_capacity: None,
        };
        let policy = choose(&cost, THREADS).policy.unwrap();
        let rows = [1, 24, 48, 96, 192, 384].map(|elements| policy.max_rows(elements));
        assert_eq!(rows, [8, 8, 4, 2, 1, 1]);
    }

    #[test]
    fn a_graph_whose_rows_of_no_size_gain_is_not_batched() {
        let cost = GraphCost {
            curves: vec![
                curve(8, &[(1, 100), (2, 210)]),
                curve(64, &[(1, 800), (2, 1700)]),
            ],
            has_variable_rows: true,
            preparation_capacity: None,
        };
        let decision = choose(&cost, THREADS);
        assert_eq!(decision.policy, None);
        assert_eq!(
            decision.to_string(),
            "auto: off, a row of 8 elements takes 100.0 us, and 105.0 us in a batch of 2; a row of 64 elements takes \
             800.0 us, and 850.0 us in a batch of 2; requests are computed alone, 2 at a time"
        );
    }

    #[test]
    fn a_backend_that_prepares_for_each_size_computes_measured_sizes_only() {
        let cost = GraphCost {
            preparation_capacity: NonZeroUsize::new(4),
            ..fixed(&[(1, 100), (4, 160), (16, 400), (32, 1600)])
        };
        let decision = choose(&cost, THREADS);
        assert_eq!(
            decision.to_string(),
            "auto: up to 16 rows, 25.0 us a row instead of 100.0 us; batches have 1, 4 or 16 rows, since the \
             backend prepares for each size"
        );
        let policy = decision.policy.unwrap();
        assert_eq!(policy.sizes.allowed, [1, 4, 16]);
        assert!(policy.sizes.limits.is_empty() && !policy.sizes.keeps_others);
    }

    #[test]
    fn a_backend_that_keeps_a_preparation_for_each_size_computes_others_if_no_measured_one_is_possible()
     {
        let keeps_others = |capacity: usize, has_variable_rows: bool| {
            let cost = GraphCost {
                preparation_capacity: NonZeroUsize::new(capacity),
                has_variable_rows,
                ..fixed(&[(1, 100), (2, 110), (4, 120), (8, 130)])
            };
            let decision = choose(&cost, THREADS);
            let keeps = decision
                .policy
                .is_some_and(|policy| policy.sizes.keeps_others);
            assert_eq!(decision.reason.contains("8 rows if possible, since"), keeps);
            keeps
        };
        assert!(keeps_others(9, false));
        assert!(!keeps_others(8, false));
        assert!(!keeps_others(64, true));
        assert!(!keeps_others(0, false));
    }
}
