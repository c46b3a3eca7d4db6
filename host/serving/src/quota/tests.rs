//! Tests of a quota: each limit, the effects of a refusal, and random sequences against a model.

use super::*;
use proptest::prelude::*;

fn limited(limits: Limits) -> (Arc<Quota>, Instant) {
    (Quota::new(limits), Instant::now())
}

/// Returns the name of the limit of a refusal.
fn refused<T>(result: Result<T, OverQuota>) -> Option<&'static str> {
    result.err().map(|refusal| refusal.limit)
}

#[test]
fn without_limits_everything_is_admitted() {
    let (quota, now) = limited(Limits::default());
    let permits: Vec<QuotaPermit> = (0..1000)
        .filter_map(|_| quota.admit(now, u64::MAX).ok())
        .collect();
    assert_eq!((permits.len(), quota.usage().requests), (1000, 1000));
    drop(permits);
    assert_eq!(quota.usage().requests, 0);
}

#[test]
fn a_request_in_progress_counts_until_it_ends() {
    let (quota, now) = limited(Limits {
        concurrency: Some(2),
        ..Limits::default()
    });
    let first = quota.admit(now, 0);
    let _second = quota.admit(now, 0);
    assert_eq!(refused(quota.admit(now, 0)), Some(limits::CONCURRENCY));
    drop(first);
    assert_eq!(refused(quota.admit(now, 0)), None);
}

#[test]
fn a_body_that_is_too_large_is_no_matter_of_time() {
    let (quota, now) = limited(Limits {
        body_bytes: Some(10),
        ..Limits::default()
    });
    assert_eq!(refused(quota.admit(now, 10)), None);
    let refusal = quota.admit(now, 11).unwrap_err();
    assert_eq!(refusal.retry_after, None);
    assert_eq!(refusal.kind(), ErrorKind::TooLarge);
}

