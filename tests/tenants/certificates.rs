//! Tests of tenants that are identified by the certificates of their clients.
//!
//! OpenSSL makes the certificates, and the clients are curl, OpenSSL and Python's.

use super::{Tenants, add, new_tenant};
use crate::harness::{Certificate, Repository, TestOptions};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use wisp_server::tls::TlsFiles;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::subject::Subject;
use wisp_serving::tenants::tenant_id::TenantId;

/// An authority that issues certificates to clients, as OpenSSL makes one.
struct Authority {
    directory: TempDir,
}

/// The files of a client.
struct ClientFiles {
    certificate: PathBuf,
    key: PathBuf,
}

fn openssl(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(directory);
    let output = python::succeed(&mut command)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The arguments for a new key of a common kind, without a password.
const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
];

impl Authority {
    fn new() -> Result<Authority> {
        let directory = tempfile::tempdir()?;
        let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", "/CN=clients"];
        arguments.extend(NEW_KEY);
        arguments.extend(["-keyout", "ca.key", "-out", "ca.pem"]);
        openssl(directory.path(), &arguments)?;
        Ok(Authority { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn certificate(&self) -> PathBuf {
        self.path().join("ca.pem")
    }

    /// Issues a certificate in the files `name` with this subject and these alternative names.
    fn issue(&self, name: &str, subject: &str, alternative: &str) -> Result<ClientFiles> {
        let file = |extension: &str| format!("{name}.{extension}");
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let mut arguments = vec!["req", "-utf8", "-subj", subject];
        arguments.extend(NEW_KEY);
        arguments.extend(["-keyout", &key, "-out", &request]);
        openssl(self.path(), &arguments)?;
        let extensions = file("ext");
        let content = match alternative {
            "" => "extendedKeyUsage=clientAuth\n".to_owned(),
            names => format!("extendedKeyUsage=clientAuth\nsubjectAltName={names}\n"),
        };
        std::fs::write(self.path().join(&extensions), content)?;
        let arguments = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ];
        openssl(self.path(), &arguments)?;
        Ok(ClientFiles {
            certificate: self.path().join(certificate),
            key: self.path().join(key),
        })
    }
}

/// A server of `secret` of `acme`, `hidden` of `other` and the public `shared`, which takes the certificates of an
/// authority.
struct Server {
    tenants: Tenants,
    certificate: Certificate,
    authority: Authority,
    /// The keys of `acme` and of `other`, which may deploy.
    acme: String,
    other: String,
}

impl Server {
    fn start() -> Result<Server> {
        let public = Repository::of(&["wine"])?.with_model("shared", "progression", None)?;
        let directory = Repository::empty()?
            .with_model("tenants/acme/models/secret", "progression", None)?
            .with_model("tenants/other/models/hidden", "progression", None)?;
        let (certificate, authority) = (Certificate::new()?, Authority::new()?);
        let options = TestOptions {
            tls: Some(TlsFiles {
                client_ca: Some(authority.certificate()),
                ..certificate.files()
            }),
            ..TestOptions::default()
        };
        let (mut acme, mut other) = (String::new(), String::new());
        let tenants = Tenants::with_options((public, directory), options, |file| {
            acme = add(file, &new_tenant("acme", Role::Deploy)?)?;
            other = add(file, &new_tenant("other", Role::Deploy)?)?;
            Ok(())
        })?;
        Ok(Server {
            tenants,
            certificate,
            authority,
            acme,
            other,
        })
    }

    /// Lets clients with a name be a tenant.
    fn name(&self, tenant: &str, name: &str, role: Role) -> Result<()> {
        let (tenant, name): (TenantId, Subject) = (tenant.parse()?, name.parse()?);
        let file = &self.tenants.file;
        file.change(|records| records.add_subject(&tenant, &name, role))?;
        self.tenants.refresh()?;
        Ok(())
    }

    /// Removes a name of a tenant.
    fn unname(&self, tenant: &str, name: &str) -> Result<()> {
        let (tenant, name): (TenantId, Subject) = (tenant.parse()?, name.parse()?);
        let file = &self.tenants.file;
        file.change(|records| records.remove_subject(&tenant, &name))?;
        self.tenants.refresh()?;
        Ok(())
    }

    /// Returns the status of a request that curl makes with a certificate and these further arguments. It is 000 if the
    /// connection is refused.
    fn status(
        &self,
        (method, path): (&str, &str),
        client: Option<&ClientFiles>,
        arguments: &[&str],
    ) -> Result<String> {
        let port = self.tenants.server.address().port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null"])
            .args(["--write-out", "%{http_code}", "--request", method])
            .arg("--cacert")
            .arg(self.certificate.authority())
            .args(arguments);
        if let Some(client) = client {
            curl.arg("--cert").arg(&client.certificate);
            curl.arg("--key").arg(&client.key);
        }
        let output = curl
            .arg(format!("https://localhost:{port}{path}"))
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns the status of a request for the metadata of a model.
    fn see(&self, model: &str, client: Option<&ClientFiles>) -> Result<String> {
        self.status(("GET", &format!("/v2/models/{model}")), client, &[])
    }
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}")
}

#[test]
fn a_certificate_is_the_tenant_of_its_name_with_the_role_of_that() -> Result<()> {
    let server = Server::start()?;
    let authority = &server.authority;
    let acme = authority.issue("acme", "/CN=a", "URI:spiffe://example.org/acme")?;
    let deployer = authority.issue("deployer", "/CN=b", "DNS:deploy.acme.example")?;
    let other = authority.issue("other", "/O=Example/CN=other", "")?;
    let nobody = authority.issue("nobody", "/CN=acme", "DNS:acme.example")?;
    server.name("acme", "uri:spiffe://example.org/acme", Role::Infer)?;
    server.name("acme", "dns:deploy.acme.example", Role::Deploy)?;
    server.name("other", "dn:CN=other,O=Example", Role::Infer)?;
    for (client, model, expected) in [
        (Some(&acme), "secret", "200"),
        (Some(&acme), "shared", "200"),
        (Some(&acme), "hidden", "404"),
        (Some(&deployer), "secret", "200"),
        (Some(&other), "hidden", "200"),
        (Some(&other), "secret", "404"),
        (Some(&nobody), "shared", "401"),
        (None, "shared", "401"),
    ] {
        for version in ["--http1.1", "--http2"] {
            let path = format!("/v2/models/{model}");
            let status = server.status(("GET", &path), client, &[version])?;
            ensure!(status == expected, "{model} {version}: {status}");
        }
    }
    let load = ("POST", "/v2/repository/models/secret/load");
    for (client, expected) in [(&acme, "403"), (&deployer, "200")] {
        let status = server.status(load, Some(client), &[])?;
        ensure!(status == expected, "{status}");
    }
    Ok(())
}

#[test]
fn a_key_decides_and_must_not_be_that_of_another_tenant_than_the_certificate() -> Result<()> {
    let server = Server::start()?;
    let acme = server
        .authority
        .issue("acme", "/CN=a", "URI:spiffe://example.org/acme")?;
    let machine = server
        .authority
        .issue("machine", "/CN=m", "DNS:node-1.example")?;
    server.name("acme", "uri:spiffe://example.org/acme", Role::Infer)?;
    let load = ("POST", "/v2/repository/models/secret/load");
    let (own, foreign) = (bearer(&server.acme), bearer(&server.other));
    let wrong = bearer("wrong");
    for (client, key, expected) in [
        (Some(&acme), &own, "200"),
        (Some(&machine), &own, "200"),
        (None, &own, "200"),
        (Some(&acme), &foreign, "401"),
        (Some(&acme), &wrong, "401"),
    ] {
        let status = server.status(load, client, &["--header", key])?;
        ensure!(status == expected, "{key}: {status}, expected {expected}");
    }
    Ok(())
}

#[test]
fn a_header_that_describes_a_certificate_identifies_nobody() -> Result<()> {
    let server = Server::start()?;
    server.name("acme", "uri:spiffe://example.org/acme", Role::Deploy)?;
    server.name("acme", "dn:CN=acme", Role::Deploy)?;
    for header in [
        "x-forwarded-client-cert: Hash=00;Subject=\"CN=acme\";URI=spiffe://example.org/acme",
        "x-ssl-client-s-dn: CN=acme",
        "x-client-dn: CN=acme",
        "ssl-client-subject-dn: CN=acme",
        "client-cert: :AAAA:",
        "wisp-forwarded-role: deploy",
    ] {
        let status = server.status(("GET", "/v2/models/secret"), None, &["--header", header])?;
        ensure!(status == "401", "{header}: {status}");
    }
    Ok(())
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_the_handshake() -> Result<()> {
    let server = Server::start()?;
    server.name("acme", "uri:spiffe://example.org/acme", Role::Deploy)?;
    // With the same names, also that of the authority.
    let foreign = Authority::new()?;
    let client = foreign.issue("acme", "/CN=a", "URI:spiffe://example.org/acme")?;
    let key = bearer(&server.acme);
    for arguments in [&[][..], &["--header", &key], &["--tls-max", "1.2"]] {
        let status = server.status(("GET", "/v2/health/live"), Some(&client), arguments)?;
        ensure!(status == "000", "{arguments:?}: {status}");
    }
    ensure!(server.see("shared", None)? == "401");
    Ok(())
}

#[test]
fn the_subject_that_openssl_prints_is_the_name_of_the_certificate() -> Result<()> {
    let server = Server::start()?;
    for (number, subject) in [
        "/CN=acme",
        "/C=DE/O=A, B \\+ \"C\" <d>; e\\\\f/CN=#acm\u{e9} ",
        "/DC=example/OU= x/UID=1/serialNumber=5/street=s/emailAddress=a@example.org",
    ]
    .into_iter()
    .enumerate()
    {
        let client = server
            .authority
            .issue(&format!("client-{number}"), subject, "")?;
        let file = client.certificate.to_str().context("not Unicode")?;
        let printed = openssl(
            server.authority.path(),
            &[
                "x509",
                "-noout",
                "-subject",
                "-nameopt",
                "RFC2253,utf8,-esc_msb",
                "-in",
                file,
            ],
        )?;
        let printed = printed.strip_prefix("subject=").context("no subject")?;
        let printed = printed.trim_end_matches('\n');
        ensure!(server.see("secret", Some(&client))? == "401", "{subject}");
        server.name("acme", &format!("dn:{printed}"), Role::Infer)?;
        ensure!(server.see("secret", Some(&client))? == "200", "{printed}");
    }
    // A value that looks like two parts is one.
    let forged = server.authority.issue("forged", "/CN=acme,O=Example", "")?;
    server.name("acme", "dn:CN=acme,O=Example", Role::Infer)?;
    ensure!(server.see("secret", Some(&forged))? == "401");
    Ok(())
}

/// A connection that OpenSSL keeps open. Ended on drop.
struct OpenConnection {
    process: Child,
    responses: BufReader<ChildStdout>,
}

impl OpenConnection {
    fn open(server: &Server, client: &ClientFiles) -> Result<OpenConnection> {
        let port = server.tenants.server.address().port();
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-quiet", "-servername", "localhost"])
            .args(["-connect", &format!("127.0.0.1:{port}"), "-CAfile"])
            .arg(server.certificate.authority())
            .arg("-cert")
            .arg(&client.certificate)
            .arg("-key")
            .arg(&client.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn()?;
        let output = process.stdout.take().context("no output")?;
        Ok(OpenConnection {
            process,
            responses: BufReader::new(output),
        })
    }

    /// Sends a request and returns the first line of the response.
    fn get(&mut self, path: &str) -> Result<String> {
        let input = self.process.stdin.as_mut().context("no input")?;
        write!(input, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        input.flush()?;
        let (mut status, mut length) = (String::new(), 0);
        self.responses.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.responses.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.responses.read_exact(&mut body)?;
        Ok(status.trim_end().to_owned())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_open_connection_is_refused_once_its_name_is_removed() -> Result<()> {
    let server = Server::start()?;
    let name = "dns:client.acme.example";
    let client = server
        .authority
        .issue("acme", "/CN=a", "DNS:client.acme.example")?;
    let mut connection = OpenConnection::open(&server, &client)?;
    let path = "/v2/models/secret";
    for _ in 0..2 {
        let status = connection.get(path)?;
        ensure!(status == "HTTP/1.1 401 Unauthorized", "{status}");
        server.name("acme", name, Role::Infer)?;
        for _ in 0..2 {
            let status = connection.get(path)?;
            ensure!(status == "HTTP/1.1 200 OK", "{status}");
        }
        server.unname("acme", name)?;
    }
    let status = connection.get(path)?;
    ensure!(status == "HTTP/1.1 401 Unauthorized", "{status}");
    Ok(())
}

#[test]
fn python_clients_are_identified_by_their_certificates_over_http_and_grpc() -> Result<()> {
    let server = Server::start()?;
    let client = server
        .authority
        .issue("acme", "/CN=a", "URI:spiffe://example.org/acme")?;
    server.name("acme", "uri:spiffe://example.org/acme", Role::Infer)?;
    let ports = [
        server.tenants.server.address().port().to_string(),
        server.tenants.server.grpc_address().port().to_string(),
    ];
    let authority = server.certificate.authority();
    let files = [&authority, &client.certificate, &client.key];
    let mut arguments: Vec<&str> = ports.iter().map(String::as_str).collect();
    for file in files {
        arguments.push(file.to_str().context("not Unicode")?);
    }
    python::run("mtls_clients.py", &arguments)?;
    Ok(())
}
