//! Tests of a batcher over graphs of these tests, on the threads of a pool.

use super::batch_sizes::{BatchSizes, RowLimit};
use super::policy::{QueuePolicy, TimeoutAction};
use super::*;
use crate::worker_pool::PoolThreads;
use anyhow::{Context, ensure};
use proptest::prelude::*;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ThreadId;
use wisp_backend::{BackendError, Rows};
use wisp_sandbox::compute::{ComputeMeter, Payer};
use wisp_tensor::{ElementType, Shape, Tensor, TensorSpec};

/// A number that makes the graph return an error.
const BAD: f32 = -1.0;

/// A number that makes the graph panic.
const DREADFUL: f32 = -2.0;

/// Doubles each number of its input, row by row, and records the sizes of the batches.
#[derive(Debug)]
struct Doubling {
    signature: Signature,
    batches: Mutex<Vec<u32>>,
    threads: Mutex<Vec<ThreadId>>,
    /// Each computation reports that it has begun, and waits for a permission; `None` if it does not.
    gate: Option<Gate>,
}

#[derive(Debug)]
struct Gate {
    begun: Mutex<Sender<()>>,
    permissions: Mutex<Receiver<()>>,
}

/// The other end of a gate.
struct Control {
    begun: Receiver<()>,
    permissions: Sender<()>,
}

impl Doubling {
    fn new(gate: Option<Gate>) -> Arc<Doubling> {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Fp32,
            shape: vec![wisp_tensor::Dimension::Variable; 2],
            optional: false,
        };
        Arc::new(Doubling {
            signature: Signature {
                inputs: vec![spec("x")],
                outputs: vec![spec("y")],
            },
            batches: Mutex::default(),
            threads: Mutex::default(),
            gate,
        })
    }

    fn gated() -> (Arc<Doubling>, Control) {
        let (begun, has_begun) = channel();
        let (permissions, permitted) = channel();
        let gate = Gate {
            begun: Mutex::new(begun),
            permissions: Mutex::new(permitted),
        };
        let control = Control {
            begun: has_begun,
            permissions,
        };
        (Doubling::new(Some(gate)), control)
    }

    /// Returns the sizes of the batches so far.
    fn batches(&self) -> Vec<u32> {
        self.batches.lock().unwrap().clone()
    }
}

impl Graph for Doubling {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        Rows::Independent
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        if let Some(gate) = &self.gate {
            let _ = gate.begun.lock().unwrap().send(());
            let _ = gate.permissions.lock().unwrap().recv();
        }
        let tensor = &inputs[0].tensor;
        self.batches
            .lock()
            .unwrap()
            .push(tensor.shape().dimensions()[0]);
        self.threads
            .lock()
            .unwrap()
            .push(std::thread::current().id());
        let numbers = numbers_of(tensor);
        assert!(!numbers.contains(&DREADFUL), "a panic of the test");
        if numbers.contains(&BAD) {
            return Err(BackendError::Inputs {
                backend: "test",
                reason: "a bad number".to_owned(),
                explanation: "a number is bad".to_owned(),
            });
        }
        let doubled: Vec<f32> = numbers.iter().map(|number| number * 2.0).collect();
        let columns = tensor.shape().dimensions()[1];
        Ok(vec![named("y", columns, &doubled)])
    }
}

/// Computes until it is cancelled.
#[derive(Debug, Default)]
struct Endless {
    signature: Signature,
}

impl Graph for Endless {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn compute(&self, _: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        Ok(Vec::new())
    }

    fn compute_prepared_cancellable(
        &self,
        _: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        while !cancellation.is_cancelled() {
            std::thread::yield_now();
        }
        Some(Err(BackendError::Cancelled))
    }
}

fn named(name: &str, columns: u32, numbers: &[f32]) -> NamedTensor {
    let rows = match columns {
        0 => 0,
        columns => u32::try_from(numbers.len()).unwrap() / columns,
    };
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let shape = Shape::new(vec![rows, columns]).unwrap();
    NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(ElementType::Fp32, shape, content.into()).unwrap(),
    }
}

/// Returns a request of these numbers, with one number in each row.
fn request(numbers: &[f32]) -> Vec<NamedTensor> {
    vec![named("x", 1, numbers)]
}

fn numbers_of(tensor: &Tensor) -> Vec<f32> {
    let (chunks, _) = tensor.content().as_chunks::<4>();
    chunks
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect()
}

/// Returns the numbers of the only output.
fn numbers(computed: &Computed) -> Vec<f32> {
    numbers_of(&computed.outputs[0].tensor)
}

