//! Releases: the requests to control them, the documents that describe them, and the records that survive a restart.
//!
//! A release moves the requests that name no version from the stable version of a model to a candidate. The members of
//! the JSON objects are the names of the fields, and versions are strings, as in V2.

mod version_text;

use crate::call::{ModelName, Version};
use crate::codec::CodecError;
use crate::encoded_response::document;
use crate::error::{ErrorKind, HasErrorKind};
use crate::v2;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format of the records. A record of another format is not read.
const RECORD_FORMAT: u32 = 1;

/// The most events of a release and of those before it that are kept. The oldest one, the first start, is kept besides.
const MAX_EVENTS: usize = 32;

/// A request to start a release, or to change the settings of the running one with the same candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseStart {
    /// The version that is to be released.
    #[serde(with = "version_text")]
    pub candidate: Version,
    /// The version to move away from. By default the one that requests without a version get.
    #[serde(
        default,
        with = "version_text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub stable: Option<Version>,
    #[serde(default)]
    pub settings: ReleaseSettings,
}

/// The settings of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReleaseSettings {
    /// The part of the requests that the candidate gets.
    pub weight_percent: f64,
    /// The part of the requests to the stable version that is copied to the candidate.
    pub shadow_percent: f64,
    /// The largest difference of numbers that agree, relative to the stable version's number if that is beyond 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The number of requests of the candidate before which nothing is rolled back.
    pub min_requests: u64,
    /// The largest part of failed requests. `null` is written too, since a missing member has the default.
    pub max_error_percent: Option<f64>,
    /// The largest ratio of the candidate's latency to the stable version's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_ratio: Option<f64>,
    /// The measure of latency.
    pub latency: Latency,
    /// The largest part of compared responses that disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_disagreement_percent: Option<f64>,
}

/// A measure of latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    #[default]
    P99,
    Mean,
}

/// The phase of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The requests are split by the weight.
    Running,
    /// The candidate gets all requests.
    Promoted,
    /// The stable version gets all requests, because an operator ended the release.
    Aborted,
    /// The stable version gets all requests, because the candidate broke a limit.
    RolledBack,
}

/// A change of an existing release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseChange {
    Promote,
    Abort,
    /// Ends a release that is no longer running: the files of the model select the versions again.
    Close,
}

/// One event in the history of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEvent {
    /// The time in milliseconds since 1970.
    pub unix_milliseconds: u64,
    pub event: ReleaseEventKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseEventKind {
    Started,
    Changed,
    Promoted,
    Aborted,
    RolledBack,
    /// The server has started again.
    Restored,
}

/// The state of a release that survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    format: u32,
    pub model: String,
    #[serde(with = "version_text")]
    pub stable: Version,
    #[serde(with = "version_text")]
    pub candidate: Version,
    pub phase: Phase,
    pub settings: ReleaseSettings,
    /// The events of this release, after the events of the releases that it replaced without a close.
    pub events: Vec<ReleaseEvent>,
}

/// The counts of the requests to one version since the server started or the release did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct VersionCounts {
    /// The requests without those that were invalid.
    pub requests: u64,
    pub failures: u64,
    /// The requests that the version rejected as invalid.
    pub rejected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_milliseconds: Option<f64>,
}

/// The copied requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ShadowCounts {
    #[serde(flatten)]
    pub calls: VersionCounts,
    /// The copies that were not made, because the server had no capacity to spare.
    pub dropped: u64,
    /// The responses that were compared with responses of the stable version.
    pub compared: u64,
    /// The compared responses with an output that disagrees.
    pub disagreed: u64,
    /// The comparisons by output.
    pub outputs: BTreeMap<String, OutputCounts>,
}

/// The comparisons of one output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct OutputCounts {
    pub compared: u64,
    /// The outputs with another element type or shape, and those that were missing.
    pub mismatched: u64,
    /// The rows with a label: the position of the largest number, an integer, a boolean or a string.
    pub labels: u64,
    /// The rows with the same label.
    pub labels_agreed: u64,
    pub max_absolute_difference: f64,
    pub max_relative_difference: f64,
}

