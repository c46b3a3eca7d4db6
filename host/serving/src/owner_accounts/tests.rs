//! Simulations of owners that share one resource, with costs that are known only afterwards.

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A sequence of numbers that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// An owner in a simulation: it has `waiting` jobs, each of which costs between `cheapest` and `dearest` microseconds.
#[derive(Clone)]
struct Simulated {
    owner: Owner,
    cheapest: u64,
    dearest: u64,
    waiting: usize,
    /// Set if each job that ends is followed by another one.
    is_endless: bool,
    position: usize,
    mean: Duration,
    received: Duration,
}

fn simulated(id: u32, weight: u32, (cheapest, dearest): (u64, u64)) -> Simulated {
    Simulated {
        owner: Owner { id, weight },
        cheapest,
        dearest,
        waiting: 100,
        is_endless: true,
        position: 0,
        mean: Duration::ZERO,
        received: Duration::ZERO,
    }
}

/// Runs the jobs of all owners on one thread for `total`, and returns the time that each has received, in seconds.
fn run(owners: &mut [Simulated], total: Duration) -> Vec<f64> {
    let mut accounts = OwnerAccounts::default();
    let mut numbers = Numbers(7);
    for simulated in owners.iter_mut() {
        simulated.position = accounts.open(simulated.owner);
        accounts.enter(simulated.position, (simulated.owner, simulated.waiting));
    }
    let mut now = Duration::ZERO;
    while now < total {
        let ready = owners.iter_mut().filter(|owner| owner.waiting > 0);
        let Some(next) = ready.min_by_key(|owner| accounts.used(owner.position)) else {
            break;
        };
        let estimate = next.mean;
        accounts.start(next.position, estimate);
        let cost = next.cheapest + numbers.below(next.dearest - next.cheapest + 1);
        let cost = Duration::from_micros(cost);
        now += cost;
        next.received += cost;
        next.mean = (next.mean * 7 + cost) / 8;
        accounts.correct(next.position, (estimate, cost));
        accounts.leave(next.position, 1);
        next.waiting -= 1;
        if next.is_endless {
            accounts.enter(next.position, (next.owner, 1));
            next.waiting += 1;
        }
    }
    let received = owners.iter().map(|owner| owner.received.as_secs_f64());
    received.collect()
}

/// Returns Jain's index: 1 if all received the same, 1 / n if one received everything.
fn jain(received: &[f64]) -> f64 {
    let sum: f64 = received.iter().sum();
    let squares: f64 = received.iter().map(|value| value * value).sum();
    let count = u32::try_from(received.len()).map_or(f64::NAN, f64::from);
    sum * sum / (count * squares)
}

#[test]
fn eight_equal_owners_receive_the_same_whatever_their_jobs_cost() {
    let costs = [
        (10, 10),
        (10, 20),
        (50, 5_000),
        (1, 3),
        (5_000, 5_000),
        (900, 1_100),
        (1, 10_000),
        (200, 200),
    ];
    let owners = costs.iter().zip(1..);
    let mut owners: Vec<Simulated> = owners.map(|(costs, id)| simulated(id, 1, *costs)).collect();
    let received = run(&mut owners, Duration::from_secs(10));
    assert!(jain(&received) >= 0.999, "{received:?}");
}

#[test]
fn owners_receive_by_their_weights_whatever_their_jobs_cost() {
    let mut owners = [
        simulated(1, 1, (20, 2_000)),
        simulated(2, 2, (5, 15)),
        simulated(3, 4, (3_000, 5_000)),
    ];
    let received = run(&mut owners, Duration::from_secs(10));
    let unit = received.iter().sum::<f64>() / 7.0;
    for (received, weight) in received.iter().zip([1.0, 2.0, 4.0]) {
        let deviation = (received / unit / weight - 1.0).abs();
        assert!(deviation < 0.01, "{received} of {weight} parts of {unit}");
    }
}

#[test]
fn no_time_is_left_unused_while_an_owner_has_jobs() {
    let mut owners = [
        simulated(1, 1, (100, 100)),
        Simulated {
            waiting: 3,
            is_endless: false,
            ..simulated(2, 1000, (100, 100))
        },
    ];
    let received = run(&mut owners, Duration::from_secs(1));
    assert!((received[1] - 0.000_3).abs() < 1e-9, "{received:?}");
    assert!((received[0] - 0.999_7).abs() < 1e-9, "{received:?}");
}

