//! The services of all tenants, and the one that a request gets by its key or its client's certificate.
//!
//! The tenants come from a file, which is read again when it changes: [`Namespaces::refresh`] replaces the tenants and
//! their services in one step, so that a request finds either all of a change or nothing of it; those of new tenants follow
//! once their models are open. A tenant's models are in a directory of its own below that of the file. They are found at
//! once and loaded by their first request.
//!
//! Without a file, every request is one of the tenant `local`, and no key is looked at. Once there is a file, a request
//! needs a key for as long as the process runs, also if the last tenant has been removed: all are refused then. A file that
//! cannot be read or has disappeared changes nothing: nobody gets rights through a damaged file, or one without tenants.

mod opener;

use crate::account::Account;
use crate::current_request::record_tenant;
use crate::file_state::FileState;
use crate::memory_pressure::PressureStage;
use crate::serving::Serving;
use crate::tenants::api_key::KeyId;
use crate::tenants::isolation::Isolation;
use crate::tenants::records::{ChangeError, TenantRecords};
use crate::tenants::role::Role;
use crate::tenants::subject::Subject;
use crate::tenants::tenant_file::{TenantError, TenantFile, TenantFileError};
use crate::tenants::tenant_id::TenantId;
use crate::tenants::tenant_set::{
    Identity, NotAuthenticated, Presented, RecordError, Tenant, TenantSet,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::MissedTickBehavior;

pub use opener::{NamespaceOpener, create_private};

/// The services of all tenants. Lifetime: the process.
#[derive(Debug)]
pub struct Namespaces {
    /// The service of the public models.
    local: Arc<Serving>,
    /// The role of everyone as long as there is no file of tenants.
    local_role: Role,
    configured: Option<Configured>,
}

/// The tenants of a file. Lifetime: the process.
#[derive(Debug)]
struct Configured {
    file: TenantFile,
    opener: NamespaceOpener,
    current: RwLock<Arc<Current>>,
    /// The state of the file when it was last read. Held while it is read, so that the last state is the one that stays.
    reading: Mutex<Option<FileState>>,
    /// The number of tenants that have been added so far.
    numbers: AtomicU32,
}

/// The tenants and their services at one time.
#[derive(Debug, Default)]
struct Current {
    tenants: Arc<TenantSet>,
    /// Set once the file has been read, whether or not it has tenants.
    needs_keys: bool,
    /// Set if a tenant has a process of its own.
    has_workers: bool,
    services: BTreeMap<TenantId, Arc<Serving>>,
}

/// The service for one request, and the rights of the request. Lifetime: one request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub serving: Arc<Serving>,
    pub role: Role,
    /// The key that was verified, by which the caller of a long request is found again; `None` for a certificate alone.
    pub key: Option<KeyId>,
}

/// The reason that the tenants could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(transparent)]
    File(#[from] TenantFileError),
    #[error("the tenants of `{}` are not valid", path.display())]
    Records {
        path: PathBuf,
        #[source]
        source: RecordError,
    },
    #[error("`{}` has disappeared; the tenants stay as they were", .0.display())]
    Missing(PathBuf),
    #[error("the server has no file of tenants: start it with --tenants")]
    None,
}