fn batcher(graph: Arc<dyn Graph>, policy: Option<BatchPolicy>) -> anyhow::Result<Batcher> {
    of_mode(graph, policy, ExecutionMode::Queued)
}

fn of_mode(
    graph: Arc<dyn Graph>,
    policy: Option<BatchPolicy>,
    mode: ExecutionMode,
) -> anyhow::Result<Batcher> {
    let options = WorkerOptions {
        threads: NonZeroUsize::MIN,
        queue: 8,
    };
    Ok(Batcher::new(BatcherParts {
        graph,
        pool: WorkerPool::spawn("test", PoolThreads::fixed(options.threads))?,
        options,
        mode,
        policy,
    }))
}

fn soon() -> ComputeOptions {
    ComputeOptions::until(Instant::now() + Duration::from_secs(60))
}

fn greedy() -> Option<BatchPolicy> {
    Some(BatchPolicy::default())
}

/// Submits a request, which the first poll does.
fn submit(batcher: &Batcher, inputs: Vec<NamedTensor>) -> Computing<'_> {
    let mut computing = batcher.compute(inputs, soon());
    assert_eq!(poll_once(computing.as_mut()), None);
    computing
}

/// Returns the output of the future if it is ready at this poll.
fn poll_once<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn requests_that_wait_for_a_thread_are_computed_together() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph.clone(), greedy())?;
    let first = submit(&batcher, request(&[1.0]));
    control.begun.recv()?;
    let second = submit(&batcher, request(&[2.0, 3.0]));
    let third = submit(&batcher, request(&[4.0]));
    // Another number of columns.
    let wide = submit(&batcher, vec![named("x", 2, &[5.0, 6.0])]);
    for _ in 0..3 {
        control.permissions.send(())?;
    }
    assert_eq!(numbers(&first.await?), [2.0]);
    assert_eq!(numbers(&second.await?), [4.0, 6.0]);
    assert_eq!(numbers(&third.await?), [8.0]);
    assert_eq!(numbers(&wide.await?), [10.0, 12.0]);
    assert_eq!(graph.batches(), [1, 3, 1]);
    let executions = batcher.statistics().executions();
    let sizes: Vec<(u64, u64)> = (executions.batches.iter())
        .map(|batch| (batch.size, batch.phases.compute_infer.count))
        .collect();
    assert_eq!((executions.count, sizes), (3, vec![(1, 2), (3, 1)]));
    Ok(())
}

#[tokio::test]
async fn a_batch_costs_each_of_its_requests_a_part_by_its_rows() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph.clone(), greedy())?;
    let first = submit(&batcher, request(&[1.0]));
    control.begun.recv()?;
    let second = submit(&batcher, request(&[2.0, 3.0]));
    let third = submit(&batcher, request(&[4.0]));
    drop(control);
    assert!(first.await?.backend > Duration::ZERO);
    let (two, one) = (second.await?.backend, third.await?.backend);
    assert_eq!(graph.batches(), [1, 3]);
    assert!(one > Duration::ZERO);
    // Both parts are rounded down to nanoseconds.
    let difference = two.saturating_sub(one * 2);
    assert!(difference <= Duration::from_nanos(1), "{two:?} {one:?}");
    Ok(())
}

#[tokio::test]
async fn a_request_pays_for_the_executions_that_another_has_made_fail() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph.clone(), greedy())?;
    let first = submit(&batcher, request(&[1.0]));
    control.begun.recv()?;
    let good = submit(&batcher, request(&[2.0]));
    let bad = submit(&batcher, request(&[BAD]));
    drop(control);
    first.await?;
    // It is computed with the other one, and then without.
    assert!(good.await?.backend > Duration::ZERO);
    assert!(bad.await.is_err());
    assert!(graph.batches().starts_with(&[1, 2]));
    Ok(())
}

/// A meter that sends its charges.
#[derive(Debug)]
struct Sending(Mutex<Sender<Duration>>);

impl ComputeMeter for Sending {
    fn add_compute(&self, time: Duration) {
        let _ = self.0.lock().unwrap().send(time);
    }
}

/// Returns options with a meter, and its charges.
fn metered() -> (ComputeOptions, Receiver<Duration>) {
    let (sender, charged) = channel();
    let payer = Payer {
        meter: Some(Arc::new(Sending(Mutex::new(sender)))),
        ..Payer::default()
    };
    let options = ComputeOptions { payer, ..soon() };
    (options, charged)
}

