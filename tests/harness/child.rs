//! Child processes for tasks that may end their process: this test binary, run again for one of its
//! tests.
//!
//! Such a test is ignored unless a parent process runs it, and only calls [`serve_parent`]. A
//! [`ChildPool`] runs it with a limit on memory, sends it one request at a time, each a line, and waits
//! for the response, so that a crash or a hang is a result too.

use anyhow::{Context, Result, ensure};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An environment variable that is set in a child to the name of the test that it runs.
const VARIABLE: &str = "WISP_TEST_CHILD";

/// The prefix of a response. The test harness writes to the same stream, at times on the same line.
const MARK: &str = "response: ";

/// The smallest native stack on which models are loaded: that of the runtime's blocking threads.
const STACK_BYTES: usize = 2 << 20;

/// The number of children that run at the same time.
const CHILDREN: usize = 2;

/// The settings of child processes that run one test of this binary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildPool {
    /// The path of the test (`module::test`).
    pub(crate) test: &'static str,
    /// The limit on a child's address space, including its own code and stacks.
    pub(crate) memory_bytes: u64,
    /// The time limit for a response.
    pub(crate) timeout: Duration,
}

/// A child process, which is replaced after it has died or hung.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    pool: &'a ChildPool,
    process: Option<Process>,
}

/// A running child process. Killed on drop.
#[derive(Debug)]
struct Process {
    process: std::process::Child,
    requests: ChildStdin,
    responses: Receiver<String>,
}

/// The result of a request to a child.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Response(String),
    /// The process ended, with this status.
    Died(String),
    /// No response was received in time.
    Hangs,
}

// === impl ChildPool ===

impl ChildPool {
    /// Returns a child process, which starts with its first request.
    pub(crate) fn child(&self) -> Child<'_> {
        Child {
            pool: self,
            process: None,
        }
    }

    /// Runs `task` for each of `items` with a child process, several at a time, and returns the results
    /// in any order.
    pub(crate) fn run_all<T: Send, R: Send>(
        &self,
        items: impl Iterator<Item = T> + Send,
        task: impl Fn(&mut Child<'_>, T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let items = Mutex::new(items);
        let work = || -> Result<Vec<R>> {
            let mut child = self.child();
            let mut results = Vec::new();
            loop {
                let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(item) = next else {
                    return Ok(results);
                };
                results.push(task(&mut child, item)?);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..CHILDREN).map(|_| scope.spawn(work)).collect();
            let mut results = Vec::new();
            for worker in workers {
                results.extend(worker.join().expect("a worker does not panic")?);
            }
            Ok(results)
        })
    }
}

// === impl Child ===

impl Child<'_> {
    /// Sends `request`, a single line, and returns the outcome.
    pub(crate) fn request(&mut self, request: &str) -> Result<Outcome> {
        let process = match &mut self.process {
            Some(process) => process,
            none => none.insert(Process::spawn(self.pool)?),
        };
        let outcome = process.request(request, self.pool.timeout)?;
        if !matches!(outcome, Outcome::Response(_)) {
            self.process = None;
        }
        Ok(outcome)
    }
}

// === impl Process ===

impl Process {
    fn spawn(pool: &ChildPool) -> Result<Process> {
        let binary = std::env::current_exe()?;
        // A limit on addresses holds independently of the memory of this machine.
        let script = r#"ulimit -v "$1" && exec "$2" --exact "$3" --ignored --nocapture"#;
        let mut process = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg((pool.memory_bytes >> 10).to_string())
            .arg(binary)
            .arg(pool.test)
            .env(VARIABLE, pool.test)
            // Refusals are frequent here, and their backtraces are not used.
            .env("RUST_BACKTRACE", "0")
            .env("RUST_TEST_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let requests = process.stdin.take().context("the input is piped")?;
        let output = process.stdout.take().context("the output is piped")?;
        let (received, responses) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, response)) = line.split_once(MARK)
                    && received.send(response.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Ok(Process {
            process,
            requests,
            responses,
        })
    }

    fn request(&mut self, request: &str, timeout: Duration) -> Result<Outcome> {
        // A failed write means that the child has ended, which is reported below.
        let _ = writeln!(self.requests, "{request}");
        match self.responses.recv_timeout(timeout) {
            Ok(response) => Ok(Outcome::Response(response)),
            Err(RecvTimeoutError::Timeout) => Ok(Outcome::Hangs),
            Err(RecvTimeoutError::Disconnected) => {
                Ok(Outcome::Died(self.process.wait()?.to_string()))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Response(text) => f.write_str(text),
            Outcome::Died(status) => write!(f, "DIED: {status}"),
            Outcome::Hangs => f.write_str("HANGS"),
        }
    }
}

/// In a child that runs `test`, responds to each request on a stack of the minimum size; a panic is a
/// response too.
///
/// # Errors
/// Returns an error in any other process: no parent sends requests to it.
pub(crate) fn serve_parent(test: &str, respond: impl Fn(&str) -> String + Sync) -> Result<()> {
    let runs_here = std::env::var(VARIABLE).as_deref() == Ok(test);
    ensure!(
        runs_here,
        "{test} runs only in a child process of other tests"
    );
    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let response = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let responding = thread.spawn_scoped(scope, || respond(&request))?;
            anyhow::Ok(responding.join().unwrap_or_else(|_| "PANICKED".to_owned()))
        })?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{MARK}{}", response.replace(['\n', '\r'], " "))?;
        output.flush()?;
    }
    Ok(())
}
