//! A certificate as an operator has it, for servers that speak TLS: files in a directory of their own.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wisp_server::tls::TlsFiles;

/// A certificate for this machine, its key, and that of the authority which issued it.
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

    /// Put another in its place, issued by another authority.
    pub(crate) fn renew(&self) -> Result<()> {
        let mut authority = CertificateParams::new(Vec::new())?;
        // By a name of its own: a certificate whose issuer has its own name counts as self-signed.
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

    /// Put something that is none in the certificate's place.
    pub(crate) fn spoil(&self) -> Result<()> {
        self.write(&self.files().certificate, "no certificate")
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.directory.path().join("server.pem"),
            key: self.directory.path().join("server.key"),
        }
    }

    /// What clients have to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// Replaced as a whole, as those do who renew certificates.
    fn write(&self, file: &Path, text: &str) -> Result<()> {
        let new = self.directory.path().join("new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, file)?)
    }
}
