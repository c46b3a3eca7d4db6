//! Tests of each of Triton's rules with a clock that the tests set, and of random traces against a model of them.

mod reference;

use super::super::batch_sizes::{BatchSizes, RowLimit};
use super::super::policy::QueuePolicy;
use super::*;
use proptest::prelude::*;
use reference::{Asked, Reference};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::LazyLock;

impl<T> Schedule<T> {
    /// Returns the outlook of a batch that the first owner leads.
    fn outlook(&mut self, now: Instant) -> Outlook {
        self.time_out(now);
        self.outlook_of(0, now)
    }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time this many milliseconds after the start.
fn at(milliseconds: u64) -> Instant {
    *START + Duration::from_millis(milliseconds)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn size(rows: u32) -> NonZeroU32 {
    NonZeroU32::new(rows).unwrap()
}

/// Returns a request of one kind, named by `item`.
fn rows(item: u64, rows: u32) -> Arrival<u64> {
    Arrival {
        rows,
        kind: Some(Vec::new()),
        row_elements: 1,
        priority: 0,
        timeout: None,
        owner: Owner::LOCAL,
        item,
    }
}

fn with_priority(item: u64, priority: u32) -> Arrival<u64> {
    Arrival {
        priority,
        ..rows(item, 1)
    }
}

fn with_timeout(item: u64, milliseconds: u64) -> Arrival<u64> {
    Arrival {
        timeout: Some(ms(milliseconds)),
        ..rows(item, 1)
    }
}

fn greedy(max_batch_size: u32) -> BatchPolicy {
    BatchPolicy {
        max_batch_size: size(max_batch_size),
        ..BatchPolicy::default()
    }
}

fn schedule(policy: BatchPolicy) -> Schedule<u64> {
    Schedule::new(policy, 100)
}

/// Adds requests at time 0.
fn push(schedule: &mut Schedule<u64>, arrivals: impl IntoIterator<Item = Arrival<u64>>) {
    for arrival in arrivals {
        schedule.push(arrival, at(0)).unwrap();
    }
}

#[test]
fn a_free_thread_takes_as_many_requests_as_fit_and_waits_for_none() {
    let mut schedule = schedule(greedy(4));
    assert_eq!(schedule.outlook(at(0)), Outlook::Empty);
    push(&mut schedule, [rows(0, 1)]);
    assert_eq!(schedule.outlook(at(0)), Outlook::Ready);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0]);
    push(&mut schedule, (1..=6).map(|item| rows(item, 1)));
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [1, 2, 3, 4]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [5, 6]);
    assert_eq!(schedule.len(), 0);
    assert!(schedule.take(Owner::LOCAL, at(0)).is_empty());
}

#[test]
fn a_request_is_never_split_and_none_passes_it() {
    let mut schedule = schedule(greedy(8));
    push(
        &mut schedule,
        [rows(0, 5), rows(1, 5), rows(2, 3), rows(3, 1)],
    );
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [1, 2]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [3]);
}

#[test]
fn a_request_larger_than_the_maximum_runs_alone() {
    let mut schedule = schedule(greedy(4));
    push(
        &mut schedule,
        [rows(0, 1), rows(1, 9), rows(2, 1), rows(3, 4)],
    );
    for expected in [[0], [1], [2], [3]] {
        assert_eq!(schedule.take(Owner::LOCAL, at(0)), expected);
    }
}

#[test]
fn requests_of_different_kinds_are_never_joined() {
    let kind = |item, kind: Option<u32>| Arrival {
        kind: kind.map(|size| vec![size]),
        ..rows(item, 1)
    };
    let mut schedule = schedule(BatchPolicy {
        max_queue_delay: ms(10),
        ..greedy(8)
    });
    let kinds = [Some(1), Some(1), Some(2), None, None, Some(2)];
    push(
        &mut schedule,
        (0..).zip(kinds).map(|(item, k)| kind(item, k)),
    );
    // A batch that another kind follows cannot grow, and a request that runs alone need not wait.
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0, 1]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [2]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [3]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [4]);
    assert_eq!(schedule.outlook(at(0)), Outlook::Held(at(10)));
}

