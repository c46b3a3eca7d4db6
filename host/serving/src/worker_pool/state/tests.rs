//! Tests of the turns of queues, and of the threads that their jobs need.

use super::*;

fn options(threads: usize) -> WorkerOptions {
    WorkerOptions {
        threads: NonZeroUsize::new(threads).expect("it is not 0"),
        queue: 8,
    }
}

/// Returns a state with a queue for each of these numbers of jobs at a time, whose kept thread sleeps.
fn state<const N: usize>(most: usize, queues: [usize; N]) -> (State, [usize; N]) {
    let mut state = State::new(1, most);
    state.waking = 0;
    state.sleeping.push(Arc::default());
    let queues = queues.map(|threads| state.add(options(threads)));
    (state, queues)
}

/// Adds a job to a queue.
fn push(state: &mut State, queue: usize) {
    let job = Queued {
        job: Box::new(|| ()),
        progress: Arc::new(AtomicU8::new(QUEUED)),
    };
    assert!(state.push(queue, job).is_ok());
}

fn take(state: &mut State) -> Taken {
    state.take().expect("a job may run")
}

/// Takes all jobs that may run, and returns their queues.
fn turns(state: &mut State) -> Vec<usize> {
    std::iter::from_fn(|| Some(state.take()?.queue)).collect()
}

/// Returns the description of the thread that is called.
fn called(state: &mut State) -> &'static str {
    match state.call() {
        Call::Nobody => "nobody",
        Call::Sleeper(_) => "a sleeper",
        Call::NewThread => "a new thread",
    }
}

#[test]
fn queues_take_turns_and_keep_to_their_limits() {
    let (mut state, [a, b, c]) = state(8, [3, 1, 1]);
    for queue in [a, a, a, a, b, b, c] {
        push(&mut state, queue);
    }
    // The fourth job of `a` and the second of `b` have to wait for earlier ones.
    assert_eq!(turns(&mut state), [a, b, c, a, a]);
    assert_eq!(state.runnable, 0);
}

#[test]
fn a_sleeper_is_called_first_and_only_for_jobs_that_nobody_comes_for() {
    let (mut state, [a, b]) = state(2, [2, 1]);
    assert_eq!(called(&mut state), "nobody");
    push(&mut state, a);
    assert_eq!(called(&mut state), "a sleeper");
    assert_eq!(called(&mut state), "nobody", "it is on its way");
    push(&mut state, b);
    assert_eq!(called(&mut state), "a new thread");
    push(&mut state, a);
    assert_eq!(called(&mut state), "nobody", "there may be no more threads");
    assert_eq!((state.threads, state.waking), (2, 2));
}

#[test]
fn a_sleeper_takes_the_place_of_a_thread_that_could_not_be_started() {
    let (mut state, [a, b]) = state(2, [1, 1]);
    // The kept thread is busy.
    let kept = state.sleeping.pop();
    push(&mut state, a);
    assert_eq!(called(&mut state), "a new thread");
    // Before the new thread runs, the kept one takes its job. The next job relies on the new one too.
    let _taken = take(&mut state);
    push(&mut state, b);
    assert_eq!(called(&mut state), "nobody");
    state.sleeping.extend(kept);
    assert!(matches!(state.not_started(), Call::Sleeper(_)));
    assert_eq!((state.threads, state.waking), (1, 1));
}

#[test]
fn without_a_sleeper_the_job_of_a_thread_that_could_not_be_started_waits() {
    let (mut state, [a]) = state(2, [1]);
    let _busy = state.sleeping.pop();
    push(&mut state, a);
    assert_eq!(called(&mut state), "a new thread");
    assert!(matches!(state.not_started(), Call::Nobody));
    assert_eq!((state.threads, state.waking), (1, 0));
    assert_eq!(turns(&mut state), [a]);
}

#[test]
fn a_job_above_the_limit_of_its_queue_calls_nobody_until_another_ends() {
    let (mut state, [a]) = state(8, [1]);
    push(&mut state, a);
    let first = take(&mut state);
    push(&mut state, a);
    assert_eq!(called(&mut state), "nobody");
    assert!(state.take().is_none());
    assert_eq!(state.ended(a, &first.progress, 1), Next::Continues);
    assert_eq!(turns(&mut state), [a]);
}

#[test]
fn an_abandoned_job_makes_room_for_as_many_others_as_may_run() {
    let (mut state, [a]) = state(8, [1]);
    for _ in 0..3 {
        push(&mut state, a);
    }
    let first = take(&mut state);
    assert!(state.abandon(a, &first.progress));
    assert_eq!(state.threads, 0);
    assert!(!state.abandon(a, &first.progress), "it is already");
    let second = take(&mut state);
    assert!(!state.abandon(a, &second.progress), "one is already");
    assert!(state.take().is_none());
    // The thread of the first is needed, since no other one is left.
    assert_eq!(state.ended(a, &first.progress, 1), Next::Continues);
    assert_eq!(state.threads, 1);
    assert!(state.abandon(a, &second.progress), "there is room again");
}

#[test]
fn the_thread_of_an_abandoned_job_ends_if_there_are_enough() {
    let (mut state, [a, b]) = state(2, [1, 1]);
    push(&mut state, a);
    let first = take(&mut state);
    assert!(state.abandon(a, &first.progress));
    push(&mut state, b);
    assert_eq!(called(&mut state), "a sleeper");
    state.threads = 1;
    assert_eq!(state.ended(a, &first.progress, 1), Next::Ends);
    assert_eq!(state.threads, 1);
}

#[test]
fn a_closed_queue_is_removed_with_its_last_job() {
    let (mut state, [a]) = state(8, [1]);
    push(&mut state, a);
    push(&mut state, a);
    let first = take(&mut state);
    assert_eq!(state.close(a).len(), 1);
    assert_eq!((state.threads, state.runnable), (0, 0));
    assert!(!state.abandon(a, &first.progress));
    assert_eq!(state.add(options(1)), 1, "its place is not free");
    assert_eq!(state.ended(a, &first.progress, 1), Next::Continues);
    assert_eq!(state.add(options(1)), a);
}
