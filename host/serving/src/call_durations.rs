//! The choice of the threads for a version's calls, by the recent durations of the calls.

use crate::moving_average::MovingAverage;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// The mean call time above which calls are no longer made inline.
const LONG_CALL: Duration = Duration::from_micros(500);

/// The mean call time below which calls are made inline again.
const SHORT_CALL: Duration = Duration::from_micros(250);

/// The upper bound of one call's time in the mean, so that a single call changes nothing. Such a call may
/// have met a busy machine, or may be larger than all others.
const LONGEST_COUNTED: Duration = Duration::from_millis(4);

/// The mean call time up to which the calls of a version may be direct.
const QUICK_CALL: Duration = Duration::from_micros(150);

/// The number of calls with a mean of at most [`QUICK_CALL`] after which calls are made directly.
const FIRST_TRIAL: u32 = 16;

/// The maximum number of such calls that a version may need. The number grows by a factor of
/// [`TRIAL_GROWTH`] each time that a direct call exceeds its budget, so that a handler which is slow now and
/// then costs other connections next to nothing.
const LONGEST_TRIAL: u32 = 1 << 20;

/// The growth of the trial after a direct call that exceeded its budget.
const TRIAL_GROWTH: u32 = 16;

/// The time that an inline call may occupy its thread.
const INLINE_BUDGET: Duration = Duration::from_millis(10);

/// The time that a direct call or computation may occupy its thread, which other connections wait for. The
/// epoch that ends a guest adds up to twice its length of 5 ms.
const DIRECT_BUDGET: Duration = Duration::from_millis(2);

/// The fastest kind of call that a version may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionMode {
    /// On the thread of the connection, as long as calls take microseconds.
    Direct,
    /// On one thread of the pool, as long as calls are short.
    Inline,
    /// The guest on a fiber, and the computation on the threads of the graph.
    Queued,
}

/// The recent durations of a version's calls. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct CallDurations {
    mode: ExecutionMode,
    mean: MovingAverage<4>,
    is_long: AtomicBool,
    /// The number of quick calls that must still follow before calls are direct.
    trial: AtomicU32,
    /// The length of the next trial.
    next_trial: AtomicU32,
}

/// The threads on which a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// The thread of the caller.
    Direct,
    /// One thread of the pool.
    Inline,
    /// A fiber in the pool, and the threads of the graph.
    Queued,
}

impl CallKind {
    /// Returns the time that a call may occupy its thread; `None` if it gives its thread back by itself.
    pub(crate) fn budget(self) -> Option<Duration> {
        match self {
            CallKind::Direct => Some(DIRECT_BUDGET),
            CallKind::Inline => Some(INLINE_BUDGET),
            CallKind::Queued => None,
        }
    }
}

impl CallDurations {
    /// Returns the choice for a version without calls so far, up to the kind that `mode` allows.
    pub(crate) fn new(mode: ExecutionMode) -> CallDurations {
        CallDurations {
            mode,
            mean: MovingAverage::default(),
            is_long: AtomicBool::new(false),
            trial: AtomicU32::new(FIRST_TRIAL),
            next_trial: AtomicU32::new(FIRST_TRIAL),
        }
    }

    /// Returns the kind of the next call.
    pub(crate) fn kind(&self) -> CallKind {
        match self.mode {
            ExecutionMode::Queued => CallKind::Queued,
            _ if self.is_long.load(Relaxed) => CallKind::Queued,
            ExecutionMode::Direct if self.trial.load(Relaxed) == 0 => CallKind::Direct,
            ExecutionMode::Direct | ExecutionMode::Inline => CallKind::Inline,
        }
    }

