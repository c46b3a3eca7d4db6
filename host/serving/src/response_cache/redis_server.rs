//! The Redis server that several servers share their responses in: its address, its password and its certificates.
//!
//! This module connects to nothing. Its texts contain neither the password nor the address as it was written, which
//! may contain one.

use redis::{Client, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use std::fmt;

/// The address and credentials of a Redis server. Lifetime: the process.
#[derive(Clone)]
pub struct RedisServer {
    client: Client,
}

/// The settings of a Redis server, as the operator writes them.
#[derive(Default)]
pub struct RedisSettings<'a> {
    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
    pub url: &'a str,
    /// The password, if it is not in the address.
    pub password: Option<&'a str>,
    /// The certificate of the authority that issued the one of the server, in PEM. By default the authorities that
    /// the system trusts.
    pub authority: Option<Vec<u8>>,
}

/// Writes the settings without the address and the password.
impl fmt::Debug for RedisSettings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("has_password", &self.password.is_some())
            .field("has_authority", &self.authority.is_some())
            .finish_non_exhaustive()
    }
}

/// The reason that the settings of a Redis server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisSettingsError {
    #[error(
        "it is not the address of a Redis server: expected redis://HOST:PORT, or rediss://HOST:PORT for TLS"
    )]
    Address,
    #[error("a certificate is of use only with TLS: write the address as rediss://HOST:PORT")]
    AuthorityWithoutTls,
    #[error("it contains no certificate in PEM that can be used: {0}")]
    Authority(String),
}

impl RedisServer {
    /// Returns the server with these settings.
    pub fn new(settings: RedisSettings<'_>) -> Result<RedisServer, RedisSettingsError> {
        let RedisSettings {
            url,
            password,
            authority,
        } = settings;
        let is_encrypted = url.starts_with("rediss://");
        if !is_encrypted && !url.starts_with("redis://") {
            return Err(RedisSettingsError::Address);
        }
        let connection: ConnectionInfo = url
            .into_connection_info()
            .map_err(|_| RedisSettingsError::Address)?;
        let connection = match password {
            Some(password) => {
                let settings = connection.redis_settings().clone();
                connection.set_redis_settings(settings.set_password(password))
            }
            None => connection,
        };
        let client = match authority {
            Some(_) if !is_encrypted => return Err(RedisSettingsError::AuthorityWithoutTls),
            Some(authority) => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(authority),
                };
                Client::build_with_tls(connection, certificates)
                    .map_err(|error| RedisSettingsError::Authority(error.to_string()))?
            }
            None => Client::open(connection).map_err(|_| RedisSettingsError::Address)?,
        };
        Ok(RedisServer { client })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// Writes the host and the port.
impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.get_connection_info().addr().fmt(f)
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisServer({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<RedisServer, RedisSettingsError> {
        RedisServer::new(RedisSettings {
            url,
            ..RedisSettings::default()
        })
    }

    #[test]
    fn only_the_host_and_the_port_are_shown() -> anyhow::Result<()> {
        let server = of("redis://user:secret@cache.example:6380/2")?;
        assert_eq!(server.to_string(), "cache.example:6380");
        assert_eq!(format!("{server:?}"), "RedisServer(cache.example:6380)");
        let settings = RedisSettings {
            url: "redis://:secret@cache.example",
            password: Some("secret"),
            authority: None,
        };
        assert!(!format!("{settings:?}").contains("secret"));
        Ok(())
    }

    #[test]
    fn the_password_may_come_from_elsewhere() -> anyhow::Result<()> {
        let server = RedisServer::new(RedisSettings {
            url: "redis://user@cache.example",
            password: Some("secret"),
            authority: None,
        })?;
        let settings = server.client().get_connection_info().redis_settings();
        assert_eq!(settings.username(), Some("user"));
        assert_eq!(settings.password(), Some("secret"));
        Ok(())
    }

    #[test]
    fn an_invalid_address_is_refused_without_quoting_it() {
        for url in [
            "",
            "cache.example",
            "http://:secret@h",
            "redis://h/x",
            "rediss://h:x",
        ] {
            let refused = of(url).err();
            assert_eq!(refused, Some(RedisSettingsError::Address), "{url}");
        }
    }

    #[test]
    fn a_certificate_is_checked_at_once() {
        let with = |url, authority: &str| {
            let refused = RedisServer::new(RedisSettings {
                url,
                password: None,
                authority: Some(authority.as_bytes().to_vec()),
            });
            refused.err()
        };
        let plain = with("redis://h", "anything");
        assert_eq!(plain, Some(RedisSettingsError::AuthorityWithoutTls));
    }
}