#[test]
fn an_incomplete_batch_is_held_until_its_oldest_request_has_waited_for_the_delay() {
    let mut schedule = schedule(BatchPolicy {
        max_queue_delay: ms(10),
        ..greedy(4)
    });
    schedule.push(rows(0, 1), at(0)).unwrap();
    schedule.push(rows(1, 1), at(7)).unwrap();
    assert_eq!(schedule.outlook(at(9)), Outlook::Held(at(10)));
    assert_eq!(schedule.next_change(at(9)), Some(at(10)));
    assert!(schedule.take(Owner::LOCAL, at(9)).is_empty());
    assert_eq!(schedule.take(Owner::LOCAL, at(10)), [0, 1]);
}

#[test]
fn a_full_batch_is_sent_at_once_during_the_delay() {
    let mut schedule = schedule(BatchPolicy {
        max_queue_delay: ms(10),
        ..greedy(4)
    });
    schedule.push(rows(0, 3), at(0)).unwrap();
    assert!(schedule.take(Owner::LOCAL, at(1)).is_empty());
    schedule.push(rows(1, 1), at(1)).unwrap();
    assert_eq!(schedule.take(Owner::LOCAL, at(1)), [0, 1]);
    // So is one that the next request would make too large.
    schedule.push(rows(2, 3), at(2)).unwrap();
    schedule.push(rows(3, 2), at(2)).unwrap();
    assert_eq!(schedule.take(Owner::LOCAL, at(2)), [2]);
    assert_eq!(schedule.outlook(at(2)), Outlook::Held(at(12)));
}

#[test]
fn the_largest_preferred_size_that_is_reached_is_sent_at_once() {
    let policy = BatchPolicy {
        preferred_batch_sizes: vec![2, 4],
        max_queue_delay: ms(10),
        ..greedy(8)
    };
    let mut held = schedule(policy.clone());
    push(&mut held, [rows(0, 1)]);
    assert_eq!(held.outlook(at(0)), Outlook::Held(at(10)));
    push(&mut held, (1..6).map(|item| rows(item, 1)));
    assert_eq!(held.take(Owner::LOCAL, at(0)), [0, 1, 2, 3]);
    assert_eq!(held.take(Owner::LOCAL, at(0)), [4, 5]);
    // Once the delay is over, everything is sent as it is.
    push(&mut held, (6..11).map(|item| rows(item, 1)));
    assert_eq!(held.take(Owner::LOCAL, at(10)), [6, 7, 8, 9, 10]);
    let mut greedy = schedule(BatchPolicy {
        max_queue_delay: Duration::ZERO,
        ..policy
    });
    push(&mut greedy, (0..5).map(|item| rows(item, 1)));
    assert_eq!(greedy.take(Owner::LOCAL, at(0)), [0, 1, 2, 3]);
    assert_eq!(greedy.take(Owner::LOCAL, at(0)), [4]);
}

fn preferring(sizes: &[u32], delay: Duration) -> Schedule<u64> {
    schedule(BatchPolicy {
        preferred_batch_sizes: sizes.to_vec(),
        max_queue_delay: delay,
        ..greedy(8)
    })
}

#[test]
fn a_batch_with_more_rows_than_the_largest_preferred_size_is_sent_at_once() {
    for delay in [ms(0), ms(10)] {
        let mut schedule = preferring(&[2, 4], delay);
        push(&mut schedule, [rows(0, 5)]);
        assert_eq!(schedule.next_change(at(0)), None);
        assert_eq!(schedule.outlook(at(0)), Outlook::Ready);
        assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0]);
    }
    // It is not filled with others before the delay is over.
    let mut filled = preferring(&[4], ms(10));
    push(&mut filled, [rows(0, 5), rows(1, 1)]);
    assert_eq!(filled.take(Owner::LOCAL, at(9)), [0]);
    assert_eq!(filled.outlook(at(9)), Outlook::Held(at(10)));
    push(&mut filled, [rows(2, 5), rows(3, 2)]);
    assert_eq!(filled.take(Owner::LOCAL, at(10)), [1, 2, 3]);
}

