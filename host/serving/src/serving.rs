//! The state that all requests share: the served models, the limits, and the control over both.
//!
//! [`crate::infer()`] runs the inferences on a [`Serving`], which this file describes to clients and metrics.
//! `version_selection` finds the version that a request calls, and `model_command` changes which models are served. A
//! tenant has a [`Serving`] of its own, which shares everything but the models with the others (`tenant_view`).

mod model_command;
mod serving_options;
pub(crate) mod tenant_view;
mod version_selection;

use crate::account::Account;
use crate::admission::{Admission, AdmissionCounts};
use crate::blocking::BlockingPool;
use crate::case_call::call_case;
use crate::current_request::{record_name, record_target};
use crate::error::InferError;
use crate::memory_pressure::{LARGE_BYTES, MemoryPressure, PressureStage};
use crate::model_control::{ControlError, ModelControl};
use crate::payload_log::PayloadCounts;
use crate::readers::{Readers, ReadingSlot};
use crate::registry::golden_cases::CaseCaller;
use crate::registry::{LoadedVersion, Registry};
use crate::release::Releases;
use crate::residency::Residency;
use crate::response_cache::ResponseCache;
use crate::tenants::tenant_set::Tenant;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::watch;
use wisp_protocol::call::{IndexEntry, ModelName, Target, Version};
use wisp_protocol::release::ReleaseStatus;
use wisp_protocol::routing::RoutingSource;
use wisp_protocol::statistics::VersionStatistics;
use wisp_protocol::v2::IndexFilter;
use wisp_tensor::MemoryBudget;

pub use serving_options::{Readiness, ServingOptions};

/// The reason in the index for a model that was unloaded because its memory was needed.
const GIVEN_UP: &str = "unloaded, because the server was short of memory and the models of the tenant took more than \
     those of any other; load it again";

/// Everything that inference needs besides the request, for the requests of one tenant. Lifetime: the process.
#[derive(Debug)]
pub struct Serving {
    /// The tenant whose requests these are, and whose models the registry has.
    tenant: Arc<Tenant>,
    /// The service of the public models, if those of the registry are of a tenant of its own.
    pub(crate) public: Option<Arc<Serving>>,
    /// The account of the tenant; `None` as long as no tenant is configured.
    pub(crate) account: Option<Account>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) releases: Arc<Releases>,
    control: Option<Arc<ModelControl>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) blocking: BlockingPool,
    pub(crate) cache: Arc<ResponseCache>,
    pub(crate) options: ServingOptions,
    pub(crate) pressure: Arc<MemoryPressure>,
    draining: watch::Sender<bool>,
}

impl Serving {
    /// Returns a service for the models of the registry, within these limits. Without a `control`,
    /// the models cannot be changed.
    pub fn new(
        registry: Registry,
        control: Option<ModelControl>,
        options: ServingOptions,
    ) -> Serving {
        if let Some(control) = &control {
            control.residency().adopt(&registry);
        }
        let releases = Arc::new(Releases::new(options.releases.state_directory.clone()));
        let golden_cases = golden_cases(&options);
        let pressure = Arc::new(MemoryPressure::new(options.memory_limit_bytes));
        let control = control.map(|control| {
            let control = control.with_releases(Arc::clone(&releases), golden_cases);
            Arc::new(control.with_pressure(Arc::clone(&pressure)))
        });
        Serving {
            tenant: Arc::new(Tenant::local()),
            public: None,
            account: None,
            releases,
            admission: Arc::new(Admission::new(options.max_requests, options.max_instances)),
            readers: Readers::new(options.max_readers),
            registry: Arc::new(registry),
            control,
            blocking: BlockingPool::new(
                available_parallelism().unwrap_or(NonZeroUsize::MIN),
                options.request_timeout,
            ),
            cache: Arc::new(ResponseCache::new(options.cache.clone())),
            pressure,
            options,
            draining: watch::Sender::new(false),
        }
    }

    /// Grants a request of the tenant the right to wait for its body, the first stage of admission. All that is done for
    /// the request is charged to the tenant.
    pub fn admit(&self) -> ReadingSlot {
        let share = self.account.as_ref().and_then(Account::share);
        self.readers.grant(share.cloned())
    }

    /// Returns the number of requests that wait for their bodies now.
    pub fn waiting_requests(&self) -> usize {
        self.readers.waiting()
    }

