//! The audit of all routes: every request of the list, with every kind of key.
//!
//! The list is `tests/fixtures/tenants/routes.txt`; tests in host/server ensure that no route and no gRPC method is missing
//! in it. A refusal is the same for every route and every reason, so that it shows nothing but itself.

use super::{Tenants, add, new_tenant};
use crate::harness::{Repository, Response};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use wisp_serving::tenants::records::NewKey;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_id::TenantId;

const ROUTES: &str = include_str!("../fixtures/tenants/routes.txt");

/// The gRPC codes of a refusal.
const UNAUTHENTICATED: &str = "16";
const PERMISSION_DENIED: &str = "7";

/// The right that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Required {
    Open,
    Optional,
    Infer,
    Deploy,
}

/// A request of the list.
#[derive(Debug, Clone, Copy)]
struct Route {
    required: Required,
    method: &'static str,
    path: &'static str,
    accept: Option<&'static str>,
}

/// The outcome of a request, as far as keys decide about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unauthenticated,
    Forbidden,
    Passed,
}

fn routes() -> Result<Vec<Route>> {
    let lines = ROUTES.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let required = match words.next().context(line)? {
                "open" => Required::Open,
                "optional" => Required::Optional,
                "infer" => Required::Infer,
                "deploy" => Required::Deploy,
                other => bail!("`{other}` is no right"),
            };
            Ok(Route {
                required,
                method: words.next().context(line)?,
                path: words.next().context(line)?,
                accept: words.next(),
            })
        })
        .collect()
}

/// Sends a gRPC request with an empty message and returns the status in the head of the response. A refusal has one.
async fn grpc_status(address: SocketAddr, path: &str, key: Option<&str>) -> Result<Option<String>> {
    let stream = TcpStream::connect(address).await?;
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Full::new(Bytes::from_static(&[0; 5])))?;
    let exchange = async {
        let response = client.send_request(request).await?;
        let status = response.headers().get("grpc-status");
        let status = status.map(|status| status.to_str().map(str::to_owned));
        Ok::<Option<String>, anyhow::Error>(status.transpose()?)
    };
    tokio::select! {
        status = exchange => status,
        ended = connection => bail!("the connection has ended: {ended:?}"),
    }
}

impl Tenants {
    fn send(&self, route: Route, key: Option<&str>) -> Result<Response> {
        let request = format!("{} {}", route.method, route.path);
        let header = key.map(|key| format!("Bearer {key}"));
        let header = header.as_deref().map(|header| ("authorization", header));
        let accept = route.accept.map(|accept| ("accept", accept));
        let headers: Vec<(&str, &str)> = header.into_iter().chain(accept).collect();
        self.server.request(&request, &headers, b"{}")
    }

    fn outcome(&self, route: Route, key: Option<&str>) -> Result<Outcome> {
        if route.method == "GRPC" {
            let path = route.path;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let status = runtime.block_on(grpc_status(self.server.address(), path, key))?;
            return Ok(match status.as_deref() {
                Some(UNAUTHENTICATED) => Outcome::Unauthenticated,
                Some(PERMISSION_DENIED) => Outcome::Forbidden,
                _ => Outcome::Passed,
            });
        }
        Ok(match self.send(route, key)?.status {
            401 => Outcome::Unauthenticated,
            403 => Outcome::Forbidden,
            _ => Outcome::Passed,
        })
    }
}

#[test]
fn every_route_asks_for_the_key_and_the_role_that_it_requires() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut keys = Vec::new();
    let mut refused = Vec::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        for (id, role) in [
            ("reader", Role::Infer),
            ("foreign", Role::Infer),
            ("deployer", Role::Deploy),
            ("operator", Role::Admin),
        ] {
            keys.push((role, add(file, &new_tenant(id, role)?)?));
        }
        // A key that has expired, one that was revoked, and texts that are no key.
        let mut expired = new_tenant("expired", Role::Admin)?;
        expired.key = NewKey {
            role: Role::Admin,
            lifetime: Some(Duration::from_secs(1)),
        };
        let then = SystemTime::now() - Duration::from_secs(10);
        let key = file.change(|records| records.add(&expired, then))?;
        refused.push(Some(key.reveal()));
        let revoked = add(file, &new_tenant("revoked", Role::Admin)?)?;
        let id: TenantId = "revoked".parse()?;
        file.change(|records| records.revoke_all(&id))?;
        refused.push(Some(revoked));
        refused.push(Some("wrong".to_owned()));
        let (_, reader) = keys.first().context("no key")?;
        refused.push(Some(format!("{}0", &reader[..reader.len() - 1])));
        refused.push(Some(reader.to_uppercase()));
        refused.push(None);
        Ok(())
    })?;
    // The last digit of the altered key may have been the same one.
    refused.retain(|key| !keys.iter().any(|(_, valid)| key.as_ref() == Some(valid)));
    for route in routes()? {
        for key in &refused {
            let expected = match (route.required, key) {
                (Required::Open, _) | (Required::Optional, None) => Outcome::Passed,
                _ => Outcome::Unauthenticated,
            };
            let found = tenants.outcome(route, key.as_deref())?;
            ensure!(found == expected, "{route:?} {key:?}: {found:?}");
        }
        for (role, key) in &keys {
            let expected = match (route.required, role) {
                (Required::Deploy, Role::Infer) => Outcome::Forbidden,
                _ => Outcome::Passed,
            };
            let found = tenants.outcome(route, Some(key))?;
            ensure!(found == expected, "{route:?} {role}: {found:?}");
        }
    }
    Ok(())
}

#[test]
fn every_refusal_of_a_key_is_the_same() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut valid = String::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        valid = add(file, &new_tenant("acme", Role::Admin)?)?;
        Ok(())
    })?;
    let id = valid.rsplit_once('_').context("no secret")?.0;
    let wrong = format!("{id}_{}", "0".repeat(64));
    let mut bodies = Vec::new();
    for route in routes()? {
        if route.required == Required::Open || route.method == "GRPC" {
            continue;
        }
        for key in [None, Some("wrong"), Some(wrong.as_str())] {
            if route.required == Required::Optional && key.is_none() {
                continue;
            }
            let response = tenants.send(route, key)?;
            ensure!(response.status == 401, "{route:?}: {response:?}");
            ensure!(response.header("www-authenticate") == Some("Bearer"));
            bodies.push(response.body);
        }
    }
    bodies.dedup();
    ensure!(bodies.len() == 1, "{bodies:?}");
    Ok(())
}
