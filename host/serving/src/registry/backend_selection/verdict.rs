//! The verdict of a comparison: excludes the contenders that refuse what others compute, or whose outputs are wrong.

use super::basis::Tolerance;
use super::contender::{Contender, remaining};
use super::inputs::{is_real, with_nan};
use super::trial::{Outcome, Trial};
use wisp_backend::measure::{REFERENCE, compute};
use wisp_tensor::number::numbers;
use wisp_tensor::{NamedTensor, Tensor};

/// Backends that compute different outputs, where nothing decides which are right.
#[derive(Debug)]
pub(super) struct Disagreement {
    pub(super) backends: [&'static str; 2],
    pub(super) difference: f64,
}

/// Excludes the contenders that refuse inputs which others compute. Removes the trials whose inputs the
/// reference refuses, or everyone if there is no reference: such sizes are none of the graph's.
pub(super) fn exclude_refusing(contenders: &mut [Contender], trials: &mut Vec<Trial>) {
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
pub(super) fn settle(
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
