//! The use of the machine under Triton's names, and the time of its processors, as Linux reports them.
//!
//! Like Triton's, the numbers describe the whole machine, also in a container. On other systems the families have
//! no samples.

use super::page::{Kind, Page};
use std::fs::read_to_string;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const UTILIZATION: (&str, &str) = ("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]");

const TOTAL: (&str, &str) = (
    "nv_cpu_memory_total_bytes",
    "CPU total memory (RAM), in bytes",
);

const USED: (&str, &str) = (
    "nv_cpu_memory_used_bytes",
    "CPU used memory (RAM), in bytes",
);

/// The shortest time over which the use of the processors is measured.
const SHORTEST: Duration = Duration::from_secs(1);

/// The use of the processors between two pages. Lifetime: the process.
#[derive(Debug)]
pub(super) struct ProcessorMeter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    times: ProcessorTimes,
    /// The use in the last measured time, from 0 to 1.
    utilization: f64,
}

/// The times of all processors since the machine was started, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ProcessorTimes {
    busy: u64,
    all: u64,
}

/// Writes the families.
pub(super) fn write(page: &mut Page, processors: &ProcessorMeter) {
    page.family(Kind::Gauge, UTILIZATION.0, UTILIZATION.1);
    if let Some(utilization) = processors.utilization() {
        page.sample(UTILIZATION.0, &[], utilization);
    }
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory_bytes(&memory, "MemTotal:");
    let available = memory_bytes(&memory, "MemAvailable:");
    page.family(Kind::Gauge, TOTAL.0, TOTAL.1);
    if let Some(total) = total {
        page.sample(TOTAL.0, &[], total);
    }
    page.family(Kind::Gauge, USED.0, USED.1);
    if let (Some(total), Some(available)) = (total, available) {
        page.sample(USED.0, &[], total.saturating_sub(available));
    }
}

/// Returns a number of `/proc/meminfo` or `/proc/self/status`, which is in KiB there.
pub(super) fn memory_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

impl ProcessorMeter {
    /// Returns a meter that measures from now on.
    pub(super) fn start() -> ProcessorMeter {
        ProcessorMeter {
            state: Mutex::new(State {
                since: Instant::now(),
                times: ProcessorTimes::now().unwrap_or_default(),
                utilization: 0.0,
            }),
        }
    }

    /// Returns the use since the last call, or in the last second or more.
    fn utilization(&self) -> Option<f64> {
        let now = ProcessorTimes::now()?;
        // No code panics while the lock is held, so a poisoned lock still guards a measurement.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.elapsed() >= SHORTEST {
            state.utilization = now.utilization_since(state.times);
            state.times = now;
            state.since = Instant::now();
        }
        Some(state.utilization)
    }
}

impl ProcessorTimes {
    fn now() -> Option<ProcessorTimes> {
        ProcessorTimes::parse(&read_to_string("/proc/stat").ok()?)
    }

    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and then times that
    /// are parts of these.
    fn parse(text: &str) -> Option<ProcessorTimes> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let numbers = line.split_whitespace().take(8);
        let times: Vec<u64> = numbers
            .map(|number| number.parse().ok())
            .collect::<Option<Vec<u64>>>()?;
        let all = times
            .iter()
            .fold(0, |sum: u64, time| sum.saturating_add(*time));
        let idle = times.get(3)?.saturating_add(*times.get(4)?);
        Some(ProcessorTimes {
            busy: all.saturating_sub(idle),
            all,
        })
    }

    fn utilization_since(self, before: ProcessorTimes) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let all = self.all.saturating_sub(before.all);
        match all {
            0 => 0.0,
            // Ticks since a scrape are far below the limit of exact numbers.
            all => (busy as f64 / all as f64).min(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_use_is_what_was_not_idle() -> anyhow::Result<()> {
        let parse = |text| anyhow::Context::context(ProcessorTimes::parse(text), "no times");
        let before = parse("cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2 3 4\n")?;
        let after = parse("cpu  130 0 70 840 60 0 0 0 9 0\n")?;
        assert_eq!((before.busy, before.all), (150, 1000));
        assert_eq!(after.utilization_since(before), 0.5);
        assert_eq!(before.utilization_since(before), 0.0);
        assert_eq!(ProcessorTimes::parse("cpu  1 2"), None);
        assert_eq!(ProcessorTimes::parse(""), None);
        Ok(())
    }

    #[test]
    fn numbers_of_memory_are_in_kibibytes() {
        let text = "MemTotal:       16000 kB\nMemAvailable:    4000 kB\n";
        assert_eq!(memory_bytes(text, "MemAvailable:"), Some(4_096_000));
        assert_eq!(memory_bytes(text, "SwapTotal:"), None);
    }
}
