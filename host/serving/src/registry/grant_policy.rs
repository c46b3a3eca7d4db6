//! The rules for what a `model.toml` may ask for: everything if an operator wrote it, and what the tenant is granted if a
//! tenant did.

use crate::registry::load_error::LoadError;
use crate::registry::model_file::{HttpSection, ModelFile};
use crate::tenants::tenant_grant::TenantGrant;
use std::collections::BTreeSet;

/// The capabilities that the models of a loader may have. By default all.
#[derive(Debug, Clone, Default)]
pub struct GrantPolicy {
    /// The only ones; `None` for all.
    allowed: Option<BTreeSet<TenantGrant>>,
}

impl GrantPolicy {
    /// Returns the rules for the own models of a tenant with these grants.
    pub fn of_tenant(grants: &BTreeSet<TenantGrant>) -> GrantPolicy {
        GrantPolicy {
            allowed: Some(grants.clone()),
        }
    }

    /// Checks that the model asks for nothing else.
    pub(crate) fn check(&self, model_file: &ModelFile) -> Result<(), LoadError> {
        let Some(allowed) = &self.allowed else {
            return Ok(());
        };
        let handler = model_file.handler.grants.iter();
        let mut asked: Vec<TenantGrant> = handler.map(|grant| TenantGrant::from(*grant)).collect();
        if model_file.http.allowed_hosts != HttpSection::default().allowed_hosts {
            asked.push(TenantGrant::Network);
        }
        let refused = asked.iter().find(|grant| !allowed.contains(*grant));
        match refused {
            Some(grant) => Err(LoadError::NotGranted { grant: *grant }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn model_file(content: &str) -> anyhow::Result<ModelFile> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("model.toml"), content)?;
        Ok(ModelFile::load(directory.path())?)
    }

    #[test]
    fn a_tenants_model_has_what_the_tenant_is_granted_and_a_public_one_what_it_asks_for()
    -> anyhow::Result<()> {
        let clock = GrantPolicy::of_tenant(&BTreeSet::from([TenantGrant::Clock]));
        let none = GrantPolicy::of_tenant(&BTreeSet::new());
        for (content, by_clock, by_none) in [
            ("", true, true),
            ("[handler]\ngrants = ['clock']", true, false),
            ("[handler]\ngrants = ['clock', 'random']", false, false),
            ("[http]\nroute = '/a'", true, true),
            ("[http]\nallowed_hosts = ['a.example']", false, false),
        ] {
            let file = model_file(content)?;
            assert!(GrantPolicy::default().check(&file).is_ok(), "{content}");
            assert_eq!(clock.check(&file).is_ok(), by_clock, "{content}");
            assert_eq!(none.check(&file).is_ok(), by_none, "{content}");
        }
        let file = model_file("[handler]\ngrants = ['random']")?;
        let refused = clock.check(&file).err().map(|error| error.client_reason());
        let refused = refused.unwrap_or_default();
        assert!(
            refused.contains("`random`") && refused.contains("operator"),
            "{refused}"
        );
        Ok(())
    }
}