    /// Counts a call, successful or not.
    pub(crate) fn add(&self, took: Duration) {
        self.mean.add(took.min(LONGEST_COUNTED));
        let mean = self.mean.get();
        if mean > LONG_CALL {
            self.is_long.store(true, Relaxed);
        } else if mean < SHORT_CALL && self.is_long.load(Relaxed) {
            self.is_long.store(false, Relaxed);
        }
        let trial = self.trial.load(Relaxed);
        if mean > QUICK_CALL {
            // Repeated for every slow call; the length of the trial stays the same.
            self.trial.store(self.next_trial.load(Relaxed), Relaxed);
        } else if trial > 0 {
            self.trial.store(trial - 1, Relaxed);
        }
    }

    /// Records that a call of this kind did not end within its time budget.
    pub(crate) fn exceeded_budget(&self, kind: CallKind) {
        if kind == CallKind::Direct {
            let trial = self.next_trial.load(Relaxed).saturating_mul(TRIAL_GROWTH);
            let trial = trial.min(LONGEST_TRIAL);
            self.next_trial.store(trial, Relaxed);
            self.trial.store(trial, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);
    const QUICK: Duration = Duration::from_micros(30);

    fn add(durations: &CallDurations, took: Duration, calls: u32) {
        for _ in 0..calls {
            durations.add(took);
        }
    }

    #[test]
    fn calls_are_queued_after_several_long_ones_but_not_after_a_single_one() {
        let durations = CallDurations::new(ExecutionMode::Inline);
        durations.add(LONG);
        assert_eq!(durations.kind(), CallKind::Inline);
        add(&durations, LONG, 3);
        assert_eq!(durations.kind(), CallKind::Queued);
    }

    #[test]
    fn rare_long_calls_among_many_quick_ones_change_nothing() {
        let durations = CallDurations::new(ExecutionMode::Inline);
        for _ in 0..10 {
            durations.add(LONG);
            add(&durations, QUICK, 100);
            assert_eq!(durations.kind(), CallKind::Inline);
        }
    }

    #[test]
    fn calls_that_are_short_again_are_inline_again() {
        let durations = CallDurations::new(ExecutionMode::Inline);
        add(&durations, Duration::from_millis(3), 100);
        assert_eq!(durations.kind(), CallKind::Queued);
        add(&durations, QUICK, 100);
        assert_eq!(durations.kind(), CallKind::Inline);
    }

    #[test]
    fn calls_are_direct_once_enough_of_them_were_quick() {
        let durations = CallDurations::new(ExecutionMode::Direct);
        add(&durations, QUICK, FIRST_TRIAL - 1);
        assert_eq!(durations.kind(), CallKind::Inline);
        durations.add(QUICK);
        assert_eq!(durations.kind(), CallKind::Direct);
        add(&durations, Duration::from_micros(400), 100);
        assert_eq!(durations.kind(), CallKind::Inline);
        add(&durations, QUICK, 100);
        assert_eq!(durations.kind(), CallKind::Direct);
    }

    #[test]
    fn every_direct_call_that_exceeds_its_budget_makes_the_next_trial_longer() {
        let durations = CallDurations::new(ExecutionMode::Direct);
        let mut trial = FIRST_TRIAL;
        for _ in 0..3 {
            add(&durations, QUICK, 2 * trial);
            assert_eq!(durations.kind(), CallKind::Direct);
            durations.exceeded_budget(CallKind::Direct);
            durations.add(DIRECT_OVERRUN);
            trial *= TRIAL_GROWTH;
            add(&durations, QUICK, trial - 1);
            assert_eq!(durations.kind(), CallKind::Inline);
        }
    }

    /// The duration of a direct call that was ended by the epoch.
    const DIRECT_OVERRUN: Duration = Duration::from_millis(7);

    #[test]
    fn the_mode_bounds_the_kind() {
        for (mode, kind) in [
            (ExecutionMode::Queued, CallKind::Queued),
            (ExecutionMode::Inline, CallKind::Inline),
            (ExecutionMode::Direct, CallKind::Direct),
        ] {
            let durations = CallDurations::new(mode);
            add(&durations, QUICK, 1000);
            assert_eq!(durations.kind(), kind);
        }
    }
}