#[tokio::test]
async fn a_computation_that_fails_is_charged() -> anyhow::Result<()> {
    for (mode, bad) in [
        (ExecutionMode::Queued, BAD),
        (ExecutionMode::Queued, DREADFUL),
        (ExecutionMode::Direct, BAD),
    ] {
        let batcher = of_mode(Doubling::new(None), None, mode)?;
        let (options, charged) = metered();
        let failed = batcher.compute(request(&[bad]), options).await;
        assert!(failed.is_err());
        // The batcher keeps no meter, so the channel has ended.
        let times: Vec<Duration> = charged.iter().collect();
        assert!(!times.is_empty() && !times.contains(&Duration::ZERO));
    }
    Ok(())
}

#[tokio::test]
async fn a_computation_whose_caller_has_gone_is_charged_once_it_has_ended() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph, None)?;
    let (options, charged) = metered();
    let mut computing = batcher.compute(request(&[1.0]), options);
    assert_eq!(poll_once(computing.as_mut()), None);
    control.begun.recv()?;
    drop(computing);
    assert!(charged.try_recv().is_err());
    control.permissions.send(())?;
    assert!(charged.recv()? > Duration::ZERO);
    assert!(charged.recv().is_err(), "it is charged once");
    Ok(())
}

/// Submits a request of the owner with this number.
fn submit_of(batcher: &Batcher, id: u32, number: f32) -> Computing<'_> {
    let options = ComputeOptions {
        payer: Owner { id, weight: 1 }.into(),
        ..soon()
    };
    let mut computing = batcher.compute(request(&[number]), options);
    assert_eq!(poll_once(computing.as_mut()), None);
    computing
}

#[tokio::test]
async fn a_request_passes_those_of_another_owner_that_has_used_the_thread() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph.clone(), None)?;
    let first = submit_of(&batcher, 1, 1.0);
    control.begun.recv()?;
    let flood = [2.0, 3.0, 4.0, 5.0].map(|number| submit_of(&batcher, 1, number));
    let quiet = submit_of(&batcher, 2, 6.0);
    for _ in 0..2 {
        control.permissions.send(())?;
    }
    assert_eq!(numbers(&first.await?), [2.0]);
    assert_eq!(numbers(&quiet.await?), [12.0]);
    drop(control);
    for request in flood {
        request.await?;
    }
    Ok(())
}

#[tokio::test]
async fn requests_of_several_owners_for_one_graph_are_computed_together() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph.clone(), greedy())?;
    let first = submit_of(&batcher, 1, 1.0);
    control.begun.recv()?;
    let waiting = [(1, 2.0), (2, 3.0), (1, 4.0), (3, 5.0)]
        .map(|(id, number)| submit_of(&batcher, id, number));
    drop(control);
    first.await?;
    for (request, expected) in waiting.into_iter().zip([4.0, 6.0, 8.0, 10.0]) {
        assert_eq!(numbers(&request.await?), [expected]);
    }
    assert_eq!(graph.batches(), [1, 4]);
    Ok(())
}

#[tokio::test]
async fn requests_are_not_joined_without_a_policy_or_without_rows() -> anyhow::Result<()> {
    for (policy, second) in [(None, vec![2.0]), (greedy(), Vec::<f32>::new())] {
        let (graph, control) = Doubling::gated();
        let batcher = batcher(graph.clone(), policy)?;
        let first = submit(&batcher, request(&[1.0]));
        control.begun.recv()?;
        let waiting = [&second, &second].map(|numbers| submit(&batcher, request(numbers)));
        for _ in 0..3 {
            control.permissions.send(())?;
        }
        first.await?;
        for one in waiting {
            one.await?;
        }
        assert_eq!(graph.batches().len(), 3);
    }
    Ok(())
}

#[tokio::test]
async fn batches_of_the_automatic_choice_have_allowed_sizes_and_leave_at_once() -> anyhow::Result<()>
{
    let (graph, control) = Doubling::gated();
    let policy = BatchPolicy {
        sizes: BatchSizes {
            allowed: vec![1, 2, 4],
            // Rows of four numbers are computed alone.
            limits: vec![RowLimit {
                row_elements: 1,
                max_rows: 4,
            }],
            ..BatchSizes::default()
        },
        ..BatchPolicy::default()
    };
    let batcher = batcher(graph.clone(), Some(policy))?;
    let first = submit(&batcher, request(&[0.0]));
    control.begun.recv()?;
    let short = (0..3).map(|_| submit(&batcher, request(&[1.0])));
    let mut waiting: Vec<Computing<'_>> = short.collect();
    let long = (0..5).map(|_| submit(&batcher, vec![named("x", 4, &[1.0; 4])]));
    waiting.extend(long);
    drop(control);
    first.await?;
    for one in waiting {
        one.await?;
    }
    assert_eq!(graph.batches(), [1, 2, 1, 1, 1, 1, 1, 1]);
    Ok(())
}

