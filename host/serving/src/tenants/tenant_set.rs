//! The configured tenants after all checks, and the search for the tenant of a key or of a client certificate.
//!
//! A key is found by its public id, so that no secret is the key of a map, and the hash of its secret is compared in
//! constant time. A key that does not exist costs what a wrong secret costs, and both have the same error.
//!
//! A request may have both a key and a certificate. Then the key decides what it may do, and the certificate must not
//! belong to another tenant: a stolen key is of no use on the connection of another tenant's client.

use crate::tenants::api_key::{ApiKey, KeyId, SecretHash};
use crate::tenants::isolation::Isolation;
use crate::tenants::limits::Limits;
use crate::tenants::records::{
    KeyRecord, MAX_WEIGHT, SubjectRecord, TenantRecord, TenantRecords, check_isolation,
    check_weight, unix_seconds,
};
use crate::tenants::role::Role;
use crate::tenants::signing_key::{SigningKey, SigningRules};
use crate::tenants::subject::Subject;
use crate::tenants::tenant_grant::TenantGrant;
use crate::tenants::tenant_id::TenantId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

/// A tenant: whose models a request finds, and whose limits it counts for. Lifetime: until the tenants change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    /// Its share of the processors relative to the shares of others.
    pub weight: u32,
    pub isolation: Isolation,
    pub limits: Limits,
    /// Its rules for the signatures of its own models.
    pub signatures: SigningRules,
    /// The capabilities of its own models beyond those of every model.
    pub grants: BTreeSet<TenantGrant>,
}

/// All configured tenants. Lifetime: until the tenants change.
#[derive(Debug, Default)]
pub struct TenantSet {
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    keys: HashMap<KeyId, StoredKey>,
    subjects: HashMap<Subject, StoredSubject>,
    anonymous: Option<Arc<Tenant>>,
}

/// A key as the server stores it.
#[derive(Debug)]
struct StoredKey {
    hash: SecretHash,
    tenant: Arc<Tenant>,
    role: Role,
    expires: Option<u64>,
}

/// A name in client certificates as the server stores it.
#[derive(Debug)]
struct StoredSubject {
    tenant: Arc<Tenant>,
    role: Role,
}

/// The proofs of identity that a request presents. Lifetime: one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The key of the request as it was sent.
    pub key: Option<&'a str>,
    /// The names in the certificate of the client, which has proved that it is its own; none of them if the certificate is
    /// not valid any more, and `None` for a client without one.
    pub subjects: Option<&'a [Subject]>,
}

/// The tenant of a request and what the request may do. Only a verified key or certificate makes one, or the lack of
/// tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub tenant: Arc<Tenant>,
    pub role: Role,
    /// The key that was verified; `None` for a certificate alone, and for the anonymous tenant.
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
    #[error("`{name}` in the subjects of tenant `{tenant}` is not a name of a client certificate")]
    Subject { tenant: String, name: String },
    #[error("the certificate name `{0}` is listed twice, in two tenants or in one")]
    SubjectTwice(Subject),
    #[error("signing key {number} of tenant `{tenant}` is not a public key of minisign")]
    SigningKey { tenant: String, number: usize },
    #[error(
        "tenant `local` owns the public models, whose signatures are a setting of the server (--trusted-key)"
    )]
    LocalSignatures,
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
            signatures: SigningRules::default(),
            grants: BTreeSet::new(),
        }
    }

    /// Returns whether the same versions may be loaded for both, with the same capabilities. If not, a version that was
    /// loaded for one of them must not be called for the other.
    pub fn loads_as(&self, other: &Tenant) -> bool {
        self.signatures == other.signatures && self.grants == other.grants
    }
}

// === impl TenantSet ===

impl TenantSet {
    /// Checks the records and returns their tenants.
    pub fn new(records: &TenantRecords) -> Result<TenantSet, RecordError> {
        TenantSet::isolating(records, Isolation::Shared, &BTreeSet::new())
    }

    /// Checks the records and returns their tenants. Those with models of their own, which are in `with_models`, and those
    /// that may deploy some, are isolated at the level of `owners`, unless their records name one.
    pub fn isolating(
        records: &TenantRecords,
        owners: Isolation,
        with_models: &BTreeSet<TenantId>,
    ) -> Result<TenantSet, RecordError> {
        let mut set = TenantSet::default();
        for (name, record) in &records.tenants {
            let id: TenantId = name.parse().map_err(|_| RecordError::Id(name.clone()))?;
            let usual = match with_models.contains(&id) || may_deploy(record) {
                true => owners,
                false => Isolation::Shared,
            };
            set.add(id, record, usual)?;
        }
        Ok(set)
    }

