//! Part `fairness`: the throughput of eight tenants of the same weight that all want more than there is.
//!
//! Jain's index is the square of the sum over the number of tenants times the sum of the squares: 1 if all have the same, and
//! 1/8 if one has everything. In the second row of each level, half of the tenants have four times as many connections as the
//! others: it shows what a tenant gains by that.

use crate::attack::{Act, Attack};
use crate::clock::sleep;
use crate::outcome::median;
use crate::repository::Repository;
use crate::request;
use crate::tenancy::{LEVELS, Tenancy};
use anyhow::{Result, anyhow};
use std::net::SocketAddr;
use std::thread::scope;
use std::time::Duration;

/// The tenants.
const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The number of times that each row is measured.
const ROUNDS: usize = 3;

/// The connections of every first and every second tenant, enough for each tenant to have requests waiting all the time.
const CONNECTIONS: [[usize; 2]; 2] = [[16, 16], [16, 64]];

/// Prints a table of all levels.
pub(crate) fn measure(repository: &Repository, time: Duration) -> Result<()> {
    println!(
        "\n`wine` for {} tenants at once; medians of {ROUNDS} rounds.\n",
        IDS.len()
    );
    println!(
        "| isolation | connections of each | answered/s, all | least, most of one | Jain's index |"
    );
    println!("|---|---|---|---|---|");
    for level in LEVELS {
        let tenants = IDS.map(|id| (id, level));
        let tenancy = Tenancy::create(repository, &format!("fair-{level}"), &tenants)?;
        let server = tenancy.start(repository)?;
        for connections in CONNECTIONS {
            let (mut sums, mut least, mut most) = (Vec::new(), Vec::new(), Vec::new());
            let mut indexes = Vec::new();
            // The first round starts processes and loads models.
            for round in 0..=ROUNDS {
                let rates = rates(&tenancy, server.address, (connections, time))?;
                if round > 0 {
                    sums.push(rates.iter().sum());
                    least.push(rates.iter().copied().fold(f64::INFINITY, f64::min));
                    most.push(rates.iter().copied().fold(0.0, f64::max));
                    indexes.push(jain(&rates));
                }
            }
            let [few, many] = connections;
            println!(
                "| {level} | {few}, {many} | {:.0} | {:.0}, {:.0} | {:.4} |",
                median(sums),
                median(least),
                median(most),
                median(indexes),
            );
        }
    }
    Ok(())
}

/// Returns the answered requests per second of each tenant, while all send as fast as they can.
fn rates(
    tenancy: &Tenancy,
    address: SocketAddr,
    (connections, time): ([usize; 2], Duration),
) -> Result<Vec<f64>> {
    let mut attacks = Vec::new();
    for (id, threads) in IDS.into_iter().zip(connections.into_iter().cycle()) {
        let act = Act::Requests(vec![tenancy.of(id, &request::wine())?]);
        attacks.push(Attack { act, threads });
    }
    scope(|scope| {
        let mut threads = Vec::new();
        for attack in &attacks {
            threads.push(scope.spawn(move || {
                attack.run_during(address, || {
                    sleep(time);
                    Ok(())
                })
            }));
        }
        let mut rates = Vec::new();
        for thread in threads {
            let ((), done) = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            rates.push(done.tally.count(200) as f64 / done.time.as_secs_f64());
        }
        Ok(rates)
    })
}

fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares)
}
