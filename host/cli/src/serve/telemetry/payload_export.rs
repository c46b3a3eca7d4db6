//! Writes the log of payloads: one event per line of a file, or one POST request per event.
//!
//! An event that cannot be written is lost and counted. There is no second attempt: a server that is down would
//! otherwise cost the events behind it too.

use super::cloud_event::{self, MEDIA_TYPE};
use super::http_agent::agent;
use super::rotating_file::RotatingFile;
use crate::failure::BadConfiguration;
use crate::options::PayloadDestination;
use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use ureq::Agent;
use url::Url;
use wisp_serving::payload_log::PayloadLog;

/// The time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes that are read of a response, so that the connection can be used again.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

/// The time between two lines about events that cannot be written.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The writer of the log. Lifetime: the process.
#[derive(Debug)]
pub(super) struct PayloadExport {
    sink: Sink,
    /// The time of the last line about a failure.
    logged: Option<Instant>,
}

#[derive(Debug)]
enum Sink {
    File(RotatingFile),
    Server { agent: Box<Agent>, url: Url },
}

impl PayloadExport {
    /// Opens the file, or prepares the client of the server, which need not run yet.
    pub(super) fn open(
        destination: &PayloadDestination,
        file_bytes: u64,
    ) -> anyhow::Result<PayloadExport> {
        let sink = match destination {
            PayloadDestination::File(path) => {
                let file = RotatingFile::open(path, file_bytes);
                Sink::File(file.context(BadConfiguration::new(format!(
                    "payloads cannot be written to `{}`, the file of --payload-log",
                    path.display()
                )))?)
            }
            PayloadDestination::Server(url) => Sink::Server {
                agent: Box::new(agent(TIMEOUT)),
                url: url.clone(),
            },
        };
        Ok(PayloadExport { sink, logged: None })
    }

    /// Writes events until the queue is closed and empty.
    pub(super) fn run(&mut self, log: &PayloadLog) {
        while let Some(events) = log.queue().next_batch() {
            for event in events {
                let text = cloud_event::text(&event);
                // The bytes of the tensors are not needed any more.
                drop(event);
                match self.sink.write(text) {
                    Ok(()) => log.queue().count_written(1),
                    Err(error) => {
                        log.queue().count_dropped(1);
                        self.log(&error);
                    }
                }
            }
        }
    }

    /// Logs a failure, up to one in a while.
    fn log(&mut self, error: &anyhow::Error) {
        let is_recent = |at: Instant| at.elapsed() < LINE_INTERVAL;
        if self.logged.is_some_and(is_recent) {
            return;
        }
        self.logged = Some(Instant::now());
        tracing::warn!(
            error = format!("{error:#}"),
            "payloads cannot be written, and are lost"
        );
    }
}

impl Sink {
    fn write(&mut self, text: Vec<u8>) -> anyhow::Result<()> {
        match self {
            Sink::File(file) => file.write_line(&text).context("the file of payloads"),
            Sink::Server { agent, url } => post(agent, url, text),
        }
    }
}

fn post(agent: &Agent, url: &Url, text: Vec<u8>) -> anyhow::Result<()> {
    let request = agent.post(url.as_str()).content_type(MEDIA_TYPE);
    let response = request.send(text).context("the server of payloads")?;
    let status = response.status();
    let mut body = response.into_body();
    // The content is not used; a response that is too long costs its connection.
    let _ = body.with_config().limit(MAX_RESPONSE_BYTES).read_to_vec();
    ensure!(
        status.is_success(),
        "the server of payloads answered with status {status}"
    );
    Ok(())
}
