//! A load generator in open loop: requests start on schedule, whether earlier ones have been answered or
//! not.
//!
//! Each thread has a connection. It takes the next request of the schedule, sleeps until it is due, sends
//! it and waits for the response. With more threads than there are requests in flight, none starts late.

use crate::client::Client;
use crate::clock::sleep_until;
use crate::outcome::{BROKEN, Outcome, Sample};
use anyhow::{Context, Result, anyhow};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

/// The stack of a thread that only sends requests, in bytes. There are thousands of them.
pub(crate) const STACK_BYTES: usize = 64 << 10;

/// The time for the threads to start.
const LEAD: Duration = Duration::from_millis(500);

/// Requests at a fixed interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    pub(crate) time: Duration,
    pub(crate) per_second: f64,
}

/// The open connections of a load generator.
pub(crate) struct Senders {
    clients: Vec<Client<'static>>,
}

/// The requests of one thread.
struct Sent {
    samples: Vec<Sample>,
    /// The reason of the first failure.
    failure: Option<String>,
    refusals_without_time: usize,
}

/// The state that the threads of one run share.
struct Run<'a> {
    schedule: Schedule,
    request: &'a [u8],
    /// The number of requests that have been taken.
    taken: AtomicU32,
    /// The number of requests that were taken after they were due.
    late: AtomicUsize,
}

// === impl Schedule ===

impl Schedule {
    /// Returns a schedule that starts soon.
    pub(crate) fn soon(time: Duration, per_second: f64) -> Schedule {
        Schedule {
            start: Instant::now() + LEAD,
            time,
            per_second,
        }
    }

    pub(crate) fn end(&self) -> Instant {
        self.start + self.time
    }
}

// === impl Senders ===

impl Senders {
    /// Opens this many connections.
    pub(crate) fn connect(address: SocketAddr, connections: usize) -> Result<Senders> {
        // Every request is waited for.
        static STOP: AtomicBool = AtomicBool::new(false);
        let connect = |_| {
            let mut client = Client::new(address, &STOP);
            client.connect().map(|()| client)
        };
        let clients = (0..connections).map(connect).collect::<Result<_>>();
        Ok(Senders {
            clients: clients.context("failed to open the connections")?,
        })
    }

    /// Sends requests on schedule, and waits for their responses.
    pub(crate) fn run(self, schedule: Schedule, request: &[u8]) -> Result<Outcome> {
        let run = Run {
            schedule,
            request,
            taken: AtomicU32::new(0),
            late: AtomicUsize::new(0),
        };
        let mut outcome = scope(|scope| {
            let mut threads = Vec::with_capacity(self.clients.len());
            for client in self.clients {
                let send = || run.send(client);
                threads.push(
                    Builder::new()
                        .stack_size(STACK_BYTES)
                        .spawn_scoped(scope, send)?,
                );
            }
            let mut outcome = Outcome {
                time: schedule.time,
                ..Outcome::default()
            };
            for thread in threads {
                let sent = thread.join().map_err(|_| anyhow!("a client panicked"))?;
                outcome.samples.extend(sent.samples);
                outcome.failure = outcome.failure.or(sent.failure);
                outcome.refusals_without_time += sent.refusals_without_time;
            }
            anyhow::Ok(outcome)
        })?;
        outcome.samples.sort_by_key(|sample| sample.due);
        outcome.late = run.late.into_inner();
        Ok(outcome)
    }
}

// === impl Run ===

impl Run<'_> {
    /// Sends requests until the end of the schedule.
    fn send(&self, mut client: Client<'_>) -> Sent {
        let mut samples = Vec::new();
        loop {
            let number = f64::from(self.taken.fetch_add(1, Relaxed));
            let due = Duration::from_secs_f64(number / self.schedule.per_second);
            if due >= self.schedule.time {
                return Sent {
                    samples,
                    failure: client.first_failure,
                    refusals_without_time: client.refusals_without_time,
                };
            }
            let start = self.schedule.start + due;
            if Instant::now() > start {
                self.late.fetch_add(1, Relaxed);
            }
            sleep_until(start);
            let lag = start.elapsed();
            let status = client.exchange(self.request).unwrap_or(BROKEN);
            samples.push(Sample {
                due,
                lag,
                latency: start.elapsed(),
                status,
            });
        }
    }
}
