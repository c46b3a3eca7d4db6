//! A soak test of good and hostile tenants on one server: no good tenant gets a wrong answer, and nothing grows.
//!
//! It consists of laps. In each, the good tenants (`good`) send a fixed number of requests while the hostile ones (`hostile`)
//! attack, and the worker process of one tenant is killed. After each lap, when nobody has a request, the memory of the server
//! is measured. The first half of the laps is the warm-up. In the end, there are as many descriptors, threads
//! and processes as in the beginning.
//!
//! With `WISP_TEST_SCALE=300` it lasts for half an hour, and the growth of memory after the warm-up is bounded per hour. A
//! shorter form says nothing about an hour, and bounds the difference to the warm-up instead.

mod good;
mod hostile;

use super::footprint::{Footprint, bytes_per_hour};
use super::serve::{Serve, serve};
use super::workers::{add, signal, workers_of};
use crate::harness::{Repository, component, scale};
use anyhow::{Context, Result, bail, ensure};
use good::{Api, GoodTenant};
use hostile::{Attack, Attacker};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::{ScopedJoinHandle, scope};
use std::time::{Duration, Instant};
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::tenant_file::TenantFile;

/// The least time of all laps at scale 1. At scale 300 it is half an hour.
const TIME: Duration = Duration::from_secs(6);

/// The least number of laps.
const LAPS: usize = 4;

/// The requests of each good tenant in one lap, about a second of work.
const REQUESTS: usize = 64;

/// The least number of times that the worker process is killed.
const KILLS: usize = 2;

/// The requests per second that the tenant of the flood may send.
const ALLOWED: u64 = 5;

/// The most by which memory may be above that of the warm-up at the end, with the reserves of the allocator.
const MAX_GROWTH: u64 = 64 << 20;

/// The most bytes by which memory may grow in an hour, if the laps after the warm-up last for this time.
const MAX_BYTES_PER_HOUR: f64 = 1_048_576.0;
const LONG: Duration = Duration::from_secs(14 * 60);

/// A server with good and hostile tenants.
struct Soak {
    server: Serve,
    good: Vec<GoodTenant>,
    /// A good tenant whose worker process is killed.
    killed: GoodTenant,
    hostile: Vec<Attacker>,
    /// The directory of the tenants.
    directory: Repository,
    _public: Repository,
}

impl Soak {
    fn start() -> Result<Soak> {
        let public = Repository::of(&["wine"])?.with_model("shared", "progression", None)?;
        let hostile = component("hostile_guest")?;
        let directory = Repository::empty()?
            .with_model("tenants/rows/models/own", "progression", None)?
            .with_model("tenants/killed/models/own", "progression", None)?
            .with_model(
                "tenants/hostile/models/hostile",
                "progression",
                Some(hostile),
            )?;
        let file = TenantFile::new(directory.path());
        let shared = |id: &str| add(&file, id, Some(Isolation::Shared));
        let killed = add(&file, "killed", Some(Isolation::Worker))?;
        let good = vec![
            GoodTenant::new(Api::Wine, shared("matrix")?),
            GoodTenant::new(Api::Row, shared("rows")?),
            GoodTenant::new(Api::Grpc, shared("grpc")?),
        ];
        let (misbehaving, flood, junk) = (shared("hostile")?, shared("flood")?, shared("junk")?);
        file.change(|records| {
            if let Some(record) = records.tenants.get_mut("flood") {
                record.limits.requests_per_second = Some(ALLOWED);
            }
            Ok(())
        })?;
        let hostile = vec![
            Attacker::new(Attack::Loops, &misbehaving),
            Attacker::new(Attack::Misbehaves, &misbehaving),
            Attacker::new(Attack::Floods, &flood),
            Attacker::new(Attack::Guesses, &flood),
            Attacker::new(Attack::Malforms, &junk),
            Attacker::new(Attack::Stalls, &junk),
            Attacker::new(Attack::Cuts, &junk),
            Attacker::new(Attack::Uploads, &junk),
        ];
        let mut command = serve(public.path());
        command
            .arg("--tenants")
            .arg(directory.path())
            .arg("--allow-upload")
            // Many loops fit into a lap.
            .args(["--max-handler-time-milliseconds", "500"])
            // The test is about the answers, which may take long on a busy machine.
            .args(["--request-timeout-milliseconds", "50000"])
            .stderr(Stdio::null());
        Ok(Soak {
            server: Serve::spawn(command)?,
            good,
            killed: GoodTenant::new(Api::Killed, killed),
            hostile,
            directory,
            _public: public,
        })
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.server.address().parse()?)
    }

    fn footprint(&self) -> Result<Footprint> {
        Footprint::of(self.server.id())
    }

    /// Lets all tenants do what they do at the same time, until each good one has the answers to its requests. Kills the
    /// worker process in between, and returns whether there was one.
    fn lap(&self) -> Result<bool> {
        let address = self.address()?;
        let over = &AtomicBool::new(false);
        let (half, halves) = channel::<()>();
        scope(|scope| {
            let mut others: Vec<ScopedJoinHandle<'_, Result<()>>> = Vec::new();
            for attacker in &self.hostile {
                others.push(scope.spawn(move || attacker.attack(address, over)));
            }
            let killed = &self.killed;
            others.push(scope.spawn(move || -> Result<()> {
                while !over.load(Relaxed) {
                    killed.ask(address, 1)?;
                }
                Ok(())
            }));
            let mut good: Vec<ScopedJoinHandle<'_, Result<()>>> = Vec::new();
            for tenant in &self.good {
                let half = half.clone();
                good.push(scope.spawn(move || {
                    tenant.ask(address, REQUESTS / 2)?;
                    // Only the first one is waited for.
                    let _ = half.send(());
                    tenant.ask(address, REQUESTS / 2)
                }));
            }
            drop(half);
            // After several kills, a worker starts after a pause of up to a minute.
            let worker = halves.recv().ok().and_then(|()| self.workers().pop());
            let is_killed = worker.is_some_and(|worker| signal(worker, "-KILL").is_ok());
            let answered: Vec<Result<()>> = good.into_iter().map(joined).collect();
            over.store(true, Relaxed);
            let attacked: Vec<Result<()>> = others.into_iter().map(joined).collect();
            answered
                .into_iter()
                .chain(attacked)
                .collect::<Result<()>>()?;
            Ok(is_killed)
        })
    }

    fn workers(&self) -> Vec<u32> {
        workers_of(self.directory.path())
    }

    /// Checks that the server has answered enough requests, all of them correctly.
    fn check_answers(&self) -> Result<()> {
        for tenant in &self.good {
            tenant.check()?;
        }
        self.killed.check()
    }
}

