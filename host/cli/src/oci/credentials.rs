//! The credentials for a registry: from the command line, as Docker has stored them, or none.
//!
//! A password is held here and in the client, and appears in no message.

use super::docker_config::{self, DockerConfig, StoredCredentials};
use crate::display;
use crate::failure::bad_configuration;
use crate::options::RegistryAccessArgs;
use anyhow::Context;
use oci_client::secrets::RegistryAuth;
use std::io::Read;

/// The environment variable with the password for `--username`.
const PASSWORD_VARIABLE: &str = "WISP_REGISTRY_PASSWORD";

/// The maximum size of a password, larger than any token.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

/// The credentials, and their origin for the message of a registry that refuses them.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) auth: RegistryAuth,
    pub(super) origin: String,
}

impl Credentials {
    /// Returns the credentials for the registry at this host and port.
    pub(super) fn find(access: &RegistryAccessArgs, registry: &str) -> anyhow::Result<Credentials> {
        let username = access.username.clone().filter(|name| !name.is_empty());
        if let Some(username) = username {
            let password = match access.password_stdin {
                true => password_from_input(&mut std::io::stdin().lock())?,
                false => password_from_environment()?,
            };
            return Ok(Credentials {
                origin: format!("the password of `{username}`"),
                auth: RegistryAuth::Basic(username, password),
            });
        }
        match docker_config::path() {
            Some(path) => {
                let shown = display::path(&path);
                let stored = DockerConfig::read(&path)
                    .and_then(|config| config.credentials(registry))
                    .map_err(|error| bad_configuration(error.to_string()))
                    .context("failed to read the credentials that Docker has stored")?;
                Ok(Credentials::stored(stored, &shown))
            }
            None => Ok(Credentials::anonymous("no credentials")),
        }
    }

    /// Returns the credentials for an entry of the configuration at `path`.
    fn stored(stored: StoredCredentials, path: &str) -> Credentials {
        match stored {
            StoredCredentials::Found(auth) => Credentials {
                auth,
                origin: format!("the credentials in `{path}`"),
            },
            StoredCredentials::InHelper(helper) => Credentials::anonymous(format!(
                "no credentials: `{path}` names the credential helper `{helper}`, which wisp does not run; \
                 use --username"
            )),
            StoredCredentials::IdentityToken => Credentials::anonymous(format!(
                "no credentials: `{path}` has an identity token, which wisp does not exchange; use --username"
            )),
            StoredCredentials::Absent => Credentials::anonymous(format!(
                "no credentials: `{path}` has none; use --username, or sign in with `docker login`"
            )),
        }
    }

    fn anonymous(origin: impl Into<String>) -> Credentials {
        Credentials {
            auth: RegistryAuth::Anonymous,
            origin: origin.into(),
        }
    }
}

fn password_from_environment() -> anyhow::Result<String> {
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) if !password.is_empty() => Ok(password),
        Ok(_) | Err(std::env::VarError::NotPresent) => Err(bad_configuration(format!(
            "--username needs a password: set {PASSWORD_VARIABLE}, or pass it with --password-stdin"
        ))),
        Err(std::env::VarError::NotUnicode(_)) => Err(bad_configuration(format!(
            "{PASSWORD_VARIABLE} is not UTF-8"
        ))),
    }
}

/// Reads a password up to the end of the input. A newline at the end, as `echo` writes it, is no part of it.
fn password_from_input(input: &mut impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut input = input.take(MAX_PASSWORD_BYTES + 1);
    input
        .read_to_end(&mut bytes)
        .context("failed to read the password from standard input")?;
    let is_too_long = bytes.len() > usize::try_from(MAX_PASSWORD_BYTES)?;
    // The error of the conversion contains the bytes.
    let text = String::from_utf8(bytes).ok().filter(|_| !is_too_long);
    let password = text
        .as_deref()
        .map(|text| text.trim_end_matches(['\r', '\n']));
    match password {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(bad_configuration(
            "--password-stdin needs a password as UTF-8 text on standard input",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_before_the_newline_of_echo() -> anyhow::Result<()> {
        for (input, password) in [("secret\n", "secret"), ("a b\r\n", "a b"), ("x", "x")] {
            assert_eq!(password_from_input(&mut input.as_bytes())?, password);
        }
        Ok(())
    }

    #[test]
    fn no_password_is_an_error_that_does_not_show_the_input() {
        let long = vec![b'x'; 65 * 1024];
        for input in [b"".as_slice(), b"\n", b"secret\xff", &long] {
            match password_from_input(&mut &*input) {
                Ok(_) => panic!("accepted"),
                Err(error) => {
                    let text = format!("{error:?}");
                    assert!(text.contains("UTF-8 text"), "{text}");
                    assert!(!text.contains("secret"), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_origin_names_a_helper_and_never_a_secret() {
        let helper = StoredCredentials::InHelper("desktop".to_owned());
        let credentials = Credentials::stored(helper, "config.json");
        assert_eq!(credentials.auth, RegistryAuth::Anonymous);
        assert!(
            credentials.origin.contains("`desktop`"),
            "{}",
            credentials.origin
        );
        let auth = RegistryAuth::Basic("acme".to_owned(), "secret".to_owned());
        let credentials = Credentials::stored(StoredCredentials::Found(auth), "config.json");
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
