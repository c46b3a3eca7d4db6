//! The name of a tenant: it stands in files, labels of metrics and lines of the log, and so has few characters.

use std::fmt;
use std::str::FromStr;

/// The tenant of everyone on a server without tenants, and the owner of the public models on any server.
const LOCAL: &str = "local";

/// The longest name, as for a label in DNS.
const MAX_BYTES: usize = 63;

/// The name of a tenant: lower-case letters, digits and hyphens, of which the first and the last are no hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

/// The error for a text that is not a name of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the name of a tenant: up to {MAX_BYTES} lower-case letters, digits and hyphens, of which the first and \
     the last are no hyphens"
)]
pub struct TenantIdError;

impl TenantId {
    /// Returns the tenant that owns the public models, and that everyone is as long as no tenant is configured.
    pub fn local() -> TenantId {
        TenantId(LOCAL.to_owned())
    }

    /// Returns whether this is the tenant that owns the public models.
    pub fn is_local(&self) -> bool {
        self.0 == LOCAL
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<TenantId, TenantIdError> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_valid = !text.is_empty()
            && text.len() <= MAX_BYTES
            && text.bytes().all(is_allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_valid {
            true => Ok(TenantId(text.to_owned())),
            false => Err(TenantIdError),
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_of_dns() {
        for name in ["a", "acme", "acme-2", "0", &"a".repeat(63)] {
            assert_eq!(
                name.parse::<TenantId>().map(|id| id.to_string()),
                Ok(name.to_owned())
            );
        }
        for name in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "a/b",
            "..",
            "a b",
            "é",
            "a\0",
            &"a".repeat(64),
        ] {
            assert_eq!(name.parse::<TenantId>(), Err(TenantIdError), "{name:?}");
        }
    }

    #[test]
    fn the_owner_of_the_public_models_has_a_valid_name() {
        assert_eq!(LOCAL.parse::<TenantId>(), Ok(TenantId::local()));
        assert!(TenantId::local().is_local());
    }
}