fn joined(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread
        .join()
        .unwrap_or_else(|_| bail!("a client has panicked"))
}

/// Checks that memory has not grown after the warm-up.
fn check_memory(laps: &[(Duration, Footprint)], now: Footprint) -> Result<()> {
    let (warm_up, measured) = laps.split_at(laps.len() / 2);
    let most = warm_up.iter().map(|(_, at_rest)| at_rest.memory).max();
    let growth = now.memory.saturating_sub(most.context("no warm-up")?);
    ensure!(growth <= MAX_GROWTH, "{} KiB more", growth >> 10);
    let samples = measured
        .iter()
        .map(|(time, at_rest)| (*time, at_rest.memory));
    let samples: Vec<(Duration, u64)> = samples.collect();
    let (first, last) = samples
        .first()
        .zip(samples.last())
        .context("nothing is measured")?;
    let time = last.0.saturating_sub(first.0);
    let slope = bytes_per_hour(&samples);
    if time >= LONG {
        writeln!(
            std::io::stderr(),
            "{} samples in {} s: memory grows by {:.0} KiB per hour",
            samples.len(),
            time.as_secs(),
            slope / 1024.0
        )?;
        ensure!(slope <= MAX_BYTES_PER_HOUR, "{slope} bytes per hour");
    }
    Ok(())
}

#[test]
fn good_tenants_get_right_answers_beside_hostile_ones_and_nothing_grows() -> Result<()> {
    let mut soak = Soak::start()?;
    // Everything is loaded, compiled and started.
    let address = soak.address()?;
    for tenant in soak.good.iter().chain([&soak.killed]) {
        tenant.ask(address, 1)?;
    }
    soak.check_answers()?;
    ensure!(soak.workers().len() == 1, "{:?}", soak.workers());
    let before = soak.footprint()?;
    let time = TIME * u32::try_from(scale())?;
    let started = Instant::now();
    let (mut laps, mut kills) = (Vec::new(), 0);
    while laps.len() < LAPS || started.elapsed() < time {
        kills += usize::from(soak.lap()?);
        laps.push((started.elapsed(), soak.footprint()?));
    }
    soak.check_answers()?;
    ensure!(kills >= KILLS, "a worker was killed {kills} times");
    before.wait_for(soak.server.id())?;
    check_memory(&laps, soak.footprint()?)?;
    soak.server.signal("-TERM")?;
    let ended = soak.server.child.wait()?;
    ensure!(ended.code() == Some(0), "{ended}");
    Ok(())
}
