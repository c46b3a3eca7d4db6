//! Threads and queues under control: the graph computes when its test says so, and no test sleeps.

use super::*;
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use wisp_tensor::{ElementType, Shape, Signature, Tensor};

/// A graph that reports each computation's beginning and waits to be told how it ends.
#[derive(Debug)]
struct Gated {
    signature: Signature,
    begun: Mutex<Sender<()>>,
    ends: Mutex<Receiver<End>>,
    computations: AtomicUsize,
}

enum End {
    Well,
    Refused,
    Panic,
}

impl Graph for Gated {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        self.computations.fetch_add(1, Ordering::Relaxed);
        self.begun.lock().unwrap().send(()).unwrap();
        let end = self.ends.lock().unwrap().recv().unwrap();
        match end {
            End::Well => Ok(inputs.to_vec()),
            End::Refused => Err(BackendError::Inputs {
                engine: "gated",
                reason: "told to".to_owned(),
            }),
            End::Panic => panic!("told to"),
        }
    }
}

struct Gate {
    graph: Arc<Gated>,
    begun: Receiver<()>,
    ends: Sender<End>,
}

fn gate() -> Gate {
    let (begin, begun) = channel();
    let (ends, end) = channel();
    let graph = Arc::new(Gated {
        signature: Signature::default(),
        begun: Mutex::new(begin),
        ends: Mutex::new(end),
        computations: AtomicUsize::new(0),
    });
    Gate { graph, begun, ends }
}

impl Gate {
    fn workers(&self, threads: usize, queue: usize) -> Workers {
        let options = WorkerOptions {
            threads: NonZeroUsize::new(threads).unwrap(),
            queue,
        };
        Workers::spawn("gated", self.graph.clone(), options).unwrap()
    }

    fn computations(&self) -> usize {
        self.graph.computations.load(Ordering::Relaxed)
    }
}

type Answer = (Result<Vec<NamedTensor>, WorkerError>, Usage);

/// A reply into a channel; abandoned when its `waiting` flag is dropped.
struct Channel {
    answer: Sender<Answer>,
    waiting: std::sync::Weak<()>,
}

impl Reply for Channel {
    fn is_abandoned(&self) -> bool {
        self.waiting.strong_count() == 0
    }

    fn send(self: Box<Self>, result: Result<Vec<NamedTensor>, WorkerError>, usage: Usage) {
        let _ = self.answer.send((result, usage));
    }
}

struct Caller {
    answer: Receiver<Answer>,
    _waiting: Arc<()>,
}

impl Caller {
    fn answer(&self) -> Answer {
        self.answer.recv().unwrap()
    }
}

/// A tensor that says which job it belongs to.
fn tagged(tag: u8) -> Vec<NamedTensor> {
    let shape = Shape::new(vec![1]).unwrap();
    vec![NamedTensor {
        name: "tag".to_owned(),
        tensor: Tensor::new(ElementType::Uint8, shape, Bytes::from(vec![tag])).unwrap(),
    }]
}

fn job(tag: u8) -> (Job, Caller) {
    let (sender, answer) = channel();
    let waiting = Arc::new(());
    let reply = Channel {
        answer: sender,
        waiting: Arc::downgrade(&waiting),
    };
    let job = Job {
        inputs: tagged(tag),
        deadline: Instant::now() + Duration::from_secs(3600),
        reply: Box::new(reply),
    };
    let caller = Caller {
        answer,
        _waiting: waiting,
    };
    (job, caller)
}

fn submit(workers: &Workers, tag: u8) -> Caller {
    let (job, caller) = job(tag);
    workers.submit(job).unwrap();
    caller
}

#[test]
fn a_job_is_answered_with_its_own_result_and_what_it_took() {
    let gate = gate();
    let workers = gate.workers(1, 8);
    let callers: Vec<Caller> = (0..4).map(|tag| submit(&workers, tag)).collect();
    for (tag, caller) in (0..4).zip(&callers) {
        gate.ends.send(End::Well).unwrap();
        let (result, usage) = caller.answer();
        assert_eq!(result.unwrap(), tagged(tag));
        assert!(usage.computed > Duration::ZERO);
    }
}

#[test]
fn threads_compute_at_the_same_time() {
    let gate = gate();
    let workers = gate.workers(3, 0);
    let callers: Vec<Caller> = (0..3).map(|tag| submit(&workers, tag)).collect();
    for _ in 0..3 {
        // All three begin before any may end.
        gate.begun.recv().unwrap();
    }
    for _ in 0..3 {
        gate.ends.send(End::Well).unwrap();
    }
    for caller in callers {
        assert!(caller.answer().0.is_ok());
    }
}

#[test]
fn a_full_queue_hands_the_job_back() {
    let gate = gate();
    let workers = gate.workers(1, 2);
    let running = submit(&workers, 0);
    gate.begun.recv().unwrap();
    let waiting = [submit(&workers, 1), submit(&workers, 2)];
    assert_eq!(workers.queued(), 2);
    let (refused, _caller) = job(3);
    let QueueFull(job) = workers.submit(refused).unwrap_err();
    assert_eq!(job.inputs, tagged(3));
    for _ in 0..3 {
        gate.ends.send(End::Well).unwrap();
    }
    for caller in waiting.iter().chain([&running]) {
        assert!(caller.answer().0.is_ok());
    }
    // There is room again.
    gate.ends.send(End::Well).unwrap();
    workers.submit(job).unwrap();
}

