//! The comparison of backends on the same inputs: which of them agree, and how fast these are.
//!
//! The reference decides if it is available, otherwise the majority, or a second comparison on
//! inputs with NaN, which an operator that replaces it by a number computes wrongly. If nothing decides, no
//! backend is taken for right. `trial` computes the inputs with all backends, and `verdict` excludes some of them.

use super::basis::Basis;
use super::contender::{Contender, remaining};
use super::trial::{FirstTrial, first_trial, further_trials, is_slow};
use super::verdict::{Disagreement, exclude_refusing, settle};
use std::time::{Duration, Instant};
use wisp_backend::measure::compute;
use wisp_tensor::NamedTensor;

/// The total time for timing the backends, after the first computation of each.
const TIMING: Duration = Duration::from_millis(100);

/// The maximum number of computations of each backend for its time, without the first.
const MAX_ROUNDS: usize = 100;

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
