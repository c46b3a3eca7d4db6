//! Load without a schedule: threads that send as fast as the server lets them, until they are stopped.

use crate::client::Client;
use crate::clock::sleep;
use crate::open_loop::STACK_BYTES;
use crate::outcome::{BROKEN, Tally};
use anyhow::{Result, anyhow};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{Builder, scope};
use std::time::{Duration, Instant};

/// An action that each thread of an attack repeats.
#[derive(Debug)]
pub(crate) enum Act {
    /// Sends the next of these requests over its persistent connection, and waits for the response.
    Requests(Vec<Vec<u8>>),
    /// Opens a connection, sends the request, waits for the response and closes the connection.
    Connections(Vec<u8>),
    /// Sends the head of a request, and its body a piece at a time.
    SlowUploads { head: Vec<u8>, piece: Vec<u8> },
}

/// A number of threads that repeat the same act.
#[derive(Debug)]
pub(crate) struct Attack {
    pub(crate) act: Act,
    pub(crate) threads: usize,
}

/// The requests of an attack that have ended.
#[derive(Debug, Default)]
pub(crate) struct Attacked {
    pub(crate) tally: Tally,
    pub(crate) time: Duration,
}

impl Attack {
    /// Attacks the server while `measure` runs.
    pub(crate) fn run_during<T>(
        &self,
        address: SocketAddr,
        measure: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Attacked)> {
        let (stop, next) = (AtomicBool::new(false), AtomicUsize::new(0));
        scope(|scope| {
            let started = Instant::now();
            let (stop, next) = (&stop, &next);
            let mut threads = Vec::with_capacity(self.threads);
            let mut failed = None;
            for _ in 0..self.threads {
                let repeat = || self.repeat(Client::new(address, stop), stop, next);
                let thread = Builder::new().stack_size(STACK_BYTES);
                match thread.spawn_scoped(scope, repeat) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => failed = Some(error),
                }
            }
            let measured = measure();
            // Also after an error: the scope waits for its threads.
            stop.store(true, Relaxed);
            let mut attacked = Attacked {
                time: started.elapsed(),
                ..Attacked::default()
            };
            for thread in threads {
                let tally = thread.join().map_err(|_| anyhow!("a client panicked"))?;
                attacked.tally.join(&tally);
            }
            match failed {
                Some(error) => Err(error.into()),
                None => Ok((measured?, attacked)),
            }
        })
    }

    /// Acts until `stop` is set.
    fn repeat(&self, mut client: Client<'_>, stop: &AtomicBool, next: &AtomicUsize) -> Tally {
        let mut tally = Tally::default();
        while !stop.load(Relaxed) {
            let status = match &self.act {
                Act::Requests(requests) => {
                    let number = next.fetch_add(1, Relaxed);
                    client.exchange(&requests[number % requests.len()])
                }
                Act::Connections(request) => {
                    let status = client.exchange(request);
                    client.close();
                    status
                }
                Act::SlowUploads { head, piece } => {
                    let status = client.trickle(head, piece);
                    client.close();
                    status
                }
            };
            match status {
                Ok(status) => tally.add(status),
                // A request without a response because of the stop is no error.
                Err(_) if stop.load(Relaxed) => {}
                Err(_) => tally.add(BROKEN),
            }
        }
        tally
    }
}

/// Returns the number of requests per second that the server answers over `connections` busy
/// connections.
pub(crate) fn capacity(
    address: SocketAddr,
    request: Vec<u8>,
    connections: usize,
    time: Duration,
) -> Result<f64> {
    let load = Attack {
        act: Act::Requests(vec![request]),
        threads: connections,
    };
    let ((), attacked) = load.run_during(address, || {
        sleep(time);
        Ok(())
    })?;
    let failures = attacked.tally.failures(&[]);
    match attacked.tally.count(200) {
        0 => Err(anyhow!("no request was answered: {failures}")),
        answered => Ok(answered as f64 / attacked.time.as_secs_f64()),
    }
}
