//! API keys: a public id, by which a key is found, and a secret of 256 random bits, of which only a hash is stored.
//!
//! The secret is random, so one round of a fast hash suffices: there is no word list to try, and a slow hash would let
//! anybody keep the processors busy with wrong keys. Hashes are compared in constant time by blake3 itself.
//!
//! Invariant: a secret is in memory only while a key is made or presented, and in no message, log or `Debug` text.

use std::fmt;
use std::io;
use std::str::FromStr;

/// The beginning of every key, by which scanners find keys in places where they should not be.
const PREFIX: &str = "wisp_";

/// The purpose of the hash, so that it is no other hash of the same bytes.
const CONTEXT: &str = "wisp 2026 hash of the secret of a tenant's key";

/// The random bytes of an id. It need not be secret, only unique.
const ID_BYTES: usize = 8;

/// The random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The public part of a key, which identifies it in files, lists and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

/// The hash of a secret, which is stored in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(blake3::Hash);

/// A complete key as its owner has it.
#[derive(Clone)]
pub struct ApiKey {
    id: KeyId,
    secret: [u8; SECRET_BYTES],
}

/// The error for a text that does not have the form of a key or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a key of the form `{PREFIX}<id>_<secret>`")]
pub struct KeyFormError;

// === impl KeyId ===

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyId {
    type Err = KeyFormError;

    fn from_str(text: &str) -> Result<KeyId, KeyFormError> {
        from_hex(text).map(KeyId)
    }
}

// === impl SecretHash ===

impl SecretHash {
    /// Returns a hash that no secret has, for comparisons whose result is known beforehand.
    pub(crate) fn of_nothing() -> SecretHash {
        SecretHash(blake3::Hash::from_bytes([0; blake3::OUT_LEN]))
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl FromStr for SecretHash {
    type Err = KeyFormError;

    fn from_str(text: &str) -> Result<SecretHash, KeyFormError> {
        let hash = from_hex::<{ blake3::OUT_LEN }>(text)?;
        Ok(SecretHash(blake3::Hash::from_bytes(hash)))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

// === impl ApiKey ===

impl ApiKey {
    /// Returns a new key of random bytes.
    pub fn random() -> io::Result<ApiKey> {
        let mut id = [0; ID_BYTES];
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        Ok(ApiKey {
            id: KeyId(id),
            secret,
        })
    }

    /// Returns a key that nobody has, for comparisons whose result is known beforehand.
    pub(crate) fn of_nobody() -> ApiKey {
        ApiKey {
            id: KeyId([0; ID_BYTES]),
            secret: [0; SECRET_BYTES],
        }
    }

    /// Returns the public part of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the hash of the secret.
    pub fn hash(&self) -> SecretHash {
        let hash = blake3::derive_key(CONTEXT, &self.secret);
        SecretHash(blake3::Hash::from_bytes(hash))
    }

    /// Returns the key as its owner sends it. This is the only way to its secret.
    pub fn reveal(&self) -> String {
        let mut text = format!("{PREFIX}{}_", self.id);
        for byte in self.secret {
            text += &format!("{byte:02x}");
        }
        text
    }
}

impl FromStr for ApiKey {
    type Err = KeyFormError;

    fn from_str(text: &str) -> Result<ApiKey, KeyFormError> {
        let parts = text.strip_prefix(PREFIX).ok_or(KeyFormError)?;
        let (id, secret) = parts.split_once('_').ok_or(KeyFormError)?;
        Ok(ApiKey {
            id: id.parse()?,
            secret: from_hex(secret)?,
        })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Decodes exactly `N` bytes from lower-case hexadecimal digits.
fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], KeyFormError> {
    let digits = text.as_bytes();
    if digits.len() != N.saturating_mul(2) {
        return Err(KeyFormError);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else {
            return Err(KeyFormError);
        };
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Ok(bytes)
}

/// Returns the value of a lower-case hexadecimal digit, so that a key has one form only.
fn digit(character: u8) -> Result<u8, KeyFormError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(KeyFormError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text() -> anyhow::Result<()> {
        let key = ApiKey::random()?;
        let text = key.reveal();
        assert_eq!(text.len(), PREFIX.len() + 16 + 1 + 64);
        let read: ApiKey = text.parse()?;
        assert_eq!(read.id(), key.id());
        assert!(read.hash() == key.hash());
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        assert!(key.hash().to_string().parse::<SecretHash>()? == key.hash());
        Ok(())
    }

    #[test]
    fn two_keys_have_nothing_in_common() -> anyhow::Result<()> {
        let (one, other) = (ApiKey::random()?, ApiKey::random()?);
        assert_ne!(one.id(), other.id());
        assert!(one.hash() != other.hash());
        assert!(one.hash() != SecretHash::of_nothing());
        Ok(())
    }

    #[test]
    fn the_secret_is_in_no_debug_text() -> anyhow::Result<()> {
        let key = ApiKey::random()?;
        let revealed = key.reveal();
        let secret = revealed.rsplit('_').next().unwrap_or_default();
        let shown = format!("{key:?} {:?}", key.hash());
        assert!(!shown.contains(secret), "{shown}");
        assert!(!shown.contains(&key.hash().to_string()), "{shown}");
        Ok(())
    }

    #[test]
    fn any_other_text_is_no_key() -> anyhow::Result<()> {
        let text = ApiKey::random()?.reveal();
        let (shorter, upper) = (&text[..text.len() - 1], text.to_uppercase());
        let long = format!("{text}0");
        for other in [
            "",
            "wisp_",
            "wisp__",
            "wisp_é_é",
            shorter,
            upper.as_str(),
            long.as_str(),
            &text.replacen('_', "-", 1),
            &text.replace("wisp", "wasp"),
        ] {
            assert!(other.parse::<ApiKey>().is_err(), "{other:?}");
        }
        Ok(())
    }
}
