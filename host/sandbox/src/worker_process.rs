//! A child process that performs tasks one after another, for tasks that take less time than the start
//! of a process.
//!
//! This module contains both ends: [`WorkerProcess`] for the parent, [`serve`] for the child. A task is
//! the processor time that it may take in seconds, the length of its input in bytes, both 64 bits
//! little-endian, and the input. An answer is its length in the same form, the byte of its kind, and its
//! content.

use crate::child_attendant::{ChildEnd, StartLimits};
use crate::limited_process::{
    ChildError, ChildProgram, ChildResponse, ProcessLimits, ended_without_response, prepare_child,
};
use crate::spawner::StartedChild;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

/// The size limit of a task's input in bytes.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// A child process that waits for tasks. It is killed when this is dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    child: ChildEnd,
    stdin: PipeWriter,
    answers: Receiver<Frame>,
    limits: ProcessLimits,
    tasks: usize,
    /// Set once the child has ended.
    status: Option<ExitStatus>,
}

/// A message of a child.
#[derive(Debug)]
enum Frame {
    Response(Vec<u8>),
    TooLong,
}

// === impl WorkerProcess ===

impl WorkerProcess {
    /// Starts the program with these limits: those on time and output are for each task, the one on
    /// memory is for all of them.
    pub fn start(
        program: &ChildProgram,
        limits: &ProcessLimits,
    ) -> Result<WorkerProcess, ChildError> {
        let limits_at_start = StartLimits {
            // The child limits the time of each task, since it takes several.
            processor_seconds: None,
            memory_bytes: limits.memory_bytes,
        };
        let StartedChild { stdin, stdout, end } = program.start(&[], limits_at_start)?;
        let (sender, answers) = channel();
        let limit = limits.output_bytes;
        // Ends with the child, whose end closes the stream.
        thread::Builder::new()
            .name("wisp-child".to_owned())
            .spawn(move || receive(stdout, limit, &sender))
            .map_err(ChildError::Start)?;
        Ok(WorkerProcess {
            child: end,
            stdin,
            answers,
            limits: *limits,
            tasks: 0,
            status: None,
        })
    }

