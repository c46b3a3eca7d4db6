//! Tests of tenants: keys, roles, namespaces, and what one tenant can find out about another.
//!
//! `audit` tries every route with every kind of key, `identity` everything else that could say who asks, and
//! `foreign_names` the names of others' models. `memory` is about what the memory of one leaves to the others. `pages`
//! are what browsers open; `sharing` is about caches and batches; `streams` are open while keys change. `certificates`
//! identify tenants too, `signatures` are those of the keys of one tenant, and `settings` are the changes of what a tenant
//! may. `cordon` is about tenants with instances of their own.

mod audit;
mod certificates;
mod cordon;
mod foreign_names;
mod identity;
mod memory;
mod pages;
mod settings;
mod sharing;
mod signatures;
mod streams;

use crate::cli::wisp;
use crate::harness::{Repository, Response, TestOptions, TestServer, component, exchange, loader};
use crate::web::text;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};
use wisp_sandbox::aot::Origin;
use wisp_serving::tenants::api_key::{ApiKey, KeyId};
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::records::{ChangeError, NewKey, NewTenant};
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_serving::uploads::limits::UploadLimits;

/// A server with tenants, and the directory of these.
struct Tenants {
    server: TestServer,
    file: TenantFile,
    /// Removed when this is dropped.
    directory: Repository,
}

impl Tenants {
    /// Starts a server of public models with the tenants that `add` adds to a directory.
    fn start(
        public: Repository,
        directory: Repository,
        add: impl FnOnce(&TenantFile) -> Result<()>,
    ) -> Result<Tenants> {
        Tenants::with_options((public, directory), TestOptions::default(), add)
    }

    /// Starts the same server with other options.
    fn with_options(
        (public, directory): (Repository, Repository),
        options: TestOptions,
        add: impl FnOnce(&TenantFile) -> Result<()>,
    ) -> Result<Tenants> {
        let file = TenantFile::new(directory.path());
        add(&file)?;
        let options = TestOptions {
            tenants: Some(directory.path().to_owned()),
            uploads: Some(UploadLimits::default()),
            ..options
        };
        Ok(Tenants {
            server: TestServer::with_options(public, options)?,
            file,
            directory,
        })
    }

    /// Sends a request with a key.
    fn ask(&self, request: &str, key: &str, body: &Value) -> Result<Response> {
        let header = format!("Bearer {key}");
        let body = match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body)?,
        };
        let headers = [("authorization", header.as_str())];
        self.server.request(request, &headers, &body)
    }

    /// Sends a GET request with a key.
    fn get(&self, path: &str, key: &str) -> Result<Response> {
        self.ask(&format!("GET {path}"), key, &Value::Null)
    }

    /// Calls a model with a key.
    fn infer(&self, model: &str, key: &str) -> Result<Response> {
        let request = format!("POST /v2/models/{model}/infer");
        self.ask(&request, key, &patient(1))
    }

    /// Reads the tenants again, as the server does every second.
    fn refresh(&self) -> Result<bool> {
        Ok(self.server.namespaces().refresh()?)
    }
}

/// Returns a request for `progression` without its handler.
fn patient(number: usize) -> Value {
    let mut data = vec![json!(1.0); 10];
    data[9] = json!(number);
    json!({ "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }] })
}

fn new_tenant(id: &str, role: Role) -> Result<NewTenant> {
    Ok(NewTenant {
        id: id.parse()?,
        weight: 1,
        anonymous: false,
        isolation: None,
        limits: Limits::default(),
        key: NewKey {
            role,
            lifetime: None,
        },
    })
}

/// Adds a tenant and returns its key.
fn add(file: &TenantFile, new: &NewTenant) -> Result<String> {
    let key = file.change(|records| records.add(new, SystemTime::now()))?;
    Ok(key.reveal())
}

/// Starts a server with the public model `shared` and two tenants, each with a model of its own. Returns it with their
/// keys, of which the first may deploy.
fn two_tenants() -> Result<(Tenants, String, String)> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/secret", "progression", None)?
        .with_model("tenants/other/models/hidden", "progression", None)?;
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, directory, |file| {
        keys.push(add(file, &new_tenant("acme", Role::Deploy)?)?);
        keys.push(add(file, &new_tenant("other", Role::Infer)?)?);
        Ok(())
    })?;
    let [acme, other] = <[String; 2]>::try_from(keys).map_err(|_| anyhow::anyhow!("two keys"))?;
    Ok((tenants, acme, other))
}

