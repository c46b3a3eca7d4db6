//! The state that all requests share: the served models, the limits, and the control over both.
//!
//! [`Serving`] answers questions about models and changes which ones are served; [`crate::infer()`] runs the
//! inferences on it. A tenant has a [`Serving`] of its own, which shares everything but the models with the others
//! (`tenant_view`). `selection` finds the version that a request means.

mod selection;
pub(crate) mod tenant_view;

use crate::account::Account;
use crate::admission::{Admission, AdmissionCounts};
use crate::blocking::BlockingPool;
use crate::case_call::call_case;
use crate::current_request::{record_name, record_target};
use crate::error::InferError;
use crate::memory_pressure::{LARGE_BYTES, MemoryPressure, PressureStage};
use crate::metering::usage_book::UsageBook;
use crate::model_control::{ControlError, ControlMode, ModelControl};
use crate::payload_log::{PayloadCounts, PayloadLog};
use crate::readers::{Readers, ReadingSlot};
use crate::registry::golden_cases::CaseCaller;
use crate::registry::snapshot::Snapshot;
use crate::registry::{LoadedVersion, Registry};
use crate::release::{ReleaseOptions, Releases};
use crate::repository_poll::RepositoryPoll;
use crate::residency::Residency;
use crate::response_cache::{ResponseCache, ResponseCacheOptions};
use crate::tenants::tenant_set::Tenant;
use crate::uploads::incoming_file::IncomingFile;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::sync::watch;
use wisp_protocol::call::{IndexEntry, ModelName, Target, Version};
use wisp_protocol::load::LoadRequest;
use wisp_protocol::release::{ReleaseChange, ReleaseStart, ReleaseStatus};
use wisp_protocol::routing::RoutingSource;
use wisp_protocol::statistics::VersionStatistics;
use wisp_protocol::upload::{CommittedVersion, UploadFileName, VersionName};
use wisp_protocol::v2::IndexFilter;
use wisp_tensor::MemoryBudget;

/// Everything that inference needs besides the request, for the requests of one tenant. Lifetime: the process.
#[derive(Debug)]
pub struct Serving {
    /// The tenant whose requests these are, and whose models the registry has.
    tenant: Arc<Tenant>,
    /// The service of the public models, if those of the registry are of a tenant of its own.
    public: Option<Arc<Serving>>,
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

/// The limits of every inference.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// The number of requests admitted at the same time. One model version may hold seven eighths of
    /// them; a request above the limit is refused.
    pub max_requests: usize,
    /// The number of requests that wait for their bodies at the same time; a further one ends the oldest.
    pub max_readers: usize,
    /// The number of asynchronous handler instances alive at the same time; admitted requests wait for one.
    pub max_instances: usize,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The time limit from the complete body to the response.
    pub request_timeout: Duration,
    /// The budget of bytes that all requests hold together; a request that would exceed it is refused.
    pub memory: Arc<MemoryBudget>,
    /// The memory in bytes at which the kernel would end the process, if there is such a limit.
    pub memory_limit_bytes: Option<u64>,
    /// The condition under which the server is ready.
    pub readiness: Readiness,
    /// The log of the inputs and outputs of calls, if there is one.
    pub payload_log: Option<Arc<PayloadLog>>,
    /// The limits of the cache for the responses of models that have one.
    pub cache: ResponseCacheOptions,
    /// The settings of releases.
    pub releases: ReleaseOptions,
    /// Set if a version that is loaded while the server runs computes the golden cases of its model before it is served.
    pub golden_cases: bool,
    /// The usage of all tenants and models.
    pub usage: Arc<UsageBook>,
    /// Set if the response of an inference contains what its request has used.
    pub shows_usage: bool,
}

/// The condition under which a server that does not drain is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// At least one model can be called, and every model that the server was started with has been loaded,
    /// apart from optional ones. Later failures to load leave the server as ready as it was.
    Models,
    /// Always.
    Server,
}

impl Default for ServingOptions {
    fn default() -> ServingOptions {
        ServingOptions {
            max_requests: 1024,
            max_readers: 4096,
            max_instances: 128,
            max_body_bytes: 64 << 20,
            request_timeout: Duration::from_secs(10),
            memory: Arc::new(MemoryBudget::new(1 << 30)),
            memory_limit_bytes: None,
            readiness: Readiness::Models,
            payload_log: None,
            cache: ResponseCacheOptions::default(),
            releases: ReleaseOptions::default(),
            golden_cases: true,
            usage: Arc::default(),
            shows_usage: false,
        }
    }
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

    /// Returns the number of handler instances that are alive now, without those of inline calls.
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

