//! The measurements of a contender, round by round, and comparisons of two contenders within each round.

use crate::Rounds;
use crate::load::{self, Request, median};
use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;

/// The warm-up time of a contender, for caches and interpreters; not measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// The number of times that each connection asks in a round at least, as far as the warm-up shows.
const REQUESTS: u32 = 2;

/// The measurements of one contender with one number of connections.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    per_second: Vec<f64>,
    /// In microseconds, as all latencies.
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// A server and the request that it is loaded with.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) address: SocketAddr,
    pub(crate) request: Request,
}

/// Loads the servers in turns. Each round begins with the next one, so that no server has the same predecessor and the same
/// place in all rounds. Returns the measurements of each.
pub(crate) fn take_turns(
    servers: &[Loaded],
    connections: usize,
    rounds: Rounds,
) -> Result<Vec<Measured>> {
    // Slow requests need more time than others, so that each connection has some.
    let mut time = rounds.time;
    for Loaded { address, request } in servers {
        let warm = load::run(*address, request, connections, WARM_UP)?;
        let slowest = Duration::try_from_secs_f64(warm.percentile(1.0) / 1e6)?;
        time = time.max(slowest.saturating_mul(REQUESTS));
    }
    let mut all: Vec<Measured> = servers.iter().map(|_| Measured::default()).collect();
    for round in 0..rounds.count {
        let mut turns: Vec<(&Loaded, &mut Measured)> = servers.iter().zip(&mut all).collect();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        for (Loaded { address, request }, measured) in turns {
            let done = load::run(*address, request, connections, time)?;
            measured.per_second.push(done.per_second);
            measured.p50.push(done.percentile(0.5));
            measured.p99.push(done.percentile(0.99));
        }
    }
    Ok(all)
}

// === impl Measured ===

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        median(self.per_second.clone())
    }

    /// Returns the latency that half of the requests did not exceed, in milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        median(self.p50.clone()) / 1e3
    }

    /// Returns the latency that 99 % of the requests did not exceed, in milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        median(self.p99.clone()) / 1e3
    }

    /// Returns the ratio of the two contenders' throughputs, as a median over rounds.
    pub(crate) fn ratio(&self, other: &Measured) -> f64 {
        median(self.ratios(other))
    }

    /// Returns whether this contender had a lower throughput than the other one in more than three quarters of the
    /// rounds, which noise hardly explains.
    pub(crate) fn is_slower(&self, other: &Measured) -> bool {
        let ratios = self.ratios(other);
        let slower = ratios.iter().filter(|ratio| **ratio < 1.0).count();
        4 * slower > 3 * ratios.len()
    }

    fn ratios(&self, other: &Measured) -> Vec<f64> {
        let rounds = self.per_second.iter().zip(&other.per_second);
        rounds.map(|(one, other)| one / other).collect()
    }
}
