//! Tests of what a browser opens on a server with worker processes, without a key.
//!
//! An attacker in control of a worker must not get the keys that people enter in the pages of the server.

use super::workers_of;
use crate::cli::serve::{Serve, serve};
use crate::harness::{Repository, Response, component, exchange, wait_until};
use anyhow::{Result, ensure};
use std::fs;
use std::process::Stdio;
use std::time::SystemTime;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::records::{NewKey, NewTenant};
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantFile;

/// The path of the web component, which answers "hello".
const APP: &str = "/apps/app/";

/// A server with the web component `app`, and with a tenant that has a worker and all requests without a key.
struct Visited {
    server: Serve,
    directory: Repository,
    _public: Repository,
    key: String,
}

impl Visited {
    fn start() -> Result<Visited> {
        let guest = fs::read(component("web_guest")?)?;
        let public = Repository::empty()?.with_file("app/1/handler.wasm", guest)?;
        let directory =
            Repository::empty()?.with_model("tenants/visitors/models/own", "progression", None)?;
        let new = NewTenant {
            id: "visitors".parse()?,
            weight: 1,
            anonymous: true,
            isolation: Some(Isolation::Worker),
            limits: Limits::default(),
            key: NewKey {
                role: Role::Infer,
                lifetime: None,
            },
        };
        let file = TenantFile::new(directory.path());
        let key = file.change(|records| records.add(&new, SystemTime::now()))?;
        let mut command = serve(public.path());
        command
            .arg("--tenants")
            .arg(directory.path())
            .stderr(Stdio::inherit());
        Ok(Visited {
            server: Serve::spawn(command)?,
            directory,
            _public: public,
            key: key.reveal(),
        })
    }

    /// Opens an address as a browser does, with the key if the script of a page has it.
    fn open(&self, path: &str, key: Option<&str>) -> Result<Response> {
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n"));
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/html,*/*;q=0.8\r\n{}connection: close\r\n\r\n",
            key.unwrap_or_default()
        );
        exchange(self.server.address().parse()?, head.as_bytes())
    }

    /// Returns whether a worker runs.
    fn has_worker(&self) -> bool {
        !workers_of(self.directory.path()).is_empty()
    }
}

/// Returns whether a response has an origin of its own in a browser.
fn is_outside_origin(response: &Response) -> bool {
    let policy = response.header("content-security-policy");
    policy.is_some_and(|policy| policy.starts_with("sandbox ") && !policy.contains("same-origin"))
}

#[test]
fn a_page_that_is_opened_without_a_key_is_made_by_the_server() -> Result<()> {
    let visited = Visited::start()?;
    for (path, part) in [("/", "<form id=\"key\""), ("/openapi.json", "\"openapi\"")] {
        let page = visited.open(path, None)?;
        let text = String::from_utf8_lossy(&page.body);
        ensure!(page.status == 200 && text.contains(part), "{path}: {text}");
        ensure!(!is_outside_origin(&page), "{path}: {page:?}");
        ensure!(!visited.has_worker(), "{path}");
    }
    // The script of the page asks with the key.
    for path in ["/", "/openapi.json"] {
        let page = visited.open(path, Some(&visited.key))?;
        ensure!(page.status == 200, "{path}: {page:?}");
    }
    ensure!(visited.has_worker());
    Ok(())
}

#[test]
fn all_that_a_worker_answers_without_a_key_has_an_origin_of_its_own() -> Result<()> {
    let visited = Visited::start()?;
    wait_until("the component is compiled", || {
        let opened = visited.open(APP, None);
        opened.is_ok_and(|opened| opened.status == 200)
    })?;
    ensure!(visited.has_worker());
    for (path, status) in [
        (APP, 200),
        ("/v2/models/own", 200),
        ("/v2/models/nothing", 404),
        ("/nothing", 404),
    ] {
        let opened = visited.open(path, None)?;
        ensure!(opened.status == status, "{path}: {opened:?}");
        ensure!(is_outside_origin(&opened), "{path}: {opened:?}");
    }
    // A component has it in any case, and what only scripts get needs none.
    for (path, expected) in [(APP, true), ("/v2/models/own", false)] {
        let asked = visited.open(path, Some(&visited.key))?;
        ensure!(asked.status == 200, "{path}: {asked:?}");
        ensure!(is_outside_origin(&asked) == expected, "{path}: {asked:?}");
    }
    Ok(())
}
