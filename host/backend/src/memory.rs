//! The memory that computations may take together.
//!
//! A request of a few numbers can ask a graph for more memory than there is, and an allocation that
//! fails ends the process. So engines reserve what they are about to allocate in one budget, which is a part
//! of what the process may use: the machine's memory, or its control group's where that is less.

use std::path::Path;
use std::sync::Arc;
use wisp_tensor::memory_budget::MemoryBudget;

/// What computations get on machines of usual sizes: whatever takes more of it takes too long, too. In Wasm there are 4 GiB
/// of addresses in all.
const USUAL: usize = match usize::BITS {
    64 => (1_usize << 16).saturating_mul(1 << 16),
    _ => 1 << 30,
};

/// Returns a budget of 4 GiB; of half of the memory that this process may use where that is less, and of an
/// eighth where that is more.
pub fn compute_budget() -> Arc<MemoryBudget> {
    Arc::new(MemoryBudget::new(process_memory().map_or(USUAL, share)))
}

fn share(bytes: usize) -> usize {
    USUAL.min(bytes / 2).max(bytes / 8)
}

/// Returns the bytes that this process may use, where Linux says so.
pub fn process_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = total.trim().trim_end_matches(" kB").parse().ok()?;
    let machine = kibibytes.checked_mul(1024)?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(group_limit);
    Some(limits.fold(machine, usize::min))
}

/// The least limit of the group in a line of `/proc/self/cgroup` and of those around it.
fn group_limit(line: &str) -> Option<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let path = Path::new(path.trim_start_matches('/'));
    let limits = path.ancestors().filter_map(|group| {
        let limit = std::fs::read_to_string(Path::new(root).join(group).join(file)).ok()?;
        limit.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computations_get_a_share_of_what_there_is() {
        for (all, expected) in [
            (512 << 20, 256 << 20),
            (8 << 30, 4 << 30),
            (24 << 30, 4 << 30),
            (256 << 30, 32 << 30),
        ] {
            assert_eq!(share(all), expected);
        }
        if cfg!(target_os = "linux") {
            let all = process_memory().unwrap();
            assert!(all > 64 << 20, "{all}");
            assert_eq!(compute_budget().capacity(), share(all));
        }
    }

    #[test]
    fn groups_of_other_controllers_have_no_limit() {
        for line in [
            "",
            "5:cpu,cpuacct:/",
            "1:name=systemd:/",
            "0::/no/such/group",
        ] {
            // The last one's root may have a limit on some machine, and has none on a whole one.
            assert!(group_limit(line).is_none_or(|limit| limit > 0), "{line}");
        }
    }
}
