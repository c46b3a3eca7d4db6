//! The tenants as their file has them, and the changes that an operator makes to them.
//!
//! Everything in a record is text or a number and not checked yet; [`crate::tenants::tenant_set`] checks it. A change
//! that needs a key returns it, and its secret is nowhere else. Changes of certificate names and signing keys are in
//! [`crate::tenants::trust_changes`].

use crate::tenants::api_key::{ApiKey, KeyId};
use crate::tenants::isolation::Isolation;
use crate::tenants::limits::{Limits, UnknownLimit};
use crate::tenants::role::Role;
use crate::tenants::subject::Subject;
use crate::tenants::tenant_grant::TenantGrant;
use crate::tenants::tenant_id::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number of keys with the same role that a tenant may have: the current one, and the one that it replaces.
const KEYS_OF_A_ROLE: usize = 2;

/// The content of the file of tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRecords {
    /// Must be in the file, so that a file that was emptied by accident is not one without tenants.
    pub tenants: BTreeMap<String, TenantRecord>,
}

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRecord {
    /// The tenant's share of the processors relative to the shares of others.
    #[serde(default = "one")]
    pub weight: u32,
    /// Set if requests without a key are this tenant's, with the role `infer`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub anonymous: bool,
    /// The level of isolation; `None` for the one that the server gives tenants of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Set if versions of the tenant's own models are loaded only with a valid signature.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_signature: bool,
    /// The public keys of minisign whose signatures are trusted; none for the server's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<String>,
    /// The capabilities that the tenant's own models may have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<TenantGrant>,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// The keys, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyRecord>,
    /// The names in client certificates, in the order in which they were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<SubjectRecord>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    pub id: String,
    /// The hash of the secret, in hexadecimal digits.
    pub hash: String,
    pub role: Role,
    /// The time at which the key was made, in seconds since 1970.
    pub created: u64,
    /// The time from which the key is not valid, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// One name in client certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRecord {
    /// The name with its kind, such as `dns:client.example.org`.
    pub name: String,
    pub role: Role,
}

/// The settings of a tenant that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    pub id: TenantId,
    pub weight: u32,
    pub anonymous: bool,
    /// The level of isolation; `None` for the one that the server gives tenants of this kind.
    pub isolation: Option<Isolation>,
    pub limits: Limits,
    /// The first key of the tenant.
    pub key: NewKey,
}

/// The settings of a key that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewKey {
    pub role: Role,
    /// The time for which the key is valid; `None` without end.
    pub lifetime: Option<Duration>,
}

/// The reason that a change of the tenants is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("tenant `{0}` exists already")]
    Exists(TenantId),
    #[error("there is no tenant `{0}`")]
    Unknown(TenantId),
    #[error("tenant `{tenant}` has no key `{key}`")]
    UnknownKey { tenant: TenantId, key: KeyId },
    #[error("tenant `{0}` is anonymous already, and there can be only one")]
    SecondAnonymous(String),
    #[error("a weight is a number from 1 to {MAX_WEIGHT}")]
    Weight,
    #[error("`local` owns the public models, and so its isolation is `shared`")]
    LocalIsolation,
    #[error("`{subject}` is a name of tenant `{tenant}` already; remove it there first")]
    SubjectExists { tenant: String, subject: Subject },
    #[error("tenant `{tenant}` has no certificate name `{subject}`")]
    UnknownSubject { tenant: TenantId, subject: Subject },
    #[error("tenant `{0}` has this signing key already")]
    SigningKeyExists(TenantId),
    #[error("tenant `{0}` has no such signing key")]
    UnknownSigningKey(TenantId),
    #[error("tenant `{tenant}` has {MAX_SIGNING_KEYS} signing keys already; remove one first")]
    TooManySigningKeys { tenant: TenantId },
    #[error(
        "`local` owns the public models, whose signatures are a setting of the server (--trusted-key)"
    )]
    LocalSignatures,
    #[error("`local` owns the public models, which have the grants of their model.toml")]
    LocalGrants,
    #[error(transparent)]
    Limit(UnknownLimit),
    #[error("the system has no random bytes for a key")]
    Random(#[source] io::Error),
}

