//! Tests of calls through the cache, with a graph whose computations wait until a test lets them end.

use super::*;
use crate::admission::Admission;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use tokio::sync::Semaphore;
use wisp_protocol::call::{ModelDescription, ModelName, Version};
use wisp_sandbox::compute::{Compute, ComputeError, ComputeOptions, Computed, Computing};
use wisp_tensor::{
    Dimension, ElementType, NamedTensor, Parameter, Shape, Signature, Tensor, TensorSpec,
};

/// A graph that returns its input, once a test has allowed it. It refuses the input 255.
#[derive(Debug)]
struct Echo {
    signature: Signature,
    computations: AtomicUsize,
    allowed: Semaphore,
}

impl Echo {
    fn new() -> Arc<Echo> {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Uint8,
            shape: vec![Dimension::Variable],
            optional: false,
        };
        Arc::new(Echo {
            signature: Signature {
                inputs: vec![spec("x")],
                outputs: vec![spec("y")],
            },
            computations: AtomicUsize::new(0),
            allowed: Semaphore::new(0),
        })
    }

    fn computations(&self) -> usize {
        self.computations.load(Ordering::Relaxed)
    }
}

impl Compute for Echo {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn compute(&self, mut inputs: Vec<NamedTensor>, _options: ComputeOptions) -> Computing<'_> {
        Box::pin(async move {
            self.computations.fetch_add(1, Ordering::Relaxed);
            let allowed = self.allowed.acquire().await;
            allowed.map_err(|_| ComputeError::Deadline)?.forget();
            if inputs[0].tensor.content().first() == Some(&255) {
                return Err(ComputeError::Backend("255".to_owned()));
            }
            inputs[0].name = "y".to_owned();
            Ok(Computed {
                outputs: inputs,
                queue: Duration::ZERO,
                backend: Duration::ZERO,
            })
        })
    }

    fn compute_inline(
        &self,
        _inputs: &[NamedTensor],
        _deadline: Instant,
    ) -> Result<Vec<NamedTensor>, ComputeError> {
        Err(ComputeError::Unprepared)
    }
}

/// A cache and a version.
struct Fixture {
    cache: ResponseCache,
    graph: Arc<Echo>,
    version: Arc<ModelVersion>,
    admission: Admission,
    tenant: TenantId,
}

type Called = Result<(InferResponse, Usage, CacheOutcome), InferError>;

impl Fixture {
    fn new(options: ResponseCacheOptions) -> Fixture {
        let graph = Echo::new();
        Fixture {
            cache: ResponseCache::new(options),
            version: version(&graph, 1),
            graph,
            admission: Admission::new(100, 10),
            tenant: TenantId::local(),
        }
    }

    /// Calls a version with this byte as its input.
    async fn call_version(&self, version: &Arc<ModelVersion>, request: InferRequest) -> Called {
        let limit = Duration::from_secs(100);
        self.call_within(version, request, limit).await
    }

    async fn call_within(
        &self,
        version: &Arc<ModelVersion>,
        mut request: InferRequest,
        limit: Duration,
    ) -> Called {
        let permit = Arc::new(self.admission.admit(version.share())?);
        let terms = CallTerms {
            permit: &permit,
            deadline: Instant::now() + limit,
            is_declined: take_refusal(&mut request),
            tenant: &self.tenant,
        };
        self.cache.call(version, request, terms).await
    }

    async fn call(&self, byte: u8) -> Called {
        self.call_version(&self.version, request(byte)).await
    }

    fn allow(&self, computations: usize) {
        self.graph.allowed.add_permits(computations);
    }
}

/// Returns a version of the graph that is cached, with this identity.
fn version(graph: &Arc<Echo>, identity: u8) -> Arc<ModelVersion> {
    let description = ModelDescription {
        model: ModelName::new("m").unwrap(),
        version: Version::FIRST,
        platform: "echo".to_owned(),
        signature: graph.signature.clone(),
        max_batch_size: 0,
        max_rows: None,
        class_labels: BTreeMap::new(),
        properties: BTreeMap::new(),
        configuration: Default::default(),
    };
    let graph: Arc<dyn Compute> = Arc::<Echo>::clone(graph);
    let version = ModelVersion::graph_only(description, graph, Vec::new());
    Arc::new(version.with_cache(Some(CachePolicy {
        identity: [identity; 32],
        ttl: Duration::from_secs(60),
    })))
}

fn request(byte: u8) -> InferRequest {
    let shape = Shape::new(vec![4]).unwrap();
    let content = Bytes::from(vec![byte; 4]);
    InferRequest {
        inputs: vec![NamedTensor {
            name: "x".to_owned(),
            tensor: Tensor::new(ElementType::Uint8, shape, content).unwrap(),
        }],
        parameters: Vec::new(),
        outputs: Vec::new(),
        scheduling: Default::default(),
    }
}

