//! A child process and the thread that stays with it.
//!
//! Between the two ends of a child there is a socket, its *control*. The attendant starts the process, reports that
//! on the socket, waits, and reports the exit status. It kills the child as soon as the other end is closed or shut
//! down. The attendant may be in another process than the one that uses the child: `spawner` is that case. Then the
//! user of the child needs neither its process id nor the right to start processes or to send them signals.
//!
//! This module contains both ends: [`attend`] for the process that starts the child, [`ChildEnd`] for its user.

use crate::oom_score::{self, ChildKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, prlimit};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

/// The first byte of a report. The four others are a little-endian number: zero, the number of the error, or the raw
/// status.
const STARTED: u8 = 0;
const FAILED: u8 = 1;
const ENDED: u8 = 2;

/// The number of bytes of a report.
const REPORT_BYTES: usize = 5;

/// The time between two looks at a child on a system without descriptors of processes (before Linux 5.3).
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// The limits that a child has from its start. It cannot raise them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartLimits {
    /// The processor time in seconds; `None` if the child limits each of its tasks itself.
    pub(crate) processor_seconds: Option<u64>,
    /// The memory that it allocates, in bytes.
    pub(crate) memory_bytes: u64,
}

/// A command, and the kernel's treatment of its process when memory runs out.
#[derive(Debug)]
pub(crate) struct ChildCommand {
    pub(crate) command: Command,
    pub(crate) kind: ChildKind,
}

/// The user's end of the control of a child. The child is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct ChildEnd {
    control: UnixStream,
}

// === impl ChildEnd ===

impl ChildEnd {
    /// Waits until the attendant has started the child.
    pub(crate) fn started(control: UnixStream) -> io::Result<ChildEnd> {
        let end = ChildEnd { control };
        match end.report()? {
            (STARTED, _) => Ok(end),
            (FAILED, error) => Err(io::Error::from_raw_os_error(error)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Kills the child, if it has not ended yet.
    pub(crate) fn kill(&self) {
        // It fails if the attendant has gone, and the child with it.
        let _ = self.control.shutdown(Shutdown::Write);
    }

    /// Waits until the child has ended. Fails if its attendant has gone, and when it is called once more.
    pub(crate) fn wait(&self) -> io::Result<ExitStatus> {
        match self.report()? {
            (ENDED, status) => Ok(ExitStatus::from_raw(status)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn report(&self) -> io::Result<(u8, i32)> {
        let mut report = [0_u8; REPORT_BYTES];
        let mut control = &self.control;
        control.read_exact(&mut report)?;
        let [kind, number @ ..] = report;
        Ok((kind, i32::from_le_bytes(number)))
    }
}

// === the attendant ===

/// Starts a child, and returns once it has ended. The calling thread is the parent of the child.
pub(crate) fn attend(command: ChildCommand, limits: StartLimits, control: &UnixStream) {
    let mut child = match start(command, limits) {
        Ok(child) => child,
        Err(error) => {
            let number = error.raw_os_error();
            let number = number.unwrap_or(Errno::IO.raw_os_error());
            return report(control, FAILED, number);
        }
    };
    report(control, STARTED, 0);
    wait(&mut child, control);
    let _ = child.kill();
    if let Ok(status) = child.wait() {
        report(control, ENDED, status.into_raw());
    }
}

/// Starts a child with its limits. The descriptors of the command are closed with it.
fn start(child: ChildCommand, limits: StartLimits) -> io::Result<Child> {
    let ChildCommand { mut command, kind } = child;
    let mut child = oom_score::spawn(&mut command, kind)?;
    match limit(&child, limits) {
        Ok(()) => Ok(child),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Waits until the child has ended, or until its user has closed or shut down the control.
fn wait(child: &mut Child, control: &UnixStream) {
    let ended: Option<OwnedFd> = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
    loop {
        let mut waits = vec![PollFd::new(control, PollFlags::IN)];
        if let Some(ended) = &ended {
            waits.push(PollFd::new(ended, PollFlags::IN));
        }
        let timeout = ended.is_none().then_some(LOOK);
        match poll(&mut waits, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

fn report(mut control: &UnixStream, kind: u8, number: i32) {
    let [a, b, c, d] = number.to_le_bytes();
    // It fails if the user of the child has dropped it.
    let _ = control.write_all(&[kind, a, b, c, d]);
}

fn limit(child: &Child, limits: StartLimits) -> io::Result<()> {
    if let Some(seconds) = limits.processor_seconds {
        // At the soft limit the child receives a signal that identifies the cause; at the hard limit it is
        // killed.
        set_limit(child, Resource::Cpu, (seconds, seconds.saturating_add(1)))?;
    }
    // The limit is on data, not on address space, of which wasmtime and the backends reserve more than
    // they use.
    let bytes = limits.memory_bytes;
    set_limit(child, Resource::Data, (bytes, bytes))?;
    set_limit(child, Resource::Core, (0, 0))
}

fn set_limit(child: &Child, resource: Resource, (soft, hard): (u64, u64)) -> io::Result<()> {
    // The child has inherited the limits of this process and cannot raise them.
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    };
    prlimit(Some(Pid::from_child(child)), resource, limit)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};
    use std::thread;

    const LIMITS: StartLimits = StartLimits {
        processor_seconds: Some(10),
        memory_bytes: 64 << 20,
    };

    /// Returns the command of a shell script.
    fn script(program: &str, script: &str) -> ChildCommand {
        let mut command = Command::new(program);
        command.args(["-c", script]);
        ChildCommand {
            command,
            kind: ChildKind::Task,
        }
    }

    /// Starts a shell script with an attendant in a thread of its own.
    fn start(program: &str, text: &str) -> io::Result<ChildEnd> {
        let (ours, theirs) = UnixStream::pair()?;
        let command = script(program, text);
        thread::spawn(move || attend(command, LIMITS, &theirs));
        ChildEnd::started(ours)
    }

    #[test]
    fn the_status_of_a_child_is_reported_once_it_has_ended() -> Result<()> {
        let child = start("/bin/sh", "exit 3")?;
        ensure!(child.wait()?.code() == Some(3));
        ensure!(child.wait().is_err(), "there is one report");
        Ok(())
    }

    #[test]
    fn a_child_is_killed_when_its_user_wants_it() -> Result<()> {
        let child = start("/bin/sh", "exec sleep 1000")?;
        child.kill();
        ensure!(child.wait()?.signal() == Some(9));
        Ok(())
    }

    #[test]
    fn a_program_that_cannot_be_started_is_the_error_of_the_system() {
        let error = start("/no/such/program", "").map(drop);
        let kind = error.map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_user_that_has_gone_leaves_no_child() -> Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let command = script("/bin/sh", "exec sleep 1000");
        let attending = thread::spawn(move || attend(command, LIMITS, &theirs));
        drop(ChildEnd::started(ours)?);
        ensure!(attending.join().is_ok());
        Ok(())
    }
}
