//! Tests of the choice of the next job, and simulations of a pool whose jobs take the time that they say.

use super::*;
use std::collections::BTreeMap;

/// The number of threads that a flow may occupy in these tests.
const THREADS: usize = 2;

// === test access ===

impl<J> State<J> {
    /// Sets the measured time of a flow, which a test cannot produce with a clock.
    pub(in crate::fair_pool) fn set_used(&mut self, index: usize, used: Duration) {
        let State { flows, classes, .. } = self;
        if let Some(flow) = flows[index].as_mut() {
            let position = match flow.lane(Owner::LOCAL) {
                Some(position) => position,
                None => flow.open_lane(Owner::LOCAL, classes),
            };
            flow.lanes[position].used = used;
            flow.mean = Duration::ZERO;
        }
    }

    /// Turns a flow without jobs into one whose jobs have been long.
    pub(in crate::fair_pool) fn set_long(&mut self, index: usize) {
        if let Some(flow) = self.flows[index].as_mut() {
            flow.class = Class::Long;
            flow.mean_call = Duration::from_secs(3600);
        }
    }

    /// Returns the time that the local owner has used in a flow.
    pub(in crate::fair_pool) fn used(&self, index: usize) -> Option<Duration> {
        let flow = self.flows[index].as_ref()?;
        let lane = flow.lane(Owner::LOCAL)?;
        Some(flow.lanes[lane].used)
    }

    fn class(&self, index: usize) -> Option<Class> {
        self.flows[index].as_ref().map(|flow| flow.class)
    }
}

fn times(job: u64, call: u64) -> Times {
    Times {
        job: Duration::from_millis(job),
        call: Duration::from_millis(call),
    }
}

/// Runs one job of the flow, which has none yet, in the class that the flow has.
fn run(state: &mut State<()>, index: usize, times: Times) -> Notified {
    let pushed = state.push((index, Owner::LOCAL), (), (1, THREADS));
    assert!(pushed.is_ok());
    let class = state.class(index).unwrap();
    let taken = state.take(class, THREADS).unwrap();
    state.ended(taken.charge, times, THREADS)
}

#[test]
fn a_flow_moves_to_the_other_threads_as_its_jobs_become_longer_or_shorter() {
    let mut state = State::default();
    let flow = state.add();
    let mut run = |milliseconds| {
        let notified = run(&mut state, flow, times(milliseconds, milliseconds));
        assert_eq!(notified, None);
        state.class(flow)
    };
    assert_eq!(run(7), Some(Class::Short), "a single one is no habit");
    assert_eq!(run(7), Some(Class::Long));
    assert_eq!(run(0), Some(Class::Long));
    let last = (0..20).map(|_| run(0)).last();
    assert_eq!(last, Some(Some(Class::Short)));
}

#[test]
fn a_flow_that_moves_to_the_other_threads_keeps_its_lead_and_not_its_clock() {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut state = State::default();
    let (moving, other) = (state.add(), state.add());
    state.set_long(moving);
    state.set_long(other);
    // The clock of the long flows is at an hour, which the other one has used.
    state.set_used(other, HOUR);
    run(&mut state, other, times(0, 3_600_000_000));
    state.set_used(moving, HOUR + Duration::from_millis(3));
    if let Some(flow) = state.flows[moving].as_mut() {
        flow.mean_call = Duration::ZERO;
    }
    // Its own job moves the clock to its start, and leaves no lead but its own time.
    run(&mut state, moving, times(4, 0));
    assert_eq!(state.class(moving), Some(Class::Short));
    assert_eq!(state.used(moving), Some(Duration::from_millis(4)));
}

#[test]
fn a_flow_is_long_by_the_time_of_its_calls_however_many_jobs_they_take() {
    let mut state = State::default();
    let flow = state.add();
    for call in 1..20 {
        run(&mut state, flow, times(1, call));
    }
    assert_eq!(state.class(flow), Some(Class::Long));
}

#[test]
fn a_flow_forgets_the_lanes_of_owners_that_have_no_jobs() {
    let mut state = State::default();
    let flow = state.add();
    for id in 0..1000 {
        let owner = Owner { id, weight: 1 };
        assert!(state.push((flow, owner), (), (1, THREADS)).is_ok());
        let taken = state.take(Class::Short, THREADS).unwrap();
        assert_eq!(taken.charge.owner, owner);
        state.ended(taken.charge, times(0, 0), THREADS);
    }
    let lanes = state.flows[flow].as_ref().map(|flow| flow.lanes.len());
    assert!(lanes <= Some(MAX_IDLE_LANES), "{lanes:?}");
}

#[test]
fn a_flow_that_has_no_handle_returns_the_jobs_of_all_owners() {
    let mut state = State::default();
    let flow = state.add();
    for id in 0..3 {
        let owner = Owner { id, weight: 1 };
        assert!(state.push((flow, owner), id, (1, THREADS)).is_ok());
        assert_eq!(state.push((flow, owner), 9, (1, THREADS)), Err(9));
    }
    let running = state.take(Class::Short, THREADS).unwrap();
    assert_eq!(state.orphan(flow), [1, 2]);
    assert!(state.take(Class::Short, THREADS).is_none());
    assert!(state.flows[flow].is_some(), "while its job runs");
    state.ended(running.charge, times(1, 1), THREADS);
    assert!(state.flows[flow].is_none());
    assert_eq!(state.add(), flow);
}

