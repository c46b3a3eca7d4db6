//! A child process that serves its parent over a socket, until the parent ends it.
//!
//! The socket is the standard input of the child. It has no name, so that only these two processes can reach it.
//! The child has a limit on its memory, and none on its time.

use crate::child_attendant::{ChildEnd, StartLimits};
use crate::limited_process::ChildProgram;
use crate::spawner::ChildStreams;
use std::io::{self, PipeReader};
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

/// A child that serves its parent. It is killed when its process is dropped.
#[derive(Debug)]
pub struct ServingChild {
    /// The parent's end of the socket.
    pub socket: UnixStream,
    /// The standard output of the child, which ends with it.
    pub output: PipeReader,
    pub process: ServingProcess,
}

/// The process of a child that serves its parent.
#[derive(Debug)]
pub struct ServingProcess {
    end: ChildEnd,
}

impl ServingChild {
    /// Starts a child that may allocate this many bytes, and waits until it runs.
    pub fn start(program: &ChildProgram, memory_bytes: u64) -> io::Result<ServingChild> {
        let (socket, input) = UnixStream::pair()?;
        let (control, attendant) = UnixStream::pair()?;
        let (output, child_output) = io::pipe()?;
        let limits = StartLimits {
            processor_seconds: None,
            memory_bytes,
        };
        let streams = ChildStreams {
            stdin: input.into(),
            stdout: child_output.into(),
            control: attendant,
        };
        program.launch(limits, streams)?;
        let end = ChildEnd::started(control)?;
        Ok(ServingChild {
            socket,
            output,
            process: ServingProcess { end },
        })
    }
}

impl ServingProcess {
    /// Kills the child unless it has ended by itself, waits for its end, and returns its status.
    pub fn end(self) -> io::Result<ExitStatus> {
        self.end.kill();
        self.end.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::process::ExitStatusExt;

    fn start(script: &str) -> Result<ServingChild> {
        let program = ChildProgram::new("/bin/sh", ["-c", script]);
        Ok(ServingChild::start(&program, 64 << 20)?)
    }

    #[test]
    fn a_child_reads_and_writes_the_socket_of_its_parent() -> Result<()> {
        let mut child = start("cat >&0")?;
        child.socket.write_all(b"a request")?;
        child.socket.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        child.socket.read_to_string(&mut answer)?;
        ensure!(answer == "a request", "{answer}");
        Ok(())
    }

    #[test]
    fn the_output_of_a_child_is_apart_from_its_answers_and_ends_with_it() -> Result<()> {
        let mut child = start("echo a report")?;
        let mut output = String::new();
        child.output.read_to_string(&mut output)?;
        ensure!(output == "a report\n", "{output}");
        ensure!(child.socket.read(&mut [0])? == 0);
        Ok(())
    }

    #[test]
    fn a_child_that_dies_of_a_signal_closes_the_socket_and_the_signal_is_known() -> Result<()> {
        let mut child = start("kill -SEGV $$")?;
        ensure!(child.socket.read(&mut [0])? == 0);
        ensure!(child.process.end()?.signal() == Some(11));
        Ok(())
    }

    #[test]
    fn a_child_is_ended_when_its_parent_wants_it() -> Result<()> {
        let child = start("exec sleep 1000")?;
        ensure!(child.process.end()?.signal() == Some(9));
        Ok(())
    }
}
