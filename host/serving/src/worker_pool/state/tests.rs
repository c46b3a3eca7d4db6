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
    assert!(state.push((queue, Owner::LOCAL), job).is_ok());
}

/// Adds a job of an owner to a queue. Returns whether there was room.
fn push_of(state: &mut State, queue: usize, owner: Owner) -> bool {
    let job = Queued {
        job: Box::new(|| ()),
        progress: Arc::new(AtomicU8::new(QUEUED)),
    };
    state.push((queue, owner), job).is_ok()
}

fn take(state: &mut State) -> Taken {
    state.take().expect("a job may run")
}

/// Takes all jobs that may run, and returns their queues.
fn turns(state: &mut State) -> Vec<usize> {
    std::iter::from_fn(|| Some(state.take()?.running.queue)).collect()
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
    assert_eq!(
        state.ended(&first.running, Duration::ZERO, 1),
        Next::Continues
    );
    assert_eq!(turns(&mut state), [a]);
}

#[test]
fn an_abandoned_job_makes_room_for_as_many_others_as_may_run() {
    let (mut state, [a]) = state(8, [1]);
    for _ in 0..3 {
        push(&mut state, a);
    }
    let first = take(&mut state);
    assert!(state.abandon((a, Owner::LOCAL), &first.running.progress));
    assert_eq!(state.threads, 0);
    assert!(
        !state.abandon((a, Owner::LOCAL), &first.running.progress),
        "it is already"
    );
    let second = take(&mut state);
    state.threads = 1;
    assert!(state.abandon((a, Owner::LOCAL), &second.running.progress));
    assert_eq!(state.threads, 0, "its thread does not count either");
    assert!(state.take().is_none(), "and it keeps its place");
    // The thread of the first is needed, since no other one is left.
    assert_eq!(
        state.ended(&first.running, Duration::ZERO, 1),
        Next::Continues
    );
    assert_eq!(state.threads, 1);
    assert_eq!(turns(&mut state), [a], "there is room again");
}

#[test]
fn the_thread_of_an_abandoned_job_ends_if_there_are_enough() {
    let (mut state, [a, b]) = state(2, [1, 1]);
    push(&mut state, a);
    let first = take(&mut state);
    assert!(state.abandon((a, Owner::LOCAL), &first.running.progress));
    push(&mut state, b);
    assert_eq!(called(&mut state), "a sleeper");
    state.threads = 1;
    assert_eq!(state.ended(&first.running, Duration::ZERO, 1), Next::Ends);
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
    assert!(!state.abandon((a, Owner::LOCAL), &first.running.progress));
    assert_eq!(state.add(options(1)), 1, "its place is not free");
    assert_eq!(
        state.ended(&first.running, Duration::ZERO, 1),
        Next::Continues
    );
    assert_eq!(state.add(options(1)), a);
}

#[test]
fn the_owner_that_has_used_the_least_is_served_and_its_queues_take_turns() {
    let (mut state, [a, b, c]) = state(8, [1, 1, 1]);
    let (one, other) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    for (queue, owner) in [(a, one), (b, one), (c, other)] {
        for _ in 0..8 {
            assert!(push_of(&mut state, queue, owner));
        }
    }
    let mut order = Vec::new();
    for _ in 0..8 {
        let taken = take(&mut state);
        order.push(taken.running.queue);
        state.ended(&taken.running, Duration::from_millis(1), 1);
    }
    let of_other = order.iter().filter(|queue| **queue == c).count();
    assert_eq!(of_other, 4, "{order:?}");
    let of_one: Vec<usize> = order.into_iter().filter(|queue| *queue != c).collect();
    assert_eq!(of_one, [a, b, a, b]);
}

#[test]
fn a_computation_that_took_long_is_paid_for_afterwards() {
    let (mut state, [a, b]) = state(8, [1, 1]);
    let (one, other) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    for (queue, owner) in [(a, one), (b, other)] {
        for _ in 0..8 {
            assert!(push_of(&mut state, queue, owner));
        }
    }
    let slow = take(&mut state);
    assert_eq!(slow.running.queue, a);
    state.ended(&slow.running, Duration::from_millis(5), 1);
    for _ in 0..5 {
        let quick = take(&mut state);
        assert_eq!(quick.running.queue, b);
        state.ended(&quick.running, Duration::from_millis(1), 1);
    }
    assert_eq!(take(&mut state).running.queue, a);
}

#[test]
fn an_owner_that_fills_a_queue_leaves_room_to_others() {
    let (mut state, [a]) = state(8, [1]);
    let (noisy, quiet) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    while push_of(&mut state, a, noisy) {}
    assert!(push_of(&mut state, a, quiet));
}

#[test]
fn an_owner_of_many_queues_leaves_a_quarter_of_the_threads_to_others() {
    let (mut state, queues) = state(8, [1; 9]);
    let (greedy, other) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    let [others, of_greedy @ ..] = queues;
    for queue in of_greedy {
        assert!(push_of(&mut state, queue, greedy));
    }
    let running: Vec<Taken> = std::iter::from_fn(|| state.take()).collect();
    assert_eq!(running.len(), 6);
    assert_eq!(called(&mut state), "nobody", "no job may run");
    assert!(push_of(&mut state, others, other));
    assert_eq!(called(&mut state), "a sleeper");
    assert_eq!(take(&mut state).running.queue, others);
    // The thread of a job that ends takes the next one of its owner.
    state.ended(&running[0].running, Duration::from_millis(1), 1);
    assert!(of_greedy.contains(&take(&mut state).running.queue));
    assert!(state.take().is_none());
}

#[test]
fn an_abandoned_job_does_not_count_for_its_owner() {
    let (mut state, queues) = state(4, [1; 5]);
    let owner = Owner { id: 1, weight: 1 };
    for queue in queues {
        assert!(push_of(&mut state, queue, owner));
    }
    let running: Vec<Taken> = std::iter::from_fn(|| state.take()).collect();
    assert_eq!(running.len(), 3);
    let first = &running[0].running;
    assert!(state.abandon((first.queue, owner), &first.progress));
    let next = take(&mut state);
    state.ended(first, Duration::ZERO, 1);
    assert!(state.take().is_none(), "three count");
    state.close(next.running.queue);
    assert!(state.take().is_some());
}
