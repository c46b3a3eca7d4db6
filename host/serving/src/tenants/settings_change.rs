//! The changes of the settings of a tenant. What a change does not name stays as it is.

use crate::tenants::isolation::Isolation;
use crate::tenants::records::{ChangeError, TenantRecords, check_isolation, check_weight};
use crate::tenants::role::Role;
use crate::tenants::signing_key::SigningKey;
use crate::tenants::subject::Subject;
use crate::tenants::tenant_grant::TenantGrant;
use crate::tenants::tenant_id::TenantId;
use std::collections::{BTreeMap, BTreeSet};

/// A change of some settings of a tenant, made as a whole or not at all. `None` changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsChange {
    pub weight: Option<u32>,
    pub anonymous: Option<bool>,
    pub isolation: Option<IsolationChange>,
    /// The new limits by name; `None` for one that does not exist any more.
    pub limits: BTreeMap<String, Option<u64>>,
    /// All grants of the tenant from now on.
    pub grants: Option<BTreeSet<TenantGrant>>,
    pub require_signature: Option<bool>,
    /// All signing keys of the tenant from now on.
    pub signing_keys: Option<Vec<SigningKey>>,
    /// All names of the tenant in client certificates from now on.
    pub subjects: Option<Vec<(Subject, Role)>>,
}

/// A change of the level of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationChange {
    /// To the one that the server gives tenants of this kind.
    Usual,
    To(Isolation),
}

impl SettingsChange {
    /// Returns whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == SettingsChange::default()
    }
}

impl IsolationChange {
    /// Returns the level that the record of the tenant names then, if it names one.
    fn level(self) -> Option<Isolation> {
        match self {
            IsolationChange::Usual => None,
            IsolationChange::To(level) => Some(level),
        }
    }
}