/// A release with its counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseStatus {
    pub model: String,
    #[serde(with = "version_text")]
    pub stable: Version,
    #[serde(with = "version_text")]
    pub candidate: Version,
    pub phase: Phase,
    /// The version that requests without a version get, apart from those that the candidate gets by its weight.
    #[serde(with = "version_text")]
    pub default_version: Version,
    pub settings: ReleaseSettings,
    pub stable_requests: VersionCounts,
    pub candidate_requests: VersionCounts,
    pub shadow: ShadowCounts,
    pub events: Vec<ReleaseEvent>,
}

/// The error for settings that no release can have. The message is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` must be {expected}")]
pub struct ReleaseSettingsError {
    setting: &'static str,
    expected: &'static str,
}

impl HasErrorKind for ReleaseSettingsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

/// Decodes the body of a request to start a release.
pub fn decode_start(body: &[u8]) -> Result<ReleaseStart, CodecError> {
    let start: ReleaseStart = v2::decode_object(body)?;
    start.settings.check()?;
    Ok(start)
}

/// Returns the response with the state of a release.
pub fn status_document(status: &ReleaseStatus) -> Bytes {
    document(status)
}

/// Returns the body of a request to start a release.
pub fn start_document(start: &ReleaseStart) -> Bytes {
    document(start)
}

// === impl ReleaseSettings ===

impl Default for ReleaseSettings {
    fn default() -> ReleaseSettings {
        ReleaseSettings {
            weight_percent: 10.0,
            shadow_percent: 0.0,
            tolerance: None,
            min_requests: 100,
            max_error_percent: Some(5.0),
            max_latency_ratio: None,
            latency: Latency::P99,
            max_disagreement_percent: None,
        }
    }
}

impl ReleaseSettings {
    /// Checks the ranges of all settings.
    pub fn check(&self) -> Result<(), ReleaseSettingsError> {
        let ReleaseSettings {
            weight_percent,
            shadow_percent,
            tolerance,
            min_requests,
            max_error_percent,
            max_latency_ratio,
            latency: _,
            max_disagreement_percent,
        } = self;
        let percents = [
            ("weight_percent", Some(*weight_percent)),
            ("shadow_percent", Some(*shadow_percent)),
            ("max_error_percent", *max_error_percent),
            ("max_disagreement_percent", *max_disagreement_percent),
        ];
        for (setting, percent) in percents {
            if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
                let expected = "a number from 0 to 100";
                return Err(ReleaseSettingsError { setting, expected });
            }
        }
        let error = |setting, expected| Err(ReleaseSettingsError { setting, expected });
        if tolerance.is_some_and(|tolerance| !(0.0..f64::INFINITY).contains(&tolerance)) {
            return error("tolerance", "a number from 0");
        }
        if max_latency_ratio.is_some_and(|ratio| !(1.0..f64::INFINITY).contains(&ratio)) {
            return error("max_latency_ratio", "a number from 1");
        }
        if *min_requests == 0 {
            return error("min_requests", "at least 1");
        }
        Ok(())
    }
}

// === impl ReleaseRecord ===

impl ReleaseRecord {
    /// Returns the record of a release that starts.
    pub fn new(model: &ModelName, stable: Version, start: ReleaseStart) -> ReleaseRecord {
        ReleaseRecord {
            format: RECORD_FORMAT,
            model: model.to_string(),
            stable,
            candidate: start.candidate,
            phase: Phase::Running,
            settings: start.settings,
            events: Vec::new(),
        }
    }

    /// Reads a record. Returns `None` if it is damaged, of another format, or not one of this model.
    pub fn parse(text: &[u8], model: &ModelName) -> Option<ReleaseRecord> {
        let record: ReleaseRecord = serde_json::from_slice(text).ok()?;
        let is_valid = record.format == RECORD_FORMAT
            && record.model == model.as_str()
            && record.stable != record.candidate
            && record.settings.check().is_ok();
        is_valid.then_some(record)
    }

    /// Returns the text of the record.
    pub fn text(&self) -> Bytes {
        document(self)
    }

    /// Returns the version that requests without a version get, apart from those that the candidate gets by its weight.
    pub fn default_version(&self) -> Version {
        match self.phase {
            Phase::Promoted => self.candidate,
            Phase::Running | Phase::Aborted | Phase::RolledBack => self.stable,
        }
    }

    /// Adds an event. Of too many, the second oldest is forgotten.
    pub fn add_event(&mut self, event: ReleaseEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.remove(1);
        }
        self.events.push(event);
    }
}

#[cfg(test)]
mod tests;
