//! The configured tenants after all checks, and the search for the tenant of a key.
//!
//! A key is found by its public id, so that no secret is the key of a map, and the hash of its secret is compared in
//! constant time. A key that does not exist costs what a wrong secret costs, and both have the same error.

use crate::tenants::api_key::{ApiKey, KeyId, SecretHash};
use crate::tenants::isolation::Isolation;
use crate::tenants::limits::Limits;
use crate::tenants::records::{KeyRecord, MAX_WEIGHT, TenantRecord, TenantRecords, unix_seconds};
use crate::tenants::role::Role;
use crate::tenants::tenant_id::TenantId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// A tenant: whose models a request finds, and whose limits it counts for. Lifetime: until the tenants change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    /// Its share of the processors in relation to those of others.
    pub weight: u32,
    pub isolation: Isolation,
    pub limits: Limits,
}

/// All configured tenants. Lifetime: until the tenants change.
#[derive(Debug, Default)]
pub struct TenantSet {
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    keys: HashMap<KeyId, StoredKey>,
    anonymous: Option<Arc<Tenant>>,
    /// The isolation of tenants with a key that may deploy, unless their records say more.
    deployers: Isolation,
}

/// A key as the server knows it.
#[derive(Debug)]
struct StoredKey {
    hash: SecretHash,
    tenant: Arc<Tenant>,
    role: Role,
    expires: Option<u64>,
}

/// The tenant of a request and what the request may do. Only a verified key makes one, or the lack of tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub tenant: Arc<Tenant>,
    pub role: Role,
    /// The key that was verified; `None` for the anonymous tenant.
    pub key: Option<KeyId>,
}

/// The error for a request without a valid key. It does not contain the reason, which would help to guess keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a valid API key is required: send it as `Authorization: Bearer <key>`")]
pub struct NotAuthenticated;

/// The error in the records of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(
        "`{0}` is not the name of a tenant: use up to 63 lower-case letters, digits and hyphens"
    )]
    Id(String),
    #[error("the weight of tenant `{0}` must be a number from 1 to {MAX_WEIGHT}")]
    Weight(String),
    #[error(
        "key {number} of tenant `{tenant}` has an invalid id or hash: remove it from the file, and add a key with \
         `wisp tenant rotate`"
    )]
    Key { tenant: String, number: usize },
    #[error("two keys have the id `{0}`")]
    KeyTwice(KeyId),
    #[error("tenant `local` owns the public models, and so its isolation is `shared`")]
    LocalIsolation,
    #[error("`{0}` and `{1}` are both anonymous, and only one tenant can be")]
    SecondAnonymous(TenantId, TenantId),
}

// === impl Tenant ===

impl Tenant {
    /// Returns the tenant that everyone is as long as no tenant is configured.
    pub fn local() -> Tenant {
        Tenant {
            id: TenantId::local(),
            weight: 1,
            isolation: Isolation::Shared,
            limits: Limits::default(),
        }
    }
}

// === impl TenantSet ===

impl TenantSet {
    /// Checks the records and returns their tenants.
    pub fn new(records: &TenantRecords) -> Result<TenantSet, RecordError> {
        TenantSet::isolating(records, Isolation::Shared)
    }

    /// Checks the records and returns their tenants. Those with a key that may deploy are isolated at the level of
    /// `deployers`, unless their records name one.
    pub fn isolating(
        records: &TenantRecords,
        deployers: Isolation,
    ) -> Result<TenantSet, RecordError> {
        let mut set = TenantSet {
            deployers,
            ..TenantSet::default()
        };
        for (name, record) in &records.tenants {
            let id: TenantId = name.parse().map_err(|_| RecordError::Id(name.clone()))?;
            set.add(id, record)?;
        }
        Ok(set)
    }

    fn add(&mut self, id: TenantId, record: &TenantRecord) -> Result<(), RecordError> {
        if !(1..=MAX_WEIGHT).contains(&record.weight) {
            return Err(RecordError::Weight(id.to_string()));
        }
        let isolation = self.isolation(&id, record)?;
        let tenant = Arc::new(Tenant {
            id: id.clone(),
            weight: record.weight,
            isolation,
            limits: record.limits,
        });
        if record.anonymous {
            if let Some(other) = &self.anonymous {
                return Err(RecordError::SecondAnonymous(other.id.clone(), id));
            }
            self.anonymous = Some(Arc::clone(&tenant));
        }
        for (number, key) in record.keys.iter().enumerate() {
            let (key, stored) = stored_key(key, &tenant).ok_or_else(|| RecordError::Key {
                tenant: id.to_string(),
                number: number.saturating_add(1),
            })?;
            if self.keys.insert(key, stored).is_some() {
                return Err(RecordError::KeyTwice(key));
            }
        }
        self.tenants.insert(id, tenant);
        Ok(())
    }