#[test]
fn requests_that_the_next_one_takes_beyond_all_preferred_sizes_are_sent_at_once() {
    let mut held = preferring(&[4], ms(10));
    held.push(rows(0, 3), at(0)).unwrap();
    assert_eq!(held.outlook(at(4)), Outlook::Held(at(10)));
    held.push(rows(1, 3), at(4)).unwrap();
    assert_eq!(held.take(Owner::LOCAL, at(4)), [0]);
    assert_eq!(held.outlook(at(4)), Outlook::Held(at(14)));
    // A request of another kind is examined as well.
    let other = Arrival {
        kind: Some(vec![7]),
        ..rows(2, 3)
    };
    held.push(other, at(4)).unwrap();
    assert_eq!(held.take(Owner::LOCAL, at(4)), [1]);
    assert_eq!(held.outlook(at(4)), Outlook::Held(at(14)));
    // A preferred size that was reached before is sent instead.
    let mut reached = preferring(&[2, 4], ms(10));
    push(&mut reached, [rows(0, 2), rows(1, 1), rows(2, 3)]);
    assert_eq!(reached.take(Owner::LOCAL, at(0)), [0]);
    assert_eq!(reached.take(Owner::LOCAL, at(0)), [1, 2]);
    // Once the delay is over, all that fit are sent.
    let mut late = preferring(&[4], ms(10));
    push(&mut late, [rows(0, 3), rows(1, 3), rows(2, 3)]);
    assert_eq!(late.take(Owner::LOCAL, at(10)), [0, 1]);
    // No delay is never over.
    let mut greedy = preferring(&[4], ms(0));
    push(&mut greedy, [rows(0, 3), rows(1, 3)]);
    assert_eq!(greedy.take(Owner::LOCAL, at(20)), [0]);
    assert_eq!(greedy.take(Owner::LOCAL, at(20)), [1]);
}

#[test]
fn a_higher_level_passes_a_lower_one_and_the_default_level_is_that_of_no_level() {
    let mut schedule = schedule(BatchPolicy {
        priority_levels: 3,
        default_priority_level: 2,
        ..greedy(2)
    });
    let priorities = [3, 0, 2, 1, 9];
    push(
        &mut schedule,
        (0..)
            .zip(priorities)
            .map(|(item, p)| with_priority(item, p)),
    );
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [3, 1]);
    // However long a request has waited, a new one of a higher level passes it.
    schedule.push(with_priority(5, 1), at(1_000_000)).unwrap();
    assert_eq!(schedule.take(Owner::LOCAL, at(1_000_000)), [5, 2]);
    assert_eq!(schedule.take(Owner::LOCAL, at(1_000_000)), [4, 0]);
}

#[test]
fn a_request_that_has_timed_out_is_rejected() {
    let policy = QueuePolicy {
        default_timeout: Some(ms(10)),
        allow_timeout_override: true,
        ..QueuePolicy::default()
    };
    let mut schedule = schedule(BatchPolicy {
        default_queue_policy: policy,
        ..greedy(8)
    });
    push(
        &mut schedule,
        [rows(0, 1), with_timeout(1, 5), with_timeout(2, 50)],
    );
    assert_eq!(schedule.next_change(at(0)), Some(at(5)));
    assert!(schedule.take_rejected(at(4)).is_empty());
    assert_eq!(schedule.take_rejected(at(5)), [1]);
    assert_eq!(schedule.next_change(at(5)), Some(at(10)));
    // A request cannot raise its timeout.
    assert!(schedule.take(Owner::LOCAL, at(10)).is_empty());
    assert_eq!(schedule.take_rejected(at(10)), [0, 2]);
    assert_eq!(schedule.len(), 0);
}

#[test]
fn a_request_cannot_ask_for_a_timeout_where_its_level_has_none() {
    let policy = QueuePolicy {
        allow_timeout_override: true,
        ..QueuePolicy::default()
    };
    let mut schedule = schedule(BatchPolicy {
        default_queue_policy: policy,
        ..greedy(8)
    });
    push(&mut schedule, [with_timeout(0, 5)]);
    assert_eq!(schedule.next_change(at(0)), None);
    assert!(schedule.take_rejected(at(1000)).is_empty());
    assert_eq!(schedule.take(Owner::LOCAL, at(1000)), [0]);
}

