//! The HTTP client for a server of Wisp that runs, for the commands that use one.

use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// The most bytes of a response that are read.
const MAX_RESPONSE_BYTES: u64 = 16 << 20;

/// The environment variable with the key for a server with tenants.
const API_KEY_VARIABLE: &str = "WISP_API_KEY";

/// A response with its status and body.
#[derive(Debug)]
pub(crate) struct ServerResponse {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Returns the HTTP client. It uses no proxy, since the server is on the same machine or in the same
/// network, and follows no redirect, which would be answered by another server.
pub(crate) fn agent(timeout: Duration, insecure: bool) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .disable_verification(insecure);
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .user_agent(concat!("wisp/", env!("CARGO_PKG_VERSION")))
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(timeout));
    config.build().new_agent()
}

/// Sends a GET request.
pub(crate) fn get(agent: &Agent, url: &str) -> anyhow::Result<ServerResponse> {
    let request = match api_key() {
        Some(key) => agent.get(url).header("authorization", key),
        None => agent.get(url),
    };
    let response = request.call();
    let mut response = response.with_context(|| format!("no response from `{url}`"))?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
    let body = body.read_to_string();
    let body = body.with_context(|| format!("the response from `{url}` cannot be read"))?;
    Ok(ServerResponse { status, body })
}

/// Sends a POST request with a JSON document.
pub(crate) fn post(agent: &Agent, url: &str, document: &[u8]) -> anyhow::Result<ServerResponse> {
    let request = agent.post(url).header("content-type", "application/json");
    let request = match api_key() {
        Some(key) => request.header("authorization", key),
        None => request,
    };
    let response = request.send(document);
    let mut response = response.with_context(|| format!("no response from `{url}`"))?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
    let body = body.read_to_string();
    let body = body.with_context(|| format!("the response from `{url}` cannot be read"))?;
    Ok(ServerResponse { status, body })
}

/// Returns the header with the key of the environment, if there is one. An argument would show the key to all users of the
/// machine.
fn api_key() -> Option<String> {
    let key = std::env::var(API_KEY_VARIABLE).ok()?;
    (!key.is_empty()).then(|| format!("Bearer {key}"))
}

/// Returns the address at which a server that listens on `address` can be reached from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_interfaces_is_reached_on_the_loopback() -> anyhow::Result<()> {
        for (listens, expected) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:9000", "[::1]:9000"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listens.parse()?).to_string(), expected);
        }
        Ok(())
    }
}
