//! The certificate of a client, with which it has identified itself in the handshake of its connection.
//!
//! A connection may be open for longer than its certificate is valid. Each request therefore asks again: for the end of the
//! certificate, and whether the authorities that are configured now would accept it. The latter is computed once for each
//! connection and each change of their file. A resumed session passes the same way.
//!
//! The certificate travels in the extensions of a request, which no client can write. Headers in which proxies name
//! certificates mean nothing here.

mod certificate_names;

use self::certificate_names::CertificateNames;
use crate::tls::{ClientAuthority, Tls};
use http::request::Parts;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio_rustls::rustls::pki_types::CertificateDer;
use wisp_serving::tenants::records::unix_seconds;
use wisp_serving::tenants::subject::Subject;

/// The certificate of the client of a connection. Lifetime: a connection.
#[derive(Debug)]
pub(crate) struct PeerCertificate {
    /// The certificate, and the intermediate ones that the client has sent.
    chain: Vec<CertificateDer<'static>>,
    names: CertificateNames,
    tls: Arc<Tls>,
    /// The authorities that were asked last, and whether they accept the chain.
    judged: Mutex<Option<(Arc<ClientAuthority>, bool)>>,
}

impl PeerCertificate {
    /// Returns the certificate of a client that has presented this chain in its handshake.
    pub(crate) fn new(chain: &[CertificateDer<'static>], tls: Arc<Tls>) -> PeerCertificate {
        let names = chain.first().map(|first| CertificateNames::read(first));
        PeerCertificate {
            chain: chain.to_vec(),
            names: names.unwrap_or_default(),
            tls,
            judged: Mutex::default(),
        }
    }

    /// Returns the certificate of the client that has sent a request with this head, if it has one.
    pub(crate) fn of(head: &Parts) -> Option<&Arc<PeerCertificate>> {
        head.extensions.get::<Arc<PeerCertificate>>()
    }

    /// Returns the names in the certificate, or none if it is not valid `now`.
    pub(crate) fn subjects(&self, now: SystemTime) -> &[Subject] {
        let is_current = unix_seconds(now) <= self.names.last_second;
        match is_current && self.is_accepted(now) {
            true => &self.names.subjects,
            false => &[],
        }
    }

    fn is_accepted(&self, now: SystemTime) -> bool {
        let Some(authority) = self.tls.client_authority() else {
            return false;
        };
        // The value is replaced as a whole, so a poisoned lock guards a consistent one.
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, is_accepted)) = &*judged
            && Arc::ptr_eq(asked, &authority)
        {
            return *is_accepted;
        }
        let is_accepted = authority.accepts(&self.chain, now);
        *judged = Some((authority, is_accepted));
        is_accepted
    }
}

#[cfg(test)]
mod tests;
