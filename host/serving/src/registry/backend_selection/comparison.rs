//! The comparison of backends on the same inputs: which of them agree, and how fast these are.
//!
//! The reference is right if it is available. Otherwise the majority does, or a second look at
//! inputs with NaN, which an operator that replaces it by a number computes wrongly. If nothing decides, no
//! backend is taken for right.

use super::inputs::{further_inputs, inputs_together, is_real, with_nan, with_value};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::compared_values::compared_values;
use wisp_backend::measure::{REFERENCE, compute, compute_timed, varied_inputs};
use wisp_backend::model_outline::ModelOutline;
use wisp_backend::{BackendError, Graph};
use wisp_tensor::difference::largest_difference;
use wisp_tensor::number::numbers;
use wisp_tensor::{NamedTensor, Tensor};

/// The total time for timing the backends, after the first computation of each.
const TIMING: Duration = Duration::from_millis(100);

/// The maximum number of computations of each backend for its time, without the first.
const MAX_ROUNDS: usize = 100;

/// The factor by which a slow backend takes longer than the fastest. It will not be chosen.
const SLOW: u32 = 3;

/// The least difference in time of a slow backend from the fastest: below it, noise may be the reason.
const SLOW_BY: Duration = Duration::from_millis(1);

/// The time that a slow backend may take to compute further inputs, on which others are compared with it.
const SLOW_BUDGET: Duration = Duration::from_millis(300);

/// The time that the fastest backend may take to compute a batch at larger sizes. If it takes longer, a batch and larger
/// sizes are computed apart, which is less work and two preparations.
const TOGETHER_BUDGET: Duration = Duration::from_millis(300);

/// The maximum number of numbers that a graph compares its inputs with and that are tried.
const MAX_COMPARED_VALUES: usize = 4;

/// The maximum number of sizes that are compared with such a number.
const MAX_SIZES: usize = 2;

/// The factors of the sizes that are tried with such a number.
const GROWTH: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// The limits up to which outputs count as equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// Backends sum in different orders, and in deep graphs the differences add up to this limit; a wrong
    /// output is far beyond it.
    Real,
    /// In quantized graphs a different rounding changes an output by whole steps of its range.
    Quantized,
}

/// The facts in the file of a graph on which backends are compared.
#[derive(Debug)]
pub(super) struct Basis {
    pub(super) tolerance: Tolerance,
    /// The numbers that the graph compares its inputs with, by the name of the input. They select branches, which
    /// backends need not all compute.
    pub(super) compared: BTreeMap<String, Vec<i64>>,
}

/// A backend's graph, and the results of its comparison.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) backend: &'static str,
    pub(super) graph: Arc<dyn Graph>,
    /// The time to load it.
    pub(super) load: Duration,
    /// The shortest time to compute a batch of one row.
    pub(super) shortest: Option<Duration>,
    /// The difference of its outputs from those that are taken as right.
    pub(super) difference: Option<f64>,
    /// The reason that it is excluded.
    pub(super) problem: Option<String>,
}

