//! A loader for tests, whose backend reads a word: its models need no graph, and are loaded in no time.

use super::backend_selection::BackendSelectionStore;
use super::grant_policy::GrantPolicy;
use super::graph_loader::GraphLoader;
use super::loader::Loader;
use super::model_file::BackendChoice;
use super::shared_graphs::SharedGraphs;
use super::version_signature::SignaturePolicy;
use crate::fair_pool::{FairPool, PoolOptions};
use crate::worker_pool::{PoolThreads, WorkerPool};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use wisp_backend::{Backend, BackendError, Backends, Graph, LoadOptions, ModelSource};
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::engine::{Engine, EngineOptions};
use wisp_sandbox::limits::Limits;
use wisp_tensor::{NamedTensor, Signature};

/// A backend that loads files which begin with "graph".
#[derive(Debug)]
struct Words;

#[derive(Debug)]
struct Nothing(Signature);

impl Backend for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn version(&self) -> String {
        "0".to_owned()
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        _: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let ModelSource::Path(path) = source else {
            unreachable!("the loader loads files");
        };
        match std::fs::read_to_string(path).map_err(BackendError::Read)? {
            word if word.starts_with("graph") => Ok(Arc::new(Nothing(Signature::default()))),
            _ => Err(BackendError::Load {
                backend: "words",
                reason: "no graph".to_owned(),
            }),
        }
    }
}

impl Graph for Nothing {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        Ok(Vec::new())
    }
}

/// Returns a loader of files that begin with "graph", which stores what it remembers in this directory.
pub(crate) fn word_loader(store: &Path) -> anyhow::Result<Loader> {
    let threads = NonZeroUsize::MIN;
    Ok(Loader {
        engine: Arc::new(Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?),
        aot: Arc::new(AotStore::open(&store.join("aot"))?),
        graphs: GraphLoader {
            backends: Backends::new(Arc::new(Words), Vec::new()),
            choice: BackendChoice::Named(Words.name().to_owned()),
            selections: BackendSelectionStore::new(store.join("decisions")),
            probe: None,
            workers: WorkerPool::spawn("test", PoolThreads::fixed(threads))?,
            shared: SharedGraphs::default(),
        },
        pool: FairPool::spawn("test", PoolOptions::with_threads_per_flow(threads))?,
        own_instances: None,
        instances: threads,
        limits: Limits::default(),
        direct_calls: true,
        grants: GrantPolicy::default(),
        signatures: SignaturePolicy::default(),
    })
}
