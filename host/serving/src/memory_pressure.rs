//! The stages of back-pressure as the process approaches its memory limit.
//!
//! | stage | from | effect |
//! |---|---|---|
//! | `normal` | | none |
//! | `shrink` | 80 % | the response cache is emptied and remembers nothing; idle models become dormant, if requests load models |
//! | `refuse_large` | 90 % | also, no load of a model begins, whoever asks for it, no request may hold more than 4 MiB, and the tenant whose models take the most loses those that no request would load again |
//! | `refuse_all` | 95 % | also, no inference begins; health, metrics and questions about models are answered |
//!
//! A stage ends only once the use has fallen by three points more, so that it does not alternate. The limit is the one of
//! the control group or a lower one: the kernel would otherwise end the process. Budgets of single resources remain; the
//! stages are for what they do not count, such as fragmentation and libraries. The memory of child processes, which load
//! models or serve a tenant, counts up to the stage in which no load begins, and no further: their own limits bound them.
//!
//! Pure logic: [`memory_watch`](crate::memory_watch) reads the use and carries the effects out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// The largest reservation of a request in the stage in which large ones are refused: about the memory that a handler
/// of usual size and a small request take.
pub const LARGE_BYTES: usize = 4 << 20;

/// The part of the limit, in percent, by which the use must fall below the beginning of a stage to leave it.
const HYSTERESIS_PERCENT: u64 = 3;

/// A stage of back-pressure. Each has the effects of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PressureStage {
    #[default]
    Normal,
    Shrink,
    RefuseLarge,
    RefuseAll,
}

/// A change of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageChange {
    pub from: PressureStage,
    pub to: PressureStage,
}

/// The memory of the process and the stage that follows from it. Lifetime: the process.
#[derive(Debug)]
pub struct MemoryPressure {
    /// `None` without a limit, which is always in the first stage.
    limit: Option<u64>,
    used: AtomicU64,
    /// The memory of the processes below this one.
    children: AtomicU64,
    stage: AtomicU8,
    /// The numbers of times that each stage has been entered.
    entered: [AtomicU64; PressureStage::ALL.len()],
    refused: AtomicU64,
    /// The memory that running loads of tenants are expected to take.
    expected: AtomicU64,
}

/// The memory that a load is expected to take, counted until this is dropped. Lifetime: one load.
#[derive(Debug)]
pub(crate) struct ExpectedLoad {
    pressure: Arc<MemoryPressure>,
    bytes: u64,
}

/// The refusal of work for lack of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is short of memory; try again later")]
pub struct ShortOfMemory;

// === impl PressureStage ===

impl PressureStage {
    /// All stages, in the order in which they follow each other.
    pub const ALL: [PressureStage; 4] = [
        PressureStage::Normal,
        PressureStage::Shrink,
        PressureStage::RefuseLarge,
        PressureStage::RefuseAll,
    ];

    /// Returns the name of the stage in metrics and in the log.
    pub fn name(self) -> &'static str {
        match self {
            PressureStage::Normal => "normal",
            PressureStage::Shrink => "shrink",
            PressureStage::RefuseLarge => "refuse_large",
            PressureStage::RefuseAll => "refuse_all",
        }
    }

    /// Returns the stage that follows `self` when `used` bytes of a limit are in use.
    pub fn next(self, used: u64, limit: u64) -> PressureStage {
        let stages = PressureStage::ALL.into_iter().rev();
        let reached = |stage: &PressureStage| {
            // A stage that has begun lasts a little longer.
            let kept = match *stage <= self {
                true => HYSTERESIS_PERCENT,
                false => 0,
            };
            let percent = u128::from(stage.begins_at_percent().saturating_sub(kept));
            u128::from(used) * 100 >= u128::from(limit) * percent
        };
        let mut reached = stages.filter(reached);
        reached.next().unwrap_or(PressureStage::Normal)
    }

    /// Returns the part of the limit at which the stage begins.
    fn begins_at_percent(self) -> u64 {
        match self {
            PressureStage::Normal => 0,
            PressureStage::Shrink => 80,
            PressureStage::RefuseLarge => 90,
            PressureStage::RefuseAll => 95,
        }
    }

    fn of_number(number: u8) -> PressureStage {
        let stage = PressureStage::ALL.get(usize::from(number));
        stage.copied().unwrap_or_default()
    }
}

// === impl MemoryPressure ===

impl MemoryPressure {
    /// Returns the pressure of a process that uses nothing yet.
    pub fn new(limit: Option<u64>) -> MemoryPressure {
        MemoryPressure {
            limit: limit.filter(|limit| *limit > 0),
            used: AtomicU64::new(0),
            children: AtomicU64::new(0),
            stage: AtomicU8::new(0),
            entered: Default::default(),
            refused: AtomicU64::new(0),
            expected: AtomicU64::new(0),
        }
    }

