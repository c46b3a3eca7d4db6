//! The resources of a server and of the processes that it has started, according to the kernel, and their growth.

use crate::harness::wait_until;
use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// The threads and descriptors that a server may have more than before: of pools that grow once when they are used.
const SPARE: usize = 8;

/// The counts of a server while it has no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Resident memory of the server itself, in bytes.
    pub(super) memory: u64,
    /// Threads of the server itself.
    threads: usize,
    /// Open files and sockets of the server itself.
    descriptors: usize,
    /// The server and all processes that it has started, and so on.
    processes: usize,
}

impl Footprint {
    pub(super) fn of(process: u32) -> Result<Footprint> {
        Ok(Footprint {
            memory: resident_bytes(process)?,
            threads: fs::read_dir(format!("/proc/{process}/task"))?.count(),
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            processes: processes(process),
        })
    }

    /// Waits until a process has no more than these threads, descriptors and descendants, but for a few. Connections, threads
    /// that wait for work and workers end some time after their last request.
    pub(super) fn wait_for(self, process: u32) -> Result<()> {
        let is_within = |now: Footprint| {
            now.threads <= self.threads + SPARE
                && now.descriptors <= self.descriptors + SPARE
                && now.processes <= self.processes
        };
        let waited = wait_until("there is no more than before the attacks", || {
            Footprint::of(process).is_ok_and(is_within)
        });
        waited.with_context(|| format!("{:?}, before {self:?}", Footprint::of(process)))
    }
}

/// Returns the resident memory of a process, in bytes.
pub(super) fn resident_bytes(process: u32) -> Result<u64> {
    let sizes = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages = sizes.split_whitespace().nth(1).context("no resident set")?;
    let page = u64::try_from(rustix::param::page_size())?;
    Ok(pages.parse::<u64>()? * page)
}

/// Returns the most resident memory that a process has had, in bytes.
pub(super) fn peak_resident_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no peak")?.parse::<u64>()? << 10)
}

/// Returns the number of processes of a tree. Those that end meanwhile may be missing.
fn processes(root: u32) -> usize {
    let mut count = 0;
    let mut rest = vec![root];
    while let Some(process) = rest.pop() {
        count += 1;
        let threads = fs::read_dir(format!("/proc/{process}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            rest.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
    }
    count
}

/// Returns the growth of memory in bytes per hour: the slope of the line with the least squares of distances to the
/// samples, or 0 if there are fewer than two.
pub(super) fn bytes_per_hour(samples: &[(Duration, u64)]) -> f64 {
    let count = samples.len().max(1) as f64;
    let points = samples
        .iter()
        .map(|(time, bytes)| (time.as_secs_f64() / 3600.0, *bytes as f64));
    let points: Vec<(f64, f64)> = points.collect();
    let mean_time = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_bytes = points.iter().map(|point| point.1).sum::<f64>() / count;
    let (mut products, mut squares) = (0.0, 0.0);
    for (time, bytes) in points {
        products += (time - mean_time) * (bytes - mean_bytes);
        squares += (time - mean_time) * (time - mean_time);
    }
    if squares > 0.0 {
        products / squares
    } else {
        0.0
    }
}

#[test]
fn the_slope_of_a_line_is_found_between_deviations() {
    let samples = |deviation: u64| -> Vec<(Duration, u64)> {
        let minutes = 0..60_u64;
        let sample = |minute: u64| {
            let bytes = 1_000_000 + minute * 50 + (minute % 2) * deviation;
            (Duration::from_secs(minute * 60), bytes)
        };
        minutes.map(sample).collect()
    };
    assert!((bytes_per_hour(&samples(0)) - 3000.0).abs() < 0.001);
    // The deviations of every second sample are nearly the same at the beginning and at the end.
    assert!((bytes_per_hour(&samples(100)) - 3000.0).abs() < 10.0);
    assert!(bytes_per_hour(&[]).abs() < f64::EPSILON);
    assert!(bytes_per_hour(&[(Duration::ZERO, 5)]).abs() < f64::EPSILON);
}
