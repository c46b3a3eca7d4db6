//! Tests of the pages and of the API's description on a server with tenants, with third-party tools and in a real browser.
//!
//! The screenshots are in `target/console-screenshots`, for people to look at.

use super::{Tenants, add, new_tenant, two_tenants};
use crate::chromium;
use crate::harness::{Repository, Response, TestServer, component, scale};
use crate::python::{self, OPENAPI};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wisp_serving::tenants::records::NewTenant;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_id::TenantId;

/// The header of a browser that opens an address.
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// The number of random requests for each operation, in addition to those at the bounds of its schemas.
const EXAMPLES: usize = 4;

/// Opens an address as a browser does, with a key if the script of the page has one.
fn open(server: &TestServer, path: &str, key: Option<&str>) -> Result<Response> {
    let key = key.map(|key| format!("Bearer {key}"));
    let key = key.as_deref().map(|key| ("authorization", key));
    let headers: Vec<(&str, &str)> = [HTML].into_iter().chain(key).collect();
    server.request(&format!("GET {path}"), &headers, b"")
}

fn text(response: &Response) -> Result<String> {
    ensure!(response.status == 200, "{response:?}");
    Ok(String::from_utf8(response.body.clone())?)
}

/// Returns the console without the attribute that has the name of a model.
fn console(server: &TestServer, path: &str, key: Option<&str>) -> Result<String> {
    let html = text(&open(server, path, key)?)?;
    Ok(html.replace("<div id=\"forget\" hidden>", ""))
}

#[test]
fn a_page_without_a_key_is_the_same_for_everyone_and_has_nothing_of_a_tenant() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    let server = &tenants.server;
    let frame = open(server, "/", None)?;
    let html = console(server, "/", None)?;
    for name in ["shared", "secret", "hidden", "acme", "other"] {
        ensure!(!html.contains(name), "{name}: {html}");
    }
    ensure!(html.contains("<form id=\"key\""), "{html}");
    ensure!(
        frame.header("cache-control") == Some("no-store"),
        "{frame:?}"
    );
    ensure!(
        frame.header("referrer-policy") == Some("no-referrer"),
        "{frame:?}"
    );
    let policy = frame
        .header("content-security-policy")
        .context("no policy")?;
    for part in [
        "frame-ancestors 'none'",
        "connect-src 'self'",
        "form-action 'self'",
    ] {
        ensure!(policy.contains(part), "{policy}");
    }
    let searched = console(server, "/?search=secret&model=%3Cscript%3E", None)?;
    ensure!(searched == html, "{searched}");
    for (key, own, foreign) in [(&acme, "secret", "hidden"), (&other, "hidden", "secret")] {
        let html = console(server, "/", Some(key))?;
        let row = |model: &str| format!("<tr data-model=\"{model}\"");
        ensure!(html.contains(&row(own)), "{html}");
        ensure!(!html.contains(&row(foreign)), "{html}");
        ensure!(html.contains("<form id=\"key\""), "{html}");
        ensure!(!html.contains(key.as_str()), "{html}");
    }
    let refused = open(server, "/", Some("wrong"))?;
    ensure!(refused.error(401)? == server.get("/v2/models")?.error(401)?);
    for file in [
        "key.js",
        "console.js",
        "console.css",
        "initializer.js",
        "swagger-ui.css",
    ] {
        let path = format!("/docs/{file}");
        let without = server.get(&path)?;
        ensure!(without.status == 200, "{without:?}");
        ensure!(tenants.get(&path, &acme)?.body == without.body, "{path}");
    }
    ensure!(text(&server.get("/docs")?)?.contains("docs/key.js"));
    Ok(())
}

#[test]
fn a_server_without_tenants_has_no_form_for_a_key() -> Result<()> {
    let server = TestServer::start(Repository::empty()?)?;
    let html = text(&open(&server, "/", None)?)?;
    ensure!(!html.contains("id=\"key\""), "{html}");
    Ok(())
}

#[test]
fn an_anonymous_tenant_has_its_page_without_a_key() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let directory =
        Repository::empty()?.with_model("tenants/visitors/models/open", "progression", None)?;
    let tenants = Tenants::start(public, directory, |file| {
        let visitors = NewTenant {
            anonymous: true,
            ..new_tenant("visitors", Role::Infer)?
        };
        add(file, &visitors)?;
        Ok(())
    })?;
    let html = text(&open(&tenants.server, "/", None)?)?;
    ensure!(html.contains("<tr data-model=\"open\""), "{html}");
    ensure!(html.contains("<form id=\"key\""), "{html}");
    ensure!(open(&tenants.server, "/", Some("wrong"))?.status == 401);
    Ok(())
}

