//! Trials of a comparison: the same inputs, computed by all contenders once.

use super::basis::Basis;
use super::contender::Contender;
use super::inputs::{further_inputs, inputs_together, with_value};
use std::time::Duration;
use wisp_backend::measure::{REFERENCE, compute, compute_timed, varied_inputs};
use wisp_backend::{BackendError, Graph};
use wisp_tensor::NamedTensor;

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

/// The outcomes of all contenders for the same inputs.
pub(super) struct Trial {
    pub(super) inputs: Vec<NamedTensor>,
    pub(super) outcomes: Vec<Outcome>,
    /// Set if the inputs contain a number that the graph compares them with.
    pub(super) selects_branch: bool,
}

/// The outcome of one contender.
pub(super) enum Outcome {
    Computed(Vec<NamedTensor>),
    Refused(String),
    /// It was not tried, or did not end for another reason than its inputs.
    Unknown,
}

/// The trial of the inputs that the backends are timed with.
pub(super) struct FirstTrial {
    pub(super) trial: Trial,
    /// The contender whose sample inputs these are.
    source: usize,
    /// The time of each contender that computed them.
    pub(super) times: Vec<Option<Duration>>,
}

/// Returns inputs for a graph, if it has any.
type InputsOf = fn(&dyn Graph) -> Option<Vec<NamedTensor>>;

/// Returns the trial of the inputs that most contenders compute: varied numbers, or zeros if none computes
/// those.
pub(super) fn first_trial(contenders: &[Contender]) -> Option<FirstTrial> {
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
pub(super) fn is_slow(time: Duration, best: Duration) -> bool {
    time > best * SLOW && time > best + SLOW_BY
}

/// Computes inputs of other sizes and with other numbers, each once with every contender that computed the
/// first inputs. A slow contender has a time limit.
pub(super) fn further_trials(
    contenders: &[Contender],
    first: &FirstTrial,
    basis: &Basis,
) -> Vec<Trial> {
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

    pub(super) fn outputs(&self) -> Option<&[NamedTensor]> {
        match self {
            Outcome::Computed(outputs) => Some(outputs),
            Outcome::Refused(_) | Outcome::Unknown => None,
        }
    }
}
