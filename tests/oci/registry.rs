//! A registry on the loopback: Debian's `docker-registry`, unpacked below the target directory on first use, with
//! its storage in a temporary directory.

use crate::{debian, python};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use wisp_server::tls::TlsFiles;

/// The package of Debian with the registry, 5 MB.
const PACKAGE: &str = "docker-registry";

/// The media type of the manifests of these tests.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The only user of a registry with passwords, and the line of its password file, made with bcrypt.
pub(super) const USER: &str = "wisp";
pub(super) const PASSWORD: &str = "s3cret";
const PASSWORD_FILE: &str = "wisp:$2b$04$kZhEGKsO2WZkKdzq3vt8HetPnpn5h2U6VBewPoWfd/CsQ3DJlkDkO\n";

/// The way in which a registry is reached.
#[derive(Debug)]
pub(super) enum Access {
    Open,
    Password,
    Tls(TlsFiles),
}

/// A running registry. Ended on drop.
#[derive(Debug)]
pub(super) struct Registry {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Registry {
    /// Starts a registry that anybody may use.
    pub(super) fn start() -> Result<Registry> {
        Registry::with(&Access::Open)
    }

    pub(super) fn with(access: &Access) -> Result<Registry> {
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("config.yml");
        // JSON is YAML.
        let text = settings(directory.path(), access)?.to_string();
        std::fs::write(&configuration, text)?;
        let mut process = Command::new(executable()?)
            .arg("serve")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start the registry")?;
        let log = process.stderr.take().context("the log is piped")?;
        let mut registry = Registry {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            directory,
        };
        let mut log = BufReader::new(log);
        registry.address = address(&mut log)?;
        // A full pipe would stop the registry.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(registry)
    }

    /// Returns the reference of an artifact in this registry, such as `127.0.0.1:5000/digits:1`.
    pub(super) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Returns the path of the file in which the registry stores some content.
    pub(super) fn stored(&self, digest: &str) -> Result<PathBuf> {
        let digits = digest.strip_prefix("sha256:").context("no digest")?;
        let place = format!(
            "store/docker/registry/v2/blobs/sha256/{}/{digits}/data",
            &digits[..2]
        );
        Ok(self.directory.path().join(place))
    }

    /// Returns a manifest as the registry sends it.
    pub(super) fn manifest(&self, repository: &str, tag: &str) -> Result<Value> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let (status, body) = self.request("GET", &path, b"")?;
        ensure!(status == 200, "{status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Stores a manifest whose files the repository has.
    pub(super) fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let body = serde_json::to_vec(manifest)?;
        let (status, body) = self.request("PUT", &path, &body)?;
        ensure!(status == 201, "{status} {body}");
        Ok(())
    }

    /// Sends a request about a manifest, and returns the status and the body of the response.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut connection = TcpStream::connect(self.address)?;
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAccept: {MANIFEST}\r\nContent-Type: {MANIFEST}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )?;
        connection.write_all(body)?;
        let mut response = String::new();
        connection.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).context("no status")?;
        Ok((status.parse()?, body.to_owned()))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn settings(directory: &Path, access: &Access) -> Result<Value> {
    let mut settings = json!({
        "version": 0.1,
        // The address is logged at this level.
        "log": {"level": "info", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": directory.join("store")}},
        "http": {"addr": "127.0.0.1:0", "secret": "of the tests"},
    });
    match access {
        Access::Open => {}
        Access::Password => {
            let path = directory.join("htpasswd");
            std::fs::write(&path, PASSWORD_FILE)?;
            settings["auth"] = json!({"htpasswd": {"realm": "tests", "path": path}});
        }
        Access::Tls(TlsFiles {
            certificate, key, ..
        }) => {
            settings["http"]["tls"] = json!({"certificate": certificate, "key": key});
        }
    }
    Ok(settings)
}

/// Reads the log up to the address on which the registry listens.
fn address(log: &mut impl BufRead) -> Result<SocketAddr> {
    let mut read = String::new();
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if let Some((_, address)) = line.split_once("listening on ") {
            let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
            let address = &address[..end.unwrap_or(address.len())];
            return address.parse().with_context(|| line.clone());
        }
        read.push_str(&line);
        line.clear();
    }
    bail!("the registry has ended: {read}")
}

/// Returns the path of the registry's executable.
fn executable() -> Result<PathBuf> {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = python::once(&UNPACKED, || {
        debian::unpacked(PACKAGE, |downloads, directory| {
            debian::download(&[PACKAGE], downloads)
                .context("the test needs Debian's apt-get, and package lists: apt-get update")?;
            debian::extract(downloads, directory)
        })
    })?;
    Ok(directory.join("usr/bin/docker-registry"))
}