#[test]
fn the_document_has_models_only_for_callers_with_a_key() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    // The signature of a tenant's own model is known once it is loaded.
    tenants.infer("secret", &acme)?.ok()?;
    let without = tenants.server.get("/openapi.json")?;
    let shown = text(&without)?;
    for name in ["shared", "secret", "hidden", "acme"] {
        ensure!(!shown.contains(name), "{name}: {shown}");
    }
    let described = without.ok()?;
    let scheme = &described["components"]["securitySchemes"]["tenantKey"];
    ensure!(*scheme == scheme_of(&tenants, &acme)?, "{scheme}");
    ensure!(scheme["scheme"] == "bearer", "{scheme}");
    let with = tenants.get("/openapi.json", &acme)?;
    let described = with.ok()?;
    let paths = &described["paths"];
    for path in [
        "/v2/models/secret/infer",
        "/v2/models/shared/infer",
        "/v1/limits",
    ] {
        ensure!(paths.get(path).is_some(), "{path}");
    }
    let foreign = text(&tenants.get("/openapi.json", &other)?)?;
    ensure!(!foreign.contains("secret"), "{foreign}");
    // Nothing of a tenant stays in a cache, and nobody is told that the document of a tenant is the one of everyone.
    ensure!(with.header("cache-control") == Some("no-store"), "{with:?}");
    let varies = |name: &str| with.headers.iter().any(|(_, value)| value == name);
    ensure!(
        varies("authorization") && varies("accept-encoding"),
        "{with:?}"
    );
    let tag = with.header("etag").context("no tag")?;
    let known = [("if-none-match", tag)];
    let again = tenants.server.request("GET /openapi.json", &known, b"")?;
    ensure!(again.status == 200 && again.body == without.body);
    Ok(())
}

fn scheme_of(tenants: &Tenants, key: &str) -> Result<Value> {
    let document = tenants.get("/openapi.json", key)?.ok()?;
    Ok(document["components"]["securitySchemes"]["tenantKey"].clone())
}

#[test]
fn the_document_describes_authentication_from_the_first_tenant_on() -> Result<()> {
    let public =
        || -> Result<Repository> { Repository::empty()?.with_model("shared", "progression", None) };
    let plain = TestServer::start(public()?)?.get("/openapi.json")?;
    let tenants = Tenants::start(public()?, Repository::empty()?, |_| Ok(()))?;
    let before = tenants.server.get("/openapi.json")?;
    // The other server does not let clients upload files; the document has no route of uploads.
    ensure!(
        before.body == plain.body,
        "the setting alone changes the document"
    );
    ensure!(before.header("cache-control") == plain.header("cache-control"));
    ensure!(!text(&before)?.contains("tenantKey"));
    let key = add(&tenants.file, &new_tenant("local", Role::Deploy)?)?;
    ensure!(tenants.refresh()?);
    let with = text(&tenants.get("/openapi.json", &key)?)?;
    ensure!(
        with.contains("tenantKey") && with.contains("shared"),
        "{with}"
    );
    let local: TenantId = "local".parse()?;
    tenants.file.change(|records| records.remove(&local))?;
    ensure!(tenants.refresh()?);
    // The server stays closed.
    let closed = text(&tenants.server.get("/openapi.json")?)?;
    ensure!(
        closed.contains("tenantKey") && !closed.contains("shared"),
        "{closed}"
    );
    Ok(())
}

#[test]
fn the_documents_with_authentication_are_valid_openapi_3_1() -> Result<()> {
    let (tenants, acme, _) = two_tenants()?;
    let address = tenants.server.address().to_string();
    python::run_in(&OPENAPI, "openapi.py", &["validate", &address])?;
    python::run_in(&OPENAPI, "openapi.py", &["validate", &address, &acme])?;
    Ok(())
}

#[test]
fn schemathesis_finds_no_operation_that_ignores_its_key() -> Result<()> {
    let public = Repository::empty()?
        .with_model("shared", "progression", None)?
        .with_file("shared/model.toml", "labels = { stable = 1 }")?
        .with_broken_model()?;
    let directory =
        Repository::empty()?.with_model("tenants/acme/models/own", "progression", None)?;
    let mut key = String::new();
    let tenants = Tenants::start(public, directory, |file| {
        key = add(file, &new_tenant("acme", Role::Infer)?)?;
        Ok(())
    })?;
    tenants.infer("own", &key)?.ok()?;
    let address = tenants.server.address().to_string();
    let examples = (EXAMPLES * scale()).to_string();
    let arguments = ["conform", &address, &examples, &key];
    let said = python::run_in(&OPENAPI, "openapi.py", &arguments)?;
    ensure!(said.contains("No issues found"), "{said}");
    Ok(())
}

