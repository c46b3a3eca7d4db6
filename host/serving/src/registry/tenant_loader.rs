//! Loaders for the models of tenants, which share everything with the loader of the server but its graphs and its compiled
//! components.
//!
//! Models with the same files share a graph and the machine code of a handler. If tenants did, one could see by the time of
//! a load, or by the batches of its requests, which files another one has.

use crate::registry::graph_loader::GraphLoader;
use crate::registry::loader::Loader;
use crate::tenants::tenant_id::TenantId;
use std::sync::Arc;

impl Loader {
    /// Returns a loader for the models of this tenant.
    pub fn for_tenant(&self, tenant: &TenantId) -> Loader {
        let graphs = &self.graphs;
        Loader {
            engine: Arc::clone(&self.engine),
            aot: Arc::new(self.aot.of_tenant(tenant.as_str())),
            graphs: GraphLoader {
                backends: graphs.backends.clone(),
                choice: graphs.choice.clone(),
                selections: graphs.selections.clone(),
                probe: graphs.probe.clone(),
                workers: Arc::clone(&graphs.workers),
                shared: graphs.shared.separate(),
            },
            pool: Arc::clone(&self.pool),
            instances: self.instances,
            limits: self.limits.clone(),
            direct_calls: self.direct_calls,
            signatures: self.signatures.clone(),
        }
    }
}