/// Returns the names in a list of models.
fn listed(index: &Value) -> Vec<String> {
    let entries = index.as_array().into_iter().flatten();
    let names = entries.filter_map(|entry| entry["name"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn a_tenant_calls_its_own_models_and_the_public_ones_and_no_others() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    for (key, own, foreign) in [(&acme, "secret", "hidden"), (&other, "hidden", "secret")] {
        for model in ["shared", own] {
            let answer = tenants.infer(model, key)?.ok()?;
            ensure!(answer["model_name"] == model, "{answer}");
        }
        let refused = tenants.infer(foreign, key)?;
        ensure!(refused.status == 404, "{refused:?}");
        let index = tenants.ask("POST /v2/repository/index", key, &Value::Null)?;
        ensure!(listed(&index.ok()?) == [own, "shared"] || listed(&index.ok()?) == ["shared", own]);
        for path in ["/v2/models", "/v1/models", "/openapi.json", "/"] {
            let listed = tenants.get(path, key)?;
            let text = String::from_utf8_lossy(&listed.body).into_owned();
            ensure!(!text.contains(foreign), "{path}: {text}");
        }
    }
    let refused = tenants.server.infer("shared", &patient(1))?;
    ensure!(refused.status == 401, "{refused:?}");
    Ok(())
}

#[test]
fn a_foreign_name_has_the_answer_of_one_that_does_not_exist() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory =
        Repository::empty()?.with_model("tenants/acme/models/secret", "progression", None)?;
    let (mut acme, mut key) = (String::new(), String::new());
    let tenants = Tenants::start(public, directory, |file| {
        acme = add(file, &new_tenant("acme", Role::Deploy)?)?;
        key = add(file, &new_tenant("other", Role::Deploy)?)?;
        Ok(())
    })?;
    // The model is there, and its owner is answered before and after.
    tenants.infer("secret", &acme)?.ok()?;
    for (path, key, status) in [
        ("/v2/models/secret", &acme, 200),
        ("/v2/models/secret", &key, 404),
        ("/v2/models/absent", &key, 404),
    ] {
        let found = tenants.get(path, key)?;
        ensure!(found.status == status, "{path}: {found:?}");
    }
    let routes = [
        "GET /v2/models/{}",
        "GET /v2/models/{}/ready",
        "GET /v2/models/{}/config",
        "GET /v2/models/{}/stats",
        "GET /v2/models/{}/versions/1",
        "GET /v2/models/{}/versions/1/ready",
        "GET /v2/models/{}/versions/1/stats",
        "GET /v2/models/{}/trace/setting",
        "POST /v2/models/{}/infer",
        "POST /v2/models/{}/versions/1/infer",
        "POST /v2/models/{}/generate",
        "POST /v2/repository/models/{}/load",
        "POST /v2/repository/models/{}/unload",
        "GET /v2/repository/models/{}/release",
        "POST /v2/repository/models/{}/release/promote",
        "GET /v1/models/{}",
        "GET /v1/models/{}/metadata",
        "POST /v1/models/{}:predict",
        "POST /v1/models/{}/versions/1:predict",
        "POST /v1/models/{}/labels/stable:predict",
        "POST /predict/{}",
        "POST /batch_predict/{}",
        "GET /apps/{}",
        "PUT /v2/repository/models/{}/versions/2/files/model.toml",
        "POST /v2/repository/models/{}/versions/1/commit",
        "DELETE /v2/repository/models/{}/versions/1",
    ];
    // Each foreign name and one of the same form that nobody has.
    let names = [
        ("secret", "absent"),
        ("%73ecret", "%61bsent"),
        ("SECRET", "ABSENT"),
        ("secret.", "absent."),
        ("secret%00", "absent%00"),
        ("..%2facme%2fmodels%2fsecret", "..%2facme%2fmodels%2fabsent"),
        ("acme%2fsecret", "acme%2fabsent"),
    ];
    for route in routes {
        for (foreign, absent) in names {
            let answers = [foreign, absent].map(|name| -> Result<(u16, String)> {
                let request = route.replace("{}", name);
                let response = tenants.ask(&request, &key, &json!({}))?;
                let body = String::from_utf8(response.body)?;
                ensure!(
                    !body.contains(&tenants.directory.path().display().to_string()),
                    "{body}"
                );
                let body = body.replace(name, "M");
                let body = body.replace("secret", "M").replace("absent", "M");
                Ok((
                    response.status,
                    body.replace("SECRET", "M").replace("ABSENT", "M"),
                ))
            });
            let [foreign, absent] = answers;
            let (foreign, absent) = (foreign?, absent?);
            ensure!(foreign == absent, "{route}: {foreign:?}, {absent:?}");
        }
    }
    tenants.infer("secret", &acme)?.ok()?;
    Ok(())
}

#[test]
fn a_change_of_the_tenants_needs_no_restart() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    ensure!(!tenants.refresh()?, "nothing has changed");
    let added = add(&tenants.file, &new_tenant("late", Role::Infer)?)?;
    ensure!(tenants.get("/v2", &added)?.status == 401);
    ensure!(tenants.refresh()?);
    ensure!(tenants.get("/v2", &added)?.status == 200);
    // The models of others stay loaded.
    tenants.infer("secret", &acme)?.ok()?;
    let new = NewKey {
        role: Role::Deploy,
        lifetime: None,
    };
    let acme_id: TenantId = "acme".parse()?;
    let rotated = tenants.file.change(|records| {
        records.rotate(&acme_id, (new, Duration::from_secs(60)), SystemTime::now())
    })?;
    let rotated = rotated.reveal();
    tenants.refresh()?;
    for key in [&acme, &rotated] {
        tenants.infer("secret", key)?.ok()?;
    }
    let statistics = tenants.get("/v2/models/secret/stats", &acme)?.ok()?;
    ensure!(statistics["model_stats"][0]["inference_stats"]["success"]["count"] == 3);
    let id: KeyId = acme.split('_').nth(1).context("no id")?.parse()?;
    tenants
        .file
        .change(|records| records.revoke(&acme_id, id))?;
    tenants.refresh()?;
    ensure!(tenants.infer("secret", &acme)?.status == 401);
    tenants.infer("secret", &rotated)?.ok()?;
    let other_id: TenantId = "other".parse()?;
    tenants.file.change(|records| records.remove(&other_id))?;
    tenants.refresh()?;
    ensure!(tenants.infer("shared", &other)?.status == 401);
    Ok(())
}

