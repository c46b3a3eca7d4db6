//! The rules that lock a process of this program in: which files it may use, which ports it may connect to, and which
//! system calls it may make.
//!
//! `files` applies the rules for files and connections (Landlock), `filter` those for system calls (seccomp) from the
//! lists of `calls`, and `places` finds the paths that every process needs, with the directories to which `links` may lead.
//! A process can only be locked in further.
//! Any user can do this, since the process also gives up the right to gain privileges by running a program.
//!
//! A kernel without a part of this is not an error: the rest applies, and [`Gaps`] names the missing parts.
//!
//! Invariant: the rules for files hold for threads that start after them, so that a process applies them while it has
//! one thread.

mod calls;
mod files;
mod filter;
mod links;
pub(crate) mod places;

use anyhow::Context;
use std::fmt;

pub(crate) use files::{FileRules, Ports, Reading};
pub(crate) use filter::{Profile, Sockets};

/// The parts of the rules that this kernel does not enforce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gaps(Vec<String>);

impl Gaps {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Locks the process in. It must have one thread.
pub(crate) fn confine(files: &FileRules, profile: Profile) -> anyhow::Result<Gaps> {
    let mut gaps = Vec::new();
    if let Some(threads) = other_threads() {
        gaps.push(format!(
            "{threads} threads started before the rules for files, which do not hold for them"
        ));
    }
    let enforced = files::restrict(files).context("failed to set the rules for files")?;
    gaps.extend(files::gap(enforced, files.moves));
    gaps.extend(filter::restrict(profile)?);
    Ok(Gaps(gaps))
}

/// Takes the calls from a server that only its start needs. Applies to all threads.
pub(crate) fn end_start(sockets: Sockets) -> anyhow::Result<Gaps> {
    let gap = filter::end_start(sockets)?;
    Ok(Gaps(gap.into_iter().collect()))
}

/// Returns the number of threads beside the calling one, if there are any.
fn other_threads() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))?;
    let threads: u64 = threads.trim().parse().ok()?;
    threads.checked_sub(1).filter(|&others| others > 0)
}
