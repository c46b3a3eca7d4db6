//! The arguments of every command that uses a registry.

use clap::Args;

/// The access to a registry.
#[derive(Debug, Args)]
pub(crate) struct RegistryAccessArgs {
    /// The name with which to sign in to the registry [default: the entry of the registry in Docker's
    /// config.json, or none].
    ///
    /// The password is the value of WISP_REGISTRY_PASSWORD, or comes from --password-stdin.
    #[arg(long, value_name = "NAME", env = "WISP_REGISTRY_USERNAME")]
    pub(crate) username: Option<String>,

    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,

    /// Connect to the registry with HTTP, without TLS [default: true for a registry on the loopback, false for
    /// others].
    #[arg(long, value_name = "BOOL")]
    pub(crate) plain_http: Option<bool>,
}