    /// Returns the number of inferences that hold a permit now.
    pub fn admitted_requests(&self) -> usize {
        self.admission.admitted_requests()
    }

    /// Returns the largest number of inferences that may hold a permit.
    pub fn max_requests(&self) -> usize {
        self.admission.max_requests()
    }

    /// Returns the numbers of admitted and refused requests since the start.
    pub fn admission_counts(&self) -> AdmissionCounts {
        AdmissionCounts {
            evicted: self.readers.evicted(),
            ..self.admission.counts()
        }
    }

    /// Returns the number of handler instances that are alive now, except in inline calls.
    pub fn live_instances(&self) -> usize {
        self.admission.live_instances()
    }

    /// Returns the threads for work that would delay connections.
    pub fn blocking(&self) -> &BlockingPool {
        &self.blocking
    }

    /// Returns the cache of responses.
    pub fn cache(&self) -> &ResponseCache {
        &self.cache
    }

    /// Returns the time limit of a request, counted from its complete body.
    pub fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Returns the budget of the bytes that all requests hold together, in which those of the tenant have a share.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.options.memory
    }

    /// Returns the memory of the process and its stage of back-pressure.
    pub fn memory_pressure(&self) -> &MemoryPressure {
        &self.pressure
    }

    /// Restricts caching and new reservations as a stage of memory pressure requires.
    pub(crate) fn restrict_memory(&self, stage: PressureStage) {
        self.cache.pause(stage >= PressureStage::Shrink);
        let largest = match stage {
            PressureStage::Normal | PressureStage::Shrink => usize::MAX,
            PressureStage::RefuseLarge | PressureStage::RefuseAll => LARGE_BYTES,
        };
        self.options.memory.set_largest_reservation(largest);
    }

    /// Returns memory that is not needed at once: an idle model's, if requests load models. Returns whether there is
    /// one.
    pub(crate) fn relieve_memory(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| control.residency().evict_idle(&self.registry, 1) > 0)
    }

    /// Returns the bytes of the tenant's own models if one of them can be given up: if no request would load it again.
    pub(crate) fn bytes_to_give_up(&self) -> Option<u64> {
        let control = self.control.as_ref()?;
        let has_some = !self.registry.unrepeatable().is_empty();
        has_some.then(|| control.residency().memory().bytes)
    }

    /// Unloads a model of the tenant's own that no request would load again. Returns its bytes.
    pub(crate) fn give_up_model(&self) -> Option<u64> {
        let control = self.control.as_ref()?;
        let (model, bytes) = control.residency().give_up(&self.registry, GIVEN_UP)?;
        let tenant = &self.tenant.id;
        tracing::warn!(
            %tenant,
            %model,
            bytes,
            "unloaded a model of the tenant whose models take the most memory, because the server is short of it; a \
             client has sent its files or settings and has to load it again"
        );
        Some(bytes)
    }

    /// Returns the counts of the payload log, if there is one.
    pub fn payload_counts(&self) -> Option<PayloadCounts> {
        self.options.payload_log.as_ref().map(|log| log.counts())
    }

    /// Returns the size limit of a request body, in bytes: the server's, or a smaller one of the tenant.
    pub fn max_body_bytes(&self) -> usize {
        let own = self.tenant.limits.body_bytes;
        let own = own.and_then(|bytes| usize::try_from(bytes).ok());
        let limit = self.options.max_body_bytes;
        own.map_or(limit, |own| own.min(limit))
    }

    /// Returns whether load balancers should send requests to this server: false once draining has begun,
    /// and before the condition of [`ServingOptions::readiness`] holds.
    pub fn is_ready(&self) -> bool {
        let is_ready = match self.options.readiness {
            Readiness::Models => self.public_registry().is_ready(),
            Readiness::Server => true,
        };
        is_ready && !self.is_draining()
    }

    /// Returns whether draining has begun.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Makes [`Serving::is_ready`] return false, so that load balancers stop sending. Requests
    /// that still arrive are served.
    pub fn start_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Completes once draining has begun.
    pub fn drain_begun(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut draining = self.draining.subscribe();
        async move {
            // The sender lives as long as the server.
            let _ = draining.wait_for(|draining| *draining).await;
        }
    }

    /// Completes at the next change after this call: a model has been loaded or unloaded or has failed to
    /// load, or draining has begun.
    pub fn change(&self) -> impl Future<Output = ()> + Send + use<> {
        let [mut models, mut public] = self.changes();
        let mut draining = self.draining.subscribe();
        async move {
            // The senders live as long as the service, so no receiver returns an error before its end.
            tokio::select! {
                _ = models.changed() => {}
                _ = public.changed() => {}
                _ = draining.changed() => {}
            }
        }
    }

    /// Returns the receivers that are notified whenever a model has been loaded or unloaded or has failed to load: one
    /// for the tenant's own models, and one for the public ones.
    pub fn changes(&self) -> [watch::Receiver<()>; 2] {
        [self.registry.changes(), self.public_registry().changes()]
    }

    /// Returns the models that match `filter` and their states, by name.
    pub fn index(&self, filter: &IndexFilter) -> Vec<IndexEntry> {
        let mut entries = self.visible_index();
        entries.retain(|entry| filter.matches(entry));
        entries
    }

    /// Returns the loaded models, their memory, and the history of their loads, if models can be loaded.
    pub fn residency(&self) -> Option<&Residency> {
        let control = self.control.as_ref();
        control.map(|control| &**control.residency())
    }

    /// Returns the versions of a model that can be called, in order, those that a request loads included.
    pub fn ready_versions(&self, model: &ModelName) -> Result<Vec<Version>, InferError> {
        let entry = self.space(model).registry.entry(model)?;
        let versions = entry.versions.iter();
        let ready = versions.filter(|(_, version)| {
            matches!(version, LoadedVersion::Ready(_) | LoadedVersion::Dormant(_))
        });
        Ok(ready.map(|(number, _)| *number).collect())
    }

    /// Returns the names of all models.
    pub fn models(&self) -> Vec<ModelName> {
        let entries = self.entries().into_iter();
        entries.map(|(model, _)| model).collect()
    }

    /// Returns the statistics of the versions that `target` names and that can be called: one version or all those of its
    /// model; without a target, of every version of every model that is or was loaded. Those of public models count the
    /// requests of all tenants, and so are only for the tenant that owns them.
    pub fn statistics(
        &self,
        target: Option<&Target>,
    ) -> Result<Vec<VersionStatistics>, InferError> {
        if let Some(target) = target {
            record_target(target);
            self.check_own(&target.model)?;
            return Ok(self.registry.statistics(target)?);
        }
        let entries = self.registry.entries();
        let statistics = entries.iter().flat_map(|(model, entry)| {
            let versions = entry.versions.iter();
            versions.filter_map(|(number, version)| version.statistics(model, *number))
        });
        Ok(statistics.collect())
    }

    /// Returns the source of the key that keeps a client at its version during a release.
    pub fn routing(&self) -> &RoutingSource {
        &self.options.releases.routing
    }

    /// Returns the open releases, with their counts.
    pub fn releases(&self) -> &Arc<Releases> {
        &self.releases
    }

    /// Returns the registry of the models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns whether half of the requests that the server admits could still be admitted, and half of the memory be
    /// reserved.
    pub(crate) fn has_spare_capacity(&self) -> bool {
        let memory = &self.options.memory;
        self.admission.admitted_requests() <= self.options.max_requests / 2
            && memory.reserved() <= memory.capacity() / 2
    }

    /// Returns the open release of a model.
    pub fn release(&self, model: &ModelName) -> Result<ReleaseStatus, InferError> {
        record_name(model);
        self.registry.entry(model)?;
        let release = self.releases.find(model);
        let release = release.ok_or_else(|| ControlError::NoRelease {
            model: model.clone(),
        })?;
        Ok(release.status())
    }

    /// Returns the states of the versions that `target` names: one version, or all versions of its model.
    pub fn states(&self, target: &Target) -> Result<Vec<IndexEntry>, InferError> {
        record_target(target);
        Ok(self.space(&target.model).registry.states(target)?)
    }

    /// Returns whether the named version can be called now, or is loaded by its first request. A model or version that does
    /// not exist cannot.
    pub fn is_model_ready(&self, target: &Target) -> bool {
        record_target(target);
        self.space(&target.model).registry.is_callable(target)
    }
}

/// Returns the function that computes the golden cases of a version before it is served, if the server does.
fn golden_cases(options: &ServingOptions) -> Option<CaseCaller> {
    options.golden_cases.then_some(call_case as CaseCaller)
}