#[test]
fn a_damaged_or_missing_file_of_tenants_gives_nobody_rights() -> Result<()> {
    let (tenants, acme, _) = two_tenants()?;
    let path = tenants.file.path();
    let whole = fs::read(&path)?;
    let refused = |tenants: &Tenants| -> Result<()> {
        ensure!(tenants.refresh().is_err());
        ensure!(tenants.server.infer("shared", &patient(1))?.status == 401);
        tenants.infer("secret", &acme)?.ok()?;
        Ok(())
    };
    for damaged in [&b"[tenants"[..], b""] {
        fs::write(&path, damaged)?;
        refused(&tenants)?;
    }
    fs::write(&path, &whole)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    refused(&tenants)?;
    fs::remove_file(&path)?;
    refused(&tenants)?;
    Ok(())
}

#[test]
fn only_a_key_of_the_role_deploy_loads_and_only_its_own_models() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    let load = |model: &str, key: &str| {
        let request = format!("POST /v2/repository/models/{model}/load");
        tenants.ask(&request, key, &Value::Null)
    };
    let unload = |model: &str, key: &str| {
        let request = format!("POST /v2/repository/models/{model}/unload");
        tenants.ask(&request, key, &Value::Null)
    };
    let refused = load("hidden", &other)?.error(403)?;
    ensure!(refused.contains("`deploy`"), "{refused}");
    // A public model is none of its own, and an unload of it changes nothing.
    ensure!(load("shared", &acme)?.status != 200);
    unload("shared", &acme)?;
    tenants.infer("shared", &acme)?.ok()?;
    let directory = tenants.directory.path().join("tenants/acme/models");
    let added = directory.join("added/1");
    fs::create_dir_all(&added)?;
    fs::copy(
        directory.join("secret/1/model.onnx"),
        added.join("model.onnx"),
    )?;
    ensure!(tenants.infer("added", &acme)?.status == 404);
    load("added", &acme)?.ok()?;
    tenants.infer("added", &acme)?.ok()?;
    ensure!(tenants.infer("added", &other)?.status == 404);
    unload("added", &acme)?.ok()?;
    ensure!(tenants.infer("added", &acme)?.status == 404);
    Ok(())
}

#[test]
fn an_upload_becomes_a_model_of_its_tenant_and_of_no_other() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    let graph = fs::read(
        tenants
            .directory
            .path()
            .join("tenants/acme/models/secret/1/model.onnx"),
    )?;
    let version = "/v2/repository/models/uploaded/versions/1";
    let send = |request: &str, key: &str, body: &[u8]| {
        let header = format!("Bearer {key}");
        let headers = [("authorization", header.as_str())];
        tenants.server.request(request, &headers, body)
    };
    let put = format!("PUT {version}/files/model.onnx");
    let refused = send(&put, &other, &graph)?;
    ensure!(refused.status == 403, "{refused:?}");
    let received = send(&put, &acme, &graph)?;
    ensure!((200..300).contains(&received.status), "{received:?}");
    let committed = send(&format!("POST {version}/commit"), &acme, b"")?;
    ensure!(committed.status == 200, "{committed:?}");
    tenants.infer("uploaded", &acme)?.ok()?;
    ensure!(tenants.infer("uploaded", &other)?.status == 404);
    let place = tenants
        .directory
        .path()
        .join("tenants/acme/models/uploaded/1/model.onnx");
    ensure!(fs::read(place)? == graph);
    Ok(())
}