    /// Returns the budget of the bytes that all requests hold together.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.options.memory
    }

    /// Returns the memory of the process and its stage of back-pressure.
    pub fn memory_pressure(&self) -> &MemoryPressure {
        &self.pressure
    }

    /// Restricts what is remembered and reserved from now on as a stage of memory pressure requires.
    pub(crate) fn restrict_memory(&self, stage: PressureStage) {
        self.cache.pause(stage >= PressureStage::Shrink);
        let largest = match stage {
            PressureStage::Normal | PressureStage::Shrink => usize::MAX,
            PressureStage::RefuseLarge | PressureStage::RefuseAll => LARGE_BYTES,
        };
        self.options.memory.set_largest_reservation(largest);
    }

    /// Returns memory that is not needed at once: that of an idle model, if requests load models.
    pub(crate) fn relieve_memory(&self) {
        if let Some(control) = &self.control {
            control.residency().evict_idle(&self.registry, 1);
        }
    }

    /// Returns the counts of the payload log, if there is one.
    pub fn payload_counts(&self) -> Option<PayloadCounts> {
        self.options.payload_log.as_ref().map(|log| log.counts())
    }

    /// Returns the size limit of a request body, in bytes: that of the server, or a smaller one of the tenant.
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

    /// Returns whether clients may load and unload models.
    pub fn is_controlled_by_clients(&self) -> bool {
        let mode = self.control.as_ref().map(|control| control.mode());
        mode == Some(ControlMode::Explicit)
    }

    /// Returns an error if clients may not load and unload models.
    pub fn check_control(&self) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control.check()?)
    }

    /// Loads or reloads a model: from the repository, or with the files and settings of the request.
    pub async fn load(&self, model: ModelName, request: LoadRequest) -> Result<(), InferError> {
        record_name(&model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        self.pressure.check_load()?;
        let loading = control.load(&self.registry, (model, request), self.max_models());
        Ok(loading.await?)
    }

    /// Begins to receive a file of a version that is being uploaded.
    pub async fn begin_upload(
        &self,
        name: &VersionName,
        file: &UploadFileName,
    ) -> Result<IncomingFile, InferError> {
        record_name(&name.model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control.begin_upload(name, file).await?)
    }

    /// Adds an uploaded version to the repository, once it could be loaded, and loads its model again.
    pub async fn commit_version(&self, name: &VersionName) -> Result<CommittedVersion, InferError> {
        record_name(&name.model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        // It loads the version, for a trial and again.
        self.pressure.check_load()?;
        Ok(control.commit_version(&self.registry, name).await?)
    }

    /// Deletes a version of the repository, or the upload of one.
    pub async fn delete_version(&self, name: &VersionName) -> Result<(), InferError> {
        record_name(&name.model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control.delete_version(&self.registry, name).await?)
    }

    /// Loads a model of the repository again for the operator, whether or not clients may.
    pub async fn reload(&self, model: ModelName) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control.reload(&self.registry, model).await?)
    }

    /// Stops serving a model.
    pub async fn unload(&self, model: &ModelName) -> Result<(), InferError> {
        record_name(model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control.unload(&self.registry, model).await?)
    }

    /// Loads these models of the repository and stops serving all others.
    pub async fn load_only(&self, models: Vec<ModelName>) -> Result<(), InferError> {
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control.load_only(&self.registry, models).await?)
    }

    /// Returns a poll that keeps the served models up to date with the repository, or `None` in every
    /// other mode. `taken` is a snapshot of the repository from before any model was loaded.
    pub fn poll(&self, taken: Snapshot) -> Option<RepositoryPoll> {
        let control = self.control.clone()?;
        let registry = Arc::clone(&self.registry);
        let polls = control.mode() == ControlMode::Poll;
        polls.then(|| RepositoryPoll::new(control, registry, taken))
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

    /// Continues the releases that were open when the server stopped. Loads their versions, and so takes long; no
    /// request may be served before.
    pub fn restore_releases(&self) {
        if let Some(control) = &self.control {
            control.restore_releases(&self.registry);
        }
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

    /// Starts a release of a model, or changes the settings of the running one.
    pub async fn start_release(
        &self,
        model: ModelName,
        start: ReleaseStart,
    ) -> Result<ReleaseStatus, InferError> {
        record_name(&model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control
            .start_release(&self.registry, (model, start))
            .await?)
    }

    /// Promotes, aborts or closes the release of a model.
    pub async fn change_release(
        &self,
        model: ModelName,
        change: ReleaseChange,
    ) -> Result<ReleaseStatus, InferError> {
        record_name(&model);
        let control = self.control.as_ref().ok_or(ControlError::Disabled)?;
        Ok(control
            .change_release(&self.registry, (model, change))
            .await?)
    }

    /// Returns the states of the versions that `target` names: one version, or all those of its model.
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
