//! The authorities whose certificates clients may present, and the verification of these certificates.
//!
//! A client need not have a certificate. One that has must prove with its signature that it is its own, and the chain must
//! lead to an authority of the file; else the handshake fails. rustls does both, with webpki.
//!
//! With revocation lists, a certificate is accepted only if a current list of its issuer does not have it. An expired list, or
//! an issuer without one, refuses.

use super::file_error::{Part, Reason, read, unreadable};
use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// The authorities of clients, as their file has them. Lifetime: until the file changes.
#[derive(Debug)]
pub(crate) struct ClientAuthority {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthority {
    /// Reads the certificates of the authorities, and their revocation lists if there is a file for these, in PEM.
    pub(super) fn read(
        (file, revoked): (&Path, Option<&Path>),
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientAuthority, Reason> {
        let provider = Arc::clone(provider);
        let roots = Arc::new(read_roots(file)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let mut last = (Part::ClientAuthority, file);
        if let Some(revoked) = revoked {
            builder = builder
                .with_crls(read_lists(revoked)?)
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration();
            last = (Part::RevocationList, revoked);
        }
        let (part, file) = last;
        let built = builder.allow_unauthenticated().build();
        Ok(ClientAuthority {
            verifier: built.map_err(|_| damaged(part, file))?,
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

fn read_roots(file: &Path) -> Result<RootCertStore, Reason> {
    let part = Part::ClientAuthority;
    let text = read(part, file)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unreadable(part, file, &error))?;
        roots.add(certificate).map_err(|_| damaged(part, file))?;
    }
    match roots.is_empty() {
        true => Err(unreadable(part, file, &pem::Error::NoItemsFound)),
        false => Ok(roots),
    }
}

fn read_lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Reason> {
    let part = Part::RevocationList;
    let text = read(part, file)?;
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(&text) {
        lists.push(list.map_err(|error| unreadable(part, file, &error))?);
    }
    // Of several lists of one issuer only the first is consulted.
    lists.sort_by_cached_key(|list| Reverse(last_update(list)));
    // Without one, nothing would be revoked.
    match lists.is_empty() {
        true => Err(unreadable(part, file, &pem::Error::NoItemsFound)),
        false => Ok(lists),
    }
}

/// Returns the time at which a list was issued, in seconds since 1970; `None` for one that cannot be parsed.
fn last_update(list: &CertificateRevocationListDer<'_>) -> Option<i64> {
    let parsed = CertificateRevocationList::from_der(list).ok();
    parsed.map(|(_, list)| list.last_update().timestamp())
}

fn damaged(part: Part, file: &Path) -> Reason {
    Reason::Damaged {
        part,
        file: file.to_owned(),
    }
}