#[test]
fn an_own_model_hides_the_public_one_of_the_same_name_from_its_tenant_only() -> Result<()> {
    let public = Repository::empty()?.with_model("m", "progression", None)?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/m", "progression", None)?
        .with_file("tenants/acme/models/m/model.toml", "labels = { mine = 1 }")?;
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, directory, |file| {
        keys.push(add(file, &new_tenant("acme", Role::Infer)?)?);
        keys.push(add(file, &new_tenant("other", Role::Infer)?)?);
        Ok(())
    })?;
    let path = "/v1/models/m/labels/mine";
    ensure!(tenants.get(path, &keys[0])?.status == 200);
    ensure!(tenants.get(path, &keys[1])?.status == 404);
    Ok(())
}

#[test]
fn a_response_in_the_cache_is_for_the_tenant_that_asked() -> Result<()> {
    let public = Repository::empty()?
        .with_model("m", "progression", None)?
        .with_file(
            "m/model.toml",
            "[cache]\nenabled = true\nttl_seconds = 3600\n",
        )?;
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        for id in ["acme", "other", "local"] {
            keys.push(add(file, &new_tenant(id, Role::Infer)?)?);
        }
        Ok(())
    })?;
    let hits = || -> Result<Value> {
        let statistics = tenants.get("/v2/models/m/stats", &keys[2])?.ok()?;
        let counts = &statistics["model_stats"][0]["inference_stats"];
        Ok(counts["cache_hit"]["count"].clone())
    };
    tenants.infer("m", &keys[0])?.ok()?;
    tenants.infer("m", &keys[1])?.ok()?;
    ensure!(hits()? == 0, "{}", hits()?);
    tenants.infer("m", &keys[0])?.ok()?;
    ensure!(hits()? == 1, "{}", hits()?);
    // The counts of a public model are those of all tenants.
    ensure!(tenants.get("/v2/models/m/stats", &keys[0])?.status == 403);
    Ok(())
}

#[test]
fn without_a_tenant_everyone_is_local_and_keys_have_no_meaning() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let tenants = Tenants::start(public, Repository::empty()?, |_| Ok(()))?;
    tenants.server.infer("shared", &patient(1))?.ok()?;
    tenants.infer("shared", "any")?.ok()?;
    let limits = tenants.server.get("/v1/limits")?.ok()?;
    ensure!(
        limits == json!({ "tenant": "local", "weight": 1, "grants": [], "limits": {} }),
        "{limits}"
    );
    let request = "POST /v2/repository/models/shared/load";
    tenants.server.request(request, &[], b"")?.ok()?;
    Ok(())
}

#[test]
fn a_server_whose_last_tenant_is_removed_refuses_everyone() -> Result<()> {
    let remove = |file: &TenantFile, id: &str| -> Result<()> {
        let id: TenantId = id.parse()?;
        Ok(file.change(|records| records.remove(&id))?)
    };
    let refuses = |tenants: &Tenants, key: &str| -> Result<()> {
        let model = tenants.server.infer("shared", &patient(1))?;
        ensure!(model.status == 401, "{model:?}");
        let load = "POST /v2/repository/models/shared/load";
        ensure!(tenants.server.request(load, &[], b"")?.status == 401);
        ensure!(tenants.infer("shared", key)?.status == 401);
        let admin = ("GET /v1/tenants", None);
        let admin = administer(tenants.server.admin_address(), admin, &Value::Null)?;
        ensure!(admin.status == 401, "{admin:?}");
        ensure!(tenants.server.get("/v2/health/ready")?.status == 200);
        Ok(())
    };
    let (tenants, acme, _) = two_tenants()?;
    remove(&tenants.file, "acme")?;
    remove(&tenants.file, "other")?;
    ensure!(tenants.refresh()?);
    refuses(&tenants, &acme)?;
    // A damaged file opens it as little.
    fs::write(tenants.file.path(), b"")?;
    ensure!(tenants.refresh().is_err());
    refuses(&tenants, &acme)?;
    fs::remove_file(tenants.file.path())?;
    ensure!(tenants.refresh().is_err());
    refuses(&tenants, &acme)?;
    let late = add(&tenants.file, &new_tenant("late", Role::Infer)?)?;
    ensure!(tenants.refresh()?);
    tenants.infer("shared", &late)?.ok()?;
    // A start with a file without tenants is no other case.
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        add(file, &new_tenant("acme", Role::Deploy)?)?;
        remove(file, "acme")
    })?;
    refuses(&tenants, &acme)?;
    Ok(())
}

