//! Tests of signatures by the keys of one tenant.

use super::{Tenants, add, new_tenant};
use crate::harness::{Repository, Response, TestOptions};
use crate::minisign::SigningKey;
use anyhow::{Result, ensure};
use serde_json::Value;
use wisp_serving::registry::version_signature::{SignaturePolicy, TrustedKey};
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::signing_key;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;

/// The path of the versions of a model that is uploaded.
const SENT: &str = "/v2/repository/models/sent/versions";

/// Returns the public key as a tenant's record has it.
fn public(key: &SigningKey) -> Result<signing_key::SigningKey> {
    let text = std::fs::read_to_string(key.public())?;
    Ok(signing_key::SigningKey::parse(&text)?)
}

#[test]
fn the_keys_of_a_tenant_sign_its_models_and_no_others_do() -> Result<()> {
    let (own, of_server) = (SigningKey::generate()?, SigningKey::generate()?);
    let public_models = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/signed", "progression", None)?
        .with_model("tenants/acme/models/foreign", "progression", None)?
        .with_model("tenants/acme/models/unsigned", "progression", None)?
        .with_model("tenants/other/models/foreign", "progression", None)?
        .with_model("tenants/other/models/unsigned", "progression", None)?;
    for (tenant, model, key) in [
        ("acme", "signed", &own),
        ("acme", "foreign", &of_server),
        ("other", "foreign", &of_server),
    ] {
        let models = directory.path().join(format!("tenants/{tenant}/models"));
        let file = format!("{model}/1/model.onnx");
        key.sign(&models, &format!("{model}/1"), &[&file])?;
    }
    let text = std::fs::read_to_string(of_server.public())?;
    let options = TestOptions {
        signatures: SignaturePolicy {
            trusted_keys: vec![TrustedKey::parse(&text)?],
            is_required: false,
        },
        ..TestOptions::default()
    };
    let id: TenantId = "acme".parse()?;
    let key = public(&own)?;
    let (mut acme, mut other) = (String::new(), String::new());
    let start = |file: &TenantFile| -> Result<()> {
        acme = add(file, &new_tenant("acme", Role::Deploy)?)?;
        other = add(file, &new_tenant("other", Role::Infer)?)?;
        file.change(|records| records.add_signing_key(&id, &key))?;
        Ok(())
    };
    let tenants = Tenants::with_options((public_models, directory), options, start)?;
    let refused = |model: &str, part: &str| -> Result<()> {
        let error = tenants.infer(model, &acme)?.error(503)?;
        ensure!(error.contains(part), "{model}: {error}");
        Ok(())
    };
    tenants.infer("signed", &acme)?.ok()?;
    // Without being required, a signature that exists must be valid.
    tenants.infer("unsigned", &acme)?.ok()?;
    refused("foreign", "a key that is not trusted")?;
    for model in ["foreign", "unsigned", "shared"] {
        tenants.infer(model, &other)?.ok()?;
    }
    let file = &tenants.file;
    file.change(|records| records.require_signature(&id, true))?;
    ensure!(tenants.refresh()?);
    tenants.infer("signed", &acme)?.ok()?;
    refused("unsigned", "is not signed")?;
    // Uploads of a client are verified by the same rules.
    let version = "/v2/repository/models/sent/versions/1";
    let graph = std::fs::read(
        tenants
            .directory
            .path()
            .join("tenants/acme/models/signed/1/model.onnx"),
    )?;
    let header = format!("Bearer {acme}");
    let headers = [("authorization", header.as_str())];
    let put = format!("PUT {version}/files/model.onnx");
    tenants.server.request(&put, &headers, &graph)?.ok()?;
    let committed = tenants.ask(&format!("POST {version}/commit"), &acme, &Value::Null)?;
    let error = committed.error(400)?;
    ensure!(error.contains("is not signed"), "{error}");
    // A key that is trusted no more ends what it has signed, and those of the server count again.
    file.change(|records| records.remove_signing_key(&id, &key))?;
    ensure!(tenants.refresh()?);
    refused("signed", "a key that is not trusted")?;
    tenants.infer("foreign", &acme)?.ok()?;
    tenants.infer("unsigned", &other)?.ok()?;
    Ok(())
}

/// Uploads the only file of a version of the model `sent`.
fn put(tenants: &Tenants, (version, key): (&str, &str), graph: &[u8]) -> Result<Response> {
    let header = format!("Bearer {key}");
    let request = format!("PUT {SENT}/{version}/files/model.onnx");
    let headers = [("authorization", header.as_str())];
    tenants.server.request(&request, &headers, graph)
}

fn commit(tenants: &Tenants, (version, key): (&str, &str)) -> Result<Response> {
    let request = format!("POST {SENT}/{version}/commit");
    tenants.ask(&request, key, &Value::Null)
}

#[test]
fn uploads_go_on_when_the_keys_change_or_the_tenant_is_added_again_while_a_request_is_open()
-> Result<()> {
    let shared = Repository::empty()?.with_model("shared", "progression", None)?;
    let graph = std::fs::read(shared.path().join("shared/1/model.onnx"))?;
    let mut acme = String::new();
    let tenants = Tenants::start(shared, Repository::empty()?, |file| {
        acme = add(file, &new_tenant("acme", Role::Deploy)?)?;
        Ok(())
    })?;
    let id: TenantId = "acme".parse()?;
    let key = public(&SigningKey::generate()?)?;
    put(&tenants, ("1", &acme), &graph)?.ok()?;
    // As a stream or a health watch does until its client ends it.
    let open = tenants.server.namespaces().all_tenants();
    let file = &tenants.file;
    file.change(|records| records.add_signing_key(&id, &key))?;
    ensure!(tenants.refresh()?);
    // The file that arrived before is still there.
    commit(&tenants, ("1", &acme))?.ok()?;
    tenants.infer("sent", &acme)?.ok()?;
    put(&tenants, ("2", &acme), &graph)?.ok()?;
    commit(&tenants, ("2", &acme))?.ok()?;

    let before = tenants.server.namespaces().all_tenants();
    file.change(|records| records.remove(&id))?;
    ensure!(tenants.refresh()?);
    let acme = add(file, &new_tenant("acme", Role::Deploy)?)?;
    ensure!(tenants.refresh()?);
    put(&tenants, ("3", &acme), &graph)?.ok()?;
    commit(&tenants, ("3", &acme))?.ok()?;
    ensure!(tenants.infer("sent", &acme)?.ok()?["model_version"] == "3");
    drop((open, before));
    Ok(())
}
