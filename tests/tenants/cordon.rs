//! Tests of tenants that are cordoned off, whose handlers have instances of their own.

use super::{Tenants, add, new_tenant};
use crate::harness::{Repository, TestOptions, component, wait_until};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use wisp_sandbox::limits::Limits;
use wisp_serving::ServingOptions;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::records::NewTenant;
use wisp_serving::tenants::role::Role;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(600);

/// A model file whose model is called on a fiber, and so needs one of the instances that are counted.
const QUEUED: &str = "instances = 2\n";

/// Returns options with one instance for the server, under which no loop is ended.
fn one_instance() -> TestOptions {
    let options = TestOptions::default();
    TestOptions {
        serving: ServingOptions {
            request_timeout: FOR_EVER,
            max_instances: 1,
            ..options.serving
        },
        limits: Limits {
            guest_time: FOR_EVER,
            ..Limits::default()
        },
        ..TestOptions::default()
    }
}

fn behave(behaviour: &str) -> Value {
    json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
}

/// Begins a loop that does not end while the returned connection is open.
fn begin_loop(tenants: &Tenants, (model, key): (&str, &str)) -> Result<TcpStream> {
    let body = behave("loop").to_string();
    let length = body.len();
    let head = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(tenants.server.address())?;
    stream.write_all([head, body].concat().as_bytes())?;
    Ok(stream)
}

#[test]
fn nobody_else_can_hold_the_instances_of_a_tenant_that_is_cordoned_off() -> Result<()> {
    let handler = Some(component("hostile_guest")?);
    let public = Repository::empty()?
        .with_model("public", "progression", handler)?
        .with_file("public/model.toml", QUEUED)?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/own", "progression", handler)?
        .with_file("tenants/acme/models/own/model.toml", QUEUED)?;
    let mut keys = Vec::new();
    let tenants = Tenants::with_options((public, directory), one_instance(), |file| {
        let acme = NewTenant {
            isolation: Some(Isolation::Cordon),
            ..new_tenant("acme", Role::Infer)?
        };
        keys.push(add(file, &acme)?);
        keys.push(add(file, &new_tenant("other", Role::Infer)?)?);
        Ok(())
    })?;
    let acme = keys.first().context("no key")?.as_str();
    let other = keys.last().context("no key")?.as_str();
    let live = |count: usize| tenants.server.serving().live_instances() == count;
    let honest = |model: &str, key: &str| {
        let request = format!("POST /v2/models/{model}/infer");
        tenants.ask(&request, key, &behave("honest"))
    };
    // The other tenant holds all instances of the server.
    let looping = begin_loop(&tenants, ("public", other))?;
    wait_until("the loop has the instance", || live(1))?;
    for _ in 0..3 {
        honest("own", acme)?.ok()?;
    }
    wait_until("only the loop is left", || live(1))?;
    // The tenant holds all of its own, and with them none of the server.
    let own_loop = begin_loop(&tenants, ("own", acme))?;
    wait_until("the own loop has an instance too", || live(2))?;
    drop(looping);
    wait_until("the loop of the other tenant has ended", || live(1))?;
    for key in [other, acme] {
        honest("public", key)?.ok()?;
    }
    wait_until("only the own loop is left", || live(1))?;
    drop(own_loop);
    wait_until("nothing runs", || live(0))
}
