//! The HTTP client that sends spans and payloads.

use std::time::Duration;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// Returns a client whose requests have this time limit. It follows no redirects, and returns every status to its caller.
pub(super) fn agent(timeout: Duration) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .user_agent(concat!("wisp/", env!("CARGO_PKG_VERSION")))
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(timeout));
    config.build().new_agent()
}