/// The reason that an operator's change of the tenants was not made, or has no effect yet.
#[derive(Debug, thiserror::Error)]
pub enum TenantsChangeError {
    #[error(transparent)]
    Change(#[from] TenantError),
    #[error(transparent)]
    Refresh(#[from] RefreshError),
}

impl Namespaces {
    /// Returns the service of a server without tenants, or of the process of one, where everyone may do what the service
    /// allows at all.
    pub fn local(serving: Arc<Serving>) -> Namespaces {
        Namespaces {
            local: serving,
            local_role: Role::Deploy,
            configured: None,
        }
    }

    /// Reads the tenants and opens their models. As long as there is no file, everyone is `local` and has this role.
    pub fn open(
        serving: Arc<Serving>,
        local_role: Role,
        (file, opener): (TenantFile, NamespaceOpener),
    ) -> Result<Namespaces, RefreshError> {
        let namespaces = Namespaces {
            local: serving,
            local_role,
            configured: Some(Configured {
                file,
                opener,
                current: RwLock::default(),
                reading: Mutex::default(),
                numbers: AtomicU32::new(0),
            }),
        };
        namespaces.refresh()?;
        if let Some(configured) = &namespaces.configured {
            configured.file.reserve();
        }
        Ok(namespaces)
    }

    /// Returns the service of the public models.
    pub fn public(&self) -> &Arc<Serving> {
        &self.local
    }

    /// Returns whether requests are identified, mostly by keys, which then are no part of what is passed on to guests. Without any
    /// tenant left, no key is valid.
    pub fn needs_keys(&self) -> bool {
        let configured = self.configured.as_ref();
        configured.is_some_and(|configured| configured.current().needs_keys)
    }

    /// Returns whether the requests of some tenants are answered by processes of their own.
    pub fn has_workers(&self) -> bool {
        let configured = self.configured.as_ref();
        configured.is_some_and(|configured| configured.current().has_workers)
    }

    /// Returns whether this is the process of one tenant, whose callers another process has identified.
    pub fn is_of_one_tenant(&self) -> bool {
        self.configured.is_none() && !self.local.tenant().id.is_local()
    }

    /// Returns the services of the configured tenants, by name.
    pub fn all_tenants(&self) -> Vec<Arc<Serving>> {
        let Some(configured) = &self.configured else {
            return Vec::new();
        };
        let current = configured.current();
        current.services.values().map(Arc::clone).collect()
    }

    /// Returns the services of the tenants with models of their own, by name: all but the owner of the public ones.
    pub fn tenants(&self) -> Vec<Arc<Serving>> {
        let mut tenants = self.all_tenants();
        tenants.retain(|serving| !serving.tenant().id.is_local());
        tenants
    }

    /// Returns the service for a request that presents this key or this certificate, valid `now`, or nothing.
    pub fn identify(
        &self,
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Caller, NotAuthenticated> {
        self.caller(|tenants| tenants.identify(presented, now))
    }

    /// Returns the service that a request has `now` whose key was verified before, or that has none, and whose client has a
    /// certificate with these names, if it has one.
    pub fn renew(
        &self,
        verified: (Option<KeyId>, Option<&[Subject]>),
        now: SystemTime,
    ) -> Result<Caller, NotAuthenticated> {
        self.caller(|tenants| tenants.renew(verified, now))
    }

    fn caller(
        &self,
        identify: impl FnOnce(&TenantSet) -> Result<Identity, NotAuthenticated>,
    ) -> Result<Caller, NotAuthenticated> {
        let local = || Caller {
            serving: Arc::clone(&self.local),
            role: self.local_role,
            key: None,
        };
        let Some(configured) = &self.configured else {
            // The process of a tenant: the server has identified the caller.
            if self.is_of_one_tenant() {
                record_tenant(&self.local.tenant().id, self.local.owner());
            }
            return Ok(local());
        };
        let current = configured.current();
        if !current.needs_keys {
            return Ok(local());
        }
        let identity = identify(&current.tenants)?;
        let serving = current.services.get(&identity.tenant.id);
        let serving = Arc::clone(serving.ok_or(NotAuthenticated)?);
        record_tenant(&identity.tenant.id, serving.owner());
        Ok(Caller {
            serving,
            role: identity.role,
            key: identity.key,
        })
    }

    /// Returns the tenants as their file has them.
    pub fn records(&self) -> Result<TenantRecords, RefreshError> {
        let configured = self.configured.as_ref().ok_or(RefreshError::None)?;
        Ok(configured.file.read()?)
    }

    /// Changes the file of the tenants, and then the tenants. Blocks.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut TenantRecords) -> Result<T, ChangeError>,
    ) -> Result<T, TenantsChangeError> {
        let configured = self.configured.as_ref().ok_or(RefreshError::None)?;
        let changed = configured.file.change(change)?;
        self.refresh()?;
        Ok(changed)
    }

    /// Reads the file of the tenants again if it has changed. Returns whether it has. Blocks.
    pub fn refresh(&self) -> Result<bool, RefreshError> {
        let Some(configured) = &self.configured else {
            return Ok(false);
        };
        // A state that was not recorded is read again, so a poisoned lock is as good.
        let reading = configured.reading.lock();
        let mut read = reading.unwrap_or_else(PoisonError::into_inner);
        // Taken before the file is read, so that a change in the meantime is found by the next refresh.
        let state = configured.state()?;
        if state == *read {
            return Ok(false);
        }
        if state.is_none() {
            return Err(RefreshError::Missing(configured.file.path()));
        }
        configured.read(&self.local)?;
        *read = state;
        Ok(true)
    }

    /// Makes idle models of tenants dormant if the process is short of memory. If none is idle and loads are refused, the
    /// tenant whose models take the most loses those that no request would load again. Blocks.
    pub fn relieve_memory(&self) {
        let pressure = self.local.memory_pressure();
        if pressure.stage() < PressureStage::Shrink {
            return;
        }
        let tenants = self.tenants();
        let relieved = tenants.iter().filter(|tenant| tenant.relieve_memory());
        if relieved.count() == 0 {
            give_up_models(&tenants, pressure.excess());
        }
    }

    /// Follows the file of the tenants without end, and looks for a change every `interval`.
    pub async fn follow(self: Arc<Namespaces>, interval: Duration) {
        if self.configured.is_none() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        loop {
            ticks.tick().await;
            let namespaces = Arc::clone(&self);
            let refreshing = tokio::task::spawn_blocking(move || {
                namespaces.relieve_memory();
                namespaces.refresh()
            });
            let Ok(refreshed) = refreshing.await else {
                tracing::error!("the tenants could not be read, because the server failed");
                continue;
            };
            let problem = match &refreshed {
                Ok(true) => {
                    tracing::info!("the tenants have changed");
                    String::new()
                }
                Ok(false) => String::new(),
                Err(error) => error.to_string(),
            };
            // A damaged file is read again each time, and its error logged once.
            if let Err(error) = &refreshed
                && problem != last
            {
                let error = error as &dyn std::error::Error;
                tracing::error!(error, "the tenants stay as they were");
            }
            last = problem;
        }
    }
}

impl Current {
    /// Returns the tenants of a file that has been read.
    fn new(tenants: Arc<TenantSet>, services: BTreeMap<TenantId, Arc<Serving>>) -> Current {
        let has_workers = services
            .values()
            .any(|serving| serving.tenant().isolation == Isolation::Worker);
        Current {
            tenants,
            needs_keys: true,
            has_workers,
            services,
        }
    }
}

impl Configured {
    fn current(&self) -> Arc<Current> {
        // The value is replaced as a whole, so a poisoned lock guards a consistent one.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    fn state(&self) -> Result<Option<FileState>, TenantFileError> {
        self.file.state().map_err(|source| TenantFileError::Io {
            action: "read",
            path: self.file.path(),
            source,
        })
    }

    /// Returns the number of a new tenant's work, which no other has had.
    fn next_number(&self) -> u32 {
        // 0 is the local owner. Billions of tenants are never added.
        self.numbers.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Returns the directory of the files of a tenant.
    fn directory(&self, tenant: &TenantId) -> PathBuf {
        self.file.tenants().join(tenant.as_str())
    }

    /// Returns the tenants with files of models of their own.
    fn with_models(&self, records: &TenantRecords) -> BTreeSet<TenantId> {
        let ids = records
            .tenants
            .keys()
            .filter_map(|id| id.parse::<TenantId>().ok());
        let with_models = ids.filter(|id| NamespaceOpener::has_models(&self.directory(id)));
        with_models.collect()
    }

    /// Reads the file and replaces the tenants and their services.
    fn read(&self, local: &Arc<Serving>) -> Result<(), RefreshError> {
        let records = self.file.read()?;
        let with_models = self.with_models(&records);
        let tenants = TenantSet::isolating(&records, self.opener.owners, &with_models);
        let tenants = tenants.map_err(|source| RefreshError::Records {
            path: self.file.path(),
            source,
        })?;
        let tenants = Arc::new(tenants);
        let before = self.current();
        let mut services = BTreeMap::new();
        let mut added = Vec::new();
        for tenant in tenants.tenants() {
            let open = before.services.get(&tenant.id);
            let account = match open.and_then(|open| open.account.as_ref()) {
                Some(account) => account.with_settings(tenant),
                None => Account::open(tenant, self.next_number()),
            };
            let serving = match open {
                _ if tenant.id.is_local() => {
                    Arc::new(local.with_tenant(Arc::clone(tenant), account))
                }
                // Its models stay.
                Some(open) if are_opened_alike(open.tenant(), tenant) => {
                    let limits = self.opener.upload_limits(tenant);
                    if let (Some(control), Some(limits)) = (open.own_control(), limits) {
                        control.set_upload_limits(&limits);
                    }
                    Arc::new(open.with_tenant(Arc::clone(tenant), account))
                }
                // At once: requests to the new process must not be answered here by what the tenant had before.
                _ if tenant.isolation == Isolation::Worker => {
                    let directory = self.directory(&tenant.id);
                    let place = (directory.as_path(), open.map(|open| &**open));
                    Arc::new(self.opener.open(local, (tenant, account), place))
                }
                _ => {
                    added.push((Arc::clone(tenant), account));
                    let Some(open) = open else {
                        continue;
                    };
                    // As it was, until its models are open at the new level of isolation, or by the new rules for
                    // signatures.
                    Arc::clone(open)
                }
            };
            services.insert(tenant.id.clone(), serving);
        }
        // Opening models takes time, in which a key that was revoked is refused already. The keys of a new tenant are too,
        // until its service is there.
        self.replace(Current::new(Arc::clone(&tenants), services.clone()));
        // A tenant that is added again has its repository, whatever requests of the removed one are open.
        let removed = before.services.iter();
        let removed = removed.filter(|(id, _)| !services.contains_key(*id));
        for control in removed.filter_map(|(_, serving)| serving.own_control()) {
            control.give_up_uploads();
        }
        // Returning the memory of the models of a removed tenant takes time, and so happens outside the lock.
        drop(before);
        if added.is_empty() {
            return Ok(());
        }
        for (tenant, account) in added {
            let directory = self.directory(&tenant.id);
            let open = services.get(&tenant.id).map(Arc::clone);
            let place = (directory.as_path(), open.as_deref());
            let serving = self.opener.open(local, (&tenant, account), place);
            services.insert(tenant.id.clone(), Arc::new(serving));
        }
        self.replace(Current::new(tenants, services));
        Ok(())
    }

    fn replace(&self, current: Current) {
        let current = Arc::new(current);
        let mut place = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *place = current;
    }
}

/// Unloads models that no request would load again until this number of bytes is free, each of the tenant whose models take
/// the most then.
pub(crate) fn give_up_models(tenants: &[Arc<Serving>], excess: u64) {
    let mut freed: u64 = 0;
    while freed < excess {
        let candidates = tenants.iter();
        let candidates = candidates.filter_map(|tenant| Some((tenant.bytes_to_give_up()?, tenant)));
        let largest = candidates.max_by_key(|(bytes, _)| *bytes);
        let Some(bytes) = largest.and_then(|(_, tenant)| tenant.give_up_model()) else {
            return;
        };
        freed = freed.saturating_add(bytes);
    }
}

/// Returns whether the models of a tenant are opened in the same way after its settings have changed. They are not by other
/// rules for signatures or with other grants: each version is checked by the new ones. They are not either with another
/// limit on the memory of models or instances, which holds for versions that are loaded under it.
fn are_opened_alike(before: &Tenant, now: &Tenant) -> bool {
    before.isolation == now.isolation
        && before.loads_as(now)
        && before.limits.model_memory_bytes == now.limits.model_memory_bytes
        && before.limits.instance_bytes == now.limits.instance_bytes
}

#[cfg(test)]
mod tests;