impl TenantRecords {
    /// Changes settings of a tenant. After an error, these records are of no use.
    pub fn set(&mut self, id: &TenantId, change: &SettingsChange) -> Result<(), ChangeError> {
        if let Some(anonymous) = change.anonymous {
            self.check_anonymous(id, anonymous)?;
            self.tenant(id)?.anonymous = anonymous;
        }
        let record = self.tenant(id)?;
        if let Some(weight) = change.weight {
            check_weight(weight)?;
            record.weight = weight;
        }
        if let Some(isolation) = change.isolation {
            let isolation = isolation.level();
            check_isolation(id, isolation)?;
            record.isolation = isolation;
        }
        let limits = record.limits.with(&change.limits);
        record.limits = limits.map_err(ChangeError::Limit)?;
        if let Some(grants) = &change.grants {
            if id.is_local() && !grants.is_empty() {
                return Err(ChangeError::LocalGrants);
            }
            record.grants = grants.clone();
        }
        if let Some(keys) = &change.signing_keys {
            record.signing_keys.clear();
            for key in keys {
                self.add_signing_key(id, key)?;
            }
        }
        if let Some(subjects) = &change.subjects {
            self.tenant(id)?.subjects.clear();
            for (subject, role) in subjects {
                self.add_subject(id, subject, *role)?;
            }
        }
        match change.require_signature {
            Some(is_required) => self.require_signature(id, is_required),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::limits::Limits;
    use crate::tenants::records::{NewKey, NewTenant};
    use std::time::SystemTime;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn records() -> anyhow::Result<TenantRecords> {
        let mut records = TenantRecords::default();
        for id in ["acme", "guest", "local"] {
            let new = NewTenant {
                id: id.parse()?,
                weight: 1,
                anonymous: id == "guest",
                isolation: None,
                limits: Limits {
                    models: Some(3),
                    ..Limits::default()
                },
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
    fn a_change_sets_and_removes_what_it_names_and_leaves_the_rest() -> anyhow::Result<()> {
        let mut records = records()?;
        let before = records.clone();
        let acme: TenantId = "acme".parse()?;
        records.set(&acme, &SettingsChange::default())?;
        assert_eq!(records, before);
        let change = SettingsChange {
            weight: Some(7),
            isolation: Some(IsolationChange::To(Isolation::Cordon)),
            limits: BTreeMap::from([
                ("models".to_owned(), None),
                ("queue".to_owned(), Some(9)),
                ("stored_bytes".to_owned(), None),
            ]),
            grants: Some(BTreeSet::from([TenantGrant::Clock])),
            require_signature: Some(true),
            signing_keys: Some(vec![SigningKey::parse(KEY)?]),
            subjects: Some(vec![("dns:acme.example".parse()?, Role::Deploy)]),
            ..SettingsChange::default()
        };
        records.set(&acme, &change)?;
        let record = &records.tenants["acme"];
        assert_eq!(
            (record.weight, record.isolation),
            (7, Some(Isolation::Cordon))
        );
        let expected = Limits {
            queue: Some(9),
            ..Limits::default()
        };
        assert_eq!(record.limits, expected);
        assert_eq!(record.grants, BTreeSet::from([TenantGrant::Clock]));
        assert_eq!(
            (record.signing_keys.len(), record.require_signature),
            (1, true)
        );
        assert_eq!(record.subjects[0].name, "dns:acme.example");
        assert_eq!(record.keys, before.tenants["acme"].keys);
        // The lists replace those before.
        let none = SettingsChange {
            isolation: Some(IsolationChange::Usual),
            grants: Some(BTreeSet::new()),
            signing_keys: Some(Vec::new()),
            subjects: Some(Vec::new()),
            ..SettingsChange::default()
        };
        records.set(&acme, &none)?;
        let record = &records.tenants["acme"];
        assert_eq!(record.isolation, None);
        assert!(record.grants.is_empty() && record.subjects.is_empty());
        assert!(record.signing_keys.is_empty());
        assert_eq!(records.tenants["guest"], before.tenants["guest"]);
        Ok(())
    }

    #[test]
    fn a_change_has_the_bounds_of_a_new_tenant() -> anyhow::Result<()> {
        let records = records()?;
        let refusals = |new: NewTenant| -> [String; 2] {
            let change = SettingsChange {
                weight: Some(new.weight),
                anonymous: Some(new.anonymous),
                isolation: new.isolation.map(IsolationChange::To),
                ..SettingsChange::default()
            };
            let changed = records.clone().set(&new.id, &change);
            let mut without = records.clone();
            without.tenants.remove(new.id.as_str());
            let added = without.add(&new, SystemTime::now()).map(drop);
            [changed, added].map(|outcome| {
                outcome
                    .err()
                    .map_or(String::new(), |error| error.to_string())
            })
        };
        for (id, weight, anonymous, isolation, is_refused) in [
            ("acme", 1, false, None, false),
            ("acme", 1000, false, Some(Isolation::Worker), false),
            ("acme", 0, false, None, true),
            ("acme", 1001, false, None, true),
            ("acme", 1, true, None, true),
            ("guest", 1, true, None, false),
            ("local", 1, false, Some(Isolation::Shared), false),
            ("local", 1, false, Some(Isolation::Cordon), true),
            ("local", 1, false, Some(Isolation::Worker), true),
        ] {
            let [changed, added] = refusals(NewTenant {
                id: id.parse()?,
                weight,
                anonymous,
                isolation,
                limits: Limits::default(),
                key: NewKey {
                    role: Role::Infer,
                    lifetime: None,
                },
            });
            assert_eq!(changed, added, "{id} {weight} {anonymous}");
            assert_eq!(!changed.is_empty(), is_refused, "{id}: {changed}");
        }
        Ok(())
    }

    #[test]
    fn settings_that_no_record_may_have_are_refused() -> anyhow::Result<()> {
        let records = records()?;
        let refused = |id: &str, change: SettingsChange| -> anyhow::Result<String> {
            let changed = records.clone().set(&id.parse()?, &change);
            Ok(changed
                .err()
                .map_or(String::new(), |error| error.to_string()))
        };
        let change = SettingsChange::default;
        let weight = SettingsChange {
            weight: Some(0),
            ..change()
        };
        let second = SettingsChange {
            anonymous: Some(true),
            ..change()
        };
        let limit = SettingsChange {
            limits: BTreeMap::from([("requests".to_owned(), None)]),
            ..change()
        };
        let isolation = SettingsChange {
            isolation: Some(IsolationChange::To(Isolation::Worker)),
            ..change()
        };
        let grants = SettingsChange {
            grants: Some(TenantGrant::ALL.into()),
            ..change()
        };
        for (id, change, part) in [
            ("acme", weight, "a weight"),
            ("acme", second.clone(), "`guest` is anonymous already"),
            ("guest", second, ""),
            ("acme", limit, "`requests`"),
            ("local", isolation, "`local`"),
            ("local", grants, "`local`"),
            ("other", change(), "no tenant `other`"),
        ] {
            let error = refused(id, change)?;
            assert!(error.contains(part), "{id} {part}: {error}");
            assert_eq!(error.is_empty(), part.is_empty(), "{id}: {error}");
        }
        Ok(())
    }
}