#[test]
fn without_a_queue_only_an_idle_thread_takes_a_job() {
    let gate = gate();
    let workers = gate.workers(1, 0);
    let caller = submit(&workers, 0);
    assert!(workers.submit(job(1).0).is_err());
    gate.ends.send(End::Well).unwrap();
    assert!(caller.answer().0.is_ok());
    // The thread was idle again before it answered.
    let caller = submit(&workers, 2);
    gate.ends.send(End::Well).unwrap();
    assert!(caller.answer().0.is_ok());
}

#[test]
fn jobs_nobody_waits_for_are_not_computed() {
    let gate = gate();
    let workers = gate.workers(1, 8);
    let running = submit(&workers, 0);
    gate.begun.recv().unwrap();
    for tag in 1..4 {
        drop(submit(&workers, tag));
    }
    let last = submit(&workers, 4);
    gate.ends.send(End::Well).unwrap();
    gate.ends.send(End::Well).unwrap();
    assert!(running.answer().0.is_ok());
    assert_eq!(last.answer().0.unwrap(), tagged(4));
    assert_eq!(gate.computations(), 2);
}

#[test]
fn a_late_job_is_answered_and_not_computed() {
    let gate = gate();
    let workers = gate.workers(1, 8);
    let (mut late, caller) = job(0);
    late.deadline = Instant::now();
    workers.submit(late).unwrap();
    let (result, usage) = caller.answer();
    assert!(matches!(result, Err(WorkerError::Late)));
    assert_eq!(usage.computed, Duration::ZERO);
    assert_eq!(gate.computations(), 0);
}

#[test]
fn a_panic_or_an_error_ends_one_computation_only() {
    let gate = gate();
    let workers = gate.workers(1, 8);
    let callers: Vec<Caller> = (0..3).map(|tag| submit(&workers, tag)).collect();
    for end in [End::Panic, End::Refused, End::Well] {
        gate.ends.send(end).unwrap();
    }
    assert!(matches!(
        callers[0].answer().0,
        Err(WorkerError::Panicked { message }) if message == "told to"
    ));
    assert!(matches!(
        callers[1].answer().0,
        Err(WorkerError::Backend(BackendError::Inputs { .. }))
    ));
    assert_eq!(callers[2].answer().0.unwrap(), tagged(2));
}

#[test]
fn a_reply_that_panics_ends_itself_only() {
    struct Panicking;
    impl Reply for Panicking {
        fn is_abandoned(&self) -> bool {
            false
        }
        fn send(self: Box<Self>, _: Result<Vec<NamedTensor>, WorkerError>, _: Usage) {
            panic!("told to");
        }
    }
    let gate = gate();
    let workers = gate.workers(1, 8);
    let (mut panicking, _caller) = job(0);
    panicking.reply = Box::new(Panicking);
    workers.submit(panicking).unwrap();
    let next = submit(&workers, 1);
    gate.ends.send(End::Well).unwrap();
    gate.ends.send(End::Well).unwrap();
    assert!(next.answer().0.is_ok());
}

#[test]
fn dropping_the_workers_answers_what_waits_and_finishes_what_runs() {
    let gate = gate();
    let workers = gate.workers(1, 8);
    let running = submit(&workers, 0);
    gate.begun.recv().unwrap();
    let waiting: Vec<Caller> = (1..4).map(|tag| submit(&workers, tag)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(workers));
        // The drop is under way once the waiting jobs are answered, and ends with the running one.
        for caller in &waiting {
            assert!(matches!(caller.answer().0, Err(WorkerError::Closed)));
        }
        gate.ends.send(End::Well).unwrap();
    });
    assert!(running.answer().0.is_ok());
    assert_eq!(gate.computations(), 1);
    // The threads are gone, and the graph with them.
    assert_eq!(Arc::strong_count(&gate.graph), 1);
}

#[test]
fn a_worker_thread_may_drop_its_own_workers() {
    struct Last {
        workers: Arc<Mutex<Option<Workers>>>,
        done: Sender<()>,
    }
    impl Reply for Last {
        fn is_abandoned(&self) -> bool {
            false
        }
        fn send(self: Box<Self>, _: Result<Vec<NamedTensor>, WorkerError>, _: Usage) {
            drop(self.workers.lock().unwrap().take());
            self.done.send(()).unwrap();
        }
    }
    let gate = gate();
    let workers = Arc::new(Mutex::new(Some(gate.workers(2, 8))));
    let (done, is_done) = channel();
    let (mut last, _caller) = job(0);
    last.reply = Box::new(Last {
        workers: Arc::clone(&workers),
        done,
    });
    let submitted = workers.lock().unwrap().as_ref().map(|w| w.submit(last));
    assert!(matches!(submitted, Some(Ok(()))));
    gate.ends.send(End::Well).unwrap();
    is_done.recv().unwrap();
}