fn declining(byte: u8) -> InferRequest {
    let mut request = request(byte);
    request.parameters.push(Parameter {
        name: CACHE_PARAMETER.to_owned(),
        value: ParameterValue::Bool(false),
    });
    request
}

fn is_hit(called: &Called) -> bool {
    matches!(called, Ok((_, _, CacheOutcome::Hit(_))))
}

fn is_miss(called: &Called) -> bool {
    matches!(called, Ok((_, _, CacheOutcome::Miss(_))))
}

#[tokio::test(start_paused = true)]
async fn a_request_is_computed_once_in_its_time() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    fixture.allow(9);
    assert!(is_miss(&fixture.call(1).await));
    let again = fixture.call(1).await;
    assert!(is_hit(&again), "{again:?}");
    let (response, usage, _) = again.unwrap();
    assert_eq!(response.outputs[0].tensor.content()[..], [1; 4]);
    assert_eq!(usage, Usage::default());
    assert!(is_miss(&fixture.call(2).await), "it is another request");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(is_miss(&fixture.call(1).await), "its time is over");
    assert_eq!(fixture.graph.computations(), 3);
}

#[tokio::test]
async fn equal_requests_wait_for_one_computation() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    let (first, second, third, ()) =
        tokio::join!(fixture.call(1), fixture.call(1), fixture.call(1), async {
            fixture.allow(1)
        });
    let called = [first, second, third];
    assert_eq!(called.iter().filter(|called| is_miss(called)).count(), 1);
    assert_eq!(called.iter().filter(|called| is_hit(called)).count(), 2);
    assert_eq!(fixture.graph.computations(), 1);
}

#[tokio::test]
async fn a_failure_reaches_all_who_wait_and_is_not_cached() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    let (first, second, ()) = tokio::join!(fixture.call(255), fixture.call(255), async {
        fixture.allow(9);
    });
    for called in [first, second] {
        let error = called.expect_err("the graph refuses");
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(fixture.graph.computations(), 1);
    assert!(fixture.call(255).await.is_err());
    assert_eq!(fixture.graph.computations(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_with_more_time_than_the_one_it_waited_for_is_computed() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    let short = Duration::from_secs(1);
    let (first, second, ()) = tokio::join!(
        fixture.call_within(&fixture.version, request(1), short),
        fixture.call(1),
        async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            fixture.allow(1);
        }
    );
    let error = first.expect_err("it has no time");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(is_miss(&second), "{second:?}");
    assert_eq!(fixture.graph.computations(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_computation_of_others() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    let mut leaving = Box::pin(fixture.call(1));
    assert!((&mut leaving).now_or_never().is_none());
    let mut waiting = Box::pin(fixture.call(1));
    assert!((&mut waiting).now_or_never().is_none());
    drop(leaving);
    fixture.allow(1);
    let called = waiting.await;
    assert!(is_miss(&called), "somebody accounts for the computation");
    assert_eq!(fixture.graph.computations(), 1);
    assert_eq!(fixture.admission.admitted_requests(), 0);
}

#[tokio::test]
async fn a_request_that_declines_the_cache_is_computed_and_not_remembered() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    fixture.allow(9);
    for _ in 0..2 {
        let called = fixture.call_version(&fixture.version, declining(1)).await;
        assert!(matches!(called, Ok((_, _, CacheOutcome::Bypassed))));
    }
    assert!(is_miss(&fixture.call(1).await));
    assert_eq!(fixture.graph.computations(), 3);
}

#[tokio::test]
async fn other_files_have_other_responses_and_uncached_versions_none() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    fixture.allow(9);
    assert!(is_miss(&fixture.call(1).await));
    let reloaded = version(&fixture.graph, 2);
    assert!(is_miss(&fixture.call_version(&reloaded, request(1)).await));
    let description = fixture.version.description().clone();
    let graph: Arc<dyn Compute> = fixture.graph.clone();
    let uncached = Arc::new(ModelVersion::graph_only(description, graph, Vec::new()));
    let called = fixture.call_version(&uncached, request(1)).await;
    assert!(matches!(called, Ok((_, _, CacheOutcome::Bypassed))));
}

#[tokio::test]
async fn a_response_above_the_limit_is_not_remembered() {
    let fixture = Fixture::new(ResponseCacheOptions {
        max_response_bytes: 100,
        ..ResponseCacheOptions::default()
    });
    fixture.allow(9);
    for _ in 0..2 {
        assert!(is_miss(&fixture.call(1).await));
    }
    assert_eq!(fixture.cache.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_request_ends_at_its_deadline() {
    let fixture = Fixture::new(ResponseCacheOptions::default());
    let called = fixture.call(1).await;
    let error = called.expect_err("nothing allows the computation");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}
