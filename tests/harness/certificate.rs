//! A server certificate in files, as an operator would have it, for servers that use TLS.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wisp_server::tls::TlsFiles;

/// A certificate for this machine with its key, and the certificate of the authority that issued it.
#[derive(Debug)]
pub(crate) struct Certificate {
    directory: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Result<Certificate> {
        let directory = tempfile::tempdir()?;
        let certificate = Certificate { directory };
        certificate.renew()?;
        Ok(certificate)
    }

    /// Replaces the certificate with another one, issued by another authority.
    pub(crate) fn renew(&self) -> Result<()> {
        let mut authority = CertificateParams::new(Vec::new())?;
        // The authority needs a distinct name: a certificate whose issuer has the same name is treated
        // as self-signed.
        let name = "An authority of the tests";
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut server = CertificateParams::new(names)?;
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &authority)?;
        self.write(&self.authority(), &authority.pem())?;
        self.write(&self.files().certificate, &certificate.pem())?;
        self.write(&self.files().key, &key.serialize_pem())
    }

    /// Replaces the certificate with invalid contents.
    pub(crate) fn corrupt(&self) -> Result<()> {
        self.write(&self.files().certificate, "no certificate")
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.directory.path().join("server.pem"),
            key: self.directory.path().join("server.key"),
            client_ca: None,
            client_crl: None,
        }
    }

    /// Returns the path of the certificate that clients must trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// Replaces a file atomically, like tools that renew certificates.
    fn write(&self, file: &Path, text: &str) -> Result<()> {
        let new = self.directory.path().join("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, file)?)
    }
}