#[test]
fn an_anonymous_tenant_gets_the_requests_without_a_key_and_no_others() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        let visitors = NewTenant {
            anonymous: true,
            limits: Limits {
                body_bytes: Some(1000),
                ..Limits::default()
            },
            ..new_tenant("visitors", Role::Infer)?
        };
        add(file, &visitors)?;
        Ok(())
    })?;
    tenants.server.infer("shared", &patient(1))?.ok()?;
    ensure!(tenants.infer("shared", "wrong")?.status == 401);
    let limits = tenants.server.get("/v1/limits")?.ok()?;
    ensure!(limits["tenant"] == "visitors", "{limits}");
    ensure!(
        limits["limits"] == json!({ "body_bytes": 1000 }),
        "{limits}"
    );
    let request = "POST /v2/repository/models/shared/load";
    let load = tenants.server.request(request, &[], b"")?;
    ensure!(load.status == 403, "{load:?}");
    let long = vec![b' '; 1001];
    let refused = tenants
        .server
        .request("POST /v2/models/shared/infer", &[], &long)?;
    ensure!(refused.status == 413, "{refused:?}");
    Ok(())
}

#[test]
fn a_request_above_a_limit_of_its_tenant_is_refused_and_others_are_not() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        let limited = NewTenant {
            limits: Limits {
                // A patient has 40 bytes.
                tensor_bytes: Some(39),
                ..Limits::default()
            },
            ..new_tenant("limited", Role::Infer)?
        };
        keys.push(add(file, &limited)?);
        keys.push(add(file, &new_tenant("other", Role::Infer)?)?);
        Ok(())
    })?;
    let refused = tenants.infer("shared", &keys[0])?;
    ensure!(refused.header("retry-after").is_some(), "{refused:?}");
    let reason = refused.error(429)?;
    ensure!(reason.contains("tensor_bytes"), "{reason}");
    tenants.infer("shared", &keys[1])?.ok()?;
    // A higher limit needs no restart.
    let id: TenantId = "limited".parse()?;
    tenants.file.change(|records| {
        let record = records.tenants.get_mut(id.as_str());
        let record = record.ok_or_else(|| ChangeError::Unknown(id.clone()))?;
        record.limits.tensor_bytes = Some(40);
        Ok(())
    })?;
    tenants.refresh()?;
    tenants.infer("shared", &keys[0])?.ok()?;
    Ok(())
}

/// Returns a server with the public model `shared` and the tenant `acme`, which has these limits and the model `own`, and
/// the tenant's key.
fn limited(role: Role, limits: Limits) -> Result<(Tenants, String)> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory =
        Repository::empty()?.with_model("tenants/acme/models/own", "progression", None)?;
    let mut key = String::new();
    let tenants = Tenants::start(public, directory, |file| {
        let acme = NewTenant {
            limits,
            ..new_tenant("acme", role)?
        };
        key = add(file, &acme)?;
        Ok(())
    })?;
    Ok((tenants, key))
}

#[test]
fn a_tenant_above_its_limits_loads_no_model() -> Result<()> {
    let (tenants, key) = limited(
        Role::Infer,
        Limits {
            concurrency: Some(0),
            ..Limits::default()
        },
    )?;
    let loads = || -> Result<usize> {
        let all = tenants.server.namespaces().tenants();
        let acme = all.first().context("no tenant")?;
        Ok(acme.residency().context("no models")?.models().len())
    };
    for refused in [
        tenants.infer("own", &key)?,
        tenants.get("/v2/models/own", &key)?,
        tenants.get("/v2/models/own/config", &key)?,
    ] {
        let reason = refused.error(429)?;
        ensure!(reason.contains("concurrency"), "{reason}");
    }
    ensure!(loads()? == 0, "{}", loads()?);
    let id: TenantId = "acme".parse()?;
    tenants.file.change(|records| {
        let record = records.tenants.get_mut(id.as_str());
        let record = record.ok_or_else(|| ChangeError::Unknown(id.clone()))?;
        record.limits.concurrency = Some(1);
        Ok(())
    })?;
    tenants.refresh()?;
    // The load of a question is one request, whose place is free again for the next.
    tenants.get("/v2/models/own", &key)?.ok()?;
    ensure!(loads()? == 1, "{}", loads()?);
    tenants.infer("own", &key)?.ok()?;
    Ok(())
}