/// Backends that compute different outputs, where nothing decides which are right.
#[derive(Debug)]
pub(super) struct Disagreement {
    pub(super) backends: [&'static str; 2],
    pub(super) difference: f64,
}

/// The outcomes of all contenders for the same inputs.
struct Trial {
    inputs: Vec<NamedTensor>,
    outcomes: Vec<Outcome>,
    /// Set if the inputs contain a number that the graph compares them with.
    selects_branch: bool,
}

enum Outcome {
    Computed(Vec<NamedTensor>),
    Refused(String),
    /// It was not tried, or did not end for another reason than its inputs.
    Unknown,
}

/// The trial of the inputs that the backends are timed with.
struct FirstTrial {
    trial: Trial,
    /// The contender whose sample inputs these are.
    source: usize,
    /// The time of each contender that computed them.
    times: Vec<Option<Duration>>,
}

/// Compares the contenders, records the problem of each that is excluded, and times the others. Without
/// inputs that any of them computes, none is excluded.
pub(super) fn compare(contenders: &mut [Contender], basis: &Basis) -> Result<(), Disagreement> {
    let Some(first) = first_trial(contenders) else {
        return Ok(());
    };
    let mut trials = further_trials(contenders, &first, basis);
    let FirstTrial { trial, times, .. } = first;
    let inputs = trial.inputs.clone();
    trials.insert(0, trial);
    exclude_refusing(contenders, &mut trials);
    for (contender, time) in contenders.iter_mut().zip(&times) {
        contender.shortest = *time;
    }
    settle(contenders, &trials, basis.tolerance)?;
    time(contenders, &inputs);
    Ok(())
}

/// Returns the contenders that are not excluded.
fn remaining(contenders: &[Contender]) -> Vec<usize> {
    let all = 0..contenders.len();
    all.filter(|&one| contenders[one].problem.is_none())
        .collect()
}

// === The trials ===

/// Returns inputs for a graph, if it has any.
type InputsOf = fn(&dyn Graph) -> Option<Vec<NamedTensor>>;

/// Returns the trial of the inputs that most contenders compute: varied numbers, or zeros if none computes
/// those.
fn first_trial(contenders: &[Contender]) -> Option<FirstTrial> {
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    order.sort_by_key(|&one| contenders[one].backend != REFERENCE);
    let kinds: [InputsOf; 2] = [
        |graph| varied_inputs(graph, 1).ok(),
        |graph| graph.sample_inputs().ok(),
    ];
    for kind in kinds {
        let mut best: Option<FirstTrial> = None;
        let mut tried = Vec::new();
        for &source in &order {
            let Some(inputs) = kind(&*contenders[source].graph) else {
                continue;
            };
            // Graphs of the same model usually have the same samples.
            if tried.contains(&inputs) {
                continue;
            }
            tried.push(inputs.clone());
            let trial = FirstTrial::run(contenders, source, inputs);
            let computed = trial.computed();
            if best.as_ref().is_none_or(|best| best.computed() < computed) {
                best = Some(trial);
            }
            if computed == contenders.len() {
                break;
            }
        }
        let best = best.filter(|best| best.computed() > 0);
        if best.is_some() {
            return best;
        }
    }
    None
}

impl FirstTrial {
    fn run(contenders: &[Contender], source: usize, inputs: Vec<NamedTensor>) -> FirstTrial {
        let mut outcomes = Vec::with_capacity(contenders.len());
        let mut times = Vec::with_capacity(contenders.len());
        for contender in contenders {
            match compute_timed(&*contender.graph, &inputs) {
                Ok((outputs, time)) => {
                    outcomes.push(Outcome::Computed(outputs));
                    times.push(Some(time));
                }
                Err(error) => {
                    outcomes.push(Outcome::Refused(error.into_reason()));
                    times.push(None);
                }
            }
        }
        FirstTrial {
            trial: Trial {
                inputs,
                outcomes,
                selects_branch: false,
            },
            source,
            times,
        }
    }