// === simulations ===

/// The jobs of one owner in one flow of a simulation, always `waiting` of them.
struct Load {
    flow: usize,
    owner: Owner,
    waiting: usize,
    cost: Duration,
}

/// Keeps the `threads` of one class busy for `total`, and returns what each owner and flow has received.
fn simulate(
    state: &mut State<Duration>,
    loads: &[Load],
    (threads, total): (usize, Duration),
) -> BTreeMap<(u32, usize), f64> {
    let mut received = BTreeMap::new();
    for load in loads {
        for _ in 0..load.waiting {
            let job = ((load.flow, load.owner), load.cost);
            assert!(state.push(job.0, job.1, (usize::MAX, threads)).is_ok());
        }
    }
    // The threads with their jobs, by the time at which the job ends.
    let mut running: BTreeMap<(Duration, usize), Taken<Duration>> = BTreeMap::new();
    let mut now = Duration::ZERO;
    let mut number = 0;
    while now < total {
        while running.len() < threads {
            let Some(taken) = state.take(Class::Short, threads) else {
                break;
            };
            number += 1;
            running.insert((now + taken.job, number), taken);
        }
        let Some(((end, _), Taken { job, charge })) = running.pop_first() else {
            break;
        };
        now = end;
        let (flow, owner) = (charge.flow, charge.owner);
        *received.entry((owner.id, flow)).or_insert(0.0) += job.as_secs_f64();
        let times = Times {
            job,
            call: Duration::ZERO,
        };
        state.ended(charge, times, threads);
        let pushed = state.push((flow, owner), job, (usize::MAX, threads));
        assert!(pushed.is_ok());
    }
    received
}

fn of_owner(received: &BTreeMap<(u32, usize), f64>, id: u32) -> f64 {
    let own = received.iter().filter(|((owner, _), _)| *owner == id);
    own.map(|(_, received)| received).sum()
}

#[test]
fn owners_receive_by_their_weights_however_many_versions_and_jobs_they_have() {
    let mut state = State::default();
    let mut loads = Vec::new();
    for (owner, flows, waiting, cost) in [(1, 20, 100, 900), (2, 1, 30, 50), (4, 3, 20, 400)] {
        for _ in 0..flows {
            loads.push(Load {
                flow: state.add(),
                owner: Owner {
                    id: owner,
                    weight: owner,
                },
                waiting,
                cost: Duration::from_micros(cost),
            });
        }
    }
    let received = simulate(&mut state, &loads, (4, Duration::from_secs(5)));
    let total: f64 = received.values().sum();
    assert!(total > 4.0 * 5.0 * 0.999, "no thread is idle: {total}");
    for weight in [1_u32, 2, 4] {
        let share = of_owner(&received, weight) / total * 7.0 / f64::from(weight);
        assert!((share - 1.0).abs() < 0.05, "{weight}: {share}");
    }
    // The versions of one owner share its time.
    let of_one: Vec<f64> = received
        .iter()
        .filter(|((owner, _), _)| *owner == 4)
        .map(|(_, received)| *received)
        .collect();
    let mean = of_one.iter().sum::<f64>() / 3.0;
    assert!(of_one.iter().all(|of| (of / mean - 1.0).abs() < 0.05));
}

#[test]
fn eight_equal_owners_of_one_public_version_receive_the_same() {
    let mut state = State::default();
    let flow = state.add();
    let loads = (1..=8).map(|id| Load {
        flow,
        owner: Owner { id, weight: 1 },
        waiting: 1 << id,
        cost: Duration::from_micros(u64::from(id) * 100),
    });
    let loads: Vec<Load> = loads.collect();
    let received = simulate(&mut state, &loads, (2, Duration::from_secs(5)));
    let sum: f64 = received.values().sum();
    let squares: f64 = received.values().map(|of| of * of).sum();
    let jain = sum * sum / (8.0 * squares);
    assert!(jain >= 0.98, "{jain}: {received:?}");
}

#[test]
fn a_noisy_neighbour_leaves_the_victim_its_share_and_takes_what_it_leaves() {
    let mut state = State::default();
    let (noisy, victim) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    let mut loads: Vec<Load> = (0..50)
        .map(|_| Load {
            flow: state.add(),
            owner: noisy,
            waiting: 100,
            cost: Duration::from_millis(5),
        })
        .collect();
    // One job at a time: a fifth of one thread if it never waits.
    loads.push(Load {
        flow: state.add(),
        owner: victim,
        waiting: 1,
        cost: Duration::from_millis(1),
    });
    let received = simulate(&mut state, &loads, (2, Duration::from_secs(10)));
    // It waits for at most the rest of one of two running jobs, and never for a queued one.
    let jobs = of_owner(&received, 2) / 0.001;
    assert!(jobs > 10.0 / 0.006, "{jobs}");
    let total: f64 = received.values().sum();
    assert!(total > 2.0 * 10.0 * 0.999, "{total}");
}
