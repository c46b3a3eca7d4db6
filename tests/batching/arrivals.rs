//! A property test of batching with real backends: whatever the pattern of arrivals, each request has the answer that it
//! has alone.
//!
//! The patterns have requests of several rows and priorities, pauses, and clients that leave. The rules have delays,
//! preferred sizes, levels and an order of responses. The batches that form depend on the threads, and the property does
//! not.

use super::{check_equal, features, runtime, soon};
use crate::harness::{root, scale};
use anyhow::{Context, Result, anyhow, ensure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use wisp_backend::rten::Rten;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, Graph, LoadOptions};
use wisp_sandbox::compute::{Compute, ComputeError, ComputeOptions, Computed, Computing};
use wisp_serving::batcher::policy::BatchPolicy;
use wisp_serving::batcher::{Batcher, BatcherParts};
use wisp_serving::call_durations::ExecutionMode;
use wisp_serving::per_row_graph::load_graph;
use wisp_serving::worker_pool::{PoolThreads, WorkerOptions, WorkerPool};
use wisp_tensor::NamedTensor;

/// The number of patterns for each graph, at scale 1.
const PATTERNS: u32 = 24;

/// The longest pattern. The queue has room for all of its requests.
const MOST_STEPS: usize = 48;

/// The graphs, with the numbers of their features.
const GRAPHS: [(&str, u32); 2] = [("progression", 10), ("wine", 13)];

/// A step of a pattern.
#[derive(Debug, Clone)]
enum Step {
    Arrive {
        rows: u32,
        /// The first of the numbers in its rows.
        first: u32,
        priority: u32,
    },
    /// The other threads may run, this many times.
    Pause(u32),
    /// The oldest request that still waits is answered before the next step.
    Answer,
    /// The client of the request at this place among those that wait leaves.
    Leave(prop::sample::Index),
}

/// A graph that is loaded once for all patterns.
struct Loaded {
    graph: Arc<dyn Graph>,
    pool: Arc<WorkerPool>,
    columns: u32,
}

/// A request whose client waits.
struct Waiting<'a> {
    computing: Computing<'a>,
    request: NamedTensor,
}

impl Loaded {
    fn load(backend: &dyn Backend, example: &str, columns: u32) -> Result<Loaded> {
        let threads = NonZeroUsize::MIN.saturating_add(1);
        let pool = WorkerPool::spawn("test", PoolThreads::fixed(threads))?;
        let path = root().join("examples").join(example).join("1/model.onnx");
        let graph = load_graph(backend, &path, &LoadOptions::default(), &pool)?;
        ensure!(graph.rows().are_independent(), "{example}");
        Ok(Loaded {
            graph,
            pool,
            columns,
        })
    }

    fn batcher(&self, policy: Option<BatchPolicy>) -> Batcher {
        Batcher::new(BatcherParts {
            graph: Arc::clone(&self.graph),
            pool: Arc::clone(&self.pool),
            options: WorkerOptions {
                threads: NonZeroUsize::MIN.saturating_add(1),
                queue: MOST_STEPS,
            },
            mode: ExecutionMode::Queued,
            policy,
        })
    }

    /// Runs a pattern with these rules, and compares each answer with that of the request alone.
    async fn check(&self, policy: &BatchPolicy, steps: &[Step]) -> Result<()> {
        let alone = self.batcher(None);
        let joined = self.batcher(Some(policy.clone()));
        let mut waiting: VecDeque<Waiting<'_>> = VecDeque::new();
        for step in steps {
            match step {
                Step::Arrive {
                    rows,
                    first,
                    priority,
                } => {
                    let request = features(*rows, self.columns, *first)?;
                    let options = ComputeOptions {
                        priority: *priority,
                        ..soon()
                    };
                    let mut computing = joined.compute(vec![request.clone()], options);
                    match submit(&mut computing).await {
                        Some(computed) => check_answer(&alone, &request, computed).await?,
                        None => waiting.push_back(Waiting { computing, request }),
                    }
                }
                Step::Pause(turns) => (0..*turns).for_each(|_| std::thread::yield_now()),
                Step::Answer => {
                    if let Some(Waiting { computing, request }) = waiting.pop_front() {
                        check_answer(&alone, &request, computing.await).await?;
                    }
                }
                Step::Leave(place) => {
                    if !waiting.is_empty() {
                        drop(waiting.remove(place.index(waiting.len())));
                    }
                }
            }
        }
        for Waiting { computing, request } in waiting {
            check_answer(&alone, &request, computing.await).await?;
        }
        Ok(())
    }
}

/// Polls a computation once, which gives its request a place in the queue. Returns the result if it is there already.
async fn submit(computing: &mut Computing<'_>) -> Option<Result<Computed, ComputeError>> {
    std::future::poll_fn(|context| {
        Poll::Ready(match computing.as_mut().poll(context) {
            Poll::Ready(computed) => Some(computed),
            Poll::Pending => None,
        })
    })
    .await
}

async fn check_answer(
    alone: &Batcher,
    request: &NamedTensor,
    computed: Result<Computed, ComputeError>,
) -> Result<()> {
    let expected = alone.compute(vec![request.clone()], soon()).await?;
    check_equal(&computed?.outputs, &expected.outputs)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let arrival = (1..6u32, 0..1000u32, 0..4u32).prop_map(|(rows, first, priority)| Step::Arrive {
        rows,
        first,
        priority,
    });
    let step = prop_oneof![
        8 => arrival,
        2 => (0..200u32).prop_map(Step::Pause),
        1 => Just(Step::Answer),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 1..MOST_STEPS)
}

fn policies() -> impl Strategy<Value = BatchPolicy> {
    let preferred = prop::collection::vec(1..13u32, 0..3);
    let delay = prop_oneof![Just(0u64), 0..2000u64];
    let levels = (0..4u32, 1..4u32);
    (1..13u32, preferred, delay, levels, any::<bool>()).prop_map(
        |(most, mut preferred, delay, (priority_levels, default), preserve_ordering)| {
            preferred.retain(|size| *size <= most);
            BatchPolicy {
                max_batch_size: NonZeroU32::MIN.saturating_add(most - 1),
                preferred_batch_sizes: preferred,
                max_queue_delay: Duration::from_micros(delay),
                preserve_ordering,
                priority_levels,
                default_priority_level: default.min(priority_levels),
                ..BatchPolicy::default()
            }
        },
    )
}

#[test]
fn each_request_has_the_response_that_it_has_alone_for_all_arrivals() -> Result<()> {
    let backends: [Box<dyn Backend>; 2] = [Box::new(Tract::new()), Box::new(Rten::new())];
    let cases = u32::try_from(scale()).context("the scale is too large")?;
    for backend in &backends {
        for (example, columns) in GRAPHS {
            let loaded = Loaded::load(&**backend, example, columns)?;
            let runtime = runtime()?;
            let mut runner = TestRunner::new(Config {
                cases: PATTERNS.saturating_mul(cases),
                // There is no file of a library beside which failures could be kept.
                failure_persistence: None,
                ..Config::default()
            });
            let outcome = runner.run(&(policies(), steps()), |(policy, steps)| {
                let checked = runtime.block_on(loaded.check(&policy, &steps));
                checked.map_err(|error| TestCaseError::fail(format!("{error:#}")))
            });
            outcome.map_err(|failure| anyhow!("{} with {example}: {failure}", backend.name()))?;
        }
    }
    Ok(())
}