    /// Returns the memory limit of the process, if it has one.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Returns the memory that the process used when it was last read.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Returns the memory that the processes below this one used when it was last read.
    pub fn children(&self) -> u64 {
        self.children.load(Relaxed)
    }

    /// Returns the current stage.
    pub fn stage(&self) -> PressureStage {
        PressureStage::of_number(self.stage.load(Relaxed))
    }

    /// Returns the number of times that the stage has been entered.
    pub fn entered(&self, stage: PressureStage) -> u64 {
        let entered = self.entered.get(stage as usize);
        entered.map_or(0, |entered| entered.load(Relaxed))
    }

    /// Returns the number of requests and loads that were refused for lack of memory.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Records that the process uses this number of bytes, and returns the change of the stage. One task at a time does
    /// so.
    pub fn observe(&self, used: u64) -> Option<StageChange> {
        self.observe_all(used, 0)
    }

    /// Records in the same way that the process uses this number of bytes, and the processes below it another. Those keep
    /// loads from beginning, and no request from being answered: they are not of those who would have to wait.
    pub fn observe_all(&self, used: u64, children: u64) -> Option<StageChange> {
        self.used.store(used, Relaxed);
        self.children.store(children, Relaxed);
        let limit = self.limit?;
        let from = self.stage();
        let with_children = from.next(used.saturating_add(children), limit);
        let to = from
            .next(used, limit)
            .max(with_children.min(PressureStage::RefuseLarge));
        if from == to {
            return None;
        }
        self.stage.store(to as u8, Relaxed);
        if let Some(entered) = self.entered.get(to as usize) {
            entered.fetch_add(1, Relaxed);
        }
        Some(StageChange { from, to })
    }

    /// Checks that an inference may begin.
    ///
    /// # Errors
    /// Returns [`ShortOfMemory`] in the stage in which none begins.
    pub fn check_inference(&self) -> Result<(), ShortOfMemory> {
        self.check_before(PressureStage::RefuseAll)
    }

    /// Checks that the load of a model may begin.
    ///
    /// # Errors
    /// Returns [`ShortOfMemory`] in the stages in which none begins.
    pub fn check_load(&self) -> Result<(), ShortOfMemory> {
        self.check_before(PressureStage::RefuseLarge)
    }

    /// Counts the memory that a load is expected to take, besides what is used and what other loads are expected to take.
    ///
    /// # Errors
    /// Returns [`ShortOfMemory`] if the load would lead to the stage in which no other begins.
    pub(crate) fn expect_load(
        self: &Arc<MemoryPressure>,
        bytes: u64,
    ) -> Result<ExpectedLoad, ShortOfMemory> {
        let others = self.expected.fetch_add(bytes, Relaxed);
        // Dropped with an error, it is counted no more.
        let load = ExpectedLoad {
            pressure: Arc::clone(self),
            bytes,
        };
        let Some(limit) = self.limit else {
            return Ok(load);
        };
        let used = self.used().saturating_add(self.children());
        let used = used.saturating_add(others).saturating_add(bytes);
        if PressureStage::Normal.next(used, limit) < PressureStage::RefuseLarge {
            return Ok(load);
        }
        self.refused.fetch_add(1, Relaxed);
        Err(ShortOfMemory)
    }

    /// Returns the bytes by which the use of this process must fall for loads to begin again; 0 if they may begin.
    pub(crate) fn excess(&self) -> u64 {
        let stage = PressureStage::RefuseLarge;
        if self.stage() < stage {
            return 0;
        }
        let percent = stage.begins_at_percent().saturating_sub(HYSTERESIS_PERCENT);
        let limit = u128::from(self.limit.unwrap_or_default());
        let kept = u64::try_from(limit * u128::from(percent) / 100).unwrap_or(u64::MAX);
        // A use of exactly this much is still in the stage. What children use cannot be freed here.
        self.used().saturating_add(1).saturating_sub(kept)
    }

    fn check_before(&self, stage: PressureStage) -> Result<(), ShortOfMemory> {
        if self.stage() < stage {
            return Ok(());
        }
        self.refused.fetch_add(1, Relaxed);
        Err(ShortOfMemory)
    }
}

