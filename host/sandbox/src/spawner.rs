//! A process that starts child processes for a server which may not start any itself.
//!
//! A server that has locked itself in cannot run programs. Before that it starts a spawner with the commands of
//! the tasks, and sends it requests over a socket. A request names a task by its number, and limits below those that the
//! spawner enforces anyway; the streams of the child and its control (see `child_attendant`) come with it as
//! descriptors. Nothing else of the command can be chosen, so a server that an attacker has taken over gains no
//! other program. The spawner ends when the server has ended, and its children with it.
//!
//! This module contains both ends: [`Spawner`] for the server, [`serve`] for the process.

use crate::child_attendant::{ChildCommand, ChildEnd, StartLimits, attend};
use crate::oom_score::ChildKind;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

/// The number of bytes of a request: the number of the task, the processor time in seconds and the memory in bytes,
/// both 64 bits little-endian. The time is zero if the child limits it itself.
const REQUEST_BYTES: usize = 17;

/// The descriptors that come with a request: the child's input, its output, and its control.
const DESCRIPTORS: usize = 3;

/// The task of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnTask {
    /// Compile a component.
    Compile,
    /// Load model files.
    Load,
    /// Serve the requests of one tenant.
    Worker,
}

/// The server's end. Clones use the same process. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct Spawner {
    socket: Arc<OwnedFd>,
}

/// A command that a spawner starts, with the most that a request may ask for.
#[derive(Debug)]
pub struct SpawnedCommand {
    /// The command. Its streams are replaced.
    pub command: Command,
    /// The processor time in seconds, which a request can lower.
    pub processor_seconds: u64,
    /// Set if a request can also ask for no such limit, since the child limits each of its tasks itself.
    pub limits_itself: bool,
    /// The memory in bytes, which a request can lower.
    pub memory_bytes: u64,
    /// Set if the child writes to the standard error of the spawner; otherwise its messages are dropped.
    pub keeps_messages: bool,
}

/// The streams of a child on the side of its user, and its end.
#[derive(Debug)]
pub(crate) struct StartedChild {
    pub(crate) stdin: PipeWriter,
    pub(crate) stdout: PipeReader,
    pub(crate) end: ChildEnd,
}

/// The streams of a child on its own side, and the control of its attendant.
#[derive(Debug)]
pub(crate) struct ChildStreams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) control: UnixStream,
}

/// A message to a spawner, which has not been checked.
struct Received {
    request: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// The socket of a spawner before its process is started: the server's end, and the end of the process, which becomes
/// its standard input.
pub fn connection() -> io::Result<(Spawner, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let socket = Arc::new(ours);
    Ok((Spawner { socket }, theirs))
}

// === impl SpawnTask ===

impl SpawnTask {
    fn of_number(number: u8) -> Option<SpawnTask> {
        [SpawnTask::Compile, SpawnTask::Load, SpawnTask::Worker]
            .into_iter()
            .find(|task| task.number() == number)
    }

    fn kind(self) -> ChildKind {
        match self {
            SpawnTask::Compile | SpawnTask::Load => ChildKind::Task,
            SpawnTask::Worker => ChildKind::Worker,
        }
    }

    fn number(self) -> u8 {
        match self {
            SpawnTask::Compile => 0,
            SpawnTask::Load => 1,
            SpawnTask::Worker => 2,
        }
    }
}

// === impl Spawner ===

impl Spawner {
    /// Starts a child for this task.
    pub(crate) fn start(&self, task: SpawnTask, limits: StartLimits) -> io::Result<StartedChild> {
        start_with(|streams| self.request(task, limits, &streams))
    }

