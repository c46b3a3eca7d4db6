//! The keys whose signatures a tenant trusts, and its rules for the signatures of its own models.
//!
//! The rules of a tenant take the place of the server's, and never weaken them: once a tenant has a key, only its
//! keys count for its models, and a signature that the server requires stays required.

use crate::registry::version_signature::{SignaturePolicy, TrustedKey, TrustedKeyError};

/// A public key of minisign with the text that it was read from. Lifetime: until the tenants change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    text: String,
    key: TrustedKey,
}

/// The rules of a tenant for the signatures of its own models. Lifetime: until the tenants change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningRules {
    /// The keys that may sign; none for the server's.
    pub keys: Vec<SigningKey>,
    /// Set if versions without a signature are refused, also where the server does not require one.
    pub is_required: bool,
}

impl SigningKey {
    /// Parses a public key: the two lines of the file that minisign writes, or the second of them alone.
    pub fn parse(text: &str) -> Result<SigningKey, TrustedKeyError> {
        TrustedKey::parse(text)?;
        let lines: Vec<&str> = text.trim().lines().collect();
        // The comment of a file is no part of the key.
        let ([line] | [_, line]) = lines[..] else {
            return Err(TrustedKeyError);
        };
        let line = line.trim();
        Ok(SigningKey {
            text: line.to_owned(),
            key: TrustedKey::parse(line)?,
        })
    }

    /// Returns the key as one line of text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl SigningRules {
    /// Returns whether they change nothing.
    pub fn is_empty(&self) -> bool {
        *self == SigningRules::default()
    }

    /// Returns the rules for the tenant's own models on a server with the rules `server`.
    pub(crate) fn policy(&self, server: &SignaturePolicy) -> SignaturePolicy {
        let own = self.keys.iter().map(|signing| signing.key.clone());
        let trusted_keys = match self.keys.is_empty() {
            true => server.trusted_keys.clone(),
            false => own.collect(),
        };
        SignaturePolicy {
            trusted_keys,
            is_required: self.is_required || server.is_required,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWT/Qw3eROKxbCtt2k6dy/PjviRvwuHJ6l8IanN37K7Dis0Cl6/cip6f";
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_is_read_from_its_file_and_from_its_line() -> anyhow::Result<()> {
        let file = format!("untrusted comment: minisign public key 1\n{OTHER}\n");
        let key = SigningKey::parse(&file)?;
        assert_eq!(key.as_str(), OTHER);
        assert_eq!(SigningKey::parse(key.as_str())?, key);
        for other in ["", "untrusted comment: a\n", "RWQf6LRC", &file.repeat(2)] {
            assert_eq!(SigningKey::parse(other), Err(TrustedKeyError), "{other:?}");
        }
        Ok(())
    }

    #[test]
    fn the_rules_of_a_tenant_replace_the_keys_of_the_server_and_weaken_nothing()
    -> anyhow::Result<()> {
        let own = SigningKey::parse(OTHER)?;
        let of_server = SigningKey::parse(KEY)?;
        let server = |is_required: bool| SignaturePolicy {
            trusted_keys: vec![of_server.key.clone()],
            is_required,
        };
        let none = SigningRules::default();
        assert!(none.is_empty());
        assert_eq!(none.policy(&server(true)), server(true));
        let required = SigningRules {
            keys: Vec::new(),
            is_required: true,
        };
        assert_eq!(required.policy(&server(false)), server(true));
        for is_required in [false, true] {
            let keyed = SigningRules {
                keys: vec![own.clone()],
                is_required: false,
            };
            let policy = keyed.policy(&server(is_required));
            assert_eq!(policy.trusted_keys, std::slice::from_ref(&own.key));
            assert_eq!(policy.is_required, is_required);
        }
        Ok(())
    }
}
