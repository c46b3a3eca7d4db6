//! `wisp health`: requests the readiness of a server, for the health checks of containers.
//!
//! An image for `wisp serve` needs no other HTTP client.

use crate::options::HealthArgs;
use anyhow::{Context, ensure};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;

/// The path that reports whether a server takes inference requests.
const READY: &str = "/v2/health/ready";

/// Requests the readiness of the server, and fails unless it is ready.
pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => with_ready_path(url.clone()),
        None => format!("http://{}{READY}", reachable(args.http)).parse()?,
    };
    let response = agent(args).get(url.as_str()).call();
    let response = response.with_context(|| format!("no response from `{url}`"))?;
    let status = response.status().as_u16();
    ensure!(status == 200, "not ready: `{url}` has status {status}");
    writeln!(std::io::stdout(), "ready")?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the HTTP client. It uses no proxy, since the server is on the same machine or in the same
/// network, and follows no redirect, which would be answered by another server.
fn agent(args: &HealthArgs) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .disable_verification(args.insecure);
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .user_agent(concat!("wisp/", env!("CARGO_PKG_VERSION")))
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(args.timeout_secs.0));
    config.build().new_agent()
}

/// Returns the URL with the path of the readiness check, unless it has a path already.
fn with_ready_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path(READY);
    }
    url
}

/// Returns the address at which a server that listens on `address` can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
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

    #[test]
    fn a_url_without_a_path_gets_that_of_the_readiness() -> anyhow::Result<()> {
        for (url, expected) in [
            ("http://a:1", "http://a:1/v2/health/ready"),
            ("http://a:1/", "http://a:1/v2/health/ready"),
            ("https://a/v2/health/live", "https://a/v2/health/live"),
        ] {
            assert_eq!(with_ready_path(url.parse()?).as_str(), expected);
        }
        Ok(())
    }
}
