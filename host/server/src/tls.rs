//! The certificate of the server: loaded at the start, and reloaded when it has been renewed.
//!
//! A new certificate applies to new connections; open connections keep their session. Renewal tools write
//! two files one after the other, or move a link, and send no notification. The files are therefore checked
//! every few seconds, and files that are still changing are left for the next check. A signal can request a
//! reload at once.
//!
//! Invariant: once loaded, there is always a certificate, since an invalid one changes nothing. No error or
//! log line repeats the content of a file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use wisp_serving::file_state::FileState;

/// The interval between checks of the files. Two checks in a row have to agree, so a new certificate is
/// used within twice this time.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// The protocols that clients may negotiate, in the order of the server's preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The paths of the certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's own certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    pub key: PathBuf,
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
    /// The state of the files when they were last read, successfully or not.
    read: FileStates,
}

/// The state of both files, to detect changes; `None` for a file whose metadata cannot be read. Lifetime:
/// one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStates {
    certificate: Option<FileState>,
    key: Option<FileState>,
}

/// The error for a certificate or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TlsError(#[from] Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("failed to read {part} `{}`{}", file.display(), hint(source))]
    Read {
        part: Part,
        file: PathBuf,
        source: io::Error,
    },
    #[error("`{}` contains no {} in PEM; {}", file.display(), part.noun(), part.expected())]
    Missing { part: Part, file: PathBuf },
    #[error("{part} `{}` is damaged; {}", file.display(), part.expected())]
    Damaged { part: Part, file: PathBuf },
    #[error(
        "the private key `{}` does not match the first certificate in `{}`",
        key.display(),
        certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

/// One of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Certificate,
    Key,
}

// === impl TlsFiles ===

impl TlsFiles {
    /// Reads the files and returns the configuration for their content.
    fn read(&self) -> Result<ServerConfig, Reason> {
        let provider = Arc::new(ring::default_provider());
        let key = self.certified_key(&provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has cipher suites for both versions");
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
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
        FileStates {
            certificate: FileState::of(&self.certificate).ok(),
            key: FileState::of(&self.key).ok(),
        }
    }
}

fn read(part: Part, file: &Path) -> Result<Vec<u8>, Reason> {
    std::fs::read(file).map_err(|source| Reason::Read {
        part,
        file: file.to_owned(),
        source,
    })
}

/// Returns the error for a file that is not valid PEM. The original error may contain a line of the file,
/// which for a key without line ends is the key.
fn unreadable(part: Part, file: &Path, error: &pem::Error) -> Reason {
    let file = file.to_owned();
    match error {
        pem::Error::NoItemsFound => Reason::Missing { part, file },
        _ => Reason::Damaged { part, file },
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; the server's user needs read permission",
        _ => "",
    }
}

// === impl Tls ===

impl Tls {
    /// Loads both files. Blocks until they are read.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        // Taken before the files are read, so that a change in between is detected later.
        let read = files.states();
        let config = Arc::new(files.read()?);
        let current = Mutex::new(Current { config, read });
        Ok(Tls { files, current })
    }

    /// Reloads both files for new connections. An error is logged, and the current certificate stays in
    /// use.
    pub async fn reload(&self) {
        let files = self.files.clone();
        let read = blocking(move || (files.states(), files.read())).await;
        let Some((states, outcome)) = read else {
            return;
        };
        let mut current = self.current();
        current.read = states;
        match outcome {
            Ok(config) => {
                current.config = Arc::new(config);
                let file = self.files.certificate.display();
                tracing::info!(%file, "reloaded the certificate for new connections");
            }
            Err(error) => {
                let error: &dyn Error = &error;
                tracing::error!(
                    error,
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

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

// === impl Part ===

impl Part {
    fn noun(self) -> &'static str {
        match self {
            Part::Certificate => "certificate",
            Part::Key => "private key",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Part::Certificate => {
                "it must begin with the server's certificate (`-----BEGIN CERTIFICATE-----`)"
            }
            Part::Key => {
                "it must be an unencrypted RSA, ECDSA or Ed25519 key (`-----BEGIN PRIVATE KEY-----`)"
            }
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.noun())
    }
}

#[cfg(test)]
mod tests;
