//! Tests of workers whose tenants get other settings while they run.

use super::Tenants;
use crate::harness::victim::{check_class, wine};
use crate::harness::{component, root, wait_until};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::thread;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::settings_change::{IsolationChange, SettingsChange};
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_grant::TenantGrant;
use wisp_serving::tenants::tenant_id::TenantId;

/// Changes the settings of a tenant.
fn set(tenants: &Tenants, id: &str, change: &SettingsChange) -> Result<()> {
    let id: TenantId = id.parse()?;
    let file = TenantFile::new(tenants.directory.path());
    file.change(|records| records.set(&id, change))?;
    Ok(())
}

/// Gives the tenant `other` a worker.
fn isolate_other(tenants: &Tenants) -> Result<()> {
    let change = SettingsChange {
        isolation: Some(IsolationChange::To(Isolation::Worker)),
        ..SettingsChange::default()
    };
    set(tenants, "other", &change)
}

/// Returns the limit on the data of a process, in bytes.
fn data_limit(process: u32) -> Result<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max data size"));
    let bytes = line.and_then(|line| line.split_whitespace().next());
    Ok(bytes.context("no limit")?.parse()?)
}

/// Returns the least memory of a worker without `--threads`.
fn least_bytes() -> Result<u64> {
    let processors = thread::available_parallelism()?.get();
    Ok((768 << 20) + (64 << 20) * u64::try_from(processors)?)
}

#[test]
fn the_least_memory_of_a_worker_is_enough_for_a_model_with_a_handler() -> Result<()> {
    const CLIENTS: usize = 16;
    const CALLS: usize = 20;
    let limit = format!("--worker-memory-bytes={}", least_bytes()?);
    let tenants = Tenants::start(Isolation::Worker, &[limit.as_str()])?;
    let version = tenants
        .directory
        .path()
        .join("tenants/acme/models/handled/1");
    fs::create_dir_all(&version)?;
    let graph = root().join("examples/wine/1/model.onnx");
    fs::copy(graph, version.join("model.onnx"))?;
    fs::copy(component("wine")?, version.join("handler.wasm"))?;
    let body = wine().to_string();
    let infer = || -> Result<()> {
        let request = "POST /v2/models/handled/infer";
        check_class(&tenants.ask(request, &tenants.acme, body.as_bytes())?)
    };
    infer()?;
    let worker = tenants.worker()?;
    thread::scope(|scope| -> Result<()> {
        let client = || (0..CALLS).try_for_each(|_| infer());
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            client.join().ok().context("a client has panicked")??;
        }
        Ok(())
    })?;
    ensure!(tenants.worker()? == worker, "the worker has ended");
    ensure!(data_limit(worker)? == least_bytes()?);
    Ok(())
}

#[test]
fn workers_divide_half_of_the_memory_of_their_server() -> Result<()> {
    // More than the least parts of two workers on any machine.
    let tenants = Tenants::start(Isolation::Worker, &["--memory-limit-bytes=137438953472"])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let first = tenants.worker()?;
    ensure!(data_limit(first)? == 64 << 30, "it is the only one");
    isolate_other(&tenants)?;
    wait_until("the other tenant has a worker", || {
        let answered = tenants.infer("shared", &tenants.other);
        answered.is_ok_and(|answer| answer.status == 200) && tenants.workers().len() == 2
    })?;
    let mut workers = tenants.workers().into_iter();
    let second = workers.find(|worker| *worker != first);
    ensure!(data_limit(second.context("no second worker")?)? == least_bytes()?);
    // The first one starts again, as one of two.
    set(
        &tenants,
        "acme",
        &SettingsChange {
            weight: Some(2),
            ..SettingsChange::default()
        },
    )?;
    wait_until("the first worker has ended", || {
        let answered = tenants.infer("own", &tenants.acme);
        answered.is_ok_and(|answer| answer.status == 200) && !tenants.workers().contains(&first)
    })?;
    let mut workers = tenants.workers().into_iter();
    let first = workers.find(|worker| Some(*worker) != second);
    ensure!(data_limit(first.context("no first worker")?)? == 32 << 30);
    Ok(())
}

#[test]
fn the_first_worker_of_a_tenant_has_its_part_however_soon_it_starts_after_a_change() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &["--memory-limit-bytes=137438953472"])?;
    isolate_other(&tenants)?;
    // One of the first requests after the change, while the tenant `acme` has no worker either.
    wait_until("the other tenant has a worker", || {
        let answered = tenants.infer("shared", &tenants.other);
        answered.is_ok_and(|answer| answer.status == 200) && tenants.workers().len() == 1
    })?;
    ensure!(
        data_limit(tenants.worker()?)? == 32 << 30,
        "it is one of two"
    );
    Ok(())
}

#[test]
fn no_request_reaches_a_worker_with_grants_that_its_tenant_has_lost() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    let model = tenants.directory.path().join("tenants/acme/models/granted");
    fs::create_dir_all(model.join("1"))?;
    fs::write(
        model.join("1/handler.wasm"),
        fs::read(component("granted_guest")?)?,
    )?;
    fs::write(
        model.join("model.toml"),
        "[handler]\ngrants = ['random', 'clock']\n",
    )?;
    let grant = |grants: &[TenantGrant]| -> Result<()> {
        let change = SettingsChange {
            grants: Some(grants.iter().copied().collect()),
            ..SettingsChange::default()
        };
        set(&tenants, "acme", &change)
    };
    let body = br#"{"inputs":[{"name":"length","datatype":"UINT32","shape":[1],"data":[8]}]}"#;
    let infer = || tenants.ask("POST /v2/models/granted/infer", &tenants.acme, body);
    let becomes = |status: u16| infer().is_ok_and(|response| response.status == status);
    ensure!(infer()?.status == 503, "it has no grants yet");
    grant(&[TenantGrant::Random, TenantGrant::Clock])?;
    wait_until("the grants hold", || becomes(200))?;
    let granted = tenants.workers();
    grant(&[TenantGrant::Random])?;
    wait_until("the grant is gone", || becomes(503))?;
    // The first refusal comes from another worker, and so do all that follow.
    for _ in 0..10 {
        ensure!(becomes(503));
    }
    wait_until("the worker with the grants has ended", || {
        let running = tenants.workers();
        let mut running = running.iter();
        !running.any(|worker| granted.contains(worker))
    })
}
