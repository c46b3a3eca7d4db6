//! Child processes of this program with limits on their time and memory.
//!
//! Compiling a component or reading a model file from an untrusted source can take any amount of time and
//! memory, or end the process. A [`ChildProgram`] receives a task and its input, returns bytes or the
//! reason why there are none, and is killed when it exceeds its limits or when this process ends. It
//! inherits no open file of this process. It is started by this process, or by a [`Spawner`].
//!
//! This module contains both ends: [`ChildProgram::run`] for the parent, [`begin`] and [`finish`] for the
//! child.

use crate::child_attendant::{ChildCommand, StartLimits};
use crate::oom_score::ChildKind;
use crate::spawner::{ChildStreams, SpawnTask, Spawner, StartedChild, start_attended, start_with};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The first byte of the output, which identifies the rest as a result or as the text of a refusal.
const RESULT: u8 = 0;
const REFUSAL: u8 = 1;

/// The number of threads that a child computes with. Each takes memory, and the machine has other work.
const THREADS: &str = "4";

/// The nice value of a child, which gives the serving threads priority.
const NICENESS: i32 = 5;

/// A program that runs tasks as a child process. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct ChildProgram(Start);

/// The way in which a program is started.
#[derive(Debug, Clone)]
enum Start {
    Command(ProgramCommand),
    /// Another process starts it, with the command of the task.
    Spawner {
        spawner: Spawner,
        task: SpawnTask,
    },
}

/// The command of a program that this process starts.
#[derive(Debug, Clone)]
struct ProgramCommand {
    path: PathBuf,
    /// The arguments before a task's own.
    arguments: Vec<OsString>,
    /// The variables of the environment that the program does not see.
    hidden: Vec<OsString>,
}

/// The limits of one child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// The processor time, of all its threads together.
    pub processor_time: Duration,
    /// The elapsed time, however busy the machine is.
    pub wall_time: Duration,
    /// The memory that it allocates, in bytes.
    pub memory_bytes: u64,
    /// The size of its output, in bytes.
    pub output_bytes: usize,
}

/// The error for a child that returned no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("failed to run a child process: {0}")]
    Start(io::Error),
    /// The process that starts children for this one has ended, or does not answer as it should.
    #[error(
        "the host cannot start child processes any more, since the process that does so is gone ({0}); the operator \
         must restart the server"
    )]
    SpawnerGone(io::Error),
    #[error("it took more than {} s of processor time", limit.as_secs())]
    ProcessorTime { limit: Duration },
    #[error("it took longer than {} s", limit.as_secs())]
    WallTime { limit: Duration },
    #[error("its result is larger than {limit} bytes")]
    Output { limit: usize },
    /// The child ended without an answer, for example because it ran out of memory.
    #[error("its process ended: {status} (memory limit: {} MiB)", memory_bytes >> 20)]
    Died {
        status: ExitStatus,
        memory_bytes: u64,
    },
}

/// The answer of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildResponse {
    Result(Vec<u8>),
    /// The reason why the task cannot be done.
    Refusal(String),
}

// === impl ChildProgram ===

impl ChildProgram {
    /// Creates a program at `path`. The arguments of a task follow `arguments`.
    pub fn new<A: Into<OsString>>(
        path: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> ChildProgram {
        ChildProgram(Start::Command(ProgramCommand {
            path: path.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            hidden: Vec::new(),
        }))
    }

    /// Hides these variables of the environment from the program. One that another process starts sees what that process
    /// lets it see.
    #[must_use]
    pub fn without_variables(self, names: Vec<OsString>) -> ChildProgram {
        ChildProgram(match self.0 {
            Start::Command(command) => Start::Command(ProgramCommand {
                hidden: names,
                ..command
            }),
            spawned @ Start::Spawner { .. } => spawned,
        })
    }

    /// Creates the program of a task that another process starts. It takes no further arguments.
    pub fn spawned(spawner: &Spawner, task: SpawnTask) -> ChildProgram {
        ChildProgram(Start::Spawner {
            spawner: spawner.clone(),
            task,
        })
    }

    /// Runs the program for one task and waits for its answer. Blocks the calling thread.
    pub fn run(
        &self,
        task: &[&OsStr],
        input: &[u8],
        limits: &ProcessLimits,
    ) -> Result<ChildResponse, ChildError> {
        let child = self.start(
            task,
            StartLimits {
                processor_seconds: Some(limits.processor_time.as_secs()),
                memory_bytes: limits.memory_bytes,
            },
        )?;
        match exchange(child, input, limits).map_err(ChildError::Start)? {
            Exchange::Late => Err(ChildError::WallTime {
                limit: limits.wall_time,
            }),
            Exchange::Unattended(error) => Err(ChildError::SpawnerGone(error)),
            Exchange::Ended { output, .. } if output.len() > limits.output_bytes => {
                Err(ChildError::Output {
                    limit: limits.output_bytes,
                })
            }
            Exchange::Ended { output, status } => {
                let answer = status.success().then(|| ChildResponse::decode(output));
                let answer = answer.flatten();
                answer.ok_or_else(|| ended_without_response(status, limits))
            }
        }
    }

    /// Starts the program with these further arguments.
    pub(crate) fn start(
        &self,
        arguments: &[&OsStr],
        limits: StartLimits,
    ) -> Result<StartedChild, ChildError> {
        match &self.0 {
            Start::Command(program) => {
                // Its standard error is of no use to anyone.
                let mut command = program.with_arguments(arguments);
                command.stderr(Stdio::null());
                let kind = ChildKind::Task;
                let child = ChildCommand { command, kind };
                let started = start_with(|streams| start_attended(child, limits, streams));
                started.map_err(ChildError::Start)
            }
            Start::Spawner { .. } if !arguments.is_empty() => Err(ChildError::Start(
                io::Error::new(io::ErrorKind::InvalidInput, "the command is fixed"),
            )),
            Start::Spawner { spawner, task } => {
                let started = spawner.start(*task, limits);
                started.map_err(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::UnexpectedEof => ChildError::SpawnerGone(error),
                    _ => ChildError::Start(error),
                })
            }
        }
    }

