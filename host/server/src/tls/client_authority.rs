//! The authorities whose certificates clients may present, and the verification of these certificates.
//!
//! A client need not have a certificate. One that has must prove with its signature that it is its own, and the chain must
//! lead to an authority of the file; else the handshake fails. rustls does both, with webpki.

use super::file_error::{Part, Reason, read, unreadable};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;

/// The authorities of clients, as their file has them. Lifetime: until the file changes.
#[derive(Debug)]
pub(crate) struct ClientAuthority {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthority {
    /// Reads the certificates of the authorities, in PEM.
    pub(super) fn read(
        file: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientAuthority, Reason> {
        let part = Part::ClientAuthority;
        let text = read(part, file)?;
        let damaged = || Reason::Damaged {
            part,
            file: file.to_owned(),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| unreadable(part, file, &error))?;
            roots.add(certificate).map_err(|_| damaged())?;
        }
        if roots.is_empty() {
            return Err(unreadable(part, file, &pem::Error::NoItemsFound));
        }
        let provider = Arc::clone(provider);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = builder.allow_unauthenticated().build();
        Ok(ClientAuthority {
            verifier: verifier.map_err(|_| damaged())?,
        })
    }

    /// Returns the verification for handshakes.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }

    /// Returns whether one of the authorities has issued this chain, which begins with the certificate of a client, and
    /// whether it is valid `now`. The client has proved in its handshake that it has the key.
    pub(crate) fn accepts(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> bool {
        let Some((certificate, intermediates)) = chain.split_first() else {
            return false;
        };
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(since);
        let verified = self
            .verifier
            .verify_client_cert(certificate, intermediates, now);
        if let Err(error) = &verified {
            tracing::debug!(%error, "the certificate of a client is not accepted any more");
        }
        verified.is_ok()
    }
}