#[test]
fn a_request_that_is_delayed_follows_all_others_of_its_level_and_of_higher_ones() {
    let delaying = QueuePolicy {
        timeout_action: TimeoutAction::Delay,
        default_timeout: Some(ms(5)),
        ..QueuePolicy::default()
    };
    let mut schedule = schedule(BatchPolicy {
        priority_levels: 2,
        default_priority_level: 1,
        priority_queue_policies: BTreeMap::from([(1, delaying)]),
        ..greedy(1)
    });
    push(&mut schedule, [with_priority(0, 1), with_priority(1, 2)]);
    schedule.push(with_priority(2, 1), at(4)).unwrap();
    let order: Vec<Vec<u64>> = (0..3).map(|_| schedule.take(Owner::LOCAL, at(6))).collect();
    assert_eq!(order, [[2], [0], [1]]);
}

#[test]
fn a_full_level_refuses_at_once_and_the_others_do_not() {
    let small = QueuePolicy {
        max_queue_size: NonZeroUsize::new(1),
        ..QueuePolicy::default()
    };
    let mut schedule = Schedule::new(
        BatchPolicy {
            priority_levels: 2,
            default_priority_level: 2,
            priority_queue_policies: BTreeMap::from([(1, small)]),
            ..greedy(8)
        },
        3,
    );
    assert!(schedule.push(with_priority(0, 1), at(0)).is_ok());
    assert_eq!(schedule.push(with_priority(1, 1), at(0)), Err(1));
    assert!(schedule.push(with_priority(2, 2), at(0)).is_ok());
    assert!(schedule.push(with_priority(3, 2), at(0)).is_ok());
    // The bound of all levels together.
    assert_eq!(schedule.push(with_priority(4, 2), at(0)), Err(4));
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0, 2, 3]);
    assert!(schedule.push(with_priority(5, 1), at(0)).is_ok());
}

#[test]
fn a_request_whose_client_has_left_takes_no_place_in_a_batch() {
    let mut schedule = schedule(BatchPolicy {
        max_queue_delay: ms(10),
        ..greedy(2)
    });
    let first = schedule.push(rows(0, 1), at(0)).unwrap();
    schedule.push(rows(1, 1), at(5)).unwrap();
    assert_eq!(schedule.outlook(at(5)), Outlook::Ready);
    assert_eq!(schedule.remove(first), Some(0));
    assert_eq!(schedule.remove(first), None);
    // The delay of the other request applies now.
    assert_eq!(schedule.outlook(at(5)), Outlook::Held(at(15)));
    assert_eq!(schedule.take(Owner::LOCAL, at(15)), [1]);
}

#[test]
fn requests_of_a_graph_that_is_not_batched_keep_their_order() {
    let mut schedule = schedule(BatchPolicy::one_by_one());
    push(&mut schedule, (0..3).map(|item| rows(item, 1)));
    for expected in [[0], [1], [2]] {
        assert_eq!(schedule.take(Owner::LOCAL, at(0)), expected);
    }
}

fn allowing(sizes: &[u32], max_batch_size: u32) -> BatchPolicy {
    BatchPolicy {
        sizes: BatchSizes {
            allowed: sizes.to_vec(),
            ..BatchSizes::default()
        },
        ..greedy(max_batch_size)
    }
}

/// Returns a request of the owner with this number.
fn owned(item: u64, id: u32) -> Arrival<u64> {
    Arrival {
        owner: Owner { id, weight: 1 },
        ..rows(item, 1)
    }
}

