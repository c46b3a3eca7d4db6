//! The filters of system calls, which seccomp enforces.
//!
//! Each process has two: one lists what it may call, and everything else fails with `ENOSYS`; the other refuses some
//! calls with `EPERM`, a few of them depending on their arguments. A call must pass both. The kernel remembers which
//! calls always pass, so that those take no time.

use super::calls;
use anyhow::Context;
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// `wisp serve`, from its start.
    Server(Sockets),
    /// The process that starts the children of a server.
    Spawner,
    /// The process that starts the workers of tenants. Each of them locks itself in as a server, and starts a spawner.
    WorkerSpawner,
    /// A child that compiles a component. It opens no file.
    Compiler,
    /// A child that loads model files.
    Loader,
}

/// The sockets that a server makes in addition to those on which it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Connections to the servers that the settings name.
    pub(crate) connections: bool,
    /// A socket for messages to the service manager.
    pub(crate) notifications: bool,
}

/// The calls that a filter selects. Without rules, all calls of this number.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Applies the filters of this kind of process. Returns the missing parts if the kernel has no filters.
pub(super) fn restrict(profile: Profile) -> anyhow::Result<Option<String>> {
    let programs = programs(profile).context("failed to make the filters of system calls")?;
    apply(&programs)
}

/// Applies the filter of a server that has started.
pub(super) fn end_start(sockets: Sockets) -> anyhow::Result<Option<String>> {
    let program = started(sockets).context("failed to make the filter of system calls")?;
    apply(&[program])
}

fn apply(programs: &[BpfProgram]) -> anyhow::Result<Option<String>> {
    for program in programs {
        match apply_filter_all_threads(program) {
            Ok(()) => {}
            Err(Error::Seccomp(error) | Error::Prctl(error)) => {
                return Ok(Some(format!(
                    "system calls are not filtered: this kernel has no filters (CONFIG_SECCOMP_FILTER), or the service manager or the container refuses the call `seccomp`: {error}"
                )));
            }
            Err(error) => return Err(error).context("failed to set the filter of system calls"),
        }
    }
    Ok(None)
}

/// Returns the two filters of a kind of process.
fn programs(profile: Profile) -> Result<Vec<BpfProgram>, BackendError> {
    // Of two refusals the later filter's is returned, so that the one with `EPERM` comes last.
    Ok(vec![
        program(
            allowed(profile),
            SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
            SeccompAction::Allow,
        )?,
        refusing(refused(profile)?)?,
    ])
}

/// Returns the filter of a server that has started.
fn started(sockets: Sockets) -> Result<BpfProgram, BackendError> {
    let mut calls = all(&[calls::STARTING]);
    let unix = number(libc::AF_UNIX);
    let refused = match (sockets.connections, sockets.notifications) {
        (true, true) => None,
        (true, false) => Some(vec![SeccompRule::new(vec![equals(0, unix)?])?]),
        (false, true) => Some(vec![SeccompRule::new(vec![differs(0, unix)?])?]),
        (false, false) => Some(Vec::new()),
    };
    if let Some(rules) = refused {
        calls.insert(libc::SYS_socket, rules);
    }
    refusing(calls)
}

fn allowed(profile: Profile) -> Calls {
    let own = [calls::OWN, calls::OWN_OF_ARCHITECTURE];
    let files = [calls::FILES, calls::FILES_OF_ARCHITECTURE];
    let mut lists: Vec<&[c_long]> = own.to_vec();
    match profile {
        Profile::Compiler => {}
        Profile::Loader => lists.extend(files),
        Profile::Spawner => {
            lists.extend(files);
            lists.extend([calls::SPAWNING, calls::SPAWNING_OF_ARCHITECTURE]);
        }
        Profile::WorkerSpawner => {
            lists.extend(files);
            lists.extend([calls::WRITING, calls::WRITING_OF_ARCHITECTURE]);
            lists.extend([calls::SERVING, calls::SERVING_OF_ARCHITECTURE]);
            lists.extend([calls::SPAWNING, calls::SPAWNING_OF_ARCHITECTURE]);
        }
        Profile::Server(_) => {
            lists.extend(files);
            lists.extend([calls::WRITING, calls::WRITING_OF_ARCHITECTURE]);
            lists.extend([calls::SERVING, calls::SERVING_OF_ARCHITECTURE]);
        }
    }
    all(&lists)
}

fn refused(profile: Profile) -> Result<Calls, BackendError> {
    let mut refused = all(&[calls::REFUSED, calls::REFUSED_OF_ARCHITECTURE]);
    // Input that the process itself would write to its terminal.
    refused.insert(
        libc::SYS_ioctl,
        vec![
            SeccompRule::new(vec![equals(1, libc::TIOCSTI)?])?,
            SeccompRule::new(vec![equals(1, libc::TIOCLINUX)?])?,
        ],
    );
    if matches!(profile, Profile::Spawner | Profile::WorkerSpawner) {
        for call in calls::SPAWNING
            .iter()
            .chain(calls::SPAWNING_OF_ARCHITECTURE)
        {
            refused.remove(call);
        }
        if profile == Profile::WorkerSpawner {
            // Workers have the sockets that they are given.
            for call in [
                libc::SYS_socket,
                libc::SYS_connect,
                libc::SYS_bind,
                libc::SYS_listen,
            ] {
                refused.insert(call, Vec::new());
            }
        }
        return Ok(refused);
    }
    // Only threads of the process itself, and its own limits.
    let thread = number(libc::CLONE_THREAD);
    let (length, no_thread) = (SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread));
    let no_thread = SeccompCondition::new(0, length, no_thread, 0)?;
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]);
    let other = SeccompRule::new(vec![differs(0, 0)?])?;
    refused.insert(libc::SYS_prlimit64, vec![other]);
    let process = u64::from(std::process::id());
    let other = SeccompRule::new(vec![differs(0, process)?])?;
    refused.insert(libc::SYS_tgkill, vec![other]);
    if let Profile::Server(sockets) = profile {
        let domains = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
        let other: Result<Vec<_>, _> = domains
            .into_iter()
            .map(|domain| differs(0, number(domain)))
            .collect();
        refused.insert(libc::SYS_socket, vec![SeccompRule::new(other?)?]);
        if !sockets.connections {
            refused.insert(libc::SYS_connect, Vec::new());
        }
    }
    Ok(refused)
}

fn all(lists: &[&[c_long]]) -> Calls {
    let calls = lists.iter().flat_map(|list| list.iter());
    calls.map(|call| (*call, Vec::new())).collect()
}

/// Returns the condition that this argument, of 32 bits, has another value.
fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn equals(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// Returns a constant of C as a number. None of them is negative.
fn number(constant: i32) -> u64 {
    u64::from(constant.unsigned_abs())
}

/// Returns the filter that refuses these calls.
fn refusing(calls: Calls) -> Result<BpfProgram, BackendError> {
    program(
        calls,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
    )
}

fn program(
    calls: Calls,
    otherwise: SeccompAction,
    selected: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(calls, otherwise, selected, architecture)?.try_into()
}

#[cfg(test)]
mod tests;
