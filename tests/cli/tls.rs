//! Tests of `wisp serve` with a certificate: its output, and the reload of a new certificate.

use super::serve::{Serve, read_up_to, serve};
use super::{failure, run, wisp};
use crate::harness::{Certificate, Repository};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::BufReader;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns the command that serves `path` over TLS on a free port.
fn serve_tls(path: &Path, certificate: &Certificate) -> Command {
    let files = certificate.files();
    let mut command = serve(path);
    command.arg("--tls-cert").arg(files.certificate);
    command.arg("--tls-key").arg(files.key);
    command
}

/// Returns whether curl accepts the server's certificate with this authority.
fn is_trusted(line: &str, authority: &Path) -> Result<bool> {
    let authority = authority.display();
    let mut shell = Command::new("sh");
    let output = shell
        .args(["-c", &format!("{line} --cacert {authority}")])
        .output()?;
    let answer = String::from_utf8_lossy(&output.stdout);
    ensure!(
        !output.status.success() || answer.contains("\"outputs\":[{"),
        "{line}: {answer}"
    );
    Ok(output.status.success())
}

#[test]
fn a_signal_reloads_the_certificate_and_an_invalid_one_is_only_logged() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let certificate = Certificate::new()?;
    let mut command = serve_tls(repository.path(), &certificate);
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let line = server.banner.lines().find(|line| line.contains("curl"));
    let line = line.unwrap_or_default().trim().to_owned();
    ensure!(line.contains(" https://"), "{}", server.banner);
    let old = repository.path().join("old-authority.pem");
    fs::copy(certificate.authority(), &old)?;
    ensure!(is_trusted(&line, &old)?, "{line}");

    certificate.renew()?;
    server.signal("-HUP")?;
    let mut log = server.log_up_to("reloaded the certificate")?;
    ensure!(is_trusted(&line, &certificate.authority())?);
    ensure!(!is_trusted(&line, &old)?, "the old one is shown");

    certificate.corrupt()?;
    server.signal("-HUP")?;
    let refused = read_up_to(&mut log, "failed to reload the certificate")?;
    ensure!(
        refused.contains("ERROR") && refused.contains("server.pem"),
        "{refused}"
    );
    ensure!(is_trusted(&line, &certificate.authority())?);
    Ok(())
}

/// Makes the files of the certificate the next ones of a directory, by one link that leads to all of them, as in a volume
/// of Kubernetes.
fn publish(certificate: &Certificate, (secrets, name): (&Path, &str)) -> Result<()> {
    let next = secrets.join(name);
    fs::create_dir(&next)?;
    let files = certificate.files();
    for file in [files.certificate, files.key, certificate.authority()] {
        let name = file.file_name().context("no file")?;
        fs::copy(&file, next.join(name))?;
    }
    symlink(name, secrets.join("..data_tmp"))?;
    Ok(fs::rename(
        secrets.join("..data_tmp"),
        secrets.join("..data"),
    )?)
}

#[test]
fn a_caged_server_reads_certificates_behind_a_link_that_was_switched() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let (secrets, tenants) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let certificate = Certificate::new()?;
    publish(&certificate, (secrets.path(), "..1"))?;
    let data = secrets.path().join("..data");
    let mut command = serve(repository.path());
    command.arg("--tls-cert").arg(data.join("server.pem"));
    command.arg("--tls-key").arg(data.join("server.key"));
    command
        .arg("--tls-client-ca")
        .arg(data.join("authority.pem"));
    command.arg("--tenants").arg(tenants.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let line = server.banner.lines().find(|line| line.contains("curl"));
    let line = line.unwrap_or_default().trim().to_owned();
    ensure!(is_trusted(&line, &certificate.authority())?, "{line}");

    certificate.renew()?;
    publish(&certificate, (secrets.path(), "..2"))?;
    fs::remove_dir_all(secrets.path().join("..1"))?;
    server.signal("-HUP")?;
    let stderr = server.child.stderr.take().context("it is not piped")?;
    let mut log = BufReader::new(stderr);
    let reloaded = read_up_to(&mut log, "the certificate")?;
    ensure!(reloaded.contains("reloaded the certificate"), "{reloaded}");
    ensure!(is_trusted(&line, &certificate.authority())?);
    Ok(())
}

#[test]
fn an_invalid_certificate_ends_with_64_before_a_port_is_bound() -> Result<()> {
    let repository = Repository::empty()?;
    let certificate = Certificate::new()?;
    certificate.corrupt()?;
    let (text, code) = failure(&run(&mut serve_tls(repository.path(), &certificate))?)?;
    ensure!(code == 64, "{code}: {text}");
    ensure!(
        text.contains("--tls-cert") && text.contains("server.pem` contains no certificate in PEM"),
        "{text}"
    );
    let args = ["serve", "--tls-cert", "server.pem", "."];
    let (text, code) = failure(&run(wisp().args(args))?)?;
    ensure!(code == 64 && text.contains("--tls-key"), "{text}");
    Ok(())
}
