//! Tests of the JSON of releases.

use super::*;
use serde_json::{Value, json};

fn version(number: &str) -> Version {
    Version::from_decimal(number).unwrap()
}

fn decode(document: Value) -> Result<ReleaseStart, String> {
    let decoded = decode_start(document.to_string().as_bytes());
    decoded.map_err(|error| error.to_string())
}

#[test]
fn a_start_needs_a_candidate_only() {
    for candidate in [json!("2"), json!(2)] {
        let start = decode(json!({ "candidate": candidate })).unwrap();
        assert_eq!(start.candidate, version("2"));
        assert_eq!(start.stable, None);
        assert_eq!(start.settings, ReleaseSettings::default());
    }
    let start = decode(json!({
        "candidate": "2", "stable": "1", "settings": { "weight_percent": 25, "latency": "mean" },
    }));
    let start = start.unwrap();
    assert_eq!(start.stable, Some(version("1")));
    assert_eq!(start.settings.weight_percent, 25.0);
    assert_eq!(start.settings.latency, Latency::Mean);
    let again = decode_start(&start_document(&start)).unwrap();
    assert_eq!(again, start);
}

#[test]
fn a_release_without_a_limit_on_errors_has_none_when_it_is_read_again() {
    let start = decode(json!({ "candidate": 2, "settings": { "max_error_percent": null } }));
    let start = start.unwrap();
    assert_eq!(start.settings.max_error_percent, None);
    assert_eq!(decode_start(&start_document(&start)).unwrap(), start);
    let model = ModelName::new("m").unwrap();
    let record = ReleaseRecord::new(&model, version("1"), start);
    assert_eq!(ReleaseRecord::parse(&record.text(), &model), Some(record));
}

#[test]
fn unknown_members_and_impossible_settings_are_refused() {
    for (document, text) in [
        (json!({}), "candidate"),
        (json!({ "candidate": "x" }), "version"),
        (json!({ "candidate": 0 }), "version"),
        (json!({ "candidate": 2, "weight": 1 }), "weight"),
        (
            json!({ "candidate": 2, "settings": { "weight": 1 } }),
            "weight",
        ),
        (
            json!({ "candidate": 2, "settings": { "weight_percent": 101 } }),
            "`weight_percent` must be a number from 0 to 100",
        ),
        (
            json!({ "candidate": 2, "settings": { "max_error_percent": -1 } }),
            "`max_error_percent` must be a number from 0 to 100",
        ),
        (
            json!({ "candidate": 2, "settings": { "max_latency_ratio": 0.5 } }),
            "`max_latency_ratio` must be a number from 1",
        ),
        (
            json!({ "candidate": 2, "settings": { "min_requests": 0 } }),
            "`min_requests` must be at least 1",
        ),
    ] {
        let error = decode(document.clone()).unwrap_err();
        assert!(error.contains(text), "{document}: {error}");
    }
}

#[test]
fn a_record_is_read_again_and_a_damaged_or_foreign_one_is_not() -> anyhow::Result<()> {
    let model = ModelName::new("m")?;
    let start = ReleaseStart {
        candidate: version("2"),
        stable: None,
        settings: ReleaseSettings::default(),
    };
    let mut record = ReleaseRecord::new(&model, version("1"), start);
    record.add_event(ReleaseEvent {
        unix_milliseconds: 1,
        event: ReleaseEventKind::Started,
        reason: String::new(),
    });
    let text = record.text();
    assert_eq!(ReleaseRecord::parse(&text, &model), Some(record.clone()));
    assert_eq!(ReleaseRecord::parse(&text, &ModelName::new("n")?), None);
    for length in 0..text.len() {
        assert_eq!(ReleaseRecord::parse(&text[..length], &model), None);
    }
    record.format = 2;
    assert_eq!(ReleaseRecord::parse(&record.text(), &model), None);
    Ok(())
}

#[test]
fn the_start_is_the_last_event_to_be_forgotten() -> anyhow::Result<()> {
    let model = ModelName::new("m")?;
    let start = ReleaseStart {
        candidate: version("2"),
        stable: None,
        settings: ReleaseSettings::default(),
    };
    let mut record = ReleaseRecord::new(&model, version("1"), start);
    for unix_milliseconds in 0..100 {
        record.add_event(ReleaseEvent {
            unix_milliseconds,
            event: ReleaseEventKind::Changed,
            reason: String::new(),
        });
    }
    let times: Vec<u64> = (record.events.iter())
        .map(|event| event.unix_milliseconds)
        .collect();
    assert_eq!(times.len(), 32);
    assert_eq!((times[0], times[1], times[31]), (0, 69, 99));
    Ok(())
}
