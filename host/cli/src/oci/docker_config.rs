//! The credentials that `docker login`, `podman login` and `oras login` store in Docker's config.json.
//!
//! Only credentials in the file itself are used. A credential helper is a separate program, which this
//! module names and never runs. No error repeats a part of the file, since any part may be a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The names of Docker Hub, which stand for each other.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The parts of the file that concern credentials.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DockerConfig {
    auths: BTreeMap<String, AuthEntry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    /// The name and the password with a colon between them, in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<String>,
}

/// The entry of a registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoredCredentials {
    Found(RegistryAuth),
    /// They are in this helper, which is not run.
    InHelper(String),
    /// They are a token that has to be exchanged for another one.
    IdentityToken,
    Absent,
}

/// The reason that the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DockerConfigError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is not a configuration of Docker: line {line}, column {column}", path.display())]
    Parse {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    #[error("`auths.{registry}.auth` is not a name and a password in base64; sign in again")]
    Auth { registry: String },
}

/// Returns the path of the file, which need not exist.
pub(super) fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let directory = match variable("DOCKER_CONFIG") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(variable("HOME")?).join(".docker"),
    };
    Some(directory.join("config.json"))
}

impl DockerConfig {
    /// Reads a file. One that does not exist has no entries.
    pub(super) fn read(path: &Path) -> Result<DockerConfig, DockerConfigError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(DockerConfig::default()),
            Err(source) => {
                let path = path.to_owned();
                return Err(DockerConfigError::Read { path, source });
            }
        };
        // The message of the error may quote a secret.
        serde_json::from_slice(&text).map_err(|error| DockerConfigError::Parse {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// Returns the credentials for the registry at this host and port.
    pub(super) fn credentials(
        &self,
        registry: &str,
    ) -> Result<StoredCredentials, DockerConfigError> {
        let mut helpers = self.helpers.iter();
        if let Some((_, helper)) = helpers.find(|(key, _)| is_of(key, registry)) {
            return Ok(StoredCredentials::InHelper(helper.clone()));
        }
        let mut entries = self.auths.iter().filter(|(key, _)| is_of(key, registry));
        let entry = entries.find_map(|(key, entry)| entry.credentials(key).transpose());
        match (entry.transpose()?, &self.store) {
            (Some(found), _) => Ok(found),
            (None, Some(helper)) => Ok(StoredCredentials::InHelper(helper.clone())),
            (None, None) => Ok(StoredCredentials::Absent),
        }
    }
}

impl AuthEntry {
    /// Returns the credentials of the entry with this key. With a credential store, entries are empty.
    fn credentials(&self, key: &str) -> Result<Option<StoredCredentials>, DockerConfigError> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = set(&self.registry_token) {
            return Ok(Some(StoredCredentials::Found(RegistryAuth::Bearer(token))));
        }
        if set(&self.identity_token).is_some() {
            return Ok(Some(StoredCredentials::IdentityToken));
        }
        let pair = match (set(&self.auth), set(&self.username), set(&self.password)) {
            (Some(auth), _, _) => decode(&auth).ok_or_else(|| DockerConfigError::Auth {
                registry: key.to_owned(),
            })?,
            (None, Some(username), Some(password)) => (username, password),
            _ => return Ok(None),
        };
        Ok(Some(StoredCredentials::Found(RegistryAuth::Basic(
            pair.0, pair.1,
        ))))
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (username, password) = text.split_once(':')?;
    // Old releases of Docker pad the password with zeros.
    Some((
        username.to_owned(),
        password.trim_end_matches('\0').to_owned(),
    ))
}

/// Returns whether the key of an entry, which may be a URL, belongs to the registry.
fn is_of(key: &str, registry: &str) -> bool {
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    let is_hub = |name: &str| DOCKER_HUB.contains(&name);
    host == registry || (is_hub(host) && is_hub(registry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, Result};

    fn config(text: &str) -> Result<DockerConfig> {
        Ok(serde_json::from_str(text)?)
    }

    fn basic(username: &str, password: &str) -> StoredCredentials {
        StoredCredentials::Found(RegistryAuth::Basic(
            username.to_owned(),
            password.to_owned(),
        ))
    }

    #[test]
    fn entries_are_found_by_host_and_port_and_by_url() -> Result<()> {
        let config = config(
            r#"{"auths": {
                "ghcr.io": {"auth": "YWNtZTpzM2NyZXQ6eA=="},
                "https://index.docker.io/v1/": {"username": "hub", "password": "secret"},
                "localhost:5000": {"registrytoken": "token"},
                "azure.example.com": {"auth": "", "identitytoken": "refresh"}
            }, "HttpHeaders": {"x": "y"}}"#,
        )?;
        assert_eq!(config.credentials("ghcr.io")?, basic("acme", "s3cret:x"));
        assert_eq!(
            config.credentials("index.docker.io")?,
            basic("hub", "secret")
        );
        assert_eq!(
            config.credentials("localhost:5000")?,
            StoredCredentials::Found(RegistryAuth::Bearer("token".to_owned()))
        );
        assert_eq!(
            config.credentials("azure.example.com")?,
            StoredCredentials::IdentityToken
        );
        assert_eq!(
            config.credentials("localhost:5001")?,
            StoredCredentials::Absent
        );
        Ok(())
    }

    #[test]
    fn helpers_are_named_where_the_file_has_no_credentials() -> Result<()> {
        let config = config(
            r#"{"auths": {"ghcr.io": {}, "a.example.com": {"auth": "YTpi"}},
                "credHelpers": {"1.dkr.ecr.example.com": "ecr-login"}, "credsStore": "desktop"}"#,
        )?;
        for (registry, helper) in [
            ("ghcr.io", "desktop"),
            ("1.dkr.ecr.example.com", "ecr-login"),
        ] {
            assert_eq!(
                config.credentials(registry)?,
                StoredCredentials::InHelper(helper.to_owned())
            );
        }
        assert_eq!(config.credentials("a.example.com")?, basic("a", "b"));
        Ok(())
    }

    #[test]
    fn no_error_repeats_a_secret() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("config.json");
        std::fs::write(&path, r#"{"auths": {"ghcr.io": "c2VjcmV0"}}"#)?;
        let error = DockerConfig::read(&path).err().context("accepted")?;
        let text = format!("{error} {error:?}");
        assert!(text.contains("line 1"), "{text}");
        assert!(!text.contains("c2VjcmV0"), "{text}");

        let config = config(r#"{"auths": {"ghcr.io": {"auth": "c2VjcmV0"}}}"#)?;
        let error = config.credentials("ghcr.io").err().context("accepted")?;
        let text = format!("{error} {error:?}");
        assert!(text.contains("auths.ghcr.io.auth"), "{text}");
        assert!(!text.contains("c2VjcmV0"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        Ok(())
    }

    #[test]
    fn a_missing_file_has_no_entries() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let config = DockerConfig::read(&directory.path().join("config.json"))?;
        assert_eq!(config.credentials("ghcr.io")?, StoredCredentials::Absent);
        Ok(())
    }
}