    /// Returns the number of contenders that computed the inputs.
    fn computed(&self) -> usize {
        self.times.iter().flatten().count()
    }
}

/// Returns whether a backend with this time is slow beside one with the time `best`.
fn is_slow(time: Duration, best: Duration) -> bool {
    time > best * SLOW && time > best + SLOW_BY
}

/// Computes inputs of other sizes and with other numbers, each once with every contender that computed the
/// first inputs. A slow contender has a time limit.
fn further_trials(contenders: &[Contender], first: &FirstTrial, basis: &Basis) -> Vec<Trial> {
    let signature = contenders[first.source].graph.signature();
    let first_inputs = &first.trial.inputs;
    let best = first.times.iter().flatten().min().copied();
    let best = best.unwrap_or_default();
    let mut budgets = vec![SLOW_BUDGET; contenders.len()];
    let mut run = |inputs: Vec<NamedTensor>| {
        let growth = elements(&inputs) / elements(first_inputs);
        let mut outcomes = Vec::with_capacity(contenders.len());
        for (one, contender) in contenders.iter().enumerate() {
            outcomes.push(match first.times[one] {
                Some(time) if is_slow(time, best) => {
                    match budgets[one].checked_sub(time.mul_f64(growth)) {
                        Some(left) => {
                            budgets[one] = left;
                            Outcome::of(compute(&*contender.graph, &inputs))
                        }
                        None => Outcome::Unknown,
                    }
                }
                Some(_) => Outcome::of(compute(&*contender.graph, &inputs)),
                None => Outcome::Unknown,
            });
        }
        Trial {
            inputs,
            outcomes,
            selects_branch: false,
        }
    };
    // Rows that all backends compute together are also computed apart by all.
    let together = inputs_together(first_inputs, signature).filter(|inputs| {
        let growth = elements(inputs) / elements(first_inputs);
        best.mul_f64(growth) <= TOGETHER_BUDGET
    });
    let together = together.map(&mut run).filter(|trial| {
        let mut outcomes = trial.outcomes.iter().zip(&first.times);
        outcomes.all(|(outcome, time)| time.is_none() || outcome.outputs().is_some())
    });
    let mut trials: Vec<Trial> = match together {
        Some(trial) => vec![trial],
        None => {
            let further = further_inputs(first_inputs, signature).into_iter();
            further.map(&mut run).collect()
        }
    };
    let compared = basis.compared.iter().flat_map(|(name, values)| {
        let values = values.iter().take(MAX_COMPARED_VALUES);
        values.map(move |value| (name.as_str(), *value))
    });
    for choice in compared.take(MAX_COMPARED_VALUES) {
        // Another branch may need larger inputs, or compute more sizes than the one of the first inputs.
        let sizes = GROWTH.iter().map_while(|growth| {
            let inputs = with_value(first_inputs, signature, (choice, *growth))?;
            Some(Trial {
                selects_branch: true,
                ..run(inputs)
            })
        });
        let is_computed = |trial: &Trial| trial.outcomes.iter().any(|one| one.outputs().is_some());
        trials.extend(sizes.filter(is_computed).take(MAX_SIZES));
    }
    trials
}

/// Returns the number of elements of all inputs, at least 1.
fn elements(inputs: &[NamedTensor]) -> f64 {
    let elements = inputs.iter().map(|input| input.tensor.shape().elements());
    elements.sum::<usize>().max(1) as f64
}

impl Outcome {
    fn of(computed: Result<Vec<NamedTensor>, BackendError>) -> Outcome {
        match computed {
            Ok(outputs) => Outcome::Computed(outputs),
            Err(BackendError::Cancelled | BackendError::Overloaded { .. }) => Outcome::Unknown,
            Err(error) => Outcome::Refused(error.into_reason()),
        }
    }