#[tokio::test]
async fn a_bad_request_fails_alone() -> anyhow::Result<()> {
    for bad in [BAD, DREADFUL] {
        let (graph, control) = Doubling::gated();
        let batcher = batcher(graph.clone(), greedy())?;
        let first = submit(&batcher, request(&[0.0]));
        control.begun.recv()?;
        let content = [1.0, 2.0, bad, 4.0, f32::NAN, 6.0];
        let waiting = content.map(|number| submit(&batcher, request(&[number])));
        // The gate stays open.
        drop(control);
        first.await?;
        for (number, one) in content.into_iter().zip(waiting) {
            match (one.await, number) {
                (Ok(computed), number) => {
                    let [found] = numbers(&computed)[..] else {
                        anyhow::bail!("{computed:?}");
                    };
                    let is_right = found == 2.0 * number || (found.is_nan() && number.is_nan());
                    ensure!(number != bad && is_right, "{found} for {number}");
                }
                (Err(ComputeError::Inputs { .. }), BAD) => {}
                (Err(ComputeError::Backend(_)), DREADFUL) => {}
                (error, _) => anyhow::bail!("{error:?} for {number}"),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_request_whose_caller_has_gone_is_not_computed() -> anyhow::Result<()> {
    for policy in [None, greedy()] {
        let (graph, control) = Doubling::gated();
        let batcher = batcher(graph.clone(), policy)?;
        let first = submit(&batcher, request(&[1.0]));
        control.begun.recv()?;
        let abandoned = submit(&batcher, request(&[2.0, 2.0, 2.0]));
        let last = submit(&batcher, request(&[3.0]));
        drop(abandoned);
        drop(control);
        first.await?;
        last.await?;
        assert_eq!(graph.batches(), [1, 1]);
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_that_nobody_waits_for_gives_its_thread_back() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph.clone(), greedy())?;
    let abandoned = submit(&batcher, request(&[1.0]));
    control.begun.recv()?;
    let next = submit(&batcher, request(&[2.0]));
    // The first computation cannot be cancelled, and yet the next one begins.
    drop(abandoned);
    control.begun.recv()?;
    drop(control);
    assert_eq!(numbers(&next.await?), [4.0]);
    Ok(())
}

#[test]
fn a_full_queue_is_reported_as_one() -> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph, greedy())?;
    let first = submit(&batcher, request(&[1.0]));
    // Until a thread takes it, it has a place in the queue.
    control.begun.recv()?;
    let waiting: Vec<_> = (0..8).map(|_| submit(&batcher, request(&[1.0]))).collect();
    let mut last = batcher.compute(request(&[1.0]), soon());
    assert_eq!(poll_once(last.as_mut()), Some(Err(ComputeError::QueueFull)));
    drop((first, waiting));
    Ok(())
}

#[tokio::test]
async fn a_request_that_waits_for_longer_than_its_timeout_is_rejected_while_the_thread_is_busy()
-> anyhow::Result<()> {
    let (graph, control) = Doubling::gated();
    let policy = BatchPolicy {
        default_queue_policy: QueuePolicy {
            timeout_action: TimeoutAction::Reject,
            default_timeout: Some(Duration::from_secs(3600)),
            allow_timeout_override: true,
            ..QueuePolicy::default()
        },
        ..BatchPolicy::default()
    };
    let batcher = batcher(graph, Some(policy))?;
    let first = submit(&batcher, request(&[1.0]));
    control.begun.recv()?;
    let options = ComputeOptions {
        queue_timeout: Some(Duration::from_millis(1)),
        ..soon()
    };
    let rejected = batcher.compute(request(&[2.0]), options).await;
    assert_eq!(rejected, Err(ComputeError::QueueTimeout));
    drop(control);
    first.await?;
    Ok(())
}

#[tokio::test]
async fn an_incomplete_batch_is_sent_at_the_end_of_the_delay_and_a_full_one_at_once()
-> anyhow::Result<()> {
    let graph = Doubling::new(None);
    let policy = BatchPolicy {
        max_batch_size: NonZeroU32::new(2).context("0")?,
        max_queue_delay: Duration::from_millis(5),
        ..BatchPolicy::default()
    };
    let batcher = batcher(graph.clone(), Some(policy.clone()))?;
    batcher.compute(request(&[1.0]), soon()).await?;
    assert_eq!(graph.batches(), [1]);
    let endless = BatchPolicy {
        max_queue_delay: Duration::from_secs(3600),
        ..policy
    };
    let graph = Doubling::new(None);
    let batcher = of_mode(graph.clone(), Some(endless), ExecutionMode::Direct)?;
    let held = submit(&batcher, request(&[1.0]));
    assert!(graph.batches().is_empty());
    batcher.compute(request(&[2.0]), soon()).await?;
    held.await?;
    assert_eq!(graph.batches(), [2]);
    Ok(())
}

#[tokio::test]
async fn quick_computations_run_on_the_thread_of_the_caller() -> anyhow::Result<()> {
    let graph = Doubling::new(None);
    let batcher = of_mode(graph.clone(), greedy(), ExecutionMode::Direct)?;
    for _ in 0..100 {
        batcher.compute(request(&[1.0]), soon()).await?;
    }
    let threads = graph.threads.lock().unwrap();
    assert_ne!(threads.first(), Some(&std::thread::current().id()));
    assert_eq!(threads.last(), Some(&std::thread::current().id()));
    assert_eq!(batcher.statistics().executions().count, 100);
    Ok(())
}

#[test]
fn requests_that_come_and_go_on_many_threads_have_their_own_answers() -> anyhow::Result<()> {
    for (preserve_ordering, delay) in [(false, 0), (true, 0), (false, 200)] {
        let policy = BatchPolicy {
            max_batch_size: NonZeroU32::new(5).context("0")?,
            max_queue_delay: Duration::from_micros(delay),
            preserve_ordering,
            ..BatchPolicy::default()
        };
        let batcher = of_mode(Doubling::new(None), Some(policy), ExecutionMode::Queued)?;
        std::thread::scope(|scope| {
            // The queue has room for eight requests.
            for thread in 0..4u8 {
                let batcher = &batcher;
                scope.spawn(move || {
                    let mut runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = runtime.build().unwrap();
                    for round in 0..100u8 {
                        let content = vec![f32::from(thread); usize::from(round % 4)];
                        let mut left = batcher.compute(request(&[f32::from(round)]), soon());
                        let _ = poll_once(left.as_mut());
                        let computing = batcher.compute(request(&content), soon());
                        drop(left);
                        let computed = runtime.block_on(computing).unwrap();
                        let expected = vec![f32::from(thread) * 2.0; content.len()];
                        assert_eq!(numbers(&computed), expected);
                    }
                });
            }
        });
        assert!(!batcher.dispatcher.has_waiting());
    }
    Ok(())
}

#[test]
fn an_inline_computation_ends_at_its_deadline() -> anyhow::Result<()> {
    let batcher = batcher(Arc::new(Endless::default()), None)?;
    let computed = batcher.compute_inline(&[], Instant::now());
    assert_eq!(computed, Err(ComputeError::Deadline));
    Ok(())
}

/// Computes all requests at the same time behind a first one, and returns their results.
async fn computed_together(
    policy: Option<BatchPolicy>,
    requests: &[Vec<f32>],
) -> anyhow::Result<Vec<Vec<u32>>> {
    let (graph, control) = Doubling::gated();
    let batcher = batcher(graph, policy)?;
    let first = submit(&batcher, request(&[0.0]));
    control.begun.recv()?;
    let waiting = requests
        .iter()
        .map(|numbers| submit(&batcher, request(numbers)));
    let waiting: Vec<Computing<'_>> = waiting.collect();
    drop(control);
    first.await?;
    let mut results = Vec::new();
    for one in waiting {
        let bits = |computed: Computed| numbers(&computed).iter().map(|n| n.to_bits()).collect();
        // Failures do not depend on the other requests of a batch.
        results.push(one.await.map(bits).unwrap_or_default());
    }
    Ok(results)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn joined_answers_equal_those_of_single_requests(
        requests in prop::collection::vec(
            prop::collection::vec(prop_oneof![8 => any::<f32>(), 1 => Just(BAD)], 0..5),
            0..8,
        ),
        most in 1..12u32,
        preserve_ordering in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let policy = BatchPolicy {
            max_batch_size: NonZeroU32::new(most).unwrap(),
            preserve_ordering,
            ..BatchPolicy::default()
        };
        let alone = runtime.block_on(computed_together(None, &requests)).unwrap();
        let joined = runtime.block_on(computed_together(Some(policy), &requests)).unwrap();
        prop_assert_eq!(alone, joined);
    }
}