    /// Adds a tenant, whose isolation is the usual one unless its record names one.
    fn add(
        &mut self,
        id: TenantId,
        record: &TenantRecord,
        usual: Isolation,
    ) -> Result<(), RecordError> {
        check_weight(record.weight).map_err(|_| RecordError::Weight(id.to_string()))?;
        let isolation = isolation(&id, record, usual)?;
        let tenant = Arc::new(Tenant {
            id: id.clone(),
            weight: record.weight,
            isolation,
            limits: record.limits,
            signatures: signing_rules(&id, record)?,
            grants: record.grants.clone(),
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
        for SubjectRecord { name, role } in &record.subjects {
            let subject: Subject = name.parse().map_err(|_| RecordError::Subject {
                tenant: id.to_string(),
                name: name.clone(),
            })?;
            let stored = StoredSubject {
                tenant: Arc::clone(&tenant),
                role: *role,
            };
            if self.subjects.insert(subject.clone(), stored).is_some() {
                return Err(RecordError::SubjectTwice(subject));
            }
        }
        self.tenants.insert(id, tenant);
        Ok(())
    }

    /// Returns all tenants by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// Returns the tenant that is identified by what a request presents, which is valid `now`. A request that presents
    /// nothing is one of the anonymous tenant, if there is one; one that presents something invalid never is.
    pub fn identify(
        &self,
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Identity, NotAuthenticated> {
        let Presented { key, subjects } = presented;
        let by_key = key.map(|key| self.of_key(key, now)).transpose()?;
        self.agreed(by_key, subjects)
    }

    /// Returns the identity that a request has `now` whose key was verified before, or that has none, on a connection with
    /// these names in the certificate of the client.
    pub fn renew(
        &self,
        (verified, subjects): (Option<KeyId>, Option<&[Subject]>),
        now: SystemTime,
    ) -> Result<Identity, NotAuthenticated> {
        let by_key = verified.map(|key| {
            let stored = self.keys.get(&key).filter(|stored| stored.is_valid(now));
            stored
                .map(|stored| stored.identity(key))
                .ok_or(NotAuthenticated)
        });
        self.agreed(by_key.transpose()?, subjects)
    }

    fn of_key(&self, presented: &str, now: SystemTime) -> Result<Identity, NotAuthenticated> {
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

    /// Returns the identity of a request whose key has the one in `by_key`, if it has a key, and whose client has these
    /// names, if it has a certificate.
    fn agreed(
        &self,
        by_key: Option<Identity>,
        subjects: Option<&[Subject]>,
    ) -> Result<Identity, NotAuthenticated> {
        let by_certificate = match subjects {
            Some(subjects) => self.of_subjects(subjects)?,
            None => None,
        };
        match (by_key, by_certificate) {
            (Some(key), Some(certificate)) if key.tenant.id != certificate.tenant.id => {
                Err(NotAuthenticated)
            }
            // The certificate of a client may identify a machine, which is not a tenant.
            (Some(key), _) => Ok(key),
            (None, Some(certificate)) => Ok(certificate),
            (None, None) if subjects.is_some() => Err(NotAuthenticated),
            (None, None) => Ok(Identity {
                tenant: self.anonymous.clone().ok_or(NotAuthenticated)?,
                role: Role::Infer,
                key: None,
            }),
        }
    }

    /// Returns the identity of a certificate with these names, if one of them belongs to a tenant: with the strongest role
    /// of its names.
    ///
    /// # Errors
    /// Returns an error if the names belong to several tenants.
    fn of_subjects(&self, subjects: &[Subject]) -> Result<Option<Identity>, NotAuthenticated> {
        let mut found: Option<Identity> = None;
        for stored in subjects.iter().filter_map(|name| self.subjects.get(name)) {
            let role = match &found {
                Some(other) if other.tenant.id != stored.tenant.id => return Err(NotAuthenticated),
                Some(other) => other.role.max(stored.role),
                None => stored.role,
            };
            found = Some(Identity {
                tenant: Arc::clone(&stored.tenant),
                role,
                key: None,
            });
        }
        Ok(found)
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

/// Returns whether a key or a certificate of the tenant may deploy models of its own.
fn may_deploy(record: &TenantRecord) -> bool {
    let keys = record.keys.iter().map(|key| key.role);
    let mut roles = keys.chain(record.subjects.iter().map(|subject| subject.role));
    roles.any(|role| role >= Role::Deploy)
}

/// Returns the isolation that a record names, or the usual one.
fn isolation(
    id: &TenantId,
    record: &TenantRecord,
    usual: Isolation,
) -> Result<Isolation, RecordError> {
    check_isolation(id, record.isolation).map_err(|_| RecordError::LocalIsolation)?;
    match record.isolation {
        Some(level) => Ok(level),
        None if id.is_local() => Ok(Isolation::Shared),
        None => Ok(usual),
    }
}

/// Returns the rules of a tenant for the signatures of its own models.
fn signing_rules(id: &TenantId, record: &TenantRecord) -> Result<SigningRules, RecordError> {
    let mut rules = SigningRules {
        keys: Vec::new(),
        is_required: record.require_signature,
    };
    for (number, key) in record.signing_keys.iter().enumerate() {
        let key = SigningKey::parse(key).map_err(|_| RecordError::SigningKey {
            tenant: id.to_string(),
            number: number.saturating_add(1),
        })?;
        rules.keys.push(key);
    }
    match id.is_local() && !rules.is_empty() {
        true => Err(RecordError::LocalSignatures),
        false => Ok(rules),
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
mod tests;
