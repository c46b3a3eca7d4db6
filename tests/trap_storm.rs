//! A test of handlers that trap at every request, while half of their clients leave in the middle of a call: another model
//! responds correctly all the while, every instance is used once, and nothing is left in the end.

use crate::harness::metric::sample;
use crate::harness::victim::victim_is_well;
use crate::harness::{Repository, TestServer, component, scale, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread::scope;

/// The clients that wait for their responses. As many others leave.
const CLIENTS: usize = 4;

/// The calls of each client at scale 1.
const CALLS: usize = 25;

fn behave(behaviour: &str) -> Value {
    json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
}

/// Sends a call that traps, and leaves.
fn leave(server: &TestServer) -> Result<()> {
    let body = behave("trap").to_string();
    let mut stream = TcpStream::connect(server.address())?;
    write!(
        stream,
        "POST /v2/models/hostile/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.shutdown(Shutdown::Both)?;
    // At the pace of a server that responds.
    server.get("/v2/health/live")?.ok()?;
    Ok(())
}

/// Sends a call that traps, and checks its response.
fn stay(server: &TestServer) -> Result<()> {
    let error = server.infer("hostile", &behave("trap"))?.error(502)?;
    ensure!(error == "the model's handler failed", "{error}");
    Ok(())
}

#[test]
fn a_storm_of_traps_and_of_clients_that_leave_spares_the_others_and_leaves_nothing() -> Result<()> {
    let hostile = Some(component("hostile_guest")?);
    let repository = Repository::of(&["wine"])?.with_model("hostile", "progression", hostile)?;
    let server = &TestServer::start(repository)?;
    let calls = CALLS * scale();
    let acts: [fn(&TestServer) -> Result<()>; 2] = [stay, leave];
    let answers = scope(|scope| {
        let mut clients = Vec::new();
        for act in acts.repeat(CLIENTS) {
            clients.push(scope.spawn(move || (0..calls).try_for_each(|_| act(server))));
        }
        let mut answers = 0;
        while clients.iter().any(|client| !client.is_finished()) {
            victim_is_well(server).context("during the storm")?;
            answers += 1;
        }
        for client in clients {
            client.join().ok().context("a client has panicked")??;
        }
        anyhow::Ok(answers)
    })?;
    ensure!(answers > 0, "the storm was over before the first answer");
    wait_until("no request, instance or byte is left", || {
        let serving = server.serving();
        let requests = serving.admitted_requests() + serving.waiting_requests();
        [
            requests,
            serving.live_instances(),
            serving.memory().reserved(),
        ] == [0; 3]
    })?;
    // The calls of those who have left may have begun or not.
    let of_model = |name: &str, more: &str| {
        sample(
            server,
            &format!("{name}{{model=\"hostile\",version=\"1\"{more}}}"),
        )
    };
    let traps = of_model("wisp_sandbox_traps_total", ",cause=\"panic\"")?;
    let answered = (CLIENTS * calls) as f64;
    ensure!(
        (answered..=2.0 * answered).contains(&traps),
        "{traps} traps, {answered} responses"
    );
    let instances = of_model("wisp_sandbox_instances_created_total", "")?;
    ensure!(instances >= traps, "{traps} traps in {instances} instances");
    server.infer("hostile", &behave("honest"))?.ok()?;
    victim_is_well(server)
}
