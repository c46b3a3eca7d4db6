//! Tests that the native code of a backend computes the own models of tenants outside of the process that all tenants share.

use super::serve::{Serve, serve};
use super::workers::{add, workers_of};
use crate::harness::{Repository, Response, exchange, root, wait_until};
use crate::onnxruntime::library;
use anyhow::{Result, ensure};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use wisp_serving::tenants::records::NewKey;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;

/// A request for `progression` without its handler.
const PATIENT: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;

/// A server with ONNX Runtime and a tenant `acme` whose record names no isolation.
struct Native {
    server: Serve,
    /// The public models, which the processes of tenants read too.
    _public: Repository,
    directory: Repository,
    deploy: String,
}

impl Native {
    fn start(directory: Repository) -> Result<Native> {
        let public = Repository::empty()?.with_model("shared", "progression", None)?;
        let deploy = add(&TenantFile::new(directory.path()), "acme", None)?;
        let mut command = serve(public.path());
        command
            .arg("--tenants")
            .arg(directory.path())
            .arg("--onnxruntime-library")
            .arg(library()?)
            .args(["--backend", "tract"])
            .stderr(Stdio::inherit());
        Ok(Native {
            server: Serve::spawn(command)?,
            _public: public,
            directory,
            deploy,
        })
    }

    fn ask(&self, (path, key): (&str, &str), body: &[u8]) -> Result<Response> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        exchange(
            self.server.address().parse()?,
            &[head.as_bytes(), body].concat(),
        )
    }

    /// Adds a key for inference and revokes the one that deploys.
    fn end_deployments(&self) -> Result<String> {
        let file = TenantFile::new(self.directory.path());
        let acme: TenantId = "acme".parse()?;
        let infer = NewKey {
            role: Role::Infer,
            lifetime: None,
        };
        let key = file.change(|records| {
            let new = (infer, Duration::ZERO);
            let key = records.rotate(&acme, new, SystemTime::now())?;
            if let Some(acme) = records.tenants.get_mut("acme") {
                acme.keys.retain(|key| key.role == Role::Infer);
            }
            Ok(key)
        })?;
        wait_until("the key that deploys is refused", || {
            let asked = self.ask(("/v2/repository/index", &self.deploy), b"");
            asked.is_ok_and(|response| response.status == 401)
        })?;
        Ok(key.reveal())
    }

    /// Returns whether a process has the library of the backend in its memory.
    fn has_library(process: u32) -> Result<bool> {
        Ok(fs::read_to_string(format!("/proc/{process}/maps"))?.contains("libonnxruntime"))
    }

    /// Checks that the library is in the process of the tenant, and not in that of the server.
    fn expect_in_worker(&self) -> Result<()> {
        let workers = workers_of(self.directory.path());
        ensure!(!Native::has_library(self.server.id())?, "{workers:?}");
        let mut found = false;
        for worker in &workers {
            found |= Native::has_library(*worker).unwrap_or(false);
        }
        ensure!(found, "{workers:?}");
        Ok(())
    }
}

#[test]
fn files_that_a_tenant_sends_are_computed_in_a_worker_without_uploads_too() -> Result<()> {
    let native = Native::start(Repository::empty()?)?;
    let graph = root().join("examples/progression/1/model.onnx");
    let encoded = Command::new("base64").arg("-w0").arg(graph).output()?;
    ensure!(encoded.status.success(), "{encoded:?}");
    let graph = String::from_utf8(encoded.stdout)?;
    let body = serde_json::json!({"parameters": {
        "config": "{\"backend\":\"onnxruntime\"}",
        "file:1/model.onnx": graph,
    }});
    let load = "/v2/repository/models/sent/load";
    let loaded = native.ask((load, &native.deploy), body.to_string().as_bytes())?;
    ensure!(loaded.status == 200, "{loaded:?}");
    let infer = ("/v2/models/sent/infer", native.deploy.as_str());
    native.ask(infer, PATIENT.as_bytes())?.ok()?;
    native.expect_in_worker()
}

#[test]
fn models_of_a_tenant_that_may_not_deploy_any_more_stay_in_its_worker() -> Result<()> {
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/own", "progression", None)?
        .with_file(
            "tenants/acme/models/own/model.toml",
            "backend = \"onnxruntime\"",
        )?;
    let native = Native::start(directory)?;
    let infer = "/v2/models/own/infer";
    native
        .ask((infer, &native.deploy), PATIENT.as_bytes())?
        .ok()?;
    native.expect_in_worker()?;
    let key = native.end_deployments()?;
    native.ask((infer, &key), PATIENT.as_bytes())?.ok()?;
    native.expect_in_worker()
}