impl Drop for ExpectedLoad {
    fn drop(&mut self) {
        self.pressure.expected.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PressureStage::{Normal, RefuseAll, RefuseLarge, Shrink};

    #[test]
    fn each_stage_begins_at_its_part_of_the_limit() {
        for (used, expected) in [
            (0, Normal),
            (799, Normal),
            (800, Shrink),
            (899, Shrink),
            (900, RefuseLarge),
            (949, RefuseLarge),
            (950, RefuseAll),
            (u64::MAX, RefuseAll),
        ] {
            assert_eq!(Normal.next(used, 1000), expected, "{used}");
        }
    }

    #[test]
    fn loads_that_are_expected_to_lead_to_the_refusal_of_loads_are_refused() {
        let pressure = Arc::new(MemoryPressure::new(Some(1000)));
        pressure.observe(500);
        let first = pressure.expect_load(300);
        assert!(first.is_ok());
        assert!(
            pressure.expect_load(100).is_err(),
            "both together are too large"
        );
        let second = pressure.expect_load(99);
        assert!(second.is_ok(), "the refused load is not counted");
        drop((first, second));
        assert!(pressure.expect_load(399).is_ok());
        assert_eq!(pressure.refused(), 1);
        let unlimited = Arc::new(MemoryPressure::new(None));
        assert!(unlimited.expect_load(u64::MAX).is_ok());
    }

    #[test]
    fn child_processes_keep_loads_from_beginning_and_requests_from_nothing() {
        let pressure = Arc::new(MemoryPressure::new(Some(1000)));
        for (used, children, expected) in [
            (500, 200, Normal),
            (500, 300, Shrink),
            (500, 400, RefuseLarge),
            (500, 10_000, RefuseLarge),
            (950, 0, RefuseAll),
            (919, 500, RefuseLarge),
            (300, 0, Normal),
        ] {
            pressure.observe_all(used, children);
            assert_eq!(pressure.stage(), expected, "{used} {children}");
            assert_eq!(pressure.check_inference().is_ok(), expected < RefuseAll);
        }
        pressure.observe_all(100, 700);
        assert!(pressure.expect_load(100).is_err());
        assert!(pressure.expect_load(99).is_ok());
        pressure.observe_all(100, 900);
        assert_eq!(pressure.excess(), 0, "nothing here could be freed");
    }

    #[test]
    fn the_excess_is_what_must_go_for_loads_to_begin_again() {
        let pressure = MemoryPressure::new(Some(1000));
        for (used, excess) in [(0, 0), (899, 0), (900, 31), (960, 91), (880, 11)] {
            pressure.observe(used);
            assert_eq!(pressure.excess(), excess, "{used}");
            if excess > 0 {
                assert!(pressure.stage().next(used - excess, 1000) < RefuseLarge);
            }
        }
    }

    #[test]
    fn a_stage_lasts_until_the_use_is_three_points_below_its_beginning() {
        for (stage, used, expected) in [
            (Shrink, 770, Shrink),
            (Shrink, 769, Normal),
            (RefuseLarge, 870, RefuseLarge),
            (RefuseLarge, 869, Shrink),
            (RefuseLarge, 769, Normal),
            (RefuseAll, 920, RefuseAll),
            (RefuseAll, 919, RefuseLarge),
            (RefuseAll, 0, Normal),
        ] {
            assert_eq!(stage.next(used, 1000), expected, "{stage:?} {used}");
        }
    }

    #[test]
    fn a_use_that_alternates_around_a_beginning_changes_the_stage_once() {
        let pressure = MemoryPressure::new(Some(1000));
        let uses = [790, 810, 790, 810, 780, 800, 771];
        let changes: Vec<StageChange> = uses
            .into_iter()
            .filter_map(|used| pressure.observe(used))
            .collect();
        let (from, to) = (Normal, Shrink);
        assert_eq!(changes, [StageChange { from, to }]);
        assert_eq!((pressure.entered(Shrink), pressure.used()), (1, 771));
    }

    #[test]
    fn loads_are_refused_before_inferences() {
        let pressure = MemoryPressure::new(Some(100));
        for (used, load, inference) in [(89, true, true), (90, false, true), (95, false, false)] {
            pressure.observe(used);
            assert_eq!(pressure.check_load().is_ok(), load, "{used}");
            assert_eq!(pressure.check_inference().is_ok(), inference, "{used}");
        }
        assert_eq!(pressure.refused(), 3);
        pressure.observe(10);
        assert_eq!(pressure.stage(), Normal);
        assert_eq!(pressure.check_load(), Ok(()));
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        for limit in [None, Some(0)] {
            let pressure = MemoryPressure::new(limit);
            assert_eq!(pressure.observe(u64::MAX), None);
            assert_eq!(pressure.check_inference(), Ok(()));
        }
    }

    #[test]
    fn every_stage_follows_from_its_number() {
        for stage in PressureStage::ALL {
            assert_eq!(PressureStage::of_number(stage as u8), stage);
        }
        assert_eq!(PressureStage::of_number(200), Normal);
    }
}
