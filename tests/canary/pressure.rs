//! Memory pressure: makes the kernel move the pages of this process, as far as the user's rights allow.
//!
//! Without swap nothing can be paged out, and only root may request a compaction. The functions report
//! the effect, so that the log shows the conditions of a test.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Pages out all anonymous memory of this process, if there is swap. Returns a description of the
/// effect.
pub(super) fn page_out() -> String {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        return "none, there is no swap".to_owned();
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let regions = maps.lines().filter_map(anonymous_region);
    let taken = regions.filter(|(start, length)| page_out_region(*start, *length));
    format!("{} regions, {} kB in swap", taken.count(), swapped_kb())
}

/// Compacts memory repeatedly until `stop` is set. Returns the number of compactions.
pub(super) fn compact(stop: &AtomicBool) -> usize {
    let mut compactions = 0;
    while !stop.load(Relaxed) && std::fs::write("/proc/sys/vm/compact_memory", "1").is_ok() {
        compactions += 1;
    }
    compactions
}

/// Returns the start and the length of a mapping that is readable, writable and unnamed.
fn anonymous_region(line: &str) -> Option<(usize, usize)> {
    let mut columns = line.split_whitespace();
    let (range, permissions) = (columns.next()?, columns.next()?);
    let (start, end) = range.split_once('-')?;
    let is_named = columns.nth(3).is_some();
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    (permissions.starts_with("rw") && !is_named).then_some((start, end - start))
}

#[expect(
    unsafe_code,
    reason = "takes an address, although this advice changes no content"
)]
fn page_out_region(start: usize, length: usize) -> bool {
    let address = std::ptr::without_provenance_mut(start);
    // SAFETY: paging out changes nothing that a program can observe except timing.
    unsafe { rustix::mm::madvise(address, length, rustix::mm::Advice::LinuxPageOut) }.is_ok()
}

fn swapped_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSwap:"));
    line.and_then(|line| line.split_whitespace().next())
        .unwrap_or("?")
        .to_owned()
}
