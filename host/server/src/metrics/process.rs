//! The metrics of the process under the names that the clients of Prometheus share, and the version of the program.
//!
//! They are those that Linux reports; on other systems their families have no samples.

use super::machine::memory_bytes;
use super::page::{Kind, Page};
use std::fs::{read_dir, read_to_string};

/// The ticks per second in which Linux reports times to programs.
const TICKS: f64 = 100.0;

/// The times of a process in ticks, from `/proc/self/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessTimes {
    /// In user and system mode, of all threads.
    used: u32,
    /// From the start of the machine to the start of the process.
    started: u64,
}

/// Writes the families.
pub(super) fn write(page: &mut Page) {
    let help = "1, with the version of the program as a label";
    page.family(Kind::Gauge, "wisp_build_info", help);
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    page.sample("wisp_build_info", &labels, 1);
    let times = read_to_string("/proc/self/stat").ok();
    let times = times.and_then(|text| ProcessTimes::parse(&text));
    let name = "process_cpu_seconds_total";
    page.family(Kind::Counter, name, "User and system time of the process");
    if let Some(times) = times {
        page.sample(name, &[], f64::from(times.used) / TICKS);
    }
    let name = "process_start_time_seconds";
    let help = "Start of the process since the epoch in seconds";
    page.family(Kind::Gauge, name, help);
    if let (Some(times), Some(boot)) = (times, boot_time()) {
        page.sample(name, &[], boot.saturating_add(times.started / 100));
    }
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    for (name, help, line) in [
        (
            "process_resident_memory_bytes",
            "Resident memory of the process in bytes",
            "VmRSS:",
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory of the process in bytes",
            "VmSize:",
        ),
    ] {
        page.family(Kind::Gauge, name, help);
        if let Some(bytes) = memory_bytes(&status, line) {
            page.sample(name, &[], bytes);
        }
    }
    let name = "process_open_fds";
    page.family(Kind::Gauge, name, "Open file descriptors of the process");
    if let Ok(descriptors) = read_dir("/proc/self/fd") {
        page.sample(name, &[], descriptors.count());
    }
}

/// Returns the start of the machine, in seconds since the epoch.
fn boot_time() -> Option<u64> {
    let text = read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

impl ProcessTimes {
    /// Reads the fields after the name of the program, which is in parentheses and may contain any character.
    fn parse(text: &str) -> Option<ProcessTimes> {
        let (_, rest) = text.rsplit_once(')')?;
        // The first of them is the third of all.
        let field = |number: usize| rest.split_whitespace().nth(number.checked_sub(3)?);
        let ticks = |number: usize| field(number)?.parse::<u32>().ok();
        Some(ProcessTimes {
            used: ticks(14)?.checked_add(ticks(15)?)?,
            started: field(22)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_contain_anything() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 0 1 0 0 0 250 50 0 0 20 0 9 0 123456 1 2 3";
        let expected = ProcessTimes {
            used: 300,
            started: 123_456,
        };
        assert_eq!(ProcessTimes::parse(text), Some(expected));
        assert_eq!(ProcessTimes::parse("7 (a) S 1"), None);
    }
}
