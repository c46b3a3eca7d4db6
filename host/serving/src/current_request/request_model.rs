//! The model that a request names and the tenant whose request it is, for the line that is logged when it ends.

use crate::owner::Owner;
use crate::tenants::tenant_id::TenantId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wisp_protocol::call::{ModelName, Version};

/// The model of one request, as far as it is known. Clones share the value. Lifetime: one request.
#[derive(Debug, Clone, Default)]
pub struct RequestModel(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    model: Option<NamedModel>,
    tenant: Option<TenantId>,
    /// The owner of the work for the request.
    owner: Owner,
}

/// A model, and its version once that is known.
#[derive(Debug)]
struct NamedModel {
    name: ModelName,
    version: Option<Version>,
}

impl RequestModel {
    /// Returns the model that the request has named, which need not exist.
    pub fn name(&self) -> Option<ModelName> {
        self.lock().model.as_ref().map(|model| model.name.clone())
    }

    /// Returns the version that the request has named or was given.
    pub fn version(&self) -> Option<Version> {
        self.lock().model.as_ref()?.version
    }

    /// Returns the tenant whose key the request has, on a server with tenants.
    pub fn tenant(&self) -> Option<TenantId> {
        self.lock().tenant.clone()
    }

    /// Returns the owner of the work for the request.
    pub(super) fn owner(&self) -> Owner {
        self.lock().owner
    }

    pub(super) fn set_tenant(&self, tenant: &TenantId, owner: Owner) {
        let mut known = self.lock();
        known.tenant = Some(tenant.clone());
        known.owner = owner;
    }

    pub(super) fn set(&self, name: &ModelName, version: Option<Version>) {
        match &mut self.lock().model {
            Some(model) if model.name == *name => model.version = version,
            model => {
                *model = Some(NamedModel {
                    name: name.clone(),
                    version,
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change is a single assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
