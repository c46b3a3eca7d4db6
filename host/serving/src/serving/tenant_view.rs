//! The service as one tenant sees it: its own models, then the public ones, and nothing of other tenants.
//!
//! A name is looked up among the tenant's own models first. If they do not have it, the response is that of the public
//! models, so that a model of another tenant and one that does not exist have the same answer, made in the same way.
//! Only its own models can be changed. The tenant `local` owns the public models, and has no others.

use super::{Serving, golden_cases};
use crate::account::Account;
use crate::error::InferError;
use crate::metering::call_meter::CallMeter;
use crate::metering::usage_cell::UsageKey;
use crate::model_control::ModelControl;
use crate::owner::Owner;
use crate::quota::QuotaUse;
use crate::registry::{ModelEntry, Registry, ResolveError};
use crate::release::Releases;
use crate::tenants::document::limits_document;
use crate::tenants::tenant_set::Tenant;
use crate::uploads::limits::UploadLimits;
use crate::version::ModelVersion;
use crate::version_counters::VersionCounters;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use wisp_protocol::call::{IndexEntry, ModelName, Selection, Target};
use wisp_protocol::error::ErrorKind;

/// The models of a tenant's own. Lifetime: until the tenant is removed.
#[derive(Debug)]
pub(crate) struct OwnModels {
    pub(crate) registry: Registry,
    pub(crate) control: ModelControl,
    /// The directory for the states of releases.
    pub(crate) releases: PathBuf,
    /// The control over the same models until now, if their service takes the place of another one.
    pub(crate) before: Option<Arc<ModelControl>>,
}

impl Serving {
    /// Returns the service for the requests of a tenant with these models. It shares all limits, threads and caches with
    /// this one, whose models are the public ones.
    pub(crate) fn for_tenant(
        self: &Arc<Serving>,
        (tenant, account): (Arc<Tenant>, Account),
        own: OwnModels,
    ) -> Serving {
        let OwnModels {
            registry,
            control,
            releases,
            before,
        } = own;
        control.residency().adopt(&registry);
        let releases = Arc::new(Releases::new(Some(releases)));
        let golden_cases = golden_cases(&self.options);
        let owner = account.share().map_or(Owner::LOCAL, |share| share.owner());
        let mut control = control
            .with_releases(Arc::clone(&releases), golden_cases)
            .with_owner(owner)
            .with_pressure(Arc::clone(&self.pressure));
        if let Some(public) = &self.control {
            control = control.sharing_places(public);
        }
        if let Some(before) = before {
            control = control.sharing_turns(&before);
        }
        Serving {
            public: Some(Arc::clone(self)),
            registry: Arc::new(registry),
            releases,
            control: Some(Arc::new(control)),
            ..self.with_tenant(tenant, account)
        }
    }

    /// Returns the same service for a tenant with other settings.
    pub(crate) fn with_tenant(&self, tenant: Arc<Tenant>, account: Account) -> Serving {
        let mut options = self.options.clone();
        if let Some(share) = account.share() {
            options.memory = Arc::new(options.memory.for_owner(share.memory()));
        }
        Serving {
            tenant,
            account: Some(account),
            public: self.public.clone(),
            registry: Arc::clone(&self.registry),
            releases: Arc::clone(&self.releases),
            control: self.control.clone(),
            admission: Arc::clone(&self.admission),
            readers: Arc::clone(&self.readers),
            blocking: self.blocking.clone(),
            cache: Arc::clone(&self.cache),
            options,
            pressure: Arc::clone(&self.pressure),
            draining: self.draining.clone(),
        }
    }

    /// Returns the tenant whose requests these are.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// Returns the owner of the work for the tenant.
    pub(crate) fn owner(&self) -> Owner {
        let share = self.account.as_ref().and_then(Account::share);
        share.map_or(Owner::LOCAL, |share| share.owner())
    }

    /// Returns whether the tenant owns the public models, and may see the numbers of the whole server.
    pub fn owns_server(&self) -> bool {
        self.public.is_none()
    }

    /// Returns the control over the tenant's own models; `None` for the tenant that owns the public ones.
    pub(crate) fn own_control(&self) -> Option<&Arc<ModelControl>> {
        self.public.as_ref()?;
        self.control.as_ref()
    }

    /// Returns the number of the tenant's inferences that hold a permit now, if it does not own the server.
    pub fn own_requests(&self) -> usize {
        let share = self.account.as_ref().and_then(Account::share);
        share.map_or(0, |share| share.admitted())
    }

