//! The search for the bad requests of a batch that has failed.
//!
//! Halves of the batch are computed again until one request is found that fails alone; the rest is then computed
//! together. One bad request among `n` costs at most `log2(n)` halves, its own run and the rest. Batches in which
//! several requests are bad are searched a few times and then computed one by one.
//!
//! Pure logic: the caller computes, and delivers the outcome of each run.

/// The number of bad requests that are searched for before all others are computed alone.
const SEARCHES: usize = 2;

/// Computes the members of a batch of `count` again, which has failed as a whole.
///
/// `run` computes the members with these positions together and returns whether that succeeded. The outcome of a
/// member is final once a run with it has succeeded or it has been run alone. There is one such run for each.
pub(crate) fn rerun(count: usize, run: &mut dyn FnMut(&[usize]) -> bool) {
    let mut failed: Vec<usize> = (0..count).collect();
    for _ in 0..SEARCHES {
        failed = search(failed, run);
        if failed.is_empty() {
            return;
        }
    }
    for member in failed {
        run(&[member]);
    }
}

/// Finds one bad member of a batch that has failed, and runs the others. Returns those that have failed together, of
/// which there are then at least two.
fn search(failed: Vec<usize>, run: &mut dyn FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut suspects = failed;
    let mut others = Vec::new();
    let mut has_run_alone = false;
    while suspects.len() > 1 {
        let second = suspects.split_off(suspects.len().div_ceil(2));
        if run(&suspects) {
            suspects = second;
        } else {
            has_run_alone = suspects.len() == 1;
            others.extend(second);
        }
    }
    // Not blamed without a run of its own: the batch may have failed for its size.
    if !has_run_alone && !suspects.is_empty() {
        run(&suspects);
    }
    others.sort_unstable();
    if others.is_empty() || run(&others) || others.len() == 1 {
        return Vec::new();
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Runs the search for these bad members, checks that each member has one final outcome, and returns the number
    /// of runs.
    fn runs(count: usize, bad: &BTreeSet<usize>) -> usize {
        let mut runs = 0;
        let mut outcomes = vec![0; count];
        rerun(count, &mut |members| {
            runs += 1;
            let fails = members.iter().any(|member| bad.contains(member));
            if !fails || members.len() == 1 {
                for member in members {
                    outcomes[*member] += 1;
                }
            }
            !fails
        });
        assert_eq!(outcomes, vec![1; count], "{bad:?}");
        runs
    }

    #[test]
    fn one_bad_request_is_found_in_a_logarithmic_number_of_runs() {
        for count in 2..=70usize {
            for bad in 0..count {
                let most = count.next_power_of_two().ilog2() + 2;
                let runs = runs(count, &BTreeSet::from([bad]));
                assert!(runs <= most as usize, "{runs} runs for {bad} of {count}");
            }
        }
    }

    #[test]
    fn every_member_has_one_outcome_whichever_of_them_are_bad() {
        for count in 2..=9usize {
            for mask in 0..1u32 << count {
                let bad: BTreeSet<usize> = (0..count).filter(|bit| mask >> bit & 1 == 1).collect();
                let runs = runs(count, &bad);
                assert!(runs <= 4 * count, "{runs} runs for {bad:?} of {count}");
            }
        }
    }

    #[test]
    fn a_batch_that_fails_only_for_its_size_is_computed_in_parts() {
        let mut done = 0;
        rerun(8, &mut |members| {
            let fits = members.len() <= 2;
            done += if fits { members.len() } else { 0 };
            fits
        });
        assert_eq!(done, 8);
    }
}
