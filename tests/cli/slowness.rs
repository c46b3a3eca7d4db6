//! Tests with slowhttptest, a program that attacks servers with slow clients: heads, bodies and readers that never end.
//!
//! The program is that of Debian, unmodified. It opens hundreds of connections, while the server admits four requests
//! at once, so that a slow client with a permit would be noticed. Other clients must get their responses all the time.

use super::floods::victim_is_well;
use super::footprint::{Footprint, resident_bytes};
use super::serve::{Serve, serve};
use crate::debian;
use crate::harness::{Repository, scale, wait_until};
use anyhow::{Context, Result, ensure};
use std::process::{Child, Command, Stdio};

/// The connections of each attack.
const CONNECTIONS: &str = "200";

/// The duration of the attacks in seconds at scale 1, and at most.
const SECONDS: usize = 6;
const MAX_SECONDS: usize = 120;

/// The maximum growth of memory for all connections together, including the allocator's reserves.
const MAX_GROWTH: u64 = 64 << 20;

/// The attacks, with the path and the arguments of each.
const ATTACKS: [(&str, &str, &[&str]); 3] = [
    ("-H", "/v2/health/live", &["-i", "1", "-x", "24"]),
    (
        "-B",
        "/v2/models/wine/infer",
        &["-i", "1", "-s", "65536", "-x", "16"],
    ),
    (
        "-X",
        "/docs/swagger-ui-bundle.js",
        &["-w", "256", "-y", "512", "-n", "1", "-z", "16", "-k", "3"],
    ),
];

/// A running attack. Its process ends with it.
struct Attack(Child);

impl Attack {
    fn start(server: &Serve, (mode, path, arguments): (&str, &str, &[&str])) -> Result<Attack> {
        let unpacked = debian::unpacked("slowhttptest", |downloads, directory| {
            debian::download(&["slowhttptest"], downloads)?;
            debian::extract(downloads, directory)
        })?;
        let seconds = (SECONDS * scale()).min(MAX_SECONDS).to_string();
        let mut program = Command::new(unpacked.join("usr/bin/slowhttptest"));
        program
            .args([mode, "-c", CONNECTIONS, "-r", CONNECTIONS, "-l", &seconds])
            .args(["-u", &format!("http://{}{path}", server.address())])
            .args(arguments)
            .stdout(Stdio::null());
        Ok(Attack(program.spawn().context("slowhttptest")?))
    }

    fn is_over(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn slow_clients_take_no_permit_and_others_are_answered() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let mut command = serve(repository.path());
    command.args(["--max-concurrent-requests", "4"]);
    let server = Serve::spawn(command)?;
    victim_is_well(&server)?;
    let at_rest = Footprint::of(server.id())?;
    let mut attacks = Vec::new();
    for attack in ATTACKS {
        attacks.push(Attack::start(&server, attack)?);
    }
    let mut answers = 0;
    loop {
        victim_is_well(&server).context("while slow clients are connected")?;
        answers += 1;
        let mut running = false;
        for attack in &mut attacks {
            running |= !attack.is_over()?;
        }
        if !running {
            break;
        }
    }
    ensure!(answers > 1, "the attacks ended before they began");
    let growth = resident_bytes(server.id())?.saturating_sub(at_rest.memory);
    ensure!(growth < MAX_GROWTH, "{} MiB more", growth >> 20);
    drop(attacks);
    wait_until("other clients are answered afterwards", || {
        victim_is_well(&server).is_ok()
    })?;
    at_rest.wait_for(server.id())
}
