//! Tests of unmodified third-party clients that call a worker process.

use super::Tenants;
use crate::python;
use anyhow::{Result, ensure};
use wisp_serving::tenants::isolation::Isolation;

/// Returns the answers that tritonclient gets from a server whose tenant has this isolation.
fn answers(isolation: Isolation) -> Result<String> {
    let tenants = Tenants::start(isolation, &[])?;
    let arguments = [tenants.server.address(), tenants.acme.as_str()];
    let told = python::run("tenant_inference.py", &arguments)?;
    let expected = usize::from(isolation == Isolation::Worker);
    ensure!(tenants.workers().len() == expected, "{isolation:?}");
    Ok(told)
}

#[test]
fn tritonclient_gets_from_a_worker_what_it_gets_from_the_process_that_all_share() -> Result<()> {
    let shared = answers(Isolation::Shared)?;
    let isolated = answers(Isolation::Worker)?;
    ensure!(isolated == shared, "{isolated}\nshared: {shared}");
    Ok(())
}