#[test]
fn a_batch_of_the_automatic_choice_has_the_largest_allowed_size_that_waits() {
    let mut schedule = schedule(allowing(&[1, 2, 4, 8], 8));
    push(&mut schedule, (0..15).map(|item| rows(item, 1)));
    let sizes: Vec<usize> = (0..4)
        .map(|_| schedule.take(Owner::LOCAL, at(0)).len())
        .collect();
    assert_eq!(sizes, [8, 4, 2, 1]);
    assert_eq!(schedule.outlook(at(0)), Outlook::Empty);
    // A request of another size runs alone, unless it has an allowed size with others.
    push(
        &mut schedule,
        [rows(0, 3), rows(1, 3), rows(2, 1), rows(3, 1)],
    );
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0, 1, 2, 3]);
    push(&mut schedule, [rows(4, 3), rows(5, 3)]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [4]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [5]);
}

#[test]
fn requests_without_an_allowed_size_are_joined_if_the_backend_keeps_all_preparations() {
    let mut policy = allowing(&[1, 2, 4, 8], 8);
    policy.sizes.keeps_others = true;
    let mut schedule = schedule(policy);
    push(&mut schedule, (0..3).map(|item| rows(item, 3)));
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [0, 1]);
    // An allowed size comes first, even if it is smaller.
    push(&mut schedule, [rows(3, 1), rows(4, 3)]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [2, 3]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [4]);
    push(&mut schedule, [rows(5, 2), rows(6, 3)]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [5]);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)), [6]);
}

#[test]
fn long_rows_form_smaller_batches_than_short_ones() {
    let limit = |row_elements, max_rows| RowLimit {
        row_elements,
        max_rows,
    };
    let mut schedule = schedule(BatchPolicy {
        sizes: BatchSizes {
            limits: vec![limit(8, 4), limit(100, 2)],
            ..BatchSizes::default()
        },
        ..greedy(8)
    });
    let of = |item: u64, row_elements: u64| Arrival {
        kind: Some(vec![u32::try_from(row_elements).unwrap()]),
        row_elements,
        ..rows(item, 1)
    };
    push(&mut schedule, (0..5).map(|item| of(item, 8)));
    assert_eq!(schedule.take(Owner::LOCAL, at(0)).len(), 4);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)).len(), 1);
    push(&mut schedule, (0..3).map(|item| of(item, 100)));
    assert_eq!(schedule.take(Owner::LOCAL, at(0)).len(), 2);
    assert_eq!(schedule.take(Owner::LOCAL, at(0)).len(), 1);
    push(&mut schedule, (0..2).map(|item| of(item, 500)));
    assert_eq!(schedule.take(Owner::LOCAL, at(0)).len(), 1);
}

#[test]
fn the_leader_of_a_batch_comes_first_and_others_fill_it() {
    let mut schedule = schedule(greedy(4));
    push(&mut schedule, (0..6).map(|item| owned(item, 1)));
    push(
        &mut schedule,
        [
            owned(6, 2),
            Arrival {
                priority: 9,
                ..owned(7, 2)
            },
        ],
    );
    let leader = Owner { id: 2, weight: 1 };
    assert_eq!(schedule.take(leader, at(0)), [6, 7, 0, 1]);
    // It has no requests left.
    assert_eq!(schedule.take(leader, at(0)), [2, 3, 4, 5]);
    assert_eq!(schedule.len(), 0);
}

#[test]
fn each_owner_with_a_batch_can_be_the_leader() {
    let mut schedule = schedule(greedy(4));
    push(&mut schedule, [owned(0, 1), owned(1, 2)]);
    let mut leaders = Vec::new();
    while let Some(leader) = schedule.leader(at(0), |owner| leaders.contains(&owner.id)) {
        leaders.push(leader.id);
    }
    assert_eq!(leaders, [1, 2]);
}

#[test]
fn an_incomplete_batch_is_held_for_the_oldest_request_of_any_owner() {
    let mut schedule = schedule(BatchPolicy {
        max_queue_delay: ms(10),
        ..greedy(8)
    });
    push(&mut schedule, [owned(0, 1)]);
    schedule.push(owned(1, 2), at(5)).unwrap();
    assert_eq!(schedule.next_change(at(5)), Some(at(10)));
    assert_eq!(schedule.leader(at(9), |_| false), None);
    let leader = schedule.leader(at(10), |owner| owner.id == 1).unwrap();
    assert_eq!(schedule.take(leader, at(10)), [1, 0]);
    assert_eq!(schedule.next_change(at(10)), None);
}

