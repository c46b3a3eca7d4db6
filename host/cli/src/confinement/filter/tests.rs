//! Tests of the filters in an interpreter of their programs, for every call and without confining the test itself.

use super::*;
use anyhow::{Context, Result, bail, ensure};
use seccompiler::sock_filter;

/// The number after the last call that any kernel has today, with room for those to come.
const CALLS: i64 = 1024;

/// The architecture's number in the data of a call.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

const NO_SOCKETS: Sockets = Sockets {
    connections: false,
    notifications: false,
};

const SERVER: Profile = Profile::Server(NO_SOCKETS);

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allowed,
    Error(i32),
    Killed,
}

/// Runs a program on a call: the subset of the instructions that seccompiler writes.
fn run(program: &[sock_filter], number: i64, arguments: [u64; 6]) -> Result<Outcome> {
    let mut data = Vec::new();
    data.extend(u32::try_from(number)?.to_le_bytes());
    data.extend(ARCHITECTURE.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    for argument in arguments {
        data.extend(argument.to_le_bytes());
    }
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    loop {
        let instruction = program.get(at).context("it runs past its end")?;
        let (jump_true, jump_false) = (usize::from(instruction.jt), usize::from(instruction.jf));
        let k = instruction.k;
        let jump = |is_true| if is_true { jump_true } else { jump_false };
        let skipped = match instruction.code {
            // A word of the data.
            0x20 => {
                let offset = usize::try_from(k)?;
                let word = data.get(offset..offset + 4).context("outside the data")?;
                accumulator = u32::from_le_bytes(word.try_into()?);
                0
            }
            0x05 => usize::try_from(k)?,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x54 => {
                accumulator &= k;
                0
            }
            0x06 => {
                return Ok(match k >> 16 {
                    0x7fff => Outcome::Allowed,
                    0x0005 => Outcome::Error(i32::try_from(k & 0xffff)?),
                    _ => Outcome::Killed,
                });
            }
            other => bail!("the instruction {other:#x}"),
        };
        at += 1 + skipped;
    }
}

/// Returns the outcome of a call under several filters, the first one first: that of the last one that refuses it.
fn outcome(programs: &[BpfProgram], number: i64, arguments: [u64; 6]) -> Result<Outcome> {
    let mut outcome = Outcome::Allowed;
    for program in programs {
        match run(program, number, arguments)? {
            Outcome::Allowed => {}
            refused => outcome = refused,
        }
    }
    Ok(outcome)
}

fn of(profile: Profile, number: i64, arguments: [u64; 6]) -> Result<Outcome> {
    outcome(&programs(profile)?, number, arguments)
}

const PERMISSION: Outcome = Outcome::Error(libc::EPERM);
const NO_CALL: Outcome = Outcome::Error(libc::ENOSYS);

#[test]
fn no_confined_process_can_do_what_attackers_reach_for() -> Result<()> {
    for profile in [SERVER, Profile::Compiler, Profile::Loader] {
        for (name, number) in [
            ("execve", libc::SYS_execve),
            ("execveat", libc::SYS_execveat),
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("mount", libc::SYS_mount),
            ("unshare", libc::SYS_unshare),
            ("bpf", libc::SYS_bpf),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("keyctl", libc::SYS_keyctl),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("kill", libc::SYS_kill),
            ("setuid", libc::SYS_setuid),
        ] {
            ensure!(
                of(profile, number, [0; 6])? == PERMISSION,
                "{profile:?}: {name}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_call_that_is_not_on_a_list_does_not_exist() -> Result<()> {
    for profile in [SERVER, Profile::Compiler, Profile::Loader, Profile::Spawner] {
        let (programs, allowed) = (programs(profile)?, allowed(profile));
        for number in 0..CALLS {
            let found = outcome(&programs, number, [0; 6])?;
            match allowed.contains_key(&number) {
                true => ensure!(found != NO_CALL, "{profile:?}: {number}"),
                false => ensure!(
                    matches!(found, Outcome::Error(_)),
                    "{profile:?}: {number} is {found:?}"
                ),
            }
        }
        // Those of the 32-bit numbers of x86-64.
        ensure!(outcome(&programs, 0x4000_0000, [0; 6])? == NO_CALL);
    }
    Ok(())
}

#[test]
fn a_process_makes_threads_and_no_processes() -> Result<()> {
    let thread = [number(libc::CLONE_THREAD | libc::CLONE_VM), 0, 0, 0, 0, 0];
    let process = [number(libc::CLONE_VM | libc::CLONE_VFORK), 0, 0, 0, 0, 0];
    for profile in [SERVER, Profile::Compiler, Profile::Loader] {
        ensure!(of(profile, libc::SYS_clone, thread)? == Outcome::Allowed);
        ensure!(of(profile, libc::SYS_clone, process)? == PERMISSION);
        // The C library then uses `clone`.
        ensure!(of(profile, libc::SYS_clone3, [0; 6])? == NO_CALL);
    }
    ensure!(of(Profile::Spawner, libc::SYS_clone, process)? == Outcome::Allowed);
    ensure!(of(Profile::Spawner, libc::SYS_execve, [0; 6])? == Outcome::Allowed);
    ensure!(of(Profile::Spawner, libc::SYS_socket, [0; 6])? == NO_CALL);
    Ok(())
}

#[test]
fn the_process_that_starts_workers_makes_processes_and_no_sockets() -> Result<()> {
    const WORKERS: Profile = Profile::WorkerSpawner;
    let process = [number(libc::CLONE_VM | libc::CLONE_VFORK), 0, 0, 0, 0, 0];
    ensure!(of(WORKERS, libc::SYS_clone, process)? == Outcome::Allowed);
    // The calls that its workers need, since they can only restrict themselves further.
    for call in [
        libc::SYS_execve,
        libc::SYS_epoll_create1,
        libc::SYS_socketpair,
        libc::SYS_ftruncate,
        libc::SYS_seccomp,
        libc::SYS_landlock_restrict_self,
    ] {
        ensure!(of(WORKERS, call, [0; 6])? == Outcome::Allowed, "{call}");
    }
    for call in [
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_ptrace,
        libc::SYS_mount,
    ] {
        ensure!(of(WORKERS, call, [0; 6])? == PERMISSION, "{call}");
    }
    Ok(())
}

#[test]
fn calls_reach_only_the_process_itself() -> Result<()> {
    let own = [u64::from(std::process::id()), 0, 0, 0, 0, 0];
    let other = [1, 0, 0, 0, 0, 0];
    ensure!(of(SERVER, libc::SYS_tgkill, own)? == Outcome::Allowed);
    ensure!(of(SERVER, libc::SYS_tgkill, other)? == PERMISSION);
    ensure!(of(SERVER, libc::SYS_prlimit64, [0; 6])? == Outcome::Allowed);
    ensure!(of(SERVER, libc::SYS_prlimit64, other)? == PERMISSION);
    let input = [0, libc::TIOCSTI, 0, 0, 0, 0];
    ensure!(of(SERVER, libc::SYS_ioctl, input)? == PERMISSION);
    ensure!(of(SERVER, libc::SYS_ioctl, [0; 6])? == Outcome::Allowed);
    Ok(())
}

#[test]
fn a_server_that_has_started_makes_the_sockets_that_its_settings_need() -> Result<()> {
    let socket = |sockets: Sockets, domain: i32| -> Result<Outcome> {
        let mut programs = programs(Profile::Server(sockets))?;
        programs.push(started(sockets)?);
        outcome(&programs, libc::SYS_socket, [number(domain), 0, 0, 0, 0, 0])
    };
    let connect = |sockets: Sockets| of(Profile::Server(sockets), libc::SYS_connect, [0; 6]);
    let connecting = Sockets {
        connections: true,
        ..NO_SOCKETS
    };
    let notifying = Sockets {
        notifications: true,
        ..NO_SOCKETS
    };
    let both = Sockets {
        connections: true,
        notifications: true,
    };
    for (sockets, internet, unix) in [
        (NO_SOCKETS, PERMISSION, PERMISSION),
        (notifying, PERMISSION, Outcome::Allowed),
        (connecting, Outcome::Allowed, PERMISSION),
        (both, Outcome::Allowed, Outcome::Allowed),
    ] {
        ensure!(socket(sockets, libc::AF_INET)? == internet, "{sockets:?}");
        ensure!(socket(sockets, libc::AF_INET6)? == internet, "{sockets:?}");
        ensure!(socket(sockets, libc::AF_UNIX)? == unix, "{sockets:?}");
        ensure!(socket(sockets, libc::AF_NETLINK)? == PERMISSION);
        ensure!(connect(sockets)? == internet, "{sockets:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_has_started_listens_nowhere_else_and_keeps_its_rules() -> Result<()> {
    let before = programs(SERVER)?;
    let mut after = programs(SERVER)?;
    after.push(started(NO_SOCKETS)?);
    for call in calls::STARTING {
        ensure!(outcome(&before, *call, [0; 6])? == Outcome::Allowed);
        ensure!(outcome(&after, *call, [0; 6])? == PERMISSION);
    }
    for call in [libc::SYS_accept4, libc::SYS_read, libc::SYS_futex] {
        ensure!(outcome(&after, call, [0; 6])? == Outcome::Allowed);
    }
    Ok(())
}
