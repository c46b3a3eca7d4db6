//! A test certificate in files like an operator's, and clients that trust it.

use crate::tls::{Tls, TlsFiles};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A directory with a self-signed certificate for localhost, and its key.
pub(crate) struct Certificate {
    directory: TempDir,
    /// The certificate that was written last.
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> anyhow::Result<Certificate> {
        let directory = tempfile::tempdir()?;
        let der = write_pair(directory.path())?;
        Ok(Certificate { directory, der })
    }

    /// Replaces the certificate and the key with new ones.
    pub(crate) fn renew(&mut self) -> anyhow::Result<()> {
        self.der = write_pair(self.directory.path())?;
        Ok(())
    }

    /// Replaces the certificate with invalid content.
    pub(crate) fn spoil(&self) -> anyhow::Result<()> {
        write(&self.files().certificate, "no certificate")
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path().join("server.pem"),
            key: self.path().join("server.key"),
            client_ca: None,
            client_crl: None,
        }
    }

    pub(crate) fn load(&self) -> anyhow::Result<Arc<Tls>> {
        Ok(Arc::new(Tls::load(self.files())?))
    }
}

/// Returns a new certificate with its key.
pub(crate) fn pair() -> anyhow::Result<CertifiedKey<KeyPair>> {
    Ok(generate_simple_self_signed(["localhost".to_owned()])?)
}

fn write_pair(directory: &Path) -> anyhow::Result<CertificateDer<'static>> {
    let CertifiedKey { cert, signing_key } = pair()?;
    write(&directory.join("server.pem"), &cert.pem())?;
    write(&directory.join("server.key"), &signing_key.serialize_pem())?;
    Ok(cert.der().clone())
}

/// Replaces the file in the same way as renewal tools, so that its inode changes.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let new: PathBuf = file.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(new, file)?)
}

/// Returns a client configuration that trusts only this certificate.
pub(crate) fn trusting(certificate: &Certificate) -> anyhow::Result<ClientConfig> {
    speaking(certificate, &[&TLS12, &TLS13])
}

/// Returns a client configuration that trusts only this certificate, for these versions of TLS.
pub(crate) fn speaking(
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
