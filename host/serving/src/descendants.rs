//! The processes that this one has started, those that they have started, and the memory of all of them.
//!
//! Children that load models, and the processes of tenants, take memory of the same machine. Linux reports the children of
//! each thread, or at least the parent of each process, so children do not have to be registered. Memory that a process
//! shares with others, such as the program itself, is not counted again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The directory of Linux's reports about processes.
const PROC: &str = "/proc";

/// Returns the processes below this one; none where the system does not report them.
pub(crate) fn find() -> Vec<u32> {
    let (proc, own) = (Path::new(PROC), std::process::id());
    let main_thread = threads(proc, own).join(own.to_string());
    if children_file(&main_thread).exists() {
        return below(own, |process| children(proc, process));
    }
    // A kernel that was built without `CONFIG_PROC_CHILDREN`: every process of the machine has to be looked at.
    let mut children = by_parent(parents(proc));
    below(own, |process| children.remove(&process).unwrap_or_default())
}

/// Returns the memory that these processes have for themselves. One that has ended has none.
pub(crate) fn own_bytes(processes: &[u32], page: u64) -> u64 {
    let bytes = processes.iter().filter_map(|process| {
        let statm = std::fs::read_to_string(format!("{PROC}/{process}/statm")).ok()?;
        parse_own(&statm, page)
    });
    bytes.fold(0, u64::saturating_add)
}

/// Returns the directory of the threads of a process.
fn threads(proc: &Path, process: u32) -> PathBuf {
    proc.join(process.to_string()).join("task")
}

/// Returns the file in which the kernel lists the children of a thread.
fn children_file(thread: &Path) -> PathBuf {
    thread.join("children")
}

/// Returns the processes that the threads of a process have started; none if it has ended.
fn children(proc: &Path, process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(threads(proc, process));
    let threads = threads.into_iter().flatten().flatten();
    let mut children: Vec<u32> = Vec::new();
    for thread in threads {
        // A thread that ends leaves its children to another one.
        let listed = std::fs::read_to_string(children_file(&thread.path()));
        let listed = listed.unwrap_or_default();
        let numbers = listed.split_ascii_whitespace();
        children.extend(numbers.filter_map(|number| number.parse::<u32>().ok()));
    }
    children
}

/// Returns all processes with their parents.
fn parents(proc: &Path) -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((process, parse_parent(&stat)?))
    });
    processes.collect()
}

/// Returns the children of each process that has some.
fn by_parent(parents: Vec<(u32, u32)>) -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (process, parent) in parents {
        children.entry(parent).or_default().push(process);
    }
    children
}

/// Returns the processes below `ancestor`, without itself. `children_of` returns the children of a process.
fn below(ancestor: u32, mut children_of: impl FnMut(u32) -> Vec<u32>) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut waiting = vec![ancestor];
    while let Some(process) = waiting.pop() {
        for child in children_of(process) {
            // Its number may be that of another process by now, so that it seems to be its own ancestor.
            if child != ancestor && !found.contains(&child) {
                waiting.push(child);
                found.push(child);
            }
        }
    }
    found
}

/// Returns the parent in the second number after the name of the process, which may contain anything.
fn parse_parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the difference of the second and the third number of `statm`, which count resident and shared pages.
fn parse_own(statm: &str, page: u64) -> Option<u64> {
    let mut numbers = statm.split_ascii_whitespace().skip(1);
    let resident: u64 = numbers.next()?.parse().ok()?;
    let shared: u64 = numbers.next()?.parse().ok()?;
    resident.saturating_sub(shared).checked_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_processes_are_found_and_others_are_not() {
        let children = by_parent(vec![(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 3)]);
        let of = |process: u32| children.get(&process).cloned().unwrap_or_default();
        let mut found = below(2, of);
        found.sort_unstable();
        assert_eq!(found, [3, 4, 7]);
        assert!(below(6, of).is_empty());
        // A number that was used again, so that the processes seem to be a circle.
        assert_eq!(below(1, |process| vec![3 - process]), [2]);
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parse_parent("7 (wisp) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parse_parent("7 (a) S 9 (b) ) R 4 7"), Some(4));
        for text in ["", "7", "7 (wisp", "7 (wisp) S", "7 (wisp) S x"] {
            assert_eq!(parse_parent(text), None, "{text:?}");
        }
    }

    #[test]
    fn shared_pages_are_not_counted() {
        assert_eq!(parse_own("900 250 30 4 0 600 0\n", 4096), Some(220 * 4096));
        for text in ["", "900", "900 250", "900 x 1", "1 18446744073709551615 0"] {
            assert_eq!(parse_own(text, 4096), None, "{text:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_is_found_with_its_memory_until_it_has_ended() -> anyhow::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn()?;
        let found = find().contains(&child.id());
        let is_below = |(process, parent): &(u32, u32)| {
            *process == child.id() && *parent == std::process::id()
        };
        let has_parent = parents(Path::new(PROC)).iter().any(is_below);
        let bytes = own_bytes(&[child.id()], 4096);
        child.kill()?;
        child.wait()?;
        assert!(
            found && has_parent && bytes > 0,
            "{found} {has_parent} {bytes}"
        );
        assert_eq!(own_bytes(&[child.id()], 4096), 0);
        Ok(())
    }
}
