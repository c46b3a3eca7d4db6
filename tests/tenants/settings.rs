//! Tests of changes of the settings of a tenant: over HTTP and in the file, and what they change without a restart.

use super::{Tenants, add, administer, limited, new_tenant};
use crate::harness::{Repository, Response, component};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::settings_change::{IsolationChange, SettingsChange};
use wisp_serving::tenants::tenant_grant::TenantGrant;
use wisp_serving::tenants::tenant_id::TenantId;

impl Tenants {
    /// Changes settings of `acme` in the file, and reads it again.
    fn set(&self, change: &SettingsChange) -> Result<()> {
        let acme: TenantId = "acme".parse()?;
        self.file.change(|records| records.set(&acme, change))?;
        ensure!(self.refresh()?);
        Ok(())
    }

    /// Changes one limit of `acme`.
    fn set_limit(&self, name: &str, limit: Option<u64>) -> Result<()> {
        self.set(&SettingsChange {
            limits: BTreeMap::from([(name.to_owned(), limit)]),
            ..SettingsChange::default()
        })
    }
}

#[test]
fn settings_are_changed_over_http_with_effect_on_the_next_request() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        keys.push(add(file, &new_tenant("operator", Role::Admin)?)?);
        keys.push(add(file, &new_tenant("acme", Role::Deploy)?)?);
        Ok(())
    })?;
    let address = tenants.server.admin_address();
    let patch = |id: &str, key: &str, body: Value| -> Result<Response> {
        let request = format!("PATCH /v1/tenants/{id}");
        administer(address, (request.as_str(), Some(key)), &body)
    };
    let (admin, acme) = (keys[0].as_str(), keys[1].as_str());
    let refused = patch("acme", acme, json!({ "weight": 1000 }))?;
    ensure!(refused.status == 403, "{refused:?}");
    let signing_key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let body = json!({
        "weight": 3,
        "limits": { "concurrency": 0, "queue": 0 },
        "grants": ["clock"],
        "subjects": [{ "name": "dns:acme.example", "role": "deploy" }],
        "signing_keys": [signing_key],
        "require_signature": true,
    });
    let changed = patch("acme", admin, body)?.ok()?;
    ensure!(changed["weight"] == 3, "{changed}");
    ensure!(changed["grants"] == json!(["clock"]), "{changed}");
    ensure!(changed["signing_keys"] == json!([signing_key]), "{changed}");
    ensure!(
        changed["subjects"][0]["name"] == "dns:acme.example",
        "{changed}"
    );
    let over = tenants.infer("shared", acme)?.error(429)?;
    ensure!(over.contains("concurrency"), "{over}");
    let body = json!({ "limits": { "concurrency": null }, "signing_keys": [], "subjects": [] });
    let changed = patch("acme", admin, body)?.ok()?;
    ensure!(changed["limits"] == json!({ "queue": 0 }), "{changed}");
    ensure!(changed["subjects"] == json!([]), "{changed}");
    tenants.infer("shared", acme)?.ok()?;
    for (id, body, status) in [
        ("acme", json!({ "limits": { "requests": 1 } }), 400),
        ("acme", json!({ "keys": [] }), 400),
        ("acme", json!({ "weight": 0 }), 400),
        ("nobody", json!({ "weight": 1 }), 404),
    ] {
        let refused = patch(id, admin, body)?;
        ensure!(refused.status == status, "{refused:?}");
    }
    let records = tenants.file.read()?;
    ensure!(records.tenants["acme"].weight == 3);
    Ok(())
}