    fn isolation(&self, id: &TenantId, record: &TenantRecord) -> Result<Isolation, RecordError> {
        let deploys = record.keys.iter().any(|key| key.role >= Role::Deploy);
        match record.isolation {
            Some(level) if id.is_local() && level > Isolation::Shared => {
                Err(RecordError::LocalIsolation)
            }
            Some(level) => Ok(level),
            None if deploys && !id.is_local() => Ok(self.deployers),
            None => Ok(Isolation::Shared),
        }
    }

    /// Returns all tenants by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// Returns the tenant of the presented key, which is valid `now`. Without a key, this is the anonymous tenant, if
    /// there is one; an invalid key never is.
    pub fn identify(
        &self,
        presented: Option<&str>,
        now: SystemTime,
    ) -> Result<Identity, NotAuthenticated> {
        let Some(presented) = presented else {
            let tenant = self.anonymous.clone().ok_or(NotAuthenticated)?;
            return Ok(Identity {
                tenant,
                role: Role::Infer,
                key: None,
            });
        };
        // Each step is taken for every key, so that the time shows nothing about the reason.
        let key: ApiKey = presented.parse().unwrap_or_else(|_| ApiKey::of_nobody());
        let stored = self.keys.get(&key.id());
        let expected = stored.map_or_else(SecretHash::of_nothing, |stored| stored.hash);
        let is_right = key.hash() == expected;
        match stored {
            Some(stored) if is_right && stored.is_valid(now) => Ok(stored.identity(key.id())),
            _ => Err(NotAuthenticated),
        }
    }

    /// Returns the identity that a request with a key that was verified before has `now`, or one without a key.
    pub fn renew(
        &self,
        verified: Option<KeyId>,
        now: SystemTime,
    ) -> Result<Identity, NotAuthenticated> {
        let Some(key) = verified else {
            return self.identify(None, now);
        };
        let stored = self.keys.get(&key).filter(|stored| stored.is_valid(now));
        stored
            .map(|stored| stored.identity(key))
            .ok_or(NotAuthenticated)
    }
}

impl StoredKey {
    fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|end| unix_seconds(now) < end)
    }

    fn identity(&self, id: KeyId) -> Identity {
        Identity {
            tenant: Arc::clone(&self.tenant),
            role: self.role,
            key: Some(id),
        }
    }
}