#[test]
fn the_files_of_a_load_make_no_more_models_than_the_tenant_may_have() -> Result<()> {
    let (tenants, key) = limited(
        Role::Deploy,
        Limits {
            models: Some(1),
            ..Limits::default()
        },
    )?;
    let body = json!({ "parameters": { "config": "{}", "file:1/model.onnx": "AA==" } });
    let load = |model: &str| {
        let request = format!("POST /v2/repository/models/{model}/load");
        tenants.ask(&request, &key, &body)
    };
    let refused = load("further")?.error(429)?;
    ensure!(refused.contains("`models`"), "{refused}");
    // Only the file is wrong.
    let refused = load("own")?.error(400)?;
    ensure!(refused.contains("failed to load `own`"), "{refused}");
    Ok(())
}

#[test]
fn metrics_have_the_tenant_of_its_own_models_and_no_text_of_clients() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    let page = || -> Result<String> {
        let head = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        let response = exchange(tenants.server.metrics_address(), head)?;
        Ok(String::from_utf8(response.body)?)
    };
    tenants.infer("secret", &acme)?.ok()?;
    tenants.infer("shared", &other)?.ok()?;
    tenants.infer("nothing", &other)?;
    tenants.infer("shared", "wrong")?;
    // Some numbers need a page before them.
    page()?;
    let before = page()?;
    let own = "wisp_model_ready{model=\"secret\",version=\"1\",tenant=\"acme\"} 1";
    ensure!(before.contains(own), "{before}");
    ensure!(before.contains("wisp_model_ready{model=\"shared\",version=\"1\"} 1"));
    for number in 0..100 {
        tenants.infer(&format!("canary-{number}"), &acme)?;
        tenants.infer("shared", &format!("canary-{number}"))?;
    }
    let after = page()?;
    ensure!(!after.contains("canary"), "{after}");
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    ensure!(series(&after) == series(&before));
    Ok(())
}

#[test]
fn each_tenant_has_its_own_usage_of_each_model() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    tenants.infer("shared", &acme)?.ok()?;
    tenants.infer("secret", &acme)?.ok()?;
    for _ in 0..3 {
        tenants.infer("shared", &other)?.ok()?;
    }
    // No model of this tenant, and nobody's usage.
    tenants.infer("secret", &other)?.error(404)?;
    let head = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let page = exchange(tenants.server.metrics_address(), head)?;
    let text = String::from_utf8(page.body)?;
    let requests = text
        .lines()
        .filter(|line| line.starts_with("wisp_usage_requests_total{"));
    let requests: Vec<&str> = requests.collect();
    let expected = [
        r#"wisp_usage_requests_total{tenant="acme",owner="acme",model="secret",version="1"} 1"#,
        r#"wisp_usage_requests_total{tenant="acme",owner="local",model="shared",version="1"} 1"#,
        r#"wisp_usage_requests_total{tenant="other",owner="local",model="shared",version="1"} 3"#,
    ];
    ensure!(requests == expected, "{requests:#?}");
    Ok(())
}

#[test]
fn a_web_component_does_not_get_the_keys_of_those_who_call_it() -> Result<()> {
    let public = || -> Result<Repository> {
        let guest = fs::read(component("web_guest")?)?;
        Repository::empty()?.with_file("app/1/handler.wasm", guest)
    };
    let mut key = String::new();
    let tenants = Tenants::start(public()?, Repository::empty()?, |file| {
        key = add(file, &new_tenant("acme", Role::Infer)?)?;
        Ok(())
    })?;
    let given = tenants.get("/apps/app/key", &key)?;
    ensure!(
        (given.status, text(&given)?.as_str()) == (200, "0"),
        "{given:?}"
    );
    ensure!(tenants.server.get("/apps/app/key")?.status == 401);
    let open = Tenants::start(public()?, Repository::empty()?, |_| Ok(()))?;
    let given = open.get("/apps/app/key", "of another server")?;
    ensure!(
        (given.status, text(&given)?.as_str()) == (200, "1"),
        "{given:?}"
    );
    Ok(())
}

#[test]
fn a_component_is_compiled_for_each_tenant() -> Result<()> {
    let server = loader(&TestOptions::default())?;
    let tenants = ["acme", "other"].map(|id| id.parse().map(|id: TenantId| server.for_tenant(&id)));
    let [acme, other] = tenants;
    // An empty component with a section that no test had before.
    let unique = ApiKey::random()?.reveal();
    let mut wasm = b"\0asm\x0d\0\x01\0\0".to_vec();
    wasm.push(u8::try_from(unique.len() + 2)?);
    wasm.extend([1, b'x']);
    wasm.extend(unique.as_bytes());
    let mut kept = Vec::new();
    for loader in [&server, &acme?, &other?] {
        let (component, origin) = loader.aot.load(&loader.engine, &wasm)?;
        ensure!(
            origin == Origin::Compiled,
            "the load would show the files of another tenant"
        );
        kept.push(component);
    }
    Ok(())
}

