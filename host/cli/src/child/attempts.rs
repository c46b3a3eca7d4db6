//! A process that locks itself in by the rules of a server or of a child and prints what it can still do, a line for
//! each attempt. Nothing can be injected into a locked process, so tests ask one that uses the very same rules.
//!
//! The rules are applied to this process alone, which needs no more rights than its user has.

use crate::confinement::{FileRules, Ports, Profile, Reading, Sockets, confine, end_start, places};
use crate::options::{AttemptArgs, ConfinedChoice};
use rustix::mount::mount_bind;
use rustix::process::{Pid, PidfdFlags, Signal, chroot, kill_process, pidfd_open};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Locks the process in, tries everything, and prints `NAME: done` or `NAME: REASON` for each attempt.
pub(crate) fn run(args: &AttemptArgs) -> anyhow::Result<()> {
    let port = args.connects.then_some(args.port);
    let sockets = Sockets {
        connections: args.connects,
        notifications: false,
    };
    let server = FileRules {
        reading: Reading::Only([vec![args.read.clone()], places::system()].concat()),
        write: vec![args.write.clone()],
        devices: places::devices(),
        connect: Ports(port.into_iter().collect()),
        listens: true,
        ..FileRules::default()
    };
    let (rules, profile) = match args.of {
        ConfinedChoice::Server => (server, Profile::Server(sockets)),
        ConfinedChoice::Loader => {
            let child = FileRules {
                write: Vec::new(),
                connect: Ports::default(),
                listens: false,
                ..server
            };
            (child, Profile::Loader)
        }
        ConfinedChoice::Compiler => (FileRules::default(), Profile::Compiler),
    };
    let mut gaps = confine(&rules, profile)?;
    if args.of == ConfinedChoice::Server && gaps.is_empty() {
        gaps = end_start(sockets)?;
    }
    println!("gaps: {gaps}");
    for (name, outcome) in attempts(args) {
        match outcome {
            Ok(()) => println!("{name}: done"),
            Err(error) => println!("{name}: {:?}", error.kind()),
        }
    }
    Ok(())
}

fn attempts(args: &AttemptArgs) -> Vec<(&'static str, io::Result<()>)> {
    let read = |path: &Path| fs::read(path).map(drop);
    let create = |directory: &Path| {
        let path = directory.join("attempt");
        fs::write(&path, "attempt").and_then(|()| fs::remove_file(path))
    };
    let process = || {
        let pid = i32::try_from(args.process).ok().and_then(Pid::from_raw);
        pid.ok_or(io::Error::from(io::ErrorKind::InvalidInput))
    };
    let memory = format!("/proc/{}/mem", args.process);
    vec![
        ("compute in a thread", compute()),
        ("read inside", read(&args.read.join("file"))),
        ("write inside", create(&args.write)),
        ("read outside", read(&args.outside)),
        (
            "write outside",
            OpenOptions::new()
                .append(true)
                .open(&args.outside)
                .map(drop),
        ),
        ("write where only reading is allowed", create(&args.read)),
        ("read a password file", read(Path::new("/etc/passwd"))),
        (
            "start a program",
            Command::new("/bin/true").status().map(drop),
        ),
        ("become a program", Err(Command::new("/bin/true").exec())),
        ("open the memory of a process", File::open(memory).map(drop)),
        (
            "watch a process",
            process().and_then(|pid| {
                pidfd_open(pid, PidfdFlags::empty())
                    .map(drop)
                    .map_err(io::Error::from)
            }),
        ),
        (
            "signal a process",
            process().and_then(|pid| kill_process(pid, Signal::CONT).map_err(io::Error::from)),
        ),
        (
            "connect over TCP",
            TcpStream::connect(("127.0.0.1", args.port)).map(drop),
        ),
        ("send over UDP", UdpSocket::bind("127.0.0.1:0").map(drop)),
        (
            "connect to a Unix socket",
            UnixStream::connect("/run/attempt").map(drop),
        ),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("change the root", chroot("/").map_err(io::Error::from)),
        (
            "mount",
            mount_bind(&args.read, &args.read).map_err(io::Error::from),
        ),
    ]
}

/// Starts a thread, which every process may.
fn compute() -> io::Result<()> {
    let thread = thread::Builder::new().spawn(|| ())?;
    thread
        .join()
        .map_err(|_| io::Error::other("it has panicked"))
}