    /// Asks for the start of the program with these streams and with the standard error of this process. The control
    /// reports whether it was started.
    pub(crate) fn launch(&self, limits: StartLimits, streams: ChildStreams) -> io::Result<()> {
        match &self.0 {
            Start::Command(program) => {
                let mut command = program.with_arguments(&[]);
                command.stderr(Stdio::inherit());
                let kind = ChildKind::Worker;
                start_attended(ChildCommand { command, kind }, limits, streams)
            }
            Start::Spawner { spawner, task } => spawner.request(*task, limits, &streams),
        }
    }
}

impl ProgramCommand {
    /// Returns the command with the arguments of a task.
    fn with_arguments(&self, arguments: &[&OsStr]) -> Command {
        let mut command = child_command(&self.path, &self.arguments);
        command.args(arguments);
        for name in &self.hidden {
            command.env_remove(name);
        }
        command
    }
}

/// Returns the command of a child: `path` with these arguments, and the environment in which children run.
pub fn child_command(path: impl AsRef<OsStr>, arguments: &[OsString]) -> Command {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env("RAYON_NUM_THREADS", THREADS)
        // A backtrace for a failed allocation allocates again, and then deadlocks on its own lock.
        .env("RUST_BACKTRACE", "0")
        .env_remove("RUST_LIB_BACKTRACE");
    command
}

// === impl ChildResponse ===

impl ChildResponse {
    /// Returns the byte of the kind and the content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, content) = match self {
            ChildResponse::Result(content) => (RESULT, content.as_slice()),
            ChildResponse::Refusal(text) => (REFUSAL, text.as_bytes()),
        };
        [&[kind], content].concat()
    }

    /// Decodes the output of [`ChildResponse::encode`].
    pub(crate) fn decode(mut output: Vec<u8>) -> Option<ChildResponse> {
        match *output.first()? {
            RESULT => {
                output.remove(0);
                Some(ChildResponse::Result(output))
            }
            REFUSAL => {
                let text = String::from_utf8_lossy(&output[1..]);
                Some(ChildResponse::Refusal(text.into_owned()))
            }
            _ => None,
        }
    }
}

/// The end of the exchange with a child.
enum Exchange {
    /// The child has written this output and ended.
    Ended {
        output: Vec<u8>,
        status: ExitStatus,
    },
    Late,
    /// The outcome of the child is unknown.
    Unattended(io::Error),
}

/// Writes the child's input and reads its output, until the child ends or its time is up.
fn exchange(child: StartedChild, input: &[u8], limits: &ProcessLimits) -> io::Result<Exchange> {
    let StartedChild { stdin, stdout, end } = child;
    let end = &end;
    thread::scope(|scope| {
        let (done, ended) = channel::<()>();
        let talk = thread::Builder::new().name("wisp-child".to_owned());
        let talking = talk.spawn_scoped(scope, move || {
            let output = talk_to(stdin, stdout, input, limits.output_bytes);
            let status = end.wait();
            let _ = done.send(());
            (output, status)
        });
        let talking = talking.inspect_err(|_| end.kill())?;
        if ended.recv_timeout(limits.wall_time).is_err() {
            // The other thread ends once the child has ended.
            end.kill();
            return Ok(Exchange::Late);
        }
        match talking.join() {
            Ok((output, Ok(status))) => Ok(Exchange::Ended { output, status }),
            Ok((_, Err(error))) => Ok(Exchange::Unattended(error)),
            Err(_) => Err(io::Error::other("the thread that talks to it has panicked")),
        }
    })
}

