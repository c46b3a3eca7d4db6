//! Tests of releases without versions that compute.

use super::*;

fn version(number: &str) -> Version {
    Version::from_decimal(number).unwrap()
}

fn rollout(settings: ReleaseSettings) -> Rollout {
    let start = ReleaseStart {
        candidate: version("2"),
        stable: None,
        settings,
    };
    Rollout::start(&ModelName::new("m").unwrap(), version("1"), start)
}

fn weight(weight_percent: f64) -> ReleaseSettings {
    ReleaseSettings {
        weight_percent,
        min_requests: 10,
        ..ReleaseSettings::default()
    }
}

/// Returns the numbers of the keys that get the candidate.
fn candidates(rollout: &Rollout) -> Vec<u32> {
    let keys = 0..1_000_u32;
    keys.filter(|key| {
        let key = RoutingKey::of(&key.to_le_bytes());
        rollout.choose(key) == rollout.candidate()
    })
    .collect()
}

#[test]
fn a_key_keeps_its_version_and_a_larger_weight_moves_keys_to_the_candidate_only() {
    let rollout = rollout(weight(10.0));
    let first = candidates(&rollout);
    assert!((50..150).contains(&first.len()), "{}", first.len());
    assert_eq!(candidates(&rollout), first);
    rollout.change_settings(weight(50.0));
    let second = candidates(&rollout);
    assert!(first.iter().all(|key| second.contains(key)));
    assert!((400..600).contains(&second.len()), "{}", second.len());
}

#[test]
fn requests_without_a_key_are_split_by_the_weight() {
    let rollout = rollout(weight(25.0));
    let chosen = (0..400).filter(|_| rollout.choose(RoutingKey::default()) == version("2"));
    let chosen = chosen.count();
    assert!(chosen.abs_diff(100) <= 4, "{chosen}");
}

#[test]
fn a_promotion_and_an_abort_apply_to_all_requests_at_once() {
    let rollout = rollout(weight(10.0));
    assert_eq!(rollout.default_version(), version("1"));
    rollout.promote();
    assert_eq!(candidates(&rollout).len(), 1_000);
    assert_eq!(rollout.default_version(), version("2"));
    rollout.abort();
    assert_eq!(candidates(&rollout).len(), 0);
    assert_eq!(rollout.default_version(), version("1"));
    rollout.promote();
    rollout.promote();
    let events: Vec<ReleaseEventKind> = (rollout.record().events.iter())
        .map(|event| event.event)
        .collect();
    assert_eq!(
        events,
        [
            ReleaseEventKind::Started,
            ReleaseEventKind::Promoted,
            ReleaseEventKind::Aborted,
            ReleaseEventKind::Promoted,
        ]
    );
}

#[test]
fn a_candidate_that_fails_is_rolled_back_once() {
    let rollout = rollout(weight(10.0));
    for _ in 0..9 {
        rollout.count(Arm::Candidate, Outcome::Failed);
    }
    assert_eq!(rollout.judge(), None);
    rollout.count_shadow(Outcome::Failed);
    let reason = rollout.judge().map(|reason| reason.to_string());
    let expected = "10 of 10 requests of the candidate failed, and the limit is 5 %";
    assert_eq!(reason.as_deref(), Some(expected));
    assert!(rollout.roll_back(expected));
    assert!(!rollout.roll_back("again"));
    assert_eq!(rollout.judge(), None);
    assert_eq!(candidates(&rollout).len(), 0);
    let record = rollout.record();
    assert_eq!(record.phase, Phase::RolledBack);
    let last = record.events.last().map(|event| event.reason.as_str());
    assert_eq!(last, Some(expected));
}

#[test]
fn a_release_in_place_of_another_keeps_its_events() {
    let first = rollout(weight(10.0));
    assert!(first.roll_back("too slow"));
    let start = ReleaseStart {
        candidate: version("3"),
        stable: None,
        settings: weight(10.0),
    };
    let second = Rollout::start_after(&first, version("1"), start);
    assert_eq!(second.phase(), Phase::Running);
    let events: Vec<(ReleaseEventKind, String)> = (second.record().events.into_iter())
        .map(|event| (event.event, event.reason))
        .collect();
    let expected = [
        (ReleaseEventKind::Started, "version 2 in place of version 1"),
        (ReleaseEventKind::RolledBack, "too slow"),
        (ReleaseEventKind::Started, "version 3 in place of version 1"),
    ];
    assert_eq!(
        events,
        expected.map(|(event, reason)| (event, reason.to_owned()))
    );
}

#[test]
fn a_restored_release_chooses_as_before() {
    let before = rollout(weight(30.0));
    let after = Rollout::restore(before.model(), before.record());
    assert_eq!(candidates(&after), candidates(&before));
    before.promote();
    let after = Rollout::restore(before.model(), before.record());
    assert_eq!(after.default_version(), version("2"));
    assert_eq!(candidates(&after).len(), 1_000);
}

#[test]
fn copies_are_made_of_the_configured_part_while_the_release_runs() {
    let settings = ReleaseSettings {
        shadow_percent: 50.0,
        ..weight(0.0)
    };
    let rollout = rollout(settings);
    let taken = (0..100).filter(|_| rollout.takes_shadow()).count();
    assert!(taken.abs_diff(50) <= 4, "{taken}");
    rollout.abort();
    assert!(!(0..100).any(|_| rollout.takes_shadow()));
}

#[test]
fn responses_of_the_cache_count_as_requests_and_for_no_verdict() {
    let rollout = rollout(weight(10.0));
    for _ in 0..100 {
        rollout.count(Arm::Candidate, Outcome::Remembered);
    }
    for _ in 0..10 {
        rollout.count(Arm::Candidate, Outcome::Failed);
    }
    assert!(rollout.judge().is_some());
    let counts = rollout.status().candidate_requests;
    assert_eq!((counts.requests, counts.failures), (110, 10));
    assert_eq!(counts.mean_milliseconds, None);
}