#[test]
fn the_command_changes_names_of_certificates_and_rules_for_signatures() -> Result<()> {
    let directory = Repository::empty()?;
    let path = directory.path().join("tenants");
    let run = |arguments: &[&str]| -> Result<std::process::Output> {
        let mut command = wisp();
        command.arg("tenant").args(arguments);
        Ok(command.arg("--tenants").arg(&path).output()?)
    };
    let key_file = directory.path().join("minisign.pub");
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    fs::write(&key_file, format!("untrusted comment: a key\n{key}\n"))?;
    let key_file = key_file.to_str().context("not Unicode")?;
    let name = "dn:CN=acme,O=Example";
    for (arguments, expected) in [
        (&["add", "acme"][..], None),
        (&["add", "local"], None),
        (&["subject", "add", "acme", name, "--role", "deploy"], None),
        (&["subject", "add", "acme", "acme"], Some("expected a name")),
        (
            &["subject", "add", "acme", "dns:*.example"],
            Some("expected a name"),
        ),
        (
            &["subject", "add", "local", name],
            Some("of tenant `acme` already"),
        ),
        (
            &["subject", "add", "other", "dns:a"],
            Some("no tenant `other`"),
        ),
        (&["signing-key", "add", "acme", key_file], None),
        (&["signing-key", "add", "acme", key_file], Some("already")),
        (
            &["signing-key", "add", "local", key_file],
            Some("--trusted-key"),
        ),
        (
            &["signing-key", "remove", "acme", "key"],
            Some("public key of minisign"),
        ),
        (&["require-signature", "acme"], None),
    ] {
        let output = run(arguments)?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_expected = match expected {
            Some(part) => !output.status.success() && error.contains(part),
            None => output.status.success(),
        };
        ensure!(is_expected, "{arguments:?}: {error}");
    }
    let listed = String::from_utf8(run(&["list"])?.stdout)?;
    for line in [
        format!("  subject {name}  deploy\n"),
        format!("  signing key {key}\n"),
        "  require_signature true\n".to_owned(),
    ] {
        ensure!(listed.contains(&line), "{listed}");
    }
    for arguments in [
        &["subject", "remove", "acme", name][..],
        &["signing-key", "remove", "acme", key],
        &["require-signature", "acme", "false"],
    ] {
        ensure!(run(arguments)?.status.success(), "{arguments:?}");
    }
    let listed = String::from_utf8(run(&["list"])?.stdout)?;
    ensure!(
        !listed.contains("sign") && !listed.contains("subject"),
        "{listed}"
    );
    Ok(())
}

#[test]
fn the_command_makes_a_key_that_a_server_accepts_and_prints_it_alone() -> Result<()> {
    let directory = Repository::empty()?;
    let path = directory.path().join("tenants");
    let run = |arguments: &[&str]| -> Result<String> {
        let output = wisp()
            .arg("tenant")
            .args(arguments)
            .arg("--tenants")
            .arg(&path)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{error}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let printed = run(&["add", "acme", "--role", "deploy", "--concurrency", "8"])?;
    let key = printed.trim_end();
    ensure!(
        printed == format!("{key}\n") && key.starts_with("wisp_"),
        "{printed}"
    );
    let options = TestOptions {
        tenants: Some(path.clone()),
        ..TestOptions::default()
    };
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let tenants = Tenants {
        server: TestServer::with_options(public, options)?,
        file: TenantFile::new(&path),
        directory: Repository::empty()?,
    };
    tenants.infer("shared", key)?.ok()?;
    let (id, secret) = key.rsplit_once('_').context("no secret")?;
    let id = id.rsplit_once('_').context("no id")?.1;
    let listed = run(&["list"])?;
    ensure!(
        listed.contains(id) && listed.contains("concurrency 8"),
        "{listed}"
    );
    let stored = fs::read_to_string(tenants.file.path())?;
    ensure!(!listed.contains(secret) && !stored.contains(secret));
    let json: Value = serde_json::from_str(&run(&["list", "--json"])?)?;
    ensure!(json["tenants"][0]["keys"][0]["id"] == id, "{json}");
    let second = run(&["rotate", "acme", "--role", "deploy", "--grace-secs", "0"])?;
    tenants.refresh()?;
    tenants.infer("shared", second.trim_end())?.ok()?;
    ensure!(tenants.infer("shared", key)?.status == 401);
    run(&["revoke", "acme", "--all-keys"])?;
    tenants.refresh()?;
    ensure!(tenants.infer("shared", second.trim_end())?.status == 401);
    run(&["remove", "acme"])?;
    ensure!(run(&["list"])?.contains("no tenants"));
    let twice = wisp()
        .args(["tenant", "revoke", "acme", "--all-keys", "--tenants"])
        .arg(&path)
        .output()?;
    let error = String::from_utf8_lossy(&twice.stderr).into_owned();
    ensure!(
        !twice.status.success() && error.contains("`acme`"),
        "{error}"
    );
    Ok(())
}

/// Sends a request to the listener for administration.
fn administer(
    address: SocketAddr,
    (request, key): (&str, Option<&str>),
    body: &Value,
) -> Result<Response> {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let key = key.map_or_else(String::new, |key| {
        format!("authorization: Bearer {key}\r\n")
    });
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{key}content-length: {length}\r\n\r\n{body}"
    );
    exchange(address, text.as_bytes())
}