/// Writes the input, then reads the child's output, at most one byte more than `limit`.
fn talk_to(mut stdin: PipeWriter, stdout: PipeReader, input: &[u8], limit: usize) -> Vec<u8> {
    // A write fails if the child has ended; its output then shows the result.
    let _ = stdin.write_all(input);
    drop(stdin);
    let mut output = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let _ = stdout.take(most).read_to_end(&mut output);
    output
}

/// Returns the error for a child that has ended with this status before it gave an answer.
pub(crate) fn ended_without_response(status: ExitStatus, limits: &ProcessLimits) -> ChildError {
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return ChildError::ProcessorTime {
            limit: limits.processor_time,
        };
    }
    ChildError::Died {
        status,
        memory_bytes: limits.memory_bytes,
    }
}

// === the child's end ===

/// Reads the task's input, after ensuring that this process ends with its parent.
pub fn begin() -> io::Result<Vec<u8>> {
    prepare_child()?;
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    Ok(input)
}

/// Ensures that this process ends with its parent, and lowers its priority.
pub(crate) fn prepare_child() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The call fails if a process may not lower its priority; the child then runs at normal priority.
    let _ = rustix::process::nice(NICENESS);
    Ok(())
}

/// Sends the answer to the parent.
pub fn finish(answer: &ChildResponse) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&answer.encode())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};

    const LIMITS: ProcessLimits = ProcessLimits {
        processor_time: Duration::from_secs(1),
        wall_time: Duration::from_secs(60),
        memory_bytes: 64 << 20,
        output_bytes: 1000,
    };

    /// Runs a shell script as the child; any program that follows the protocol can be one.
    fn run(
        script: &str,
        input: &[u8],
        limits: &ProcessLimits,
    ) -> Result<ChildResponse, ChildError> {
        ChildProgram::new("/bin/sh", ["-c"]).run(&[OsStr::new(script)], input, limits)
    }

    #[test]
    fn a_child_returns_bytes_or_a_reason() -> Result<()> {
        let echo = run("printf '\\000'; cat", b"input", &LIMITS)?;
        ensure!(echo == ChildResponse::Result(b"input".to_vec()), "{echo:?}");
        let refusal = run("printf '\\001no'", b"input", &LIMITS)?;
        ensure!(refusal == ChildResponse::Refusal("no".to_owned()));
        Ok(())
    }

    #[test]
    fn a_child_that_computes_for_ever_ends_with_its_processor_time() {
        let endless = run("while :; do :; done", b"", &LIMITS);
        assert!(
            matches!(endless, Err(ChildError::ProcessorTime { .. })),
            "{endless:?}"
        );
    }

    #[test]
    fn a_child_that_waits_for_ever_is_killed_at_its_time_limit() {
        let limits = ProcessLimits {
            wall_time: Duration::from_millis(50),
            ..LIMITS
        };
        let silent = run("exec sleep 1000", b"", &limits);
        assert!(
            matches!(silent, Err(ChildError::WallTime { .. })),
            "{silent:?}"
        );
    }

    #[test]
    fn a_child_that_writes_more_than_its_limit_is_killed() {
        let flood = run("exec cat /dev/zero", b"", &LIMITS);
        assert!(
            matches!(flood, Err(ChildError::Output { limit: 1000 })),
            "{flood:?}"
        );
    }

    #[test]
    fn a_child_that_allocates_beyond_its_limit_ends() {
        // `tail` keeps the last line, and this input has no line ends.
        let hog = run("exec tail -n 1 /dev/zero", b"", &LIMITS);
        assert!(matches!(hog, Err(ChildError::Died { .. })), "{hog:?}");
    }

    #[test]
    fn an_empty_or_truncated_answer_counts_as_a_crash() {
        for script in ["exit 0", "printf '\\000x'; exit 1", "printf '\\007'"] {
            let answer = run(script, b"", &LIMITS);
            assert!(matches!(answer, Err(ChildError::Died { .. })), "{answer:?}");
        }
    }

    #[test]
    fn a_missing_program_is_an_error_of_the_host() {
        let missing = ChildProgram::new("/no/such/program", [""]).run(&[], b"", &LIMITS);
        assert!(matches!(missing, Err(ChildError::Start(_))), "{missing:?}");
    }

    #[test]
    fn a_child_inherits_no_open_files() -> Result<()> {
        let open = tempfile::NamedTempFile::new()?;
        let limits = ProcessLimits {
            output_bytes: 100_000,
            ..LIMITS
        };
        let listed = run("printf '\\000'; ls -l /proc/self/fd", b"", &limits)?;
        let ChildResponse::Result(listed) = listed else {
            anyhow::bail!("{listed:?}");
        };
        let (listed, path) = (String::from_utf8(listed)?, open.path().display());
        ensure!(listed.contains("-> pipe:"), "{listed}");
        ensure!(!listed.contains(&path.to_string()), "{listed}");
        Ok(())
    }
}
