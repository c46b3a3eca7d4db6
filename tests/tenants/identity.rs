//! Tests of what says who asks: the key, and nothing else that a client can send.

use super::two_tenants;
use crate::harness::metric::sample;
use crate::harness::{Response, exchange, scale};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Headers in which proxies, other servers and earlier requests say who asks, and with which right.
const CLAIMS: [(&str, &str); 16] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "acme"),
    ("x-forwarded-user", "acme"),
    ("x-forwarded-client-cert", "Subject=\"CN=acme\""),
    ("forwarded", "for=127.0.0.1;host=acme"),
    ("x-real-ip", "127.0.0.1"),
    ("x-remote-user", "acme"),
    ("x-tenant", "acme"),
    ("x-tenant-id", "acme"),
    ("x-wisp-tenant", "acme"),
    ("wisp-tenant", "acme"),
    ("wisp-forwarded-tenant", "acme"),
    ("wisp-forwarded-role", "deploy"),
    ("x-api-key", "acme"),
    ("cookie", "tenant=acme"),
    ("from", "acme"),
];

/// Returns the tenant that `GET /v1/limits` names.
fn tenant(response: &Response) -> Result<Value> {
    Ok(response.ok()?["tenant"].clone())
}

#[test]
fn no_header_but_the_key_says_who_asks_and_with_which_right() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    let header = format!("Bearer {other}");
    let key = ("authorization", header.as_str());
    let load = "POST /v2/repository/models/secret/load";
    for claim in CLAIMS {
        let limits = tenants
            .server
            .request("GET /v1/limits", &[claim, key], b"")?;
        ensure!(tenant(&limits)? == "other", "{claim:?}: {limits:?}");
        let load = tenants.server.request(load, &[key, claim], b"")?;
        ensure!(load.status == 403, "{claim:?}: {load:?}");
        let nobody = tenants.server.request("GET /v1/limits", &[claim], b"")?;
        ensure!(nobody.status == 401, "{claim:?}: {nobody:?}");
    }
    // With a claim about somebody else, the owner is still the owner.
    let header = format!("Bearer {acme}");
    let headers = [("authorization", header.as_str()), ("x-tenant", "other")];
    let limits = tenants.server.request("GET /v1/limits", &headers, b"")?;
    ensure!(tenant(&limits)? == "acme", "{limits:?}");
    Ok(())
}

#[test]
fn neither_the_host_nor_a_second_key_says_who_asks() -> Result<()> {
    let (tenants, acme, other) = two_tenants()?;
    let mut answered = 0;
    for target in ["/v1/limits", "http://acme/v1/limits"] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: acme\r\nauthorization: Bearer {other}\r\nconnection: close\r\n\r\n"
        );
        let limits = exchange(tenants.server.address(), request.as_bytes())?;
        // A target with another host than the header may be refused, and never is another tenant's.
        if limits.status == 200 {
            ensure!(tenant(&limits)? == "other", "{limits:?}");
            answered += 1;
        }
    }
    ensure!(answered > 0, "neither of them is answered");
    let keys = [&other, &acme].map(|key| format!("Bearer {key}"));
    let headers = keys.each_ref().map(|key| ("authorization", key.as_str()));
    let both = tenants.server.request("GET /v1/limits", &headers, b"")?;
    ensure!(both.status == 401, "{both:?}");
    // A key in the target is text.
    let target = format!("GET /v1/limits?key={acme}&authorization=Bearer%20{acme}");
    let limits = tenants.server.request(&target, &[], b"")?;
    ensure!(limits.status == 401, "{limits:?}");
    Ok(())
}

#[test]
fn guessed_keys_are_refused_and_cost_the_owner_of_the_key_no_request() -> Result<()> {
    let (tenants, acme, _) = two_tenants()?;
    let (rest, last) = acme.split_at(acme.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    // Wrong in the last digit, in the first one of the secret, and in its length.
    let (id, secret) = acme.rsplit_once('_').context("no secret")?;
    let first = if secret.starts_with('0') { "1" } else { "0" };
    let guesses = [
        format!("{rest}{other}"),
        format!("{id}_{first}{}", &secret[1..]),
        rest.to_owned(),
    ];
    let rounds = 20 * scale();
    for _ in 0..rounds {
        for guess in &guesses {
            let refused = tenants.infer("secret", guess)?;
            ensure!(refused.status == 401, "{refused:?}");
        }
        tenants.infer("secret", &acme)?.ok()?;
    }
    // Exactly its own requests are counted for the owner.
    let usage =
        r#"wisp_usage_requests_total{tenant="acme",owner="acme",model="secret",version="1"}"#;
    let counted = sample(&tenants.server, usage)?;
    ensure!(
        counted == rounds as f64,
        "{counted} requests instead of {rounds}"
    );
    Ok(())
}
