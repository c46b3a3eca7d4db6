//! Loaders for the models of tenants, which share everything with the loader of the server but its graphs, its compiled
//! components, its records of earlier loads and the children that try files.
//!
//! Models with the same files share a graph and the machine code of a handler. If tenants did, one could see by the time of
//! a load, or by the batches of its requests, which files another one has.

use crate::admission::InstanceSlots;
use crate::fair_pool::{FairPool, PoolOptions};
use crate::registry::graph_loader::GraphLoader;
use crate::registry::loader::Loader;
use crate::tenants::tenant_id::TenantId;
use crate::worker_pool::{PoolThreads, WorkerPool};
use std::io;
use std::sync::Arc;

/// The names of the threads of a tenant that is cordoned off.
const HANDLER_THREADS: &str = "wisp-c-handler";
const GRAPH_THREADS: &str = "wisp-c-graph";

impl Loader {
    /// Returns a loader for the models of this tenant, whose handlers and graphs have threads of their own, and whose
    /// handlers have this number of instances in an engine of their own.
    pub fn cordoned(&self, tenant: &TenantId, instances: usize) -> io::Result<Loader> {
        let threads = self.instances;
        let engine = self.engine.separate().map_err(io::Error::other)?;
        let pool = FairPool::spawn(HANDLER_THREADS, PoolOptions::with_threads_per_flow(threads))?;
        let workers = WorkerPool::spawn(GRAPH_THREADS, PoolThreads::for_graphs(threads))?;
        let loader = self.for_tenant(tenant);
        Ok(Loader {
            engine: Arc::new(engine),
            graphs: GraphLoader {
                workers,
                ..loader.graphs
            },
            pool,
            own_instances: Some(InstanceSlots::new(instances)),
            ..loader
        })
    }

    /// Returns a loader for the models of this tenant.
    pub fn for_tenant(&self, tenant: &TenantId) -> Loader {
        let graphs = &self.graphs;
        Loader {
            engine: Arc::clone(&self.engine),
            aot: Arc::new(self.aot.of_tenant(tenant.as_str())),
            graphs: GraphLoader {
                backends: graphs.backends.clone(),
                choice: graphs.choice.clone(),
                selections: graphs.selections.of_tenant(tenant.as_str()),
                probe: (graphs.probe.as_ref()).map(|probe| probe.of_tenant(tenant.as_str())),
                workers: Arc::clone(&graphs.workers),
                shared: graphs.shared.separate(),
            },
            pool: Arc::clone(&self.pool),
            own_instances: self.own_instances.clone(),
            instances: self.instances,
            limits: self.limits.clone(),
            direct_calls: self.direct_calls,
            signatures: self.signatures.clone(),
            grants: self.grants.clone(),
        }
    }
}