/// The largest weight, beyond which shares of others would be too small to compute with.
pub const MAX_WEIGHT: u32 = 1000;

/// The number of signing keys that a tenant may have. A load may try all of them.
pub const MAX_SIGNING_KEYS: usize = 16;

fn one() -> u32 {
    1
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Returns a time in seconds since 1970; a time before has the number 0.
pub fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

// === impl TenantRecords ===

impl TenantRecords {
    /// Adds a tenant and returns its first key.
    pub fn add(&mut self, new: &NewTenant, now: SystemTime) -> Result<ApiKey, ChangeError> {
        let NewTenant {
            id,
            weight,
            anonymous,
            isolation,
            limits,
            key,
        } = new;
        if self.tenants.contains_key(id.as_str()) {
            return Err(ChangeError::Exists(id.clone()));
        }
        check_weight(*weight)?;
        check_isolation(id, *isolation)?;
        self.check_anonymous(id, *anonymous)?;
        let (made, record) = make_key(*key, now)?;
        let tenant = TenantRecord {
            weight: *weight,
            anonymous: *anonymous,
            isolation: *isolation,
            require_signature: false,
            signing_keys: Vec::new(),
            limits: *limits,
            grants: BTreeSet::new(),
            keys: vec![record],
            subjects: Vec::new(),
        };
        self.tenants.insert(id.as_str().to_owned(), tenant);
        Ok(made)
    }

    /// Adds a key to a tenant and returns it. The last key of the same role stays valid for `grace` at most, and earlier
    /// ones are removed.
    pub fn rotate(
        &mut self,
        id: &TenantId,
        (key, grace): (NewKey, Duration),
        now: SystemTime,
    ) -> Result<ApiKey, ChangeError> {
        let tenant = self.tenant(id)?;
        let (made, record) = make_key(key, now)?;
        let end = unix_seconds(now).saturating_add(grace.as_secs());
        let mut of_role = tenant
            .keys
            .iter()
            .filter(|old| old.role == key.role)
            .count();
        tenant.keys.retain(|old| {
            let is_dropped = old.role == key.role && of_role >= KEYS_OF_A_ROLE;
            if is_dropped {
                of_role = of_role.saturating_sub(1);
            }
            !is_dropped
        });
        for old in tenant.keys.iter_mut().filter(|old| old.role == key.role) {
            old.expires = Some(old.expires.map_or(end, |before| before.min(end)));
        }
        tenant.keys.push(record);
        Ok(made)
    }

    /// Removes one key of a tenant.
    pub fn revoke(&mut self, id: &TenantId, key: KeyId) -> Result<(), ChangeError> {
        let tenant = self.tenant(id)?;
        let (before, text) = (tenant.keys.len(), key.to_string());
        tenant.keys.retain(|record| record.id != text);
        match tenant.keys.len() < before {
            true => Ok(()),
            false => Err(ChangeError::UnknownKey {
                tenant: id.clone(),
                key,
            }),
        }
    }

    /// Removes all keys of a tenant, which stays.
    pub fn revoke_all(&mut self, id: &TenantId) -> Result<(), ChangeError> {
        self.tenant(id)?.keys.clear();
        Ok(())
    }

    /// Removes a tenant. The files of its models stay.
    pub fn remove(&mut self, id: &TenantId) -> Result<(), ChangeError> {
        let removed = self.tenants.remove(id.as_str());
        removed
            .map(drop)
            .ok_or_else(|| ChangeError::Unknown(id.clone()))
    }

    /// Returns an error if the tenant would be the second one that is anonymous.
    pub(super) fn check_anonymous(
        &self,
        id: &TenantId,
        anonymous: bool,
    ) -> Result<(), ChangeError> {
        let mut others = self.tenants.iter();
        let other = others.find(|(other, record)| record.anonymous && *other != id.as_str());
        match other {
            Some((other, _)) if anonymous => Err(ChangeError::SecondAnonymous(other.clone())),
            _ => Ok(()),
        }
    }

    pub(super) fn tenant(&mut self, id: &TenantId) -> Result<&mut TenantRecord, ChangeError> {
        let found = self.tenants.get_mut(id.as_str());
        found.ok_or_else(|| ChangeError::Unknown(id.clone()))
    }
}

/// Returns an error unless this is a weight.
pub(super) fn check_weight(weight: u32) -> Result<(), ChangeError> {
    match (1..=MAX_WEIGHT).contains(&weight) {
        true => Ok(()),
        false => Err(ChangeError::Weight),
    }
}

/// Returns an error if the tenant cannot have this level of isolation.
pub(super) fn check_isolation(
    id: &TenantId,
    isolation: Option<Isolation>,
) -> Result<(), ChangeError> {
    match isolation {
        Some(level) if id.is_local() && level > Isolation::Shared => {
            Err(ChangeError::LocalIsolation)
        }
        _ => Ok(()),
    }
}

/// Makes a key and its record.
fn make_key(key: NewKey, now: SystemTime) -> Result<(ApiKey, KeyRecord), ChangeError> {
    let made = ApiKey::random().map_err(ChangeError::Random)?;
    let created = unix_seconds(now);
    let expires = key
        .lifetime
        .map(|lifetime| created.saturating_add(lifetime.as_secs()));
    let record = KeyRecord {
        id: made.id().to_string(),
        hash: made.hash().to_string(),
        role: key.role,
        created,
        expires,
    };
    Ok((made, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFER: NewKey = NewKey {
        role: Role::Infer,
        lifetime: None,
    };

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    fn new(id: &str) -> anyhow::Result<NewTenant> {
        Ok(NewTenant {
            id: id.parse()?,
            weight: 1,
            anonymous: false,
            isolation: None,
            limits: Limits::default(),
            key: INFER,
        })
    }

    #[test]
    fn a_rotation_leaves_the_new_key_and_the_one_that_it_replaces() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        let acme = new("acme")?;
        let first = records.add(&acme, now())?;
        let deploy = NewKey {
            role: Role::Deploy,
            lifetime: None,
        };
        let grace = Duration::from_secs(60);
        let other = records.rotate(&acme.id, (deploy, grace), now())?;
        let second = records.rotate(&acme.id, (INFER, grace), now())?;
        let third = records.rotate(&acme.id, (INFER, grace), now())?;
        let keys = &records.tenants["acme"].keys;
        let found: Vec<(&str, Option<u64>)> = keys
            .iter()
            .map(|key| (key.id.as_str(), key.expires))
            .collect();
        let (other, second) = (other.id().to_string(), second.id().to_string());
        let third = third.id().to_string();
        let expected = [
            (other.as_str(), None),
            (second.as_str(), Some(1060)),
            (third.as_str(), None),
        ];
        assert_eq!(found, expected);
        assert!(!keys.iter().any(|key| key.id == first.id().to_string()));
        Ok(())
    }

    #[test]
    fn a_change_of_something_that_does_not_exist_is_refused() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        let acme = new("acme")?;
        let key = records.add(&acme, now())?;
        let before = records.clone();
        let other: TenantId = "other".parse()?;
        assert!(matches!(
            records.add(&acme, now()),
            Err(ChangeError::Exists(_))
        ));
        assert!(matches!(
            records.revoke(&other, key.id()),
            Err(ChangeError::Unknown(_))
        ));
        let unknown = ApiKey::random()?.id();
        assert!(matches!(
            records.revoke(&acme.id, unknown),
            Err(ChangeError::UnknownKey { .. })
        ));
        assert!(matches!(
            records.remove(&other),
            Err(ChangeError::Unknown(_))
        ));
        let heavy = NewTenant {
            weight: 0,
            ..new("heavy")?
        };
        assert!(matches!(
            records.add(&heavy, now()),
            Err(ChangeError::Weight)
        ));
        assert_eq!(records, before);
        records.revoke(&acme.id, key.id())?;
        assert!(records.tenants["acme"].keys.is_empty());
        records.remove(&acme.id)?;
        assert_eq!(records, TenantRecords::default());
        Ok(())
    }

    #[test]
    fn there_is_at_most_one_anonymous_tenant() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        for (id, is_added) in [("a", true), ("b", false)] {
            let anonymous = NewTenant {
                anonymous: true,
                ..new(id)?
            };
            assert_eq!(records.add(&anonymous, now()).is_ok(), is_added, "{id}");
        }
        Ok(())
    }
}