#[test]
fn a_refusal_names_the_limit_its_value_and_the_time_to_wait() {
    let (quota, now) = limited(Limits {
        requests_per_second: Some(1),
        ..Limits::default()
    });
    for _ in 0..2 {
        assert_eq!(refused(quota.admit(now, 0)), None);
    }
    let refusal = quota.admit(now, 0).unwrap_err();
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(refusal.kind(), ErrorKind::OverQuota);
    assert_eq!(
        refusal.to_string(),
        "the tenant's limit `requests_per_second` of 1 is used up"
    );
    assert_eq!(quota.usage().refused, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_request_that_another_limit_refuses_uses_no_place_of_the_rate() {
    let (quota, now) = limited(Limits {
        requests_per_second: Some(1),
        concurrency: Some(1),
        ..Limits::default()
    });
    let first = quota.admit(now, 0);
    for _ in 0..100 {
        assert_eq!(refused(quota.admit(now, 0)), Some(limits::CONCURRENCY));
    }
    drop(first);
    assert_eq!(refused(quota.admit(now, 0)), None);
}

#[test]
fn measured_time_refuses_further_requests_until_it_is_granted() {
    for (limit, cost) in [
        (
            limits::GUEST_MILLISECONDS,
            Cost {
                guest: Duration::from_secs(1),
                ..Cost::default()
            },
        ),
        (
            limits::BACKEND_MILLISECONDS,
            Cost {
                backend: Duration::from_secs(1),
                ..Cost::default()
            },
        ),
    ] {
        let (quota, now) = limited(Limits {
            guest_milliseconds_per_second: Some(100),
            backend_milliseconds_per_second: Some(100),
            ..Limits::default()
        });
        let mut permit = quota.admit(now, 0).unwrap();
        permit.take_times().unwrap().end(cost);
        drop(permit);
        let refusal = quota.admit(now, 0).unwrap_err();
        assert_eq!(refusal.limit, limit);
        let wait = refusal.retry_after.unwrap();
        assert!(wait.abs_diff(Duration::from_secs(8)) < Duration::from_millis(1));
        assert_eq!(refused(quota.admit(now + wait, 0)), None);
    }
}

#[test]
fn the_time_of_a_request_is_charged_as_it_becomes_known_and_once() {
    let (quota, now) = limited(Limits {
        backend_milliseconds_per_second: Some(100),
        ..Limits::default()
    });
    let used = |milliseconds| Cost {
        backend: Duration::from_millis(milliseconds),
        ..Cost::default()
    };
    let mut times = quota.admit(now, 0).unwrap().take_times().unwrap();
    times.set(used(150));
    // The burst is 200 ms.
    assert_eq!(refused(quota.admit(now, 0)), None);
    times.raise(used(1000));
    times.raise(used(1));
    let refusal = quota.admit(now, 0).unwrap_err();
    assert_eq!(refusal.limit, limits::BACKEND_MILLISECONDS);
    times.end(used(150));
    assert_eq!(refused(quota.admit(now, 0)), None);
}

#[test]
fn a_request_that_was_not_measured_is_not_charged() {
    let (quota, now) = limited(Limits {
        guest_milliseconds_per_second: Some(100),
        ..Limits::default()
    });
    let mut first = quota.admit(now, 0).unwrap();
    first.take_times().unwrap().end(Cost {
        guest: Duration::from_millis(160),
        ..Cost::default()
    });
    // An eighth of it is expected of each of the others. 40 ms are left.
    let others = [quota.admit(now, 0), quota.admit(now, 0)];
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(
        refused(quota.admit(now, 0)),
        Some(limits::GUEST_MILLISECONDS)
    );
    drop(others);
    assert_eq!(refused(quota.admit(now, 0)), None);
}

#[test]
fn the_bytes_of_tensors_are_those_of_all_requests_together() {
    let (quota, now) = limited(Limits {
        tensor_bytes: Some(100),
        ..Limits::default()
    });
    let (mut first, mut second) = (quota.admit(now, 0).unwrap(), quota.admit(now, 0).unwrap());
    assert_eq!(first.hold_tensors(60), Ok(()));
    let refusal = second.hold_tensors(50).unwrap_err();
    assert_eq!(refusal.retry_after, Some(SOON));
    assert_eq!(second.hold_tensors(101).unwrap_err().retry_after, None);
    assert_eq!(first.hold_tensors(50), Ok(()));
    assert_eq!(second.hold_tensors(50), Ok(()));
    drop(first);
    assert_eq!(quota.usage().tensor_bytes, 50);
    drop(second);
    assert_eq!(quota.usage().tensor_bytes, 0);
}

#[test]
fn time_that_was_used_without_a_limit_is_no_debt_under_a_new_one() {
    let (quota, now) = limited(Limits::default());
    let mut permit = quota.admit(now, 0).unwrap();
    permit.take_times().unwrap().end(Cost {
        guest: Duration::from_secs(3600),
        backend: Duration::from_secs(3600),
    });
    drop(permit);
    let limits = Limits {
        guest_milliseconds_per_second: Some(100),
        backend_milliseconds_per_second: Some(100),
        ..Limits::default()
    };
    quota.set_limits(limits.clone());
    assert_eq!(refused(quota.admit(now, 0)), None);
    // Another change of the limits forgives nothing.
    let mut permit = quota.admit(now, 0).unwrap();
    permit.take_times().unwrap().end(Cost {
        guest: Duration::from_secs(3600),
        ..Cost::default()
    });
    drop(permit);
    quota.set_limits(limits);
    assert_eq!(
        refused(quota.admit(now, 0)),
        Some(limits::GUEST_MILLISECONDS)
    );
}

#[test]
fn new_limits_hold_for_what_is_in_use() {
    let (quota, now) = limited(Limits::default());
    let permits = [quota.admit(now, 0), quota.admit(now, 0)];
    let limits = Limits {
        concurrency: Some(2),
        ..Limits::default()
    };
    quota.set_limits(limits.clone());
    assert_eq!(quota.limits(), limits);
    assert_eq!(refused(quota.admit(now, 0)), Some(limits::CONCURRENCY));
    drop(permits);
    assert_eq!(refused(quota.admit(now, 0)), None);
}

#[test]
fn threads_that_ask_at_the_same_time_get_no_more_than_there_is() {
    let (quota, now) = limited(Limits {
        requests_per_second: Some(50),
        ..Limits::default()
    });
    let admitted: usize = std::thread::scope(|scope| {
        let ask = || (0..100).filter(|_| quota.admit(now, 0).is_ok()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.sum()
    });
    assert_eq!(admitted, 100);
    assert_eq!(quota.usage().refused[0], 300);
}

/// A step of a random sequence.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, in milliseconds.
    Wait(u64),
    Admit(u64),
    /// The request at this position holds this many bytes.
    Hold(usize, u64),
    /// The request at this position ends, after this many milliseconds of time.
    End(usize, u64),
}

/// Runs a sequence, and checks after each step that nothing is exceeded and that the counts equal a model's.
fn check(steps: &[Step]) {
    const CONCURRENCY: usize = 4;
    const BYTES: u64 = 100;
    let (quota, mut now) = limited(Limits {
        requests_per_second: Some(10),
        concurrency: Some(4),
        body_bytes: Some(50),
        guest_milliseconds_per_second: Some(100),
        tensor_bytes: Some(BYTES),
        ..Limits::default()
    });
    let mut permits: Vec<(QuotaPermit, u64)> = Vec::new();
    let (mut admitted, mut refusals) = (0_u64, 0_u64);
    for step in steps {
        match *step {
            Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
            Step::Admit(bytes) => match quota.admit(now, bytes) {
                Ok(permit) => {
                    admitted += 1;
                    permits.push((permit, 0));
                }
                Err(refusal) => {
                    refusals += 1;
                    let is_possible = match refusal.limit {
                        limits::BODY_BYTES => bytes > 50,
                        limits::CONCURRENCY => permits.len() == CONCURRENCY,
                        _ => true,
                    };
                    assert!(is_possible, "{refusal:?}");
                }
            },
            Step::Hold(position, bytes) => {
                let all: u64 = permits.iter().map(|(_, held)| held).sum();
                if let Some((permit, held)) = permits.get_mut(position) {
                    let fits = all - *held + bytes <= BYTES;
                    assert_eq!(permit.hold_tensors(bytes).is_ok(), fits);
                    match fits {
                        true => *held = bytes,
                        false => refusals += 1,
                    }
                }
            }
            Step::End(position, milliseconds) if position < permits.len() => {
                let (mut permit, _) = permits.swap_remove(position);
                let times = permit.take_times().unwrap();
                times.end(Cost {
                    guest: Duration::from_millis(milliseconds),
                    ..Cost::default()
                });
            }
            Step::End(..) => {}
        }
        let usage = quota.usage();
        let held: u64 = permits.iter().map(|(_, held)| held).sum();
        assert_eq!(usage.requests, u64::try_from(permits.len()).unwrap());
        assert_eq!((usage.tensor_bytes, usage.admitted), (held, admitted));
        assert_eq!(usage.refused.iter().sum::<u64>(), refusals);
        assert!(permits.len() <= CONCURRENCY && held <= BYTES);
    }
    permits.clear();
    // After a long time everything is granted again.
    now += Duration::from_secs(3600);
    assert_eq!(refused(quota.admit(now, 0)), None);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..300u64).prop_map(Step::Wait),
        4 => (0..60u64).prop_map(Step::Admit),
        2 => (0..5usize, 0..120u64).prop_map(|(position, bytes)| Step::Hold(position, bytes)),
        3 => (0..5usize, 0..200u64).prop_map(|(position, cost)| Step::End(position, cost)),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn no_sequence_exceeds_a_limit_or_loses_count(steps in steps()) {
        check(&steps);
    }
}
