//! Child processes for questions that may end the process: this test binary, run again for one of its
//! tests.
//!
//! Such a test only calls [`answer_questions`]. When it does not run as a child, it has no questions and
//! passes. A [`Child`] runs it with a limit on memory, sends it one line at a time and waits for the
//! response, so that a crash or a hang is a result too.

use anyhow::{Context, Result};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// An environment variable that is set in a child to the name of the test that it runs.
const VARIABLE: &str = "WISP_TEST_CHILD";

/// The prefix of a response. The test harness writes to the same stream, at times on the same line.
const MARK: &str = "answer: ";

/// The smallest native stack on which models are loaded: that of the runtime's blocking threads.
const STACK_BYTES: usize = 2 << 20;

/// A test of this binary in a separate process. Killed on drop.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

/// The result of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Said(String),
    /// The process ended, with this status.
    Died(String),
    /// No response was received in time.
    Silent,
}

// === impl Child ===

impl Child {
    /// Runs the test with this path (`module::test`), with a limit of `memory_bytes` on its address
    /// space.
    pub(crate) fn spawn(test: &str, memory_bytes: u64) -> Result<Child> {
        let binary = std::env::current_exe()?;
        // A limit on addresses holds independently of the memory of this machine.
        let script = r#"ulimit -v "$1" && exec "$2" --exact "$3" --nocapture --test-threads 1"#;
        let mut process = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg((memory_bytes >> 10).to_string())
            .arg(binary)
            .arg(test)
            .env(VARIABLE, test)
            // Refusals are frequent here, and their backtraces are not used.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let questions = process.stdin.take().context("the input is piped")?;
        let output = process.stdout.take().context("the output is piped")?;
        let (said, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, answer)) = line.split_once(MARK)
                    && said.send(answer.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Ok(Child {
            process,
            questions,
            answers,
        })
    }

    /// Sends `question`, a single line, and returns the answer. After any answer except [`Answer::Said`]
    /// the child cannot be used again.
    pub(crate) fn ask(&mut self, question: &str, within: Duration) -> Result<Answer> {
        // A failed write means that the child has ended, which is reported below.
        let _ = writeln!(self.questions, "{question}");
        match self.answers.recv_timeout(within) {
            Ok(answer) => Ok(Answer::Said(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(Answer::Silent),
            Err(RecvTimeoutError::Disconnected) => {
                Ok(Answer::Died(self.process.wait()?.to_string()))
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Said(words) => f.write_str(words),
            Answer::Died(status) => write!(f, "DIED: {status}"),
            Answer::Silent => f.write_str("HANGS"),
        }
    }
}

/// In a child that runs `test`, answers each question on a stack of the minimum size; a panic is an
/// answer too. In any other process, returns at once.
pub(crate) fn answer_questions(test: &str, answer: impl Fn(&str) -> String + Sync) -> Result<()> {
    if std::env::var(VARIABLE).as_deref() != Ok(test) {
        return Ok(());
    }
    for question in std::io::stdin().lock().lines() {
        let question = question?;
        let answered = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let answering = thread.spawn_scoped(scope, || answer(&question))?;
            anyhow::Ok(answering.join().unwrap_or_else(|_| "PANICKED".to_owned()))
        })?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{MARK}{}", answered.replace(['\n', '\r'], " "))?;
        output.flush()?;
    }
    Ok(())
}