#[test]
fn an_own_model_has_the_grants_of_its_tenant_and_no_others() -> Result<()> {
    let guest = std::fs::read(component("granted_guest")?)?;
    let model_file = "[handler]\ngrants = ['random', 'clock']\n";
    let public = Repository::empty()?
        .with_file("public/1/handler.wasm", guest.as_slice())?
        .with_file("public/model.toml", model_file)?;
    let directory = Repository::empty()?
        .with_file("tenants/acme/models/own/1/handler.wasm", guest.as_slice())?
        .with_file("tenants/acme/models/own/model.toml", model_file)?;
    let mut key = String::new();
    let tenants = Tenants::start(public, directory, |file| {
        key = add(file, &new_tenant("acme", Role::Deploy)?)?;
        Ok(())
    })?;
    let infer = |model: &str| {
        let request = format!("POST /v2/models/{model}/infer");
        let body = json!({ "inputs": [{
            "name": "length", "datatype": "UINT32", "shape": [1], "data": [8],
        }] });
        tenants.ask(&request, &key, &body)
    };
    // The operator wrote the model.toml of a public model.
    infer("public")?.ok()?;
    let is_refused = || -> Result<bool> {
        let load = "POST /v2/repository/models/own/load";
        let refused = tenants.ask(load, &key, &Value::Null)?;
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        Ok(refused.status == 400 && text.contains("the grant `") && infer("own")?.status == 503)
    };
    ensure!(is_refused()?);
    let granted = |grants: BTreeSet<TenantGrant>| SettingsChange {
        grants: Some(grants),
        ..SettingsChange::default()
    };
    tenants.set(&granted([TenantGrant::Clock].into()))?;
    ensure!(is_refused()?);
    tenants.set(&granted([TenantGrant::Clock, TenantGrant::Random].into()))?;
    infer("own")?.ok()?;
    // A model that is loaded loses them too.
    tenants.set(&granted(BTreeSet::new()))?;
    ensure!(is_refused()?);
    Ok(())
}

#[test]
fn a_limit_on_files_is_the_tenants_own_and_changes_without_a_restart() -> Result<()> {
    let limits = Limits {
        stored_bytes: Some(10),
        ..Limits::default()
    };
    let (tenants, key) = limited(Role::Deploy, limits)?;
    let header = format!("Bearer {key}");
    let put = |model: &str| {
        let request = format!("PUT /v2/repository/models/{model}/versions/2/files/a.txt");
        let headers = [("authorization", header.as_str())];
        tenants.server.request(&request, &headers, &[b'x'; 100])
    };
    let refused = put("own")?.error(429)?;
    ensure!(
        refused.contains("`stored_bytes`") && !refused.contains("--"),
        "{refused}"
    );
    tenants.set_limit("stored_bytes", None)?;
    put("own")?.ok()?;
    tenants.set_limit("models", Some(1))?;
    let refused = put("further")?.error(429)?;
    ensure!(refused.contains("`models`"), "{refused}");
    tenants.set_limit("models", Some(2))?;
    put("further")?.ok()?;
    Ok(())
}

#[test]
fn uploads_go_on_at_another_level_of_isolation_with_the_limits_of_the_same_change() -> Result<()> {
    let (tenants, key) = limited(Role::Deploy, Limits::default())?;
    let header = format!("Bearer {key}");
    let put = |file: &str| {
        let request = format!("PUT /v2/repository/models/own/versions/2/files/{file}");
        let headers = [("authorization", header.as_str())];
        tenants.server.request(&request, &headers, &[b'x'; 100])
    };
    put("a.txt")?.ok()?;
    let set = |level: Isolation, stored_bytes: Option<u64>| {
        tenants.set(&SettingsChange {
            isolation: Some(IsolationChange::To(level)),
            limits: BTreeMap::from([("stored_bytes".to_owned(), stored_bytes)]),
            ..SettingsChange::default()
        })
    };
    set(Isolation::Cordon, Some(10))?;
    let refused = put("b.txt")?.error(429)?;
    ensure!(refused.contains("`stored_bytes`"), "{refused}");
    set(Isolation::Shared, None)?;
    put("b.txt")?.ok()?;
    // The file from before the changes is still there.
    let discard = "DELETE /v2/repository/models/own/versions/2";
    tenants.ask(discard, &key, &Value::Null)?.ok()?;
    Ok(())
}

#[test]
fn a_limit_on_the_memory_of_models_is_the_tenants_own_and_changes_without_a_restart() -> Result<()>
{
    let limits = Limits {
        model_memory_bytes: Some(100),
        ..Limits::default()
    };
    let (tenants, key) = limited(Role::Deploy, limits)?;
    let load = || tenants.ask("POST /v2/repository/models/own/load", &key, &Value::Null);
    let refused = load()?.error(400)?;
    ensure!(
        refused.contains("`model_memory_bytes`") && !refused.contains("--"),
        "{refused}"
    );
    tenants.set_limit("model_memory_bytes", None)?;
    load()?.ok()?;
    tenants.infer("own", &key)?.ok()?;
    Ok(())
}
