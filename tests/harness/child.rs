//! Questions to a process that may die of them: this test binary, run again for one of its tests.
//!
//! Such a test calls [`answer_questions`] and does nothing else. Nobody's child, it has no questions and
//! passes. A [`Child`] runs it with a limit on memory, hands it a line at a time and waits for the answer,
//! so that what ends a process, or never ends, is an answer too.

use anyhow::{Context, Result};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Set in a child to the name of the test that it runs.
const VARIABLE: &str = "WISP_TEST_CHILD";

/// What an answer begins with. The test harness writes to the same stream, on the same line at times.
const MARK: &str = "answer: ";

/// The smallest native stack that models are loaded on: that of the runtime's blocking threads.
const STACK_BYTES: usize = 2 << 20;

/// A test of this binary in a process of its own. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Said(String),
    /// The process ended; how.
    Died(String),
    /// No answer came in time.
    Silent,
}

// === impl Child ===

impl Child {
    /// Run the test with this path (`module::test`), allowed so much memory.
    pub(crate) fn spawn(test: &str, memory_bytes: u64) -> Result<Child> {
        let binary = std::env::current_exe()?;
        // The limit is of addresses, so that it holds whatever memory this machine has.
        let script = r#"ulimit -v "$1" && exec "$2" --exact "$3" --nocapture --test-threads 1"#;
        let mut process = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg((memory_bytes >> 10).to_string())
            .arg(binary)
            .arg(test)
            .env(VARIABLE, test)
            // Refusals are the rule here, and nobody reads where they come from.
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

    /// The answer to `question`, a line. After any other answer than words the child is of no use.
    pub(crate) fn ask(&mut self, question: &str, within: Duration) -> Result<Answer> {
        // A child that is gone says so below.
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
        // It may have ended by itself.
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

/// In a child that runs `test`, answer each question it is asked, on a stack as small as any that
/// serves; a panic is an answer. Elsewhere, return at once.
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