#[test]
fn a_flood_delays_a_job_of_another_owner_by_the_running_job_only() {
    let mut accounts = OwnerAccounts::default();
    let (noisy, quiet) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    let (of_noisy, of_quiet) = (accounts.open(noisy), accounts.open(quiet));
    accounts.enter(of_noisy, (noisy, 100_000));
    for _ in 0..1_000 {
        accounts.start(of_noisy, MILLISECOND);
        accounts.correct(of_noisy, (MILLISECOND, 5 * MILLISECOND));
        accounts.leave(of_noisy, 1);
        // Each time that the quiet owner has a job, it is the next one.
        accounts.enter(of_quiet, (quiet, 1));
        assert!(accounts.used(of_quiet) < accounts.used(of_noisy));
        accounts.start(of_quiet, MILLISECOND / 10);
        accounts.correct(of_quiet, (MILLISECOND / 10, MILLISECOND / 10));
        accounts.leave(of_quiet, 1);
    }
}

#[test]
fn an_owner_with_one_job_at_a_time_still_pays_for_the_last_one() {
    let mut accounts = OwnerAccounts::default();
    let (one, other) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 1 });
    let (of_one, of_other) = (accounts.open(one), accounts.open(other));
    accounts.enter(of_other, (other, 10));
    accounts.enter(of_one, (one, 1));
    accounts.start(of_one, 50 * MILLISECOND);
    accounts.leave(of_one, 1);
    // Its next job arrives before the other owner has received as much.
    accounts.enter(of_one, (one, 1));
    assert!(accounts.used(of_other) < accounts.used(of_one));
}

#[test]
fn being_idle_earns_no_credit_and_waiting_at_an_own_limit_little() {
    let mut accounts = OwnerAccounts::default();
    let [busy, idle, limited] = [1, 2, 3].map(|id| Owner { id, weight: 1 });
    let positions = [busy, idle, limited].map(|owner| accounts.open(owner));
    let [of_busy, of_idle, of_limited] = positions;
    accounts.enter(of_busy, (busy, 1));
    accounts.enter(of_limited, (limited, 1));
    for _ in 0..3600 {
        accounts.start(of_busy, Duration::from_secs(1));
    }
    accounts.enter(of_idle, (idle, 1));
    accounts.enter(of_limited, (limited, 1));
    let clock = scaled(Duration::from_secs(3599), 1);
    assert_eq!(accounts.used(of_idle), clock);
    assert_eq!(accounts.used(of_limited), clock - scaled(MAX_LAG, 1));
}

#[test]
fn a_batch_is_paid_for_by_those_that_it_was_made_for() {
    let mut accounts = OwnerAccounts::default();
    let (first, second) = (Owner { id: 1, weight: 1 }, Owner { id: 2, weight: 2 });
    let position = accounts.open(first);
    accounts.enter(position, (first, 1));
    accounts.start(position, Duration::ZERO);
    accounts.transfer((position, second), 6 * MILLISECOND);
    accounts.correct(position, (Duration::ZERO, 8 * MILLISECOND));
    let of_second = accounts.open(second);
    assert_eq!(accounts.used(position), scaled(2 * MILLISECOND, 1));
    assert_eq!(accounts.used(of_second), scaled(3 * MILLISECOND, 1));
}

#[test]
fn accounts_are_reused_unless_their_owners_have_debts() {
    let mut accounts = OwnerAccounts::default();
    let indebted = Owner {
        id: u32::MAX,
        weight: 1,
    };
    let position = accounts.open(indebted);
    accounts.enter(position, (indebted, 1));
    accounts.start(position, MILLISECOND);
    accounts.leave(position, 1);
    accounts.close(position);
    for id in 0..10_000 {
        let position = accounts.open(Owner { id, weight: 1 });
        accounts.close(position);
    }
    assert!(accounts.accounts.len() <= MAX_IDLE_ACCOUNTS + 1);
    let position = accounts.open(indebted);
    assert_eq!(accounts.used(position), scaled(MILLISECOND, 1));
}

#[test]
fn a_single_owner_leaves_nothing_to_choose() {
    let mut accounts = OwnerAccounts::default();
    let (one, other) = (Owner::LOCAL, Owner { id: 1, weight: 1 });
    let (of_one, of_other) = (accounts.open(one), accounts.open(other));
    assert!(accounts.has_one_owner());
    accounts.enter(of_one, (one, 2));
    assert!(accounts.has_one_owner());
    accounts.enter(of_other, (other, 1));
    assert!(!accounts.has_one_owner());
    accounts.leave(of_other, 1);
    accounts.leave(of_other, 1);
    assert!(accounts.has_one_owner());
}
