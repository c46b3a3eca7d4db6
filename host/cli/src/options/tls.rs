//! The settings of `wisp serve` for TLS.

use clap::Args;
use std::path::PathBuf;

/// The certificate and key for TLS. `configuration` checks that both or neither are given: clap's
/// `requires` does not count values from the file.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// Use TLS (1.2 and 1.3) on the ports for HTTP and gRPC, with this certificate: a PEM file that begins with the
    /// server's own certificate, followed by the intermediate ones. Requires `--tls-key`.
    ///
    /// Both files are read again a few seconds after they have changed, and on SIGHUP. Open connections
    /// continue. If the new certificate cannot be used, the reason is logged and the old one stays in
    /// use.
    #[arg(long, value_name = "FILE", env = "WISP_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of `--tls-cert`, in PEM and not encrypted.
    #[arg(long, value_name = "FILE", env = "WISP_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
}