#[test]
fn an_owner_that_floods_leaves_places_to_others_and_the_local_one_takes_all() {
    let mut schedule = Schedule::new(greedy(1), 16);
    let accepted = (0..100).filter(|item| schedule.push(owned(*item, 1), at(0)).is_ok());
    assert_eq!(accepted.count(), 14);
    assert!(schedule.push(owned(100, 2), at(0)).is_ok());
    assert!(schedule.push(owned(101, 1), at(0)).is_err());
    assert!(schedule.push(rows(102, 1), at(0)).is_ok());
    assert!(schedule.push(rows(103, 1), at(0)).is_err(), "it is full");
    let mut alone = Schedule::new(greedy(1), 16);
    push(&mut alone, (0..16).map(|item| rows(item, 1)));
    assert!(alone.push(rows(16, 1), at(0)).is_err());
}

#[test]
fn an_owner_that_floods_a_level_leaves_places_in_it_to_others() {
    let mut schedule = schedule(BatchPolicy {
        default_queue_policy: QueuePolicy {
            max_queue_size: NonZeroUsize::new(8),
            ..QueuePolicy::default()
        },
        ..greedy(1)
    });
    let accepted = (0..100).filter(|item| schedule.push(owned(*item, 1), at(0)).is_ok());
    assert_eq!(accepted.count(), 7);
    assert!(schedule.push(owned(100, 2), at(0)).is_ok());
    assert!(schedule.push(owned(101, 3), at(0)).is_err(), "it is full");
}

/// A step of a trace.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, in milliseconds.
    Wait(u64),
    Arrive(Asked),
    /// A thread is free.
    Take,
    /// The client of a request leaves, by the number of the request.
    Leave(u64),
}

/// Runs a trace through the schedule and the reference, and compares them after each step.
fn check(policy: &BatchPolicy, steps: &[Step]) {
    const CAPACITY: usize = 12;
    let mut schedule = Schedule::new(policy.clone(), CAPACITY);
    let mut reference = Reference::new(policy.clone(), CAPACITY);
    let mut now = 0;
    let mut arrived = 0;
    let mut ids = BTreeMap::new();
    for step in steps {
        match step {
            Step::Wait(milliseconds) => now += milliseconds,
            Step::Arrive(asked) => {
                let arrival = Arrival {
                    rows: asked.rows,
                    kind: asked.kind.map(|kind| vec![kind]),
                    row_elements: asked.row_elements,
                    priority: asked.priority,
                    timeout: asked.timeout.map(ms),
                    owner: Owner::LOCAL,
                    item: arrived,
                };
                let id = schedule.push(arrival, at(now)).ok();
                assert_eq!(
                    id.is_some(),
                    reference.push(arrived, asked, now),
                    "{step:?}"
                );
                ids.extend(id.map(|id| (arrived, id)));
                arrived += 1;
            }
            Step::Take => assert_eq!(schedule.take(Owner::LOCAL, at(now)), reference.take(now)),
            Step::Leave(item) => {
                let removed = ids.get(item).and_then(|id| schedule.remove(*id));
                assert_eq!(removed.is_some(), reference.remove(*item), "{item}");
            }
        }
        let mut rejected = schedule.take_rejected(at(now));
        rejected.sort_unstable();
        assert_eq!(rejected, reference.take_rejected(now));
        assert_eq!(schedule.len(), reference.len());
        let expected = match reference.outlook(now) {
            None => Outlook::Empty,
            Some(until) if until <= now => Outlook::Ready,
            Some(until) => Outlook::Held(at(until)),
        };
        assert_eq!(schedule.outlook(at(now)), expected);
    }
}