#[test]
fn a_page_of_a_component_is_outside_of_the_origin_in_which_keys_are_entered() -> Result<()> {
    let public = || -> Result<Repository> {
        let guest = std::fs::read(component("web_guest")?)?;
        Repository::empty()?.with_file("app/1/handler.wasm", guest)
    };
    let mut key = String::new();
    let tenants = Tenants::start(public()?, Repository::empty()?, |file| {
        key = add(file, &new_tenant("acme", Role::Infer)?)?;
        Ok(())
    })?;
    let answer = tenants.get("/apps/app/key", &key)?;
    let policy = answer
        .header("content-security-policy")
        .context("no policy")?;
    let mut allowed = policy
        .strip_prefix("sandbox ")
        .context("no sandbox")?
        .split(' ');
    ensure!(
        allowed.all(|allowed| allowed != "allow-same-origin"),
        "{policy}"
    );
    let without = TestServer::start(public()?)?.get("/apps/app/key")?;
    ensure!(without.status == 200 && without.header("content-security-policy").is_none());
    Ok(())
}

/// Opens the pages in a browser with a key and returns what each step shows.
fn browse(tenants: &Tenants, key: &str) -> Result<BTreeMap<String, Value>> {
    let address = tenants.server.address().to_string();
    chromium::browse("tenant_pages.py", &address, |command| {
        command.arg("secret").env("WISP_API_KEY", key)
    })
}

/// Checks what the console shows: the form in this state with this message, and these models.
fn check_console(shown: &Value, (state, message): (&str, &str), models: &[&str]) -> Result<()> {
    ensure!(shown["state"] == state, "{shown}");
    ensure!(shown["message"] == message, "{shown}");
    ensure!(shown["asks"] == (state == "asked"), "{shown}");
    ensure!(shown["forgets"] == (state == "entered"), "{shown}");
    ensure!(shown["models"] == json!(models), "{shown}");
    ensure!(shown["violations"] == json!([]), "{shown}");
    ensure!(shown["field"] == "" || state == "asked", "{shown}");
    Ok(())
}

#[test]
fn a_person_enters_a_key_and_forgets_it_in_chromium() -> Result<()> {
    let (tenants, acme, _) = two_tenants()?;
    // The console has an example request of a version that is loaded.
    tenants.infer("secret", &acme)?.ok()?;
    let steps = browse(&tenants, &acme)?;
    let step = |name: &str| steps.get(name).with_context(|| format!("no {name}"));
    let refusal = "The server does not accept this key.";
    let revoked = "The server does not accept this key any more.";
    let none: &[&str] = &[];
    for (name, form, models) in [
        ("opened", ("asked", ""), none),
        ("refused", ("asked", refusal), none),
        ("entered", ("entered", ""), &["secret"]),
        ("revoked", ("asked", revoked), none),
        ("renewed", ("entered", ""), &["secret"]),
        ("searched", ("entered", ""), none),
        ("again", ("entered", ""), &["secret"]),
        ("other_tab", ("asked", ""), none),
        ("forgotten", ("asked", ""), none),
        ("back", ("asked", ""), none),
    ] {
        check_console(step(name)?, form, models).context(name)?;
    }
    ensure!(step("sent")?["status"] == "200", "{:?}", step("sent")?);
    ensure!(step("sent_wrong")?["status"] == "401", "{steps:?}");
    ensure!(
        step("executed")?["status"] == "200",
        "{:?}",
        step("executed")?
    );
    let message = &step("docs_refused")?["message"];
    ensure!(
        message.as_str().is_some_and(|said| said.contains(refusal)),
        "{message}"
    );
    for (name, has_model) in [
        ("docs", true),
        ("docs_out", false),
        ("docs_in", true),
        ("docs_back", false),
    ] {
        let shown = step(name)?;
        let paths = shown["paths"].as_array().context("no paths")?;
        let infer = json!("/v2/models/secret/infer");
        ensure!(paths.contains(&infer) == has_model, "{name}: {shown}");
        ensure!(shown["errors"].is_null(), "{name}: {shown}");
        ensure!(shown["violations"] == json!([]), "{name}: {shown}");
        // Those to a key that was forgotten are gone.
        ensure!(shown["responses"] == 0, "{name}: {shown}");
    }
    check_traffic(step("traffic")?, &acme, &tenants)
}

/// Checks that the key was in no address and in nothing that lasts longer than the tab, and that no other server was asked.
fn check_traffic(traffic: &Value, key: &str, tenants: &Tenants) -> Result<()> {
    let home = format!("http://{}/", tenants.server.address());
    let requests = traffic["requests"].as_array().context("no requests")?;
    ensure!(requests.len() > 10, "{traffic}");
    for request in requests {
        let address = request[0].as_str().context("no address")?;
        let is_own = address.starts_with(&home);
        ensure!(is_own || address.starts_with("data:"), "{address}");
        ensure!(!request.to_string().contains(key), "{request}");
        ensure!(request[1].is_null() || request[1] == "", "{request}");
    }
    let stored = &traffic["stored"];
    ensure!(stored["session"] == json!([key]), "{stored}");
    ensure!(
        stored["local"] == json!([]) && stored["cookie"] == "",
        "{stored}"
    );
    Ok(())
}
