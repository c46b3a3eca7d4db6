//! The order in which the kernel ends processes when memory runs out, which Linux calls `oom_score_adj`.
//!
//! The kernel ends the process that takes the most. A child that performs tasks counts as if it took half of the machine
//! more than it does, and the process of a tenant three tenths, so that they go before a server that takes as much. A
//! process inherits the number of the one that starts it, and one that is locked in cannot change its own. The process that
//! starts children therefore opens the file of its number before it locks itself in, and raises the number for the moment of
//! each start. Any user may raise it, and lower it to its earlier value.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The file with the number of the process that opens it.
const PATH: &str = "/proc/self/oom_score_adj";

/// The score of this process. `None` if the system has no such score, or does not permit changes.
static OWN: OnceLock<Option<Mutex<OwnScore>>> = OnceLock::new();

/// The kind of a child, by which the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildKind {
    /// A child that performs tasks, each of which can be repeated.
    Task,
    /// A process that serves the requests of a tenant.
    Worker,
}

/// The open file, and the number that the process has between two starts.
#[derive(Debug)]
struct OwnScore {
    file: File,
    usual: i32,
}

/// Opens the file, as long as this process may. Children are started in any case.
pub fn prepare() {
    own();
}

/// Starts a command as a child of this kind.
pub(crate) fn spawn(command: &mut Command, kind: ChildKind) -> io::Result<Child> {
    let Some(own) = own() else {
        return command.spawn();
    };
    // Each start sets the number again, so a poisoned lock guards a good one.
    let own = own.lock().unwrap_or_else(PoisonError::into_inner);
    own.set(own.usual.max(kind.score()));
    let child = command.spawn();
    own.set(own.usual);
    child
}

fn own() -> Option<&'static Mutex<OwnScore>> {
    let own = OWN.get_or_init(|| OwnScore::open().map(Mutex::new));
    own.as_ref()
}

impl ChildKind {
    /// Returns a number in thousandths of the memory of the machine, which the kernel adds to the memory of the process.
    fn score(self) -> i32 {
        match self {
            ChildKind::Task => 500,
            ChildKind::Worker => 300,
        }
    }
}

impl OwnScore {
    fn open() -> Option<OwnScore> {
        let usual = std::fs::read_to_string(PATH).ok()?;
        Some(OwnScore {
            usual: usual.trim().parse().ok()?,
            file: OpenOptions::new().write(true).open(PATH).ok()?,
        })
    }

    fn set(&self, score: i32) {
        // Without it, the kernel chooses by the memory alone.
        let _ = (&self.file).write_all(score.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, Result, ensure};
    use std::io::Read;
    use std::process::Stdio;

    #[cfg(target_os = "linux")]
    #[test]
    fn children_go_before_the_processes_of_tenants_and_these_before_the_server() -> Result<()> {
        let mut scores = Vec::new();
        for kind in [ChildKind::Task, ChildKind::Worker] {
            let mut command = Command::new("cat");
            command.arg(PATH).stdout(Stdio::piped());
            let mut child = spawn(&mut command, kind)?;
            let mut text = String::new();
            let mut output = child.stdout.take().context("no output")?;
            output.read_to_string(&mut text)?;
            child.wait()?;
            scores.push(text.trim().parse::<i32>()?);
        }
        let own = own().context("no number")?;
        let own = own.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = own.usual;
        ensure!(scores == [usual.max(500), usual.max(300)], "{scores:?}");
        let now: i32 = std::fs::read_to_string(PATH)?.trim().parse()?;
        ensure!(now == usual, "{now}");
        Ok(())
    }
}
