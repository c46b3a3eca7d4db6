//! The settings of TLS: the certificate of the server, and the authorities of clients.

use clap::Args;
use std::path::PathBuf;

/// The certificate and key for TLS, and the authorities of clients. `configuration` checks that the first two are given if
/// any is: clap's `requires` does not count values from the file.
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

    /// Identify tenants by the certificates of clients too, if one of the authorities in this PEM file has issued them. A
    /// client without one needs a key, as without this setting. Requires `--tls-cert` and `--tenants`; `wisp tenant subject`
    /// maps names in certificates to tenants. The file is read again together with `--tls-cert`, and a certificate whose
    /// authority it no longer has identifies no tenant, also on open connections [default: none].
    #[arg(long, value_name = "FILE", env = "WISP_TLS_CLIENT_CA")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Refuse the certificates of clients that their authorities have revoked: a PEM file with a current revocation list (CRL) of
    /// each authority of `--tls-client-ca` that issues them. The file is read again together with `--tls-cert`. A certificate
    /// whose issuer has no list there, or one that has expired, is refused [default: no certificate is checked].
    #[arg(long, value_name = "FILE", env = "WISP_TLS_CLIENT_CRL")]
    pub(crate) tls_client_crl: Option<PathBuf>,
}
