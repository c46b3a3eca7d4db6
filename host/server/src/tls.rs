//! The certificate of the server: loaded at the start, and reloaded when it has been renewed.
//!
//! A new certificate applies to new connections; open connections keep their session. Renewal tools write
//! two files one after the other, or move a link, and send no notification. The files are therefore checked
//! every few seconds, and files that are still changing are left for the next check. A signal can request a
//! reload at once. The authorities of client certificates, and what they have revoked, are further files
//! that are followed in the same way.
//!
//! Invariant: once loaded, there is always a certificate, since an invalid one changes nothing. No error or
//! log line repeats the content of a file.

mod client_authority;
mod file_error;

pub(crate) use self::client_authority::ClientAuthority;

use self::file_error::{Part, Reason, read, unreadable};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::ResolvesServerCert;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use wisp_serving::file_state::FileState;

/// The interval between checks of the files. Two checks in a row have to agree, so a new certificate is
/// used within twice this time.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// The protocols that clients may negotiate, in the order of the server's preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The paths of the certificate and its key, and of the authorities of clients, all in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's own certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The certificates of the authorities that issue certificates to clients; `None` if clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// The lists of the certificates of clients that these authorities have revoked, if they are checked.
    pub client_crl: Option<PathBuf>,
}

/// The current TLS configuration and the files that it is loaded from. Lifetime: the process.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

/// The state that a reload replaces as a whole, including resumable sessions: a client that resumes a
/// session does not receive a new certificate.
#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// The authorities whose certificates clients may present, if they may.
    clients: Option<Arc<ClientAuthority>>,
    /// The state of the files when they were last read, successfully or not.
    read: FileStates,
}

/// The state of the files, to detect changes; `None` for a file whose metadata cannot be read. Lifetime:
/// one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStates {
    certificate: Option<FileState>,
    key: Option<FileState>,
    client_ca: Option<FileState>,
    client_crl: Option<FileState>,
}

/// The content of the files. Lifetime: a load.
#[derive(Debug)]
struct Content {
    config: ServerConfig,
    clients: Option<ClientAuthority>,
}

/// The error for a certificate or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] Reason);

// === impl TlsFiles ===

impl TlsFiles {
    /// Reads the files and returns the configuration for their content.
    fn read(&self) -> Result<Content, Reason> {
        let provider = Arc::new(ring::default_provider());
        let key = self.certified_key(&provider)?;
        let clients = self.read_clients(&provider)?;
        let certificate: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
        let config = configuration(provider, certificate, clients.as_ref());
        Ok(Content { config, clients })
    }

    /// Reads the authorities of clients, if they may present certificates.
    fn read_clients(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<ClientAuthority>, Reason> {
        let revoked = self.client_crl.as_deref();
        let clients = self.client_ca.as_deref();
        let clients = clients.map(|file| ClientAuthority::read((file, revoked), provider));
        clients.transpose()
    }

    fn certified_key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Reason> {
        let certificates = read(Part::Certificate, &self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
        let chain =
            chain.map_err(|error| unreadable(Part::Certificate, &self.certificate, &error))?;
        if chain.is_empty() {
            let none = pem::Error::NoItemsFound;
            return Err(unreadable(Part::Certificate, &self.certificate, &none));
        }
        let key = read(Part::Key, &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| unreadable(Part::Key, &self.key, &error))?;
        let damaged = |part, file: &Path| Reason::Damaged {
            part,
            file: file.to_owned(),
        };
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|_| damaged(Part::Key, &self.key))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(certified)
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(Reason::Mismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            }),
            // The text of this error refers to the certificate of a peer.
            Err(_) => Err(damaged(Part::Certificate, &self.certificate)),
        }
    }

    fn states(&self) -> FileStates {
        let state = |file: &PathBuf| FileState::of(file).ok();
        FileStates {
            certificate: state(&self.certificate),
            key: state(&self.key),
            client_ca: self.client_ca.as_ref().and_then(state),
            client_crl: self.client_crl.as_ref().and_then(state),
        }
    }
}

// === impl Tls ===

impl Tls {
    /// Loads the files. Blocks until they are read.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        // Taken before the files are read, so that a change in between is detected later.
        let read = files.states();
        let Content { config, clients } = files.read()?;
        let current = Mutex::new(Current {
            config: Arc::new(config),
            clients: clients.map(Arc::new),
            read,
        });
        Ok(Tls { files, current })
    }

    /// Reloads the files: the certificate for new connections, and the authorities of clients for open ones too. An error is
    /// logged, and the current certificate stays in use; so do the authorities, unless they alone can be read.
    pub async fn reload(&self) {
        let files = self.files.clone();
        let read = blocking(move || {
            let (states, outcome) = (files.states(), files.read());
            // The authorities of clients do not depend on the certificate of the server.
            let clients = match &outcome {
                Ok(_) => None,
                Err(_) => {
                    let provider = Arc::new(ring::default_provider());
                    files.read_clients(&provider).ok().flatten()
                }
            };
            (states, outcome, clients)
        })
        .await;
        let Some((states, outcome, clients)) = read else {
            return;
        };
        let mut current = self.current();
        current.read = states;
        match outcome {
            Ok(Content { config, clients }) => {
                current.config = Arc::new(config);
                current.clients = clients.map(Arc::new);
                let file = self.files.certificate.display();
                tracing::info!(%file, "reloaded the certificate for new connections");
            }
            Err(error) => {
                let authorities = match clients {
                    Some(clients) => {
                        // New connections present their certificates to these too.
                        let provider = Arc::clone(current.config.crypto_provider());
                        let certificate = Arc::clone(&current.config.cert_resolver);
                        let config = configuration(provider, certificate, Some(&clients));
                        current.config = Arc::new(config);
                        current.clients = Some(Arc::new(clients));
                        "reloaded"
                    }
                    None => "as before",
                };
                let error: &dyn Error = &error;
                tracing::error!(
                    error,
                    authorities,
                    "failed to reload the certificate; the old one stays in use"
                );
            }
        }
    }

    /// Reloads the files whenever they have changed and are stable again. Never completes.
    pub(crate) async fn follow(self: Arc<Tls>) {
        let mut last = self.current().read;
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let files = self.files.clone();
            let Some(now) = blocking(move || files.states()).await else {
                continue;
            };
            if now == last && now != self.current().read {
                self.reload().await;
            }
            last = now;
        }
    }

    /// Returns the configuration for the next connection.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().config)
    }

    /// Returns the authorities whose certificates clients may present now, if they may.
    pub(crate) fn client_authority(&self) -> Option<Arc<ClientAuthority>> {
        self.current().clients.clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the configuration of connections with this certificate of the server, whose clients may present certificates of
/// these authorities.
fn configuration(
    provider: Arc<CryptoProvider>,
    certificate: Arc<dyn ResolvesServerCert>,
    clients: Option<&ClientAuthority>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has cipher suites for both versions");
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config
}

/// Runs `work`, which accesses files, on a blocking thread. Returns `None` if the runtime shuts down in the
/// meantime or `work` panics.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Some(outcome),
        Err(lost) => {
            if lost.is_panic() {
                tracing::error!(error = %lost, "failed to check the certificate");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
