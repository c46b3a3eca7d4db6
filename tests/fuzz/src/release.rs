//! Requests to start a release, and the records of releases that survive a restart.
//!
//! An accepted value can be written and read again. The first byte selects one of them.

use super::models::check_refusal;
use wisp_protocol::call::ModelName;
use wisp_protocol::release::{ReleaseRecord, ReleaseStart, decode_start, start_document};

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else {
        return;
    };
    let model = ModelName::new("m").expect("a letter is a name");
    if kind % 2 == 0 {
        match decode_start(body) {
            Ok(start) => {
                let percent = start.settings.weight_percent;
                assert!((0.0..=100.0).contains(&percent), "{percent}");
                let again: Option<ReleaseStart> = decode_start(&start_document(&start)).ok();
                assert_eq!(again, Some(start));
            }
            Err(error) => check_refusal(error.kind(), &error.to_string()),
        }
    } else if let Some(record) = ReleaseRecord::parse(body, &model) {
        assert_ne!(record.stable, record.candidate);
        let again = ReleaseRecord::parse(&record.text(), &model);
        assert_eq!(again, Some(record));
    }
}