    /// Returns the use of the quota of the tenant, if it is configured.
    pub fn quota_use(&self) -> Option<QuotaUse> {
        self.account.as_ref().map(Account::usage)
    }

    /// Returns the number of models that the files of loads may make; `None` for the tenant that owns the server. Any other
    /// has a limit, since the names of models are labels of metrics and stay until the server ends.
    pub(super) fn max_models(&self) -> Option<usize> {
        self.public.as_ref()?;
        let own = self.tenant.limits.models;
        let own = own.map(|models| usize::try_from(models).unwrap_or(usize::MAX));
        Some(own.unwrap_or(UploadLimits::default().models))
    }

    /// Starts to measure the usage of the tenant's request for a version with these counters.
    pub(crate) fn meter(
        &self,
        version: &ModelVersion,
        counters: &VersionCounters,
    ) -> Arc<CallMeter> {
        let description = version.description();
        let open = || {
            self.options.usage.open(UsageKey {
                tenant: self.tenant.id.clone(),
                owner: self.space(&description.model).tenant.id.clone(),
                model: description.model.clone(),
                version: description.version,
            })
        };
        CallMeter::begin(counters.usage_of(&self.tenant.id, open))
    }

    /// Returns the document with the limits of the tenant.
    pub fn limits(&self) -> Bytes {
        limits_document(&self.tenant)
    }

    /// Returns the service that has the model of this name: this one, or the one of the public models.
    pub(crate) fn space(&self, model: &ModelName) -> &Serving {
        match &self.public {
            Some(public) if self.registry.entry(model).is_err() => public,
            _ => self,
        }
    }

    /// Returns the registry of the public models.
    pub(super) fn public_registry(&self) -> &Registry {
        match &self.public {
            Some(public) => &public.registry,
            None => &self.registry,
        }
    }

    /// Returns an error if the model is a public one and the tenant does not own those.
    pub(super) fn check_own(&self, model: &ModelName) -> Result<(), InferError> {
        match &self.public {
            Some(public)
                if self.registry.entry(model).is_err() && public.registry.entry(model).is_ok() =>
            {
                Err(InferError::plain(
                    ErrorKind::Forbidden,
                    "the statistics of public models count the requests of all tenants, and are for their owner only",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Returns the model and the version that an inference names.
    pub(super) fn target(&self, selection: &Selection) -> Result<Target, ResolveError> {
        match (selection, &self.public) {
            (Selection::OnlyModel(version), Some(_)) => match &self.models()[..] {
                [model] => Ok(Target {
                    model: model.clone(),
                    version: version.clone(),
                }),
                models => Err(ResolveError::AmbiguousModel {
                    models: models.len(),
                }),
            },
            _ => self.registry.target(selection),
        }
    }

    /// Returns the model whose web component serves this path, if there is one. It need not be ready.
    pub fn web_model(&self, path: &str) -> Option<ModelName> {
        if let Some(own) = self.registry.web_model(path) {
            return Some(own);
        }
        let public = self.public.as_ref()?;
        let model = public.registry.web_model(path)?;
        // Its name would mean another model.
        self.registry.entry(&model).is_err().then_some(model)
    }

    /// Returns the tenant's own models and their loaded versions, by name.
    pub fn own_entries(&self) -> Vec<(ModelName, Arc<ModelEntry>)> {
        self.registry.entries()
    }

    /// Returns all models that the tenant can name and their loaded versions, by name.
    pub fn entries(&self) -> Vec<(ModelName, Arc<ModelEntry>)> {
        let mut entries = self.registry.entries();
        let Some(public) = &self.public else {
            return entries;
        };
        let own: BTreeSet<ModelName> = entries.iter().map(|(model, _)| model.clone()).collect();
        let others = public.registry.entries().into_iter();
        entries.extend(others.filter(|(model, _)| !own.contains(model)));
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries
    }

    /// Returns every version of every model that the tenant can name and its state, and the skipped entries, by name.
    pub(super) fn visible_index(&self) -> Vec<IndexEntry> {
        let mut entries = self.registry.index();
        let Some(public) = &self.public else {
            return entries;
        };
        let own: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let others = public.registry.index().into_iter();
        entries.extend(others.filter(|entry| !own.contains(&entry.name)));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }
}

#[cfg(test)]
mod tests;
