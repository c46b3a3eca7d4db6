//! The errors of files for TLS, and reading such a file.
//!
//! No error repeats the content of a file, which may be a key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::pki_types::pem;

/// The reason that a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
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

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Certificate,
    Key,
    ClientAuthority,
    RevocationList,
}

/// Reads a file.
pub(super) fn read(part: Part, file: &Path) -> Result<Vec<u8>, Reason> {
    std::fs::read(file).map_err(|source| Reason::Read {
        part,
        file: file.to_owned(),
        source,
    })
}

/// Returns the error for a file that is not valid PEM. The original error may contain a line of the file,
/// which for a key without line ends is the key.
pub(super) fn unreadable(part: Part, file: &Path, error: &pem::Error) -> Reason {
    let file = file.to_owned();
    match error {
        pem::Error::NoItemsFound => Reason::Missing { part, file },
        _ => Reason::Damaged { part, file },
    }
}

/// Returns the remedy for a file that cannot be read, if there is one.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; the server's user needs read permission",
        _ => "",
    }
}

// === impl Part ===

impl Part {
    fn noun(self) -> &'static str {
        match self {
            Part::Certificate => "certificate",
            Part::Key => "private key",
            Part::ClientAuthority => "certificate of an authority of clients",
            Part::RevocationList => "revocation list of an authority of clients",
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
            Part::ClientAuthority => {
                "it must contain the certificates of authorities (`-----BEGIN CERTIFICATE-----`)"
            }
            Part::RevocationList => {
                "it must contain the lists of the authorities of clients (`-----BEGIN X509 CRL-----`)"
            }
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.noun())
    }
}
