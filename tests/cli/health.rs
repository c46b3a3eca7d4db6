//! Tests of `wisp health`, the check of a server that containers run.

use super::serve::{Serve, serve};
use super::{failure, run, stdout, wisp};
use crate::harness::{Certificate, Repository};
use anyhow::{Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

fn health(arguments: &[&str]) -> Command {
    let mut command = wisp();
    command.arg("health").args(arguments);
    // Probes that need a proxy would test the proxy.
    command.env("HTTP_PROXY", "http://127.0.0.1:1");
    command
}

/// Runs the check against a server that answers one request with `response`.
fn against(response: &'static str) -> Result<(String, Output)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let server = std::thread::spawn(move || -> Result<String> {
        let (mut stream, _) = listener.accept()?;
        let mut request = String::new();
        let mut reader = BufReader::new(stream.try_clone()?);
        reader.read_line(&mut request)?;
        // The rest of the head is read, so that closing the connection does not reset it.
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "no end of the head");
        }
        stream.write_all(response.as_bytes())?;
        Ok(request)
    });
    let output = run(&mut health(&[&format!("http://{address}")]))?;
    let request = server.join().expect("the server does not panic")?;
    Ok((request, output))
}

#[test]
fn a_ready_server_is_found_by_its_url_and_by_the_address_it_listens_on() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let server = Serve::start(repository.path())?;
    let url = format!("http://{}", server.address());
    let model = format!("{url}/v2/models/progression/ready");
    for url in [&url, &model] {
        ensure!(stdout(&run(&mut health(&[url]))?)? == "ready\n", "{url}");
    }
    let (_, port) = server.address().rsplit_once(':').unwrap_or_default();
    let everywhere = format!("0.0.0.0:{port}");
    let mut by_address = health(&[]);
    by_address.env("WISP_HTTP", everywhere);
    ensure!(stdout(&run(&mut by_address)?)? == "ready\n");
    Ok(())
}

#[test]
fn a_model_that_does_not_exist_is_not_ready() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let server = Serve::start(repository.path())?;
    let url = format!("http://{}/v2/models/other/ready", server.address());
    let (text, code) = failure(&run(&mut health(&[&url]))?)?;
    ensure!(
        code == 1 && text.contains("has status 400"),
        "{code}: {text}"
    );
    Ok(())
}

#[test]
fn every_status_but_200_is_a_failure() -> Result<()> {
    for (status, shown) in [
        ("503 Service Unavailable", "has status 503"),
        ("204 No Content", "has status 204"),
        (
            "302 Found\r\nlocation: http://127.0.0.1:1/",
            "has status 302",
        ),
    ] {
        let response =
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let (request, output) = against(response.leak())?;
        let (text, code) = failure(&output)?;
        ensure!(code == 1 && text.contains(shown), "{code}: {text}");
        ensure!(request == "GET /v2/health/ready HTTP/1.1\r\n", "{request}");
    }
    Ok(())
}

#[test]
fn a_server_that_does_not_listen_or_does_not_answer_is_a_failure() -> Result<()> {
    // Connections to it are accepted by the system, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", silent.local_addr()?);
    let (text, code) = failure(&run(&mut health(&[&url, "--timeout-secs", "1"]))?)?;
    ensure!(code == 1 && text.contains("timeout"), "{code}: {text}");
    // Nobody listens on this port.
    let (text, code) = failure(&run(&mut health(&["http://127.0.0.1:1"]))?)?;
    ensure!(
        code == 1 && text.contains("no response from"),
        "{code}: {text}"
    );
    Ok(())
}

#[test]
fn a_certificate_of_an_unknown_authority_is_accepted_only_on_request() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let certificate = Certificate::new()?;
    let files = certificate.files();
    let mut command = serve(repository.path());
    command.arg("--tls-cert").arg(files.certificate);
    command.arg("--tls-key").arg(files.key);
    let server = Serve::spawn(command)?;
    let url = format!("https://{}", server.address());
    let (text, code) = failure(&run(&mut health(&[&url]))?)?;
    ensure!(
        code == 1 && text.contains("no response from"),
        "{code}: {text}"
    );
    ensure!(stdout(&run(&mut health(&["--insecure", &url]))?)? == "ready\n");
    Ok(())
}
