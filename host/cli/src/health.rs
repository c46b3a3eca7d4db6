//! `wisp health`: requests the readiness of a server, for the health checks of containers.
//!
//! An image for `wisp serve` needs no other HTTP client.

use crate::options::HealthArgs;
use crate::server_client::{agent, get, reachable};
use anyhow::ensure;
use std::io::Write;
use std::process::ExitCode;
use url::Url;

/// The path that reports whether a server takes inference requests.
const READY: &str = "/v2/health/ready";

/// Requests the readiness of the server, and fails unless it is ready.
pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => with_ready_path(url.clone()),
        None => format!("http://{}{READY}", reachable(args.http)).parse()?,
    };
    let agent = agent(args.timeout_secs.0, args.insecure);
    let status = get(&agent, url.as_str())?.status;
    ensure!(status == 200, "not ready: `{url}` has status {status}");
    writeln!(std::io::stdout(), "ready")?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the URL with the path of the readiness check, unless it has a path already.
fn with_ready_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path(READY);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

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
