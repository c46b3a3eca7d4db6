//! The reasons that the signature of a version is not accepted.

use std::io;
use wisp_protocol::upload::{CHECKSUMS_FILE, SIGNATURE_FILE};

/// The reason that the signature of a version is not accepted. The messages are for clients and contain no path of the
/// host.
#[derive(Debug, thiserror::Error)]
pub enum VersionSignatureError {
    #[error(
        "the version is not signed, and signatures are required (--require-signature): it has no \
         {SIGNATURE_FILE}"
    )]
    Unsigned,
    #[error(
        "a single file has no signature, and signatures are required (--require-signature): serve the directory of \
         a model"
    )]
    SingleFile,
    #[error("{file} cannot be read")]
    Read { file: String, source: io::Error },
    #[error("{SIGNATURE_FILE} is not a signature of minisign")]
    Malformed,
    #[error("{SIGNATURE_FILE} was made with a key that is not trusted (--trusted-key)")]
    UnknownKey,
    #[error("{SIGNATURE_FILE} is not a valid signature of {CHECKSUMS_FILE}")]
    Invalid,
    #[error("line {line} of {CHECKSUMS_FILE} is not the digest of a file as sha256sum writes it")]
    Checksums { line: usize },
    #[error("`{file}` is not in the signed {CHECKSUMS_FILE}")]
    NotListed { file: String },
    #[error("`{file}` is in the signed {CHECKSUMS_FILE} and does not exist")]
    Missing { file: String },
    #[error(
        "`{file}` is not the file that was signed: its digest differs from that in {CHECKSUMS_FILE}"
    )]
    Different { file: String },
    #[error("`{file}` has changed while the version was loaded; load it again")]
    Changed { file: String },
    #[error("the version has too many files or folders to be signed")]
    TooManyFiles,
}