    /// The number of tasks that it has been given.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// Performs one task. Blocks the calling thread. After an error the process has ended, and further
    /// tasks fail.
    pub fn perform(&mut self, input: &[u8]) -> Result<ChildResponse, ChildError> {
        self.tasks += 1;
        // A write fails if the child has ended, which the missing answer shows as well.
        let _ = self.send(input);
        match self.answers.recv_timeout(self.limits.wall_time) {
            Ok(Frame::Response(answer)) => match ChildResponse::decode(answer) {
                Some(answer) => Ok(answer),
                None => Err(self.died()),
            },
            Ok(Frame::TooLong) => {
                self.end();
                Err(ChildError::Output {
                    limit: self.limits.output_bytes,
                })
            }
            Err(RecvTimeoutError::Timeout) => {
                self.end();
                Err(ChildError::WallTime {
                    limit: self.limits.wall_time,
                })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
        }
    }

    fn send(&mut self, input: &[u8]) -> io::Result<()> {
        let seconds = self.limits.processor_time.as_secs();
        self.stdin.write_all(&seconds.to_le_bytes())?;
        self.stdin.write_all(&length(input).to_le_bytes())?;
        self.stdin.write_all(input)?;
        self.stdin.flush()
    }

    /// Returns the reason that the child ended, or ends it if it has only closed its stream.
    fn died(&mut self) -> ChildError {
        // It has closed its stream, so it has ended, or never answers again.
        self.end();
        match self.status {
            Some(status) => ended_without_response(status, &self.limits),
            None => ChildError::SpawnerGone(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Ends the child, if it has not ended yet.
    fn end(&mut self) {
        if self.status.is_none() {
            self.child.kill();
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Forwards the output of the child, until it ends or writes more than `limit` bytes.
fn receive(mut stdout: PipeReader, limit: usize, frames: &Sender<Frame>) {
    while let Ok(length) = read_number(&mut stdout) {
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|&length| length <= limit)
        else {
            let _ = frames.send(Frame::TooLong);
            return;
        };
        let mut answer = vec![0; length];
        if stdout.read_exact(&mut answer).is_err() || frames.send(Frame::Response(answer)).is_err()
        {
            return;
        }
    }
}

fn read_number(stream: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

// === the child's end ===

/// Performs the tasks that the parent sends, until it sends no more.
pub fn serve(perform: impl FnMut(&[u8]) -> ChildResponse) -> io::Result<()> {
    prepare_child()?;
    serve_streams(
        (&mut io::stdin().lock(), &mut io::stdout().lock()),
        allow_processor_time,
        perform,
    )
}

fn serve_streams(
    (input, output): (&mut impl Read, &mut impl Write),
    allow: impl Fn(u64) -> io::Result<()>,
    mut perform: impl FnMut(&[u8]) -> ChildResponse,
) -> io::Result<()> {
    loop {
        let seconds = match read_number(input) {
            Ok(seconds) => seconds,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = read_number(input)?;
        if length > MAX_INPUT_BYTES {
            return Err(io::Error::other("the task is too long"));
        }
        let mut task = Vec::new();
        input.take(length).read_to_end(&mut task)?;
        allow(seconds)?;
        let answer = perform(&task).encode();
        output.write_all(&self::length(&answer).to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
}

/// Limits the processor time of this process to `seconds` more than it has used so far. The signal
/// at this limit ends the process.
fn allow_processor_time(seconds: u64) -> io::Result<()> {
    let taken = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    let taken = u64::try_from(taken).unwrap_or(0);
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = taken.saturating_add(1).saturating_add(seconds);
    let limit = Rlimit {
        current: Some(current.min(maximum.unwrap_or(u64::MAX))),
        maximum,
    };
    Ok(setrlimit(Resource::Cpu, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};
    use std::time::Duration;

    const LIMITS: ProcessLimits = ProcessLimits {
        processor_time: Duration::from_secs(1),
        wall_time: Duration::from_secs(60),
        memory_bytes: 64 << 20,
        output_bytes: 1000,
    };

    /// Starts a shell script as the child. It receives its tasks, but does not read them.
    fn start(script: &str, limits: &ProcessLimits) -> Result<WorkerProcess> {
        let program = ChildProgram::new("/bin/sh", ["-c", script]);
        Ok(WorkerProcess::start(&program, limits)?)
    }

    #[test]
    fn a_child_performs_tasks_until_there_are_no_more() -> Result<()> {
        let mut tasks = Vec::new();
        for task in ["one", "no"] {
            tasks.extend(7_u64.to_le_bytes());
            tasks.extend(length(task.as_bytes()).to_le_bytes());
            tasks.extend(task.as_bytes());
        }
        let mut output = Vec::new();
        let allowed = |seconds| match seconds {
            7 => Ok(()),
            _ => Err(io::Error::other("another time")),
        };
        serve_streams(
            (&mut tasks.as_slice(), &mut output),
            allowed,
            |task| match task {
                b"no" => ChildResponse::Refusal("refused".to_owned()),
                task => ChildResponse::Result(task.to_vec()),
            },
        )?;
        let mut expected = 4_u64.to_le_bytes().to_vec();
        expected.extend(b"\0one");
        expected.extend(8_u64.to_le_bytes());
        expected.extend(b"\x01refused");
        ensure!(output == expected, "{output:?}");
        Ok(())
    }

    #[test]
    fn a_parent_receives_one_answer_for_each_task() -> Result<()> {
        let script = r"printf '\004\000\000\000\000\000\000\000\000one'
            printf '\003\000\000\000\000\000\000\000\001no'; cat >/dev/null";
        let mut worker = start(script, &LIMITS)?;
        ensure!(worker.perform(b"1")? == ChildResponse::Result(b"one".to_vec()));
        ensure!(worker.perform(b"2")? == ChildResponse::Refusal("no".to_owned()));
        ensure!(worker.tasks() == 2);
        Ok(())
    }

    #[test]
    fn a_child_that_does_not_answer_is_killed_at_its_time_limit() -> Result<()> {
        let limits = ProcessLimits {
            wall_time: Duration::from_millis(50),
            ..LIMITS
        };
        let late = start("cat >/dev/null", &limits)?.perform(b"task");
        ensure!(matches!(late, Err(ChildError::WallTime { .. })), "{late:?}");
        Ok(())
    }

    #[test]
    fn a_child_that_ends_or_announces_too_much_is_an_error_and_stays_one() -> Result<()> {
        for (script, expected) in [
            ("read task; exit 3", "exit status: 3"),
            (
                r"printf '\001\000\000\000\000\000\000\000\007'",
                "its process ended",
            ),
            (
                r"printf '\001\000\000\000\000\000\000\001'; cat >/dev/null",
                "larger than 1000 bytes",
            ),
        ] {
            let mut worker = start(script, &LIMITS)?;
            let error = worker.perform(b"task\n").err();
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            ensure!(error.contains(expected), "{script}: {error}");
            ensure!(worker.perform(b"task\n").is_err(), "{script}");
        }
        Ok(())
    }
}
