//! Tests of TLS with third-party clients. Tests of TLS alone are in the server's crate.

use crate::harness::{Certificate, Repository, TestOptions, TestServer};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Starts a server of `wine` over TLS.
fn server(certificate: &Certificate) -> Result<TestServer> {
    let options = TestOptions {
        tls: Some(certificate.files()),
        ..TestOptions::default()
    };
    TestServer::with_options(Repository::of(&["wine"])?, options)
}

/// Runs one check of the script against the server.
fn check(check: &str) -> Result<()> {
    let certificate = Certificate::new()?;
    let server = server(&certificate)?;
    let authority = certificate.authority();
    let authority = authority.to_str().context("a path that is not Unicode")?;
    let port = server.address().port().to_string();
    let grpc_port = server.grpc_address().port().to_string();
    python::run("tls_clients.py", &[check, &port, &grpc_port, authority])?;
    Ok(())
}

#[test]
fn curl_uses_both_versions_of_http() -> Result<()> {
    let certificate = Certificate::new()?;
    let server = server(&certificate)?;
    for port in [server.address().port(), server.grpc_address().port()] {
        for (version, expected) in [
            ("--http1.1", "1.1"),
            ("--http2", "2"),
            ("--tls-max=1.2", "2"),
        ] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail-with-body"]);
            // curl takes the values of long options as separate arguments.
            curl.args(version.split('='));
            curl.args(["--write-out", " over HTTP/%{http_version}", "--cacert"])
                .arg(certificate.authority())
                .arg(format!("https://localhost:{port}/v2/health/live"));
            let answer = python::succeed(&mut curl)?.stdout;
            let answer = String::from_utf8_lossy(&answer);
            let expected = format!(r#"{{"live":true}} over HTTP/{expected}"#);
            ensure!(answer == expected, "{version}: {answer}");
        }
    }
    Ok(())
}

#[test]
fn requests_and_tritonclient_infer_over_https() -> Result<()> {
    check("http")
}

#[test]
fn tritonclient_infers_over_grpc_with_tls_on_either_port() -> Result<()> {
    check("grpc")
}

#[test]
fn clients_without_tls_are_refused() -> Result<()> {
    check("plain")
}
