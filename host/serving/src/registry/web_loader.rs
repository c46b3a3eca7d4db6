//! Loads a web component, whose graphs are loaded beside it as for a handler.

use crate::fair_pool::FairPool;
use crate::guest_log_writer::GuestLogWriter;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::HttpSection;
use crate::registry::repository::VersionFiles;
use crate::registry::web_route::WebRoute;
use crate::web_executor::WebExecutor;
use std::num::NonZeroUsize;
use std::sync::Arc;
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::compute::Graphs;
use wisp_sandbox::engine::Engine;
use wisp_sandbox::limits::Limits;
use wisp_sandbox::web::{WebApp, WebComponent, WebOptions};

/// The part of all instances that one web component may have at a time. Its guests wait for clients, timers and other
/// servers, which takes them longer than computing.
const SHARE_OF_INSTANCES: usize = 4;

/// The settings of a web component. Lifetime: one load.
pub(super) struct WebLoading<'a> {
    pub(super) engine: &'a Arc<Engine>,
    pub(super) aot: &'a AotStore,
    /// The threads that its guests run on.
    pub(super) pool: &'a Arc<FairPool>,
    pub(super) files: &'a VersionFiles,
    pub(super) settings: &'a HttpSection,
    pub(super) limits: Limits,
}

impl WebLoading<'_> {
    /// Links the component with the graphs of its version, each of which computes `threads` times at once.
    pub(super) fn load(
        self,
        wasm: &[u8],
        graphs: &Arc<Graphs>,
        threads: NonZeroUsize,
    ) -> Result<WebExecutor, LoadError> {
        let WebLoading {
            engine,
            aot,
            pool,
            files,
            settings,
            limits,
        } = self;
        let component = WebComponent::load(engine, aot, wasm).map_err(LoadError::WebComponent)?;
        let options = WebOptions {
            graphs: Arc::clone(graphs),
            limits,
            allowed_hosts: settings.allowed_hosts.clone(),
        };
        let app = WebApp::load(engine, &component, options).map_err(LoadError::WebLink)?;
        let route = settings.route.clone();
        let route = route.unwrap_or_else(|| WebRoute::of_model(&files.model));
        let log = GuestLogWriter::new(files.model.clone(), files.version);
        let busy = 2 * (pool.threads_per_flow().get() + threads.get());
        let instances = engine.max_instances() as usize;
        let slots = busy.max(instances / SHARE_OF_INSTANCES);
        Ok(WebExecutor::new(app, route, log, (pool, slots)))
    }
}