/// Returns a key of the records with its id, or `None` if one of them is not valid.
fn stored_key(record: &KeyRecord, tenant: &Arc<Tenant>) -> Option<(KeyId, StoredKey)> {
    let id: KeyId = record.id.parse().ok()?;
    let stored = StoredKey {
        hash: record.hash.parse().ok()?,
        tenant: Arc::clone(tenant),
        role: record.role,
        expires: record.expires,
    };
    Some((id, stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::records::{NewKey, NewTenant};
    use std::time::{Duration, UNIX_EPOCH};

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    fn add(records: &mut TenantRecords, id: &str, key: NewKey) -> anyhow::Result<String> {
        let new = NewTenant {
            id: id.parse()?,
            weight: 1,
            anonymous: id == "guest",
            isolation: None,
            limits: Limits::default(),
            key,
        };
        Ok(records.add(&new, now())?.reveal())
    }

    const KEY: NewKey = NewKey {
        role: Role::Deploy,
        lifetime: Some(Duration::from_secs(10)),
    };

    #[test]
    fn a_key_identifies_its_tenant_until_it_expires() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        let (acme, other) = (
            add(&mut records, "acme", KEY)?,
            add(&mut records, "other", KEY)?,
        );
        let set = TenantSet::new(&records)?;
        for (key, tenant) in [(&acme, "acme"), (&other, "other")] {
            let key = key.as_str();
            let identity = set.identify(Some(key), now())?;
            assert_eq!(identity.tenant.id.as_str(), tenant);
            assert_eq!(identity.role, Role::Deploy);
            let last = now() + Duration::from_secs(9);
            assert!(set.identify(Some(key), last).is_ok());
            let end = now() + Duration::from_secs(10);
            assert_eq!(set.identify(Some(key), end), Err(NotAuthenticated));
        }
        Ok(())
    }

    #[test]
    fn a_verified_key_is_valid_until_it_is_revoked_or_expires() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        let key = add(&mut records, "acme", KEY)?;
        let set = TenantSet::new(&records)?;
        let verified = set.identify(Some(key.as_str()), now())?;
        assert_eq!(set.renew(verified.key, now()), Ok(verified.clone()));
        let end = now() + Duration::from_secs(10);
        assert_eq!(set.renew(verified.key, end), Err(NotAuthenticated));
        assert_eq!(set.renew(None, now()), Err(NotAuthenticated));
        records.revoke_all(&verified.tenant.id)?;
        add(&mut records, "guest", KEY)?;
        let set = TenantSet::new(&records)?;
        assert_eq!(set.renew(verified.key, now()), Err(NotAuthenticated));
        let guest = set.renew(None, now())?;
        assert_eq!((guest.tenant.id.as_str(), guest.key), ("guest", None));
        Ok(())
    }

    #[test]
    fn anything_but_a_whole_valid_key_is_nobodys() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        let (acme, other) = (
            add(&mut records, "acme", KEY)?,
            add(&mut records, "guest", KEY)?,
        );
        let set = TenantSet::new(&records)?;
        let id = |key: &str| key[..key.len() - 64].to_owned();
        let secret = |key: &str| key[key.len() - 64..].to_owned();
        let mut last = acme.clone().into_bytes();
        if let Some(byte) = last.last_mut() {
            *byte = if *byte == b'0' { b'1' } else { b'0' };
        }
        for wrong in [
            String::new(),
            "anonymous".to_owned(),
            id(&acme) + &secret(&other),
            id(&acme) + &"0".repeat(64),
            ApiKey::of_nobody().reveal(),
            ApiKey::random()?.reveal(),
            String::from_utf8(last)?,
            records.tenants["acme"].keys[0].hash.clone(),
        ] {
            let found = set.identify(Some(wrong.as_str()), now());
            assert_eq!(found, Err(NotAuthenticated), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn without_a_key_only_an_anonymous_tenant_may_infer() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        add(&mut records, "acme", KEY)?;
        let closed = TenantSet::new(&records)?;
        assert_eq!(closed.identify(None, now()), Err(NotAuthenticated));
        add(&mut records, "guest", KEY)?;
        let open = TenantSet::new(&records)?;
        let guest = open.identify(None, now())?;
        assert_eq!(
            (guest.tenant.id.as_str(), guest.role),
            ("guest", Role::Infer)
        );
        Ok(())
    }

    #[test]
    fn who_may_deploy_is_isolated_as_the_server_says_unless_its_record_says_more()
    -> anyhow::Result<()> {
        let infer = NewKey {
            role: Role::Infer,
            lifetime: None,
        };
        let mut records = TenantRecords::default();
        for (id, key) in [
            ("deploys", KEY),
            ("named", KEY),
            ("infers", infer),
            ("local", KEY),
        ] {
            add(&mut records, id, key)?;
        }
        if let Some(named) = records.tenants.get_mut("named") {
            named.isolation = Some(Isolation::Cordon);
        }
        let set = TenantSet::isolating(&records, Isolation::Worker)?;
        let levels = set
            .tenants()
            .map(|tenant| (tenant.id.as_str(), tenant.isolation));
        let levels: Vec<(&str, Isolation)> = levels.collect();
        let expected = [
            ("deploys", Isolation::Worker),
            ("infers", Isolation::Shared),
            ("local", Isolation::Shared),
            ("named", Isolation::Cordon),
        ];
        assert_eq!(levels, expected);
        if let Some(local) = records.tenants.get_mut("local") {
            local.isolation = Some(Isolation::Worker);
        }
        let refused = TenantSet::new(&records).err();
        assert_eq!(refused, Some(RecordError::LocalIsolation));
        Ok(())
    }

    #[test]
    fn records_with_an_error_are_no_tenants() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        add(&mut records, "acme", KEY)?;
        let changed = |change: &dyn Fn(&mut TenantRecords)| {
            let mut records = records.clone();
            change(&mut records);
            TenantSet::new(&records).err()
        };
        let acme = || records.tenants["acme"].clone();
        assert!(changed(&|_| ()).is_none());
        let errors = [
            changed(&|records| {
                let record = acme();
                records.tenants.insert("../etc".to_owned(), record);
            }),
            changed(&|records| {
                let record = acme();
                records.tenants.insert("other".to_owned(), record);
            }),
            changed(&|records| {
                let record = TenantRecord {
                    weight: 0,
                    ..acme()
                };
                records.tenants.insert("acme".to_owned(), record);
            }),
            changed(&|records| {
                let mut record = acme();
                record.keys.iter_mut().for_each(|key| key.hash.truncate(9));
                records.tenants.insert("acme".to_owned(), record);
            }),
        ];
        let messages: Vec<String> = errors
            .iter()
            .map(|error| error.as_ref().map_or(String::new(), ToString::to_string))
            .collect();
        for (message, part) in
            messages
                .iter()
                .zip(["../etc", "two keys", "weight", "key 1 of tenant"])
        {
            assert!(message.contains(part), "{messages:?}");
        }
        Ok(())
    }
}