#[test]
fn a_page_of_another_origin_changes_no_tenant() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut operator = String::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        operator = add(file, &new_tenant("operator", Role::Admin)?)?;
        Ok(())
    })?;
    let ask = |request: &str, origin: &str| {
        let body = r#"{"id": "late"}"#;
        let text = format!(
            "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nauthorization: Bearer {operator}\r\n\
             origin: {origin}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange(tenants.server.admin_address(), text.as_bytes())
    };
    for origin in ["https://other.example", "null"] {
        for request in ["POST /v1/tenants", "DELETE /v1/tenants/operator"] {
            let refused = ask(request, origin)?;
            ensure!(refused.status == 403, "{request} {origin}: {refused:?}");
        }
    }
    ask("POST /v1/tenants", "https://127.0.0.1")?.ok()?;
    let names: Vec<String> = tenants.file.read()?.tenants.into_keys().collect();
    ensure!(names == ["late", "operator"], "{names:?}");
    Ok(())
}

#[test]
fn an_administrator_changes_the_tenants_while_the_server_runs() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        keys.push(add(file, &new_tenant("operator", Role::Admin)?)?);
        keys.push(add(file, &new_tenant("acme", Role::Deploy)?)?);
        Ok(())
    })?;
    let address = tenants.server.admin_address();
    let admin = Some(keys[0].as_str());
    for (key, status) in [
        (None, 401),
        (Some("wrong"), 401),
        (Some(keys[1].as_str()), 403),
    ] {
        let refused = administer(address, ("GET /v1/tenants", key), &Value::Null)?;
        ensure!(refused.status == status, "{refused:?}");
        ensure!(!String::from_utf8_lossy(&refused.body).contains("acme"));
    }
    let body = json!({ "id": "late", "limits": { "models": 2 } });
    let added = administer(address, ("POST /v1/tenants", admin), &body)?.ok()?;
    let key = added["key"].as_str().context("no key")?;
    // At once, without a look at the file.
    tenants.infer("shared", key)?.ok()?;
    let again = administer(address, ("POST /v1/tenants", admin), &body)?;
    ensure!(again.status == 400, "{again:?}");
    let listed = administer(address, ("GET /v1/tenants", admin), &Value::Null)?;
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    let secret = key.rsplit('_').next().context("no secret")?;
    ensure!(text.contains("late") && !text.contains(secret), "{text}");
    let one = administer(address, ("GET /v1/tenants/late", admin), &Value::Null)?.ok()?;
    ensure!(one["limits"] == json!({ "models": 2 }), "{one}");
    let body = json!({ "role": "deploy", "grace_seconds": 0 });
    let request = ("POST /v1/tenants/late/keys", admin);
    let second = administer(address, request, &body)?.ok()?;
    let second = second["key"].as_str().context("no key")?;
    let id = second.split('_').nth(1).context("no id")?;
    tenants.infer("shared", second)?.ok()?;
    let request = format!("DELETE /v1/tenants/late/keys/{id}");
    administer(address, (request.as_str(), admin), &Value::Null)?.ok()?;
    ensure!(tenants.infer("shared", second)?.status == 401);
    let request = ("DELETE /v1/tenants/late", admin);
    administer(address, request, &Value::Null)?.ok()?;
    ensure!(tenants.infer("shared", key)?.status == 401);
    let gone = administer(address, request, &Value::Null)?;
    ensure!(gone.status == 404, "{gone:?}");
    // The file has what the requests have changed, so that it survives the server.
    let names: Vec<String> = tenants.file.read()?.tenants.into_keys().collect();
    ensure!(names == ["acme", "operator"], "{names:?}");
    Ok(())
}
