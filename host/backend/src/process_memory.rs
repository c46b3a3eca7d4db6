//! The memory available to this process: the machine's, or less in a limited control group.
//!
//! Both versions of control groups are supported. The limits of the process's own group and
//! of all groups above it count.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories that contain the memory limits.
#[derive(Debug)]
struct Sources {
    proc: PathBuf,
    cgroup: PathBuf,
}

/// Returns the maximum memory of this process in bytes, if Linux reports it.
pub fn process_memory() -> Option<usize> {
    let sources = Sources {
        proc: PathBuf::from("/proc"),
        cgroup: PathBuf::from("/sys/fs/cgroup"),
    };
    usize::try_from(sources.limit()?).ok()
}

impl Sources {
    fn limit(&self) -> Option<u64> {
        self.machine().into_iter().chain(self.group()).min()
    }

    /// Returns the memory of the machine.
    fn machine(&self) -> Option<u64> {
        let text = fs::read_to_string(self.proc.join("meminfo")).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    }

    /// Returns the smallest limit of the process's control groups.
    fn group(&self) -> Option<u64> {
        let groups = fs::read_to_string(self.proc.join("self/cgroup")).ok()?;
        let limits = groups.lines().filter_map(|line| {
            // A line is `hierarchy:controllers:path`; version 2 has no controllers.
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let (root, file) = match controllers {
                "" => (self.cgroup.clone(), "memory.max"),
                list if list.split(',').any(|name| name == "memory") => {
                    (self.cgroup.join("memory"), "memory.limit_in_bytes")
                }
                _ => return None,
            };
            smallest(&root, path, file)
        });
        limits.min()
    }
}

/// Returns the smallest limit of a group and of those above it. In a container, the path may exist only
/// outside of it; the container's own group is then the root.
fn smallest(root: &Path, path: &str, file: &str) -> Option<u64> {
    let group = root.join(path.trim_start_matches('/'));
    let groups = group
        .ancestors()
        .take_while(|group| group.starts_with(root));
    let limits = groups.filter_map(|group| {
        // The value `max` means no limit.
        fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn machine(files: &[(&str, &str)]) -> anyhow::Result<(TempDir, Sources)> {
        let directory = tempfile::tempdir()?;
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(directory.path()))?;
            fs::write(path, content)?;
        }
        let sources = Sources {
            proc: directory.path().join("proc"),
            cgroup: directory.path().join("cgroup"),
        };
        Ok((directory, sources))
    }

    #[test]
    fn the_smallest_of_all_limits_counts() -> anyhow::Result<()> {
        let meminfo = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");
        let unlimited = "9223372036854771712\n";
        for (files, expected) in [
            (&[][..], None),
            (&[meminfo], Some(2048 * 1024)),
            // Version 2: its own limit, a limit of a group above it, no limit, and a path outside the container.
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("cgroup/a/b/memory.max", "1000\n"),
                ],
                Some(1000),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("cgroup/a/b/memory.max", "max\n"),
                    ("cgroup/a/memory.max", "500\n"),
                ],
                Some(500),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/\n"),
                    ("cgroup/memory.max", "max\n"),
                ],
                Some(2048 * 1024),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "0::/docker/x\n"),
                    ("cgroup/memory.max", "700\n"),
                ],
                Some(700),
            ),
            // Version 1, alone and beside version 2.
            (
                &[
                    meminfo,
                    (
                        "proc/self/cgroup",
                        "9:name=systemd:/\n4:cpu,memory:/a\n0::/\n",
                    ),
                    ("cgroup/memory/a/memory.limit_in_bytes", "300\n"),
                    ("cgroup/memory/memory.limit_in_bytes", unlimited),
                ],
                Some(300),
            ),
            (
                &[
                    meminfo,
                    ("proc/self/cgroup", "4:memory:/a\n"),
                    ("cgroup/memory/a/memory.limit_in_bytes", unlimited),
                ],
                Some(2048 * 1024),
            ),
        ] {
            let (_directory, sources) = machine(files)?;
            assert_eq!(sources.limit(), expected, "{files:?}");
        }
        Ok(())
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(process_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