fn queue_policies() -> impl Strategy<Value = QueuePolicy> {
    let timeout = prop::option::of((1..30u64).prop_map(ms));
    let most = prop::option::of((1..5usize).prop_map(|most| NonZeroUsize::new(most).unwrap()));
    (any::<bool>(), timeout, any::<bool>(), most).prop_map(|(rejects, timeout, lowers, most)| {
        QueuePolicy {
            timeout_action: match rejects {
                true => TimeoutAction::Reject,
                false => TimeoutAction::Delay,
            },
            default_timeout: timeout,
            allow_timeout_override: lowers,
            max_queue_size: most,
        }
    })
}

/// Returns the rules of the automatic choice, which half of all policies do not have.
fn batch_sizes() -> impl Strategy<Value = BatchSizes> {
    let allowed = prop::sample::subsequence(vec![1u32, 2, 4, 8], 0..=4);
    let limits = prop::collection::btree_map(1..25u64, 1..9u32, 0..3);
    let measured = (allowed, any::<bool>(), limits);
    let measured = measured.prop_map(|(allowed, keeps_others, limits)| BatchSizes {
        allowed,
        keeps_others,
        limits: limits
            .into_iter()
            .map(|(row_elements, max_rows)| RowLimit {
                row_elements,
                max_rows,
            })
            .collect(),
    });
    prop_oneof![Just(BatchSizes::default()), measured]
}

fn policies() -> impl Strategy<Value = BatchPolicy> {
    let sizes = prop::collection::vec(1..9u32, 0..3);
    let own = prop::collection::btree_map(0..4u32, queue_policies(), 0..3);
    let delay = prop_oneof![Just(Duration::ZERO), (1..20u64).prop_map(ms)];
    let levels = (0..4u32, 0..4u32);
    let sizes = (sizes, batch_sizes());
    (1..9u32, sizes, delay, levels, queue_policies(), own).prop_map(
        |(most, (preferred, sizes), delay, (levels, default), queue, own)| BatchPolicy {
            max_batch_size: size(most),
            preferred_batch_sizes: preferred,
            sizes,
            max_queue_delay: delay,
            preserve_ordering: false,
            priority_levels: levels,
            default_priority_level: default,
            default_queue_policy: queue,
            priority_queue_policies: own,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![1 => Just(None), 4 => Just(Some(1)), 1 => Just(Some(2))];
    let asked = (0..6u32, kind, 0..5u32, prop::option::of(0..30u64));
    let asked = asked.prop_map(|(rows, kind, priority, timeout)| Asked {
        rows,
        kind,
        row_elements: kind.map_or(1, |kind| 10 * u64::from(kind)),
        priority,
        timeout,
    });
    let step = prop_oneof![
        3 => (0..12u64).prop_map(Step::Wait),
        4 => asked.prop_map(Step::Arrive),
        2 => Just(Step::Take),
        1 => (0..40u64).prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn any_trace_is_scheduled_as_triton_documents_it(policy in policies(), steps in steps()) {
        check(&policy, &steps);
    }

    #[test]
    fn requests_together_have_an_allowed_size_and_all_leave_in_order(
        sizes in batch_sizes(),
        most in 1..40u32,
        requests in prop::collection::vec(1..6u32, 0..60),
    ) {
        let policy = BatchPolicy { sizes: sizes.clone(), ..greedy(most) };
        let mut schedule = schedule(policy);
        push(&mut schedule, (0..).zip(requests.iter().copied()).map(|(item, n)| rows(item, n)));
        let mut left = Vec::new();
        while schedule.len() > 0 {
            let batch = schedule.take(Owner::LOCAL, at(0));
            prop_assert!(!batch.is_empty());
            let members = batch.iter().map(|item| requests[usize::try_from(*item).unwrap()]);
            let members: Vec<u64> = members.map(u64::from).collect();
            let together: u64 = members.iter().sum();
            let is_kept = sizes.keeps_others && !sizes.allows(members[0]);
            let may_be_joined = sizes.allows(together) || is_kept;
            prop_assert!(batch.len() == 1 || may_be_joined, "{} rows", together);
            prop_assert!(batch.len() == 1 || together <= u64::from(most));
            left.extend(batch);
        }
        prop_assert!(left.is_sorted());
        prop_assert_eq!(left.len(), requests.len());
    }
}
