//! The changes of what identifies a tenant beside its keys, and of what it trusts: the names in client certificates, and
//! the keys that sign its versions.
//!
//! A name belongs to one tenant at a time, so that a certificate cannot be two tenants.

use crate::tenants::records::{ChangeError, MAX_SIGNING_KEYS, SubjectRecord, TenantRecords};
use crate::tenants::role::Role;
use crate::tenants::signing_key::SigningKey;
use crate::tenants::subject::Subject;
use crate::tenants::tenant_id::TenantId;

impl TenantRecords {
    /// Lets clients whose certificates have this name be the tenant, with this role.
    pub fn add_subject(
        &mut self,
        id: &TenantId,
        subject: &Subject,
        role: Role,
    ) -> Result<(), ChangeError> {
        let mut tenants = self.tenants.iter();
        let owner = tenants.find(|(_, record)| {
            let mut subjects = record.subjects.iter();
            subjects.any(|other| other.name == subject.as_str())
        });
        if let Some((owner, _)) = owner {
            return Err(ChangeError::SubjectExists {
                tenant: owner.clone(),
                subject: subject.clone(),
            });
        }
        self.tenant(id)?.subjects.push(SubjectRecord {
            name: subject.to_string(),
            role,
        });
        Ok(())
    }

    /// Removes a name of a tenant. Clients whose certificates have it are nobody then.
    pub fn remove_subject(&mut self, id: &TenantId, subject: &Subject) -> Result<(), ChangeError> {
        let subjects = &mut self.tenant(id)?.subjects;
        let before = subjects.len();
        subjects.retain(|other| other.name != subject.as_str());
        match subjects.len() < before {
            true => Ok(()),
            false => Err(ChangeError::UnknownSubject {
                tenant: id.clone(),
                subject: subject.clone(),
            }),
        }
    }

    /// Lets this key sign versions of the tenant's own models. From the first one on, the server's keys do not count.
    pub fn add_signing_key(&mut self, id: &TenantId, key: &SigningKey) -> Result<(), ChangeError> {
        if id.is_local() {
            return Err(ChangeError::LocalSignatures);
        }
        let keys = &mut self.tenant(id)?.signing_keys;
        if keys.iter().any(|other| other == key.as_str()) {
            return Err(ChangeError::SigningKeyExists(id.clone()));
        }
        if keys.len() >= MAX_SIGNING_KEYS {
            return Err(ChangeError::TooManySigningKeys { tenant: id.clone() });
        }
        keys.push(key.as_str().to_owned());
        Ok(())
    }

    /// Removes a key that may sign. Without any, the server's keys count again.
    pub fn remove_signing_key(
        &mut self,
        id: &TenantId,
        key: &SigningKey,
    ) -> Result<(), ChangeError> {
        let keys = &mut self.tenant(id)?.signing_keys;
        let before = keys.len();
        keys.retain(|other| other != key.as_str());
        match keys.len() < before {
            true => Ok(()),
            false => Err(ChangeError::UnknownSigningKey(id.clone())),
        }
    }

    /// Sets that versions of the tenant's own models need a signature, or that only the server may require it.
    pub fn require_signature(
        &mut self,
        id: &TenantId,
        is_required: bool,
    ) -> Result<(), ChangeError> {
        if id.is_local() {
            return Err(ChangeError::LocalSignatures);
        }
        self.tenant(id)?.require_signature = is_required;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::limits::Limits;
    use crate::tenants::records::{NewKey, NewTenant};
    use std::time::SystemTime;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn records(ids: &[&str]) -> anyhow::Result<TenantRecords> {
        let mut records = TenantRecords::default();
        for id in ids {
            let new = NewTenant {
                id: id.parse()?,
                weight: 1,
                anonymous: false,
                isolation: None,
                limits: Limits::default(),
                key: NewKey {
                    role: Role::Infer,
                    lifetime: None,
                },
            };
            records.add(&new, SystemTime::now())?;
        }
        Ok(records)
    }

    #[test]
    fn a_name_belongs_to_one_tenant_until_it_is_removed() -> anyhow::Result<()> {
        let mut records = records(&["acme", "other"])?;
        let (acme, other): (TenantId, TenantId) = ("acme".parse()?, "other".parse()?);
        let name: Subject = "dns:client.example.org".parse()?;
        records.add_subject(&acme, &name, Role::Deploy)?;
        for id in [&acme, &other] {
            let refused = records.add_subject(id, &name, Role::Infer);
            assert!(matches!(refused, Err(ChangeError::SubjectExists { .. })));
        }
        assert_eq!(records.tenants["acme"].subjects[0].role, Role::Deploy);
        let refused = records.remove_subject(&other, &name);
        assert!(matches!(refused, Err(ChangeError::UnknownSubject { .. })));
        records.remove_subject(&acme, &name)?;
        records.add_subject(&other, &name, Role::Infer)?;
        assert!(records.tenants["acme"].subjects.is_empty());
        Ok(())
    }

    #[test]
    fn the_public_models_have_no_keys_but_those_of_the_server() -> anyhow::Result<()> {
        let mut records = records(&["acme", "local"])?;
        let (acme, local): (TenantId, TenantId) = ("acme".parse()?, "local".parse()?);
        let key = SigningKey::parse(KEY)?;
        for refused in [
            records.add_signing_key(&local, &key),
            records.require_signature(&local, true),
        ] {
            assert!(matches!(refused, Err(ChangeError::LocalSignatures)));
        }
        records.add_signing_key(&acme, &key)?;
        records.require_signature(&acme, true)?;
        let twice = records.add_signing_key(&acme, &key);
        assert!(matches!(twice, Err(ChangeError::SigningKeyExists(_))));
        assert_eq!(records.tenants["acme"].signing_keys, [KEY]);
        assert!(records.tenants["acme"].require_signature);
        records.remove_signing_key(&acme, &key)?;
        let gone = records.remove_signing_key(&acme, &key);
        assert!(matches!(gone, Err(ChangeError::UnknownSigningKey(_))));
        Ok(())
    }
}
