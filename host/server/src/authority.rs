//! The check of the hosts that requests name, for servers that listen on loopback.
//!
//! Any website can make its own name resolve to 127.0.0.1 (DNS rebinding). For the browser, its requests
//! then have the same origin as the server. Only the host that they name distinguishes them from requests
//! of programs on this computer, which name `localhost` or an address.

use crate::failure::Failure;
use crate::listening_socket::ListeningSocket;
use http::header::HOST;
use http::request::Parts;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The hosts that are served on loopback listeners, in addition to `localhost`, its subdomains and IP
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedHosts(pub Vec<AllowedHost>);

/// A host in the operator's configuration, without a port, or `*` for all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(Hosts);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Any,
    /// In lower case.
    One(String),
}

/// The error for a string that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a host without a port, such as models.example.com, or `*`")]
pub struct HostError;

// === impl AllowedHost ===

impl FromStr for AllowedHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<AllowedHost, HostError> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        match text {
            "*" => Ok(AllowedHost(Hosts::Any)),
            "" => Err(HostError),
            name if name.bytes().all(is_of_name) => {
                Ok(AllowedHost(Hosts::One(name.to_ascii_lowercase())))
            }
            _ => Err(HostError),
        }
    }
}

// === impl AllowedHosts ===

impl AllowedHosts {
    /// Returns the hosts to check on a listener, or `None` if it is not on loopback.
    pub(crate) fn of_listener(
        hosts: Option<&AllowedHosts>,
        socket: &ListeningSocket,
    ) -> Option<Arc<AllowedHosts>> {
        let is_loopback = socket
            .local_addr()
            .is_ok_and(|address| address.ip().is_loopback());
        let hosts = hosts.filter(|_| is_loopback)?;
        Some(Arc::new(hosts.clone()))
    }

    /// Refuses the request with this head if it names another host, either in its target, as in HTTP/2 and
    /// with proxies, or in `Host`.
    pub(crate) fn check(&self, head: &Parts) -> Result<(), Failure> {
        let target = head.uri.authority().map(|authority| authority.as_str());
        if target.is_some_and(|target| !self.allows(target)) {
            return Err(Failure::ForeignHost);
        }
        for host in head.headers.get_all(HOST) {
            if !host.to_str().is_ok_and(|host| self.allows(host)) {
                return Err(Failure::ForeignHost);
            }
        }
        Ok(())
    }

    /// Returns whether requests may name this host, with or without a port.
    fn allows(&self, authority: &str) -> bool {
        let is_any = |allowed: &AllowedHost| allowed.0 == Hosts::Any;
        if self.0.iter().any(is_any) {
            return true;
        }
        let Some(host) = without_port(authority) else {
            return false;
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_named = |allowed: &AllowedHost| match &allowed.0 {
            Hosts::Any => true,
            Hosts::One(allowed) => name.eq_ignore_ascii_case(allowed),
        };
        is_address(host) || is_localhost(name) || self.0.iter().any(is_named)
    }
}

/// Returns the host of an authority, or `None` if it is followed by anything other than a port.
fn without_port(authority: &str) -> Option<&str> {
    let end_of_address = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[end_of_address..].find(':') else {
        return Some(authority);
    };
    let (host, port) = authority.split_at(end_of_address + colon);
    let is_port = port[1..].bytes().all(|byte| byte.is_ascii_digit());
    is_port.then_some(host)
}

fn is_address(host: &str) -> bool {
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Returns whether this is `localhost` or one of its subdomains, which browsers resolve to loopback
/// themselves.
fn is_localhost(name: &str) -> bool {
    const LOCALHOST: &str = "localhost";
    let Some(start) = name.len().checked_sub(LOCALHOST.len()) else {
        return false;
    };
    let is_whole = start == 0 || name.as_bytes()[start - 1] == b'.';
    is_whole && name.as_bytes()[start..].eq_ignore_ascii_case(LOCALHOST.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn hosts(names: &[&str]) -> anyhow::Result<AllowedHosts> {
        let names: Result<_, _> = names.iter().map(|name| name.parse()).collect();
        Ok(AllowedHosts(names?))
    }

    #[test]
    fn this_machines_names_and_addresses_are_allowed_and_what_the_operator_names()
    -> anyhow::Result<()> {
        let hosts = hosts(&["Models.example"])?;
        for authority in [
            "localhost",
            "localhost:8000",
            "LocalHost:1",
            "localhost.",
            "wisp.localhost:8000",
            "127.0.0.1",
            "127.0.0.1:8000",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:8000",
            "models.example",
            "MODELS.example.:443",
        ] {
            assert!(hosts.allows(authority), "{authority}");
        }
        for authority in [
            "",
            ":8000",
            "hostile.example:8000",
            "localhost.hostile.example",
            "hostilelocalhost",
            "127.0.0.1.hostile.example:8000",
            "localhost@hostile.example",
            "127.0.0.1:8000@hostile.example",
            "::1",
            "[hostile]",
            "x.models.example",
            "2130706433",
            "\u{fc}localhost",
        ] {
            assert!(!hosts.allows(authority), "{authority}");
        }
        assert!(self::hosts(&["*"])?.allows("hostile.example"));
        Ok(())
    }

    #[test]
    fn every_place_where_a_request_names_a_host_is_looked_at() -> anyhow::Result<()> {
        for (target, host, allowed) in [
            ("/v2", Some("localhost"), true),
            ("/v2", None, true),
            ("/v2", Some("hostile.example"), false),
            ("http://hostile.example/v2", Some("localhost"), false),
            ("http://localhost/v2", Some("hostile.example"), false),
            ("http://localhost/v2", None, true),
            ("http://hostile.example/v2", None, false),
        ] {
            let mut request = Request::get(target);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let head = request.body(())?.into_parts().0;
            let checked = AllowedHosts::default().check(&head);
            assert_eq!(checked.is_ok(), allowed, "{target} {host:?}");
        }
        Ok(())
    }

    #[test]
    fn a_text_that_is_no_host_is_refused() {
        for text in ["", "a:1", "http://a", "[::1]", "a b", "*.example"] {
            assert_eq!(text.parse::<AllowedHost>(), Err(HostError), "{text}");
        }
    }
}
