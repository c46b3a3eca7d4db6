//! The log of the usage: at the end of each period, a line for each tenant and model version that was used in it.
//!
//! The lines of a server are numbered, and enclosed by one about its start and one about its end, so that a reader finds
//! lines that are missing, and servers that were killed. A killed server loses the usage of the period that it was in.
//! Lines that cannot be written are kept and written later, as they are; too many of them are never kept, because the
//! usage is only taken from the [`UsageBook`] when there is room for its lines.

pub(super) mod period;
mod usage_file;
mod usage_line;

use self::period::Period;
use self::usage_file::UsageFile;
use self::usage_line::{Event, UsageLine};
use crate::failure::BadConfiguration;
use anyhow::Context;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::SystemTime;
use wisp_serving::metering::usage_book::UsageBook;

/// The number of waiting lines above which no further usage is taken.
const MAX_WAITING: usize = 100_000;

/// The writer of the log. Lifetime: the process.
#[derive(Debug)]
pub(super) struct UsageLog {
    book: Arc<UsageBook>,
    file: UsageFile,
    period: Period,
    /// The name of this run of the server, which no other has.
    run: String,
    /// The number of the next line.
    sequence: u64,
    /// The begin of the current period.
    begun: SystemTime,
    /// The lines that have not been written.
    waiting: Vec<Vec<u8>>,
    has_failed: bool,
}

impl UsageLog {
    /// Opens the log with a line about the start, so that a file that cannot be written is reported at once. From now on,
    /// the usage is kept until it has been written.
    pub(super) fn open(
        path: &Path,
        period: Period,
        book: Arc<UsageBook>,
    ) -> anyhow::Result<UsageLog> {
        let now = SystemTime::now();
        let run = RandomState::new().hash_one(now);
        UsageLog::open_at(path, (period, now), (format!("{run:016x}"), book))
    }

    fn open_at(
        path: &Path,
        (period, now): (Period, SystemTime),
        (run, book): (String, Arc<UsageBook>),
    ) -> anyhow::Result<UsageLog> {
        book.keep_until_taken();
        let mut log = UsageLog {
            book,
            file: UsageFile::new(path),
            period,
            run,
            sequence: 0,
            begun: now,
            waiting: Vec::new(),
            has_failed: false,
        };
        log.add(&UsageLine::about_run(Event::Start, now));
        let text = log.waiting.concat();
        log.file
            .append(&text)
            .context(BadConfiguration::new(format!(
                "the usage cannot be written to `{}`, the file of --usage-log",
                path.display()
            )))?;
        log.waiting.clear();
        Ok(log)
    }

    /// Writes the usage at the end of each period, until the sender of `stopped` is dropped.
    pub(super) fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            let wait = self.period.wait(self.begun, SystemTime::now());
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {
                    let end = self.period.nearest_boundary(SystemTime::now());
                    self.end_period(end);
                }
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.finish(SystemTime::now());
    }

    /// Writes the rest, and a line about the end.
    fn finish(&mut self, now: SystemTime) {
        self.take(now);
        self.add(&UsageLine::about_run(Event::End, now));
        self.write();
    }

    /// Writes the usage of the period that ends now.
    fn end_period(&mut self, end: SystemTime) {
        if self.waiting.len() <= MAX_WAITING {
            self.take(end);
        }
        self.write();
    }

    /// Makes lines of the usage since the last period.
    fn take(&mut self, end: SystemTime) {
        // The clock may have been set back.
        let end = end.max(self.begun);
        for (key, used) in self.book.take() {
            let line = UsageLine::about_usage((&key, &used), (self.begun, end));
            self.add(&line);
        }
        self.begun = end;
    }

    fn add(&mut self, line: &UsageLine) {
        let text = line.text(&self.run, self.sequence);
        self.waiting.push(text);
        self.sequence = self.sequence.saturating_add(1);
    }

    /// Writes the waiting lines. After a failure, they are written again with the next ones.
    fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match self.file.append(&self.waiting.concat()) {
            Ok(()) => {
                self.waiting.clear();
                if self.has_failed {
                    tracing::info!("the usage is written again, and nothing was lost");
                }
                self.has_failed = false;
            }
            Err(error) => {
                if !self.has_failed {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        error,
                        "the usage cannot be written; it is kept, and written after the next period"
                    );
                }
                self.has_failed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