    fn outputs(&self) -> Option<&[NamedTensor]> {
        match self {
            Outcome::Computed(outputs) => Some(outputs),
            Outcome::Refused(_) | Outcome::Unknown => None,
        }
    }
}

// === The verdict ===

/// Excludes the contenders that refuse inputs which others compute. Removes the trials whose inputs the
/// reference refuses, or everyone if there is no reference: such sizes are none of the graph's.
fn exclude_refusing(contenders: &mut [Contender], trials: &mut Vec<Trial>) {
    for (contender, outcome) in contenders.iter_mut().zip(&trials[0].outcomes) {
        if let Outcome::Refused(reason) = outcome {
            contender.problem = Some(reason.clone());
        }
    }
    let remaining = remaining(contenders);
    let reference = (remaining.iter().copied()).find(|&one| contenders[one].backend == REFERENCE);
    trials.retain(|trial| match reference {
        Some(reference) => trial.outcomes[reference].outputs().is_some(),
        None => trial.outcomes.iter().any(|one| one.outputs().is_some()),
    });
    // A branch that a backend refuses is missed more than sizes, of which each may refuse some.
    exclude_refusing_among(contenders, trials, |trial| trial.selects_branch);
    exclude_refusing_among(contenders, trials, |_| true);
}

/// Excludes the contenders that refuse the inputs of these trials, unless all of them refuse some.
fn exclude_refusing_among(
    contenders: &mut [Contender],
    trials: &[Trial],
    is_among: fn(&Trial) -> bool,
) {
    let remaining = remaining(contenders);
    let refusal = |one: usize| {
        let mut among = trials.iter().filter(|trial| is_among(trial));
        among.find_map(|trial| match &trial.outcomes[one] {
            Outcome::Refused(reason) => Some(reason),
            Outcome::Computed(_) | Outcome::Unknown => None,
        })
    };
    // If each refuses something, none is better than another.
    if remaining.iter().all(|&one| refusal(one).is_some()) {
        return;
    }
    for one in remaining {
        if let Some(reason) = refusal(one) {
            let problem = format!("it refuses inputs that another computes: {reason}");
            contenders[one].problem = Some(problem);
        }
    }
}

/// Excludes the contenders whose outputs differ from the reference, the majority, or the ones
/// that pass a second look.
fn settle(
    contenders: &mut [Contender],
    trials: &[Trial],
    tolerance: Tolerance,
) -> Result<(), Disagreement> {
    let mut left = remaining(contenders);
    let reference = (left.iter().copied()).find(|&one| contenders[one].backend == REFERENCE);
    if let Some(reference) = reference {
        exclude_differing(contenders, (trials, tolerance), reference);
        return Ok(());
    }
    let mut groups = groups(&left, trials, tolerance);
    if groups.len() > 1 && largest(&groups).is_none() {
        exclude_hiding_nan(contenders, &trials[0].inputs);
        left = remaining(contenders);
        groups = self::groups(&left, trials, tolerance);
    }
    match largest(&groups) {
        Some(right) => {
            exclude_differing(contenders, (trials, tolerance), right);
            Ok(())
        }
        None => match groups.as_slice() {
            [one, other, ..] => Err(Disagreement {
                backends: [contenders[one[0]].backend, contenders[other[0]].backend],
                difference: difference(trials, (one[0], other[0]), tolerance),
            }),
            _ => Ok(()),
        },
    }
}

/// Returns the contenders in groups with equal outputs.
fn groups(contenders: &[usize], trials: &[Trial], tolerance: Tolerance) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &one in contenders {
        let is_equal = |group: &&mut Vec<usize>| {
            difference(trials, (group[0], one), tolerance) <= tolerance.limit()
        };
        match groups.iter_mut().find(is_equal) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// Returns the first contender of the largest group, if it is the only one of its size.
fn largest(groups: &[Vec<usize>]) -> Option<usize> {
    let size = groups.iter().map(Vec::len).max()?;
    let mut largest = groups.iter().filter(|group| group.len() == size);
    match (largest.next(), largest.next()) {
        (Some(group), None) => group.first().copied(),
        _ => None,
    }
}

/// Excludes the contenders whose outputs differ from the outputs of `right`.
fn exclude_differing(
    contenders: &mut [Contender],
    (trials, tolerance): (&[Trial], Tolerance),
    right: usize,
) {
    for one in remaining(contenders) {
        let difference = difference(trials, (right, one), tolerance);
        contenders[one].difference = Some(difference);
        if difference > tolerance.limit() {
            let problem = format!("its output differs by {difference:.1e}");
            contenders[one].problem = Some(problem);
        }
    }
}

/// Excludes the contenders without any NaN in their outputs, if another computes NaN for the same inputs.
fn exclude_hiding_nan(contenders: &mut [Contender], inputs: &[NamedTensor]) {
    let Some(inputs) = with_nan(inputs) else {
        return;
    };
    let looks: Vec<(usize, bool)> = remaining(contenders)
        .into_iter()
        .filter_map(|one| {
            let outputs = compute(&*contenders[one].graph, &inputs).ok()?;
            Some((one, outputs.iter().any(|output| has_nan(&output.tensor))))
        })
        .collect();
    if looks.iter().any(|(_, has_nan)| *has_nan) {
        for (one, _) in looks.into_iter().filter(|(_, has_nan)| !has_nan) {
            contenders[one].problem = Some("it computes numbers from NaN".to_owned());
        }
    }
}

fn has_nan(tensor: &Tensor) -> bool {
    is_real(tensor.element_type()) && numbers(tensor).any(f64::is_nan)
}

/// Returns the largest difference between the outputs of two contenders, the first of which is taken as
/// right.
fn difference(trials: &[Trial], (right, other): (usize, usize), tolerance: Tolerance) -> f64 {
    let both = trials.iter().filter_map(|trial| {
        let outcomes = &trial.outcomes;
        Some((outcomes[right].outputs()?, outcomes[other].outputs()?))
    });
    both.map(|(right, other)| tolerance.difference(right, other))
        .fold(0.0, f64::max)
}

impl Basis {
    /// Reads the facts in the file at `path`, which has this outline, if it has one.
    pub(super) fn read(path: &Path, outline: Option<&ModelOutline>) -> Basis {
        Basis {
            tolerance: match outline {
                Some(outline) if outline.is_quantized => Tolerance::Quantized,
                _ => Tolerance::Real,
            },
            compared: match outline {
                Some(_) => compared_values(path).unwrap_or_default(),
                None => BTreeMap::new(),
            },
        }
    }
}

impl Tolerance {
    fn limit(self) -> f64 {
        match self {
            Tolerance::Real => 1e-2,
            Tolerance::Quantized => 5e-2,
        }
    }

    fn difference(self, expected: &[NamedTensor], found: &[NamedTensor]) -> f64 {
        let difference = largest_difference(expected, found);
        if self == Tolerance::Real || difference <= self.limit() || difference.is_infinite() {
            return difference;
        }
        let pairs = expected.iter().zip(found);
        pairs
            .map(|(expected, found)| relative_difference(expected, found))
            .fold(0.0, f64::max)
    }
}

/// Returns the largest difference between two outputs of the same shape, relative to the largest number of
/// the expected one, which is about the range of its quantization.
fn relative_difference(expected: &NamedTensor, found: &NamedTensor) -> f64 {
    if !is_real(expected.tensor.element_type()) {
        let one = std::slice::from_ref(expected);
        return largest_difference(one, std::slice::from_ref(found));
    }
    let finite = numbers(&expected.tensor).filter(|number| number.is_finite());
    let range = finite.map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
    let pairs = numbers(&expected.tensor).zip(numbers(&found.tensor));
    // The difference of two infinities or NaN is NaN, which `max` ignores; others are excluded before.
    pairs
        .map(|(expected, found)| (expected - found).abs() / range)
        .fold(0.0, f64::max)
}

// === The times ===

/// Times the contenders that are not excluded, in turns. A slow one is not computed again.
fn time(contenders: &mut [Contender], inputs: &[NamedTensor]) {
    let left = remaining(contenders);
    let times = left.iter().filter_map(|&one| contenders[one].shortest);
    let Some(best) = times.min() else {
        return;
    };
    let is_racing = |one: &usize| {
        let time = contenders[*one].shortest;
        time.is_some_and(|time| !is_slow(time, best))
    };
    let racing: Vec<usize> = left.into_iter().filter(is_racing).collect();
    if racing.len() < 2 {
        return;
    }
    let started = Instant::now();
    for round in 0..MAX_ROUNDS {
        if round > 0 && started.elapsed() >= TIMING {
            break;
        }
        for &one in &racing {
            let contender = &mut contenders[one];
            let began = Instant::now();
            if compute(&*contender.graph, inputs).is_ok() {
                let time = began.elapsed();
                contender.shortest = Some(contender.shortest.map_or(time, |best| best.min(time)));
            }
        }
    }
}