    /// Asks for a child with these streams. Its control reports whether it was started.
    pub(crate) fn request(
        &self,
        task: SpawnTask,
        limits: StartLimits,
        streams: &ChildStreams,
    ) -> io::Result<()> {
        let request = encode(task, limits);
        let descriptors = [
            streams.stdin.as_fd(),
            streams.stdout.as_fd(),
            streams.control.as_fd(),
        ];
        let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("the descriptors do not fit"));
        }
        let content = [IoSlice::new(&request)];
        loop {
            match sendmsg(&self.socket, &content, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Makes the streams of a child, passes the child's to `start`, and waits until it has been started.
pub(crate) fn start_with(
    start: impl FnOnce(ChildStreams) -> io::Result<()>,
) -> io::Result<StartedChild> {
    let (child_input, stdin) = io::pipe()?;
    let (stdout, child_output) = io::pipe()?;
    let (control, attendant) = UnixStream::pair()?;
    start(ChildStreams {
        stdin: child_input.into(),
        stdout: child_output.into(),
        control: attendant,
    })?;
    Ok(StartedChild {
        stdin,
        stdout,
        end: ChildEnd::started(control)?,
    })
}

/// Starts a command with these streams, and a thread that stays with it. The control reports whether it was started.
pub(crate) fn start_attended(
    mut child: ChildCommand,
    limits: StartLimits,
    streams: ChildStreams,
) -> io::Result<()> {
    let ChildStreams {
        stdin,
        stdout,
        control,
    } = streams;
    child.command.stdin(stdin).stdout(stdout);
    let attendant = thread::Builder::new().name("wisp-child".to_owned());
    let attending = attendant.spawn(move || attend(child, limits, &control));
    attending.map(drop)
}

fn encode(task: SpawnTask, limits: StartLimits) -> [u8; REQUEST_BYTES] {
    let mut request = [task.number(); REQUEST_BYTES];
    let (_, rest) = request.split_at_mut(1);
    let (seconds, bytes) = rest.split_at_mut(8);
    seconds.copy_from_slice(&limits.processor_seconds.unwrap_or(0).to_le_bytes());
    bytes.copy_from_slice(&limits.memory_bytes.to_le_bytes());
    request
}

/// Returns the task and the limits of a request, or `None` if it is invalid.
fn decode(request: &[u8]) -> Option<(SpawnTask, StartLimits)> {
    let (&number, rest) = request.split_first()?;
    let (seconds, bytes) = rest.split_first_chunk::<8>()?;
    let seconds = u64::from_le_bytes(*seconds);
    let limits = StartLimits {
        processor_seconds: (seconds > 0).then_some(seconds),
        memory_bytes: u64::from_le_bytes(bytes.try_into().ok()?),
    };
    Some((SpawnTask::of_number(number)?, limits))
}

// === the process ===

/// Starts children for the server at the other end of `socket`, until it has ended.
pub fn serve(
    socket: BorrowedFd<'_>,
    command: impl Fn(SpawnTask) -> SpawnedCommand,
) -> io::Result<()> {
    loop {
        let Received {
            request,
            descriptors,
        } = match receive(socket) {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        // An invalid request is dropped with its descriptors, which closes its control.
        let Some((task, asked)) = decode(&request) else {
            continue;
        };
        let Ok([stdin, stdout, control]) = <[OwnedFd; DESCRIPTORS]>::try_from(descriptors) else {
            continue;
        };
        let allowed = command(task);
        let limits = StartLimits {
            processor_seconds: match asked.processor_seconds {
                None if allowed.limits_itself => None,
                asked => Some(asked.map_or(allowed.processor_seconds, |seconds| {
                    seconds.min(allowed.processor_seconds)
                })),
            },
            memory_bytes: asked.memory_bytes.min(allowed.memory_bytes),
        };
        let mut command = allowed.command;
        command.stderr(match allowed.keeps_messages {
            true => Stdio::inherit(),
            false => Stdio::null(),
        });
        let streams = ChildStreams {
            stdin,
            stdout,
            control: UnixStream::from(control),
        };
        // Without a thread the control is closed, which the other end sees.
        let kind = task.kind();
        let _ = start_attended(ChildCommand { command, kind }, limits, streams);
    }
}

/// Receives a request with its descriptors; `None` if there are no more.
fn receive(socket: BorrowedFd<'_>) -> Result<Option<Received>, Errno> {
    // One byte more, so that a request that is too long is invalid.
    let mut request = vec![0; REQUEST_BYTES.saturating_add(1)];
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut request)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    request.truncate(received.bytes);
    Ok(Some(Received {
        request,
        descriptors,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};
    use std::io::{Read, Write};

    const LIMITS: StartLimits = StartLimits {
        processor_seconds: Some(10),
        memory_bytes: 64 << 20,
    };

    /// Runs a spawner in a thread. Its tasks are shell scripts.
    fn spawner(compile: &'static str) -> Result<(Spawner, thread::JoinHandle<io::Result<()>>)> {
        let (spawner, socket) = connection()?;
        let serving = thread::spawn(move || {
            serve(socket.as_fd(), |task| {
                let script = match task {
                    SpawnTask::Compile => compile,
                    SpawnTask::Load => "exit 7",
                    SpawnTask::Worker => "exit 8",
                };
                let mut command = Command::new("/bin/sh");
                command.args(["-c", script]);
                SpawnedCommand {
                    command,
                    processor_seconds: 5,
                    limits_itself: task == SpawnTask::Load,
                    memory_bytes: 32 << 20,
                    keeps_messages: false,
                }
            })
        });
        Ok((spawner, serving))
    }

    #[test]
    fn children_read_and_write_the_streams_of_the_server() -> Result<()> {
        let (spawner, _) = spawner("cat")?;
        let mut child = spawner.start(SpawnTask::Compile, LIMITS)?;
        child.stdin.write_all(b"a component")?;
        drop(child.stdin);
        let mut output = String::new();
        child.stdout.read_to_string(&mut output)?;
        ensure!(output == "a component", "{output}");
        ensure!(child.end.wait()?.success());
        let other = spawner.start(SpawnTask::Load, LIMITS)?;
        ensure!(other.end.wait()?.code() == Some(7));
        Ok(())
    }

    #[test]
    fn a_request_lowers_the_limits_of_the_spawner_and_cannot_raise_them() -> Result<()> {
        // The limits hold once the child is reported as started, and before it has any input.
        let (spawner, _) = spawner("read line; ulimit -t; ulimit -d")?;
        for (seconds, bytes, expected) in [
            (Some(u64::MAX), u64::MAX, "5\n32768\n"),
            (None, u64::MAX, "5\n32768\n"),
            (Some(3), 16 << 20, "3\n16384\n"),
        ] {
            let limits = StartLimits {
                processor_seconds: seconds,
                memory_bytes: bytes,
            };
            let mut child = spawner.start(SpawnTask::Compile, limits)?;
            child.stdin.write_all(b"\n")?;
            let mut output = String::new();
            child.stdout.read_to_string(&mut output)?;
            ensure!(output == expected, "{seconds:?}: {output}");
        }
        Ok(())
    }

    #[test]
    fn a_spawner_ends_with_its_server() -> Result<()> {
        let (spawner, serving) = spawner("exec sleep 1000")?;
        let child = spawner.start(SpawnTask::Compile, LIMITS)?;
        drop(spawner);
        ensure!(serving.join().is_ok_and(|served| served.is_ok()));
        child.end.kill();
        child.end.wait()?;
        Ok(())
    }

    #[test]
    fn without_a_spawner_a_child_is_refused() -> Result<()> {
        let (spawner, socket) = connection()?;
        drop(socket);
        let refused = spawner.start(SpawnTask::Load, LIMITS).map(drop);
        ensure!(refused.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe));
        Ok(())
    }

    #[test]
    fn a_request_of_another_form_is_none() {
        let request = encode(SpawnTask::Load, LIMITS);
        assert_eq!(decode(&request), Some((SpawnTask::Load, LIMITS)));
        let mut unknown = request;
        if let Some(task) = unknown.first_mut() {
            *task = 9;
        }
        assert_eq!(decode(&unknown), None);
        assert_eq!(decode(&request[..16]), None);
        assert_eq!(decode(&[&request[..], &[0]].concat()), None);
        assert_eq!(decode(&[]), None);
    }
}
