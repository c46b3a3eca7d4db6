//! Triton's settings of traces and of the log, which can be read but not changed: this server writes no traces of
//! Triton's form, and its spans and its log are set when it starts.
//!
//! A request to change settings that leaves each as it is succeeds, since clients send back what they have
//! read. Unknown settings are ignored, as in Triton. `grpc::v2` writes the same settings as messages.

use super::error::DecodeError;
use super::request::object;
use crate::codec::CodecError;
use crate::encoded_response::document;
use crate::error::{ErrorKind, HasErrorKind};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The name of the setting that is a list.
const TRACE_LEVEL: &str = "trace_level";

/// The settings of traces: Triton's defaults, with which it traces nothing.
pub(crate) const TRACE_SETTINGS: [(&str, &str); 6] = [
    (TRACE_LEVEL, "OFF"),
    ("trace_rate", "1000"),
    ("trace_count", "-1"),
    ("log_frequency", "0"),
    ("trace_file", ""),
    ("trace_mode", "triton"),
];

/// The settings of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    pub error: bool,
    pub warning: bool,
    pub info: bool,
    /// 0 unless more than information is logged.
    pub verbose_level: u32,
}

/// The value of a setting of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum LogValue {
    Bool(bool),
    Number(u32),
    Text(&'static str),
}

/// The error for a setting that a request would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FixedSetting {
    #[error("`{0}` cannot be changed: the traces of this server are set when it starts")]
    Trace(&'static str),
    #[error("`{0}` cannot be changed: the log of this server is set when it starts")]
    Log(&'static str),
}

impl HasErrorKind for FixedSetting {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotImplemented
    }
}

impl LogSettings {
    /// Returns all settings by Triton's names.
    pub(crate) fn values(self) -> [(&'static str, LogValue); 6] {
        [
            ("log_file", LogValue::Text("")),
            ("log_info", LogValue::Bool(self.info)),
            ("log_warning", LogValue::Bool(self.warning)),
            ("log_error", LogValue::Bool(self.error)),
            ("log_verbose_level", LogValue::Number(self.verbose_level)),
            ("log_format", LogValue::Text("default")),
        ]
    }
}

/// Returns the settings of traces.
pub fn trace_settings() -> Bytes {
    let settings = TRACE_SETTINGS.map(|(name, value)| match name {
        TRACE_LEVEL => (name, json!([value])),
        _ => (name, json!(value)),
    });
    document(&BTreeMap::from(settings))
}

/// Checks that the body of a request for changes of the traces changes nothing.
pub fn check_trace_settings(body: &[u8]) -> Result<(), CodecError> {
    let requested = settings(body)?;
    for (name, current) in TRACE_SETTINGS {
        let is_equal = |value: &Value| match value {
            Value::String(text) => text == current,
            Value::Number(number) => number.to_string() == current,
            _ => false,
        };
        let is_kept = match requested.get(name) {
            // `null` restores the default.
            None | Some(Value::Null) => true,
            Some(Value::Array(values)) => values.iter().all(is_equal),
            Some(value) => is_equal(value),
        };
        if !is_kept {
            return Err(FixedSetting::Trace(name).into());
        }
    }
    Ok(())
}

/// Returns the settings of the log.
pub fn log_settings(current: LogSettings) -> Bytes {
    document(&BTreeMap::from(current.values()))
}

/// Checks that the body of a request for changes of the log changes nothing.
pub fn check_log_settings(body: &[u8], current: LogSettings) -> Result<(), CodecError> {
    let requested = settings(body)?;
    for (name, current) in current.values() {
        let is_kept = match (requested.get(name), current) {
            (None, _) => true,
            (Some(Value::Bool(value)), LogValue::Bool(current)) => *value == current,
            (Some(Value::Number(value)), LogValue::Number(current)) => {
                value.as_u64() == Some(current.into())
            }
            (Some(Value::String(value)), LogValue::Text(current)) => value == current,
            _ => false,
        };
        if !is_kept {
            return Err(FixedSetting::Log(name).into());
        }
    }
    Ok(())
}

fn settings(body: &[u8]) -> Result<BTreeMap<String, Value>, DecodeError> {
    object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogSettings = LogSettings {
        error: true,
        warning: true,
        info: false,
        verbose_level: 0,
    };

    fn parsed(document: Bytes) -> Value {
        serde_json::from_slice(&document).unwrap()
    }

    #[test]
    fn the_settings_have_tritons_form() {
        let traces = json!({
            "trace_level": ["OFF"],
            "trace_rate": "1000",
            "trace_count": "-1",
            "log_frequency": "0",
            "trace_file": "",
            "trace_mode": "triton",
        });
        assert_eq!(parsed(trace_settings()), traces);
        let log = json!({
            "log_file": "",
            "log_info": false,
            "log_warning": true,
            "log_error": true,
            "log_verbose_level": 0,
            "log_format": "default",
        });
        assert_eq!(parsed(log_settings(LOG)), log);
    }

    #[test]
    fn settings_that_were_read_may_be_sent_back() {
        assert_eq!(check_trace_settings(&trace_settings()), Ok(()));
        assert_eq!(check_log_settings(&log_settings(LOG), LOG), Ok(()));
        for body in [
            "{}",
            r#"{"unknown":1}"#,
            r#"{"trace_level":"OFF"}"#,
            r#"{"trace_rate":1000,"trace_file":null}"#,
        ] {
            assert_eq!(check_trace_settings(body.as_bytes()), Ok(()), "{body}");
        }
    }

    #[test]
    fn a_change_is_refused_by_the_name_of_the_setting() {
        for (body, name) in [
            (r#"{"trace_level":["TIMESTAMPS"]}"#, "trace_level"),
            (r#"{"trace_rate":"1"}"#, "trace_rate"),
            (r#"{"trace_count":true}"#, "trace_count"),
        ] {
            let error = check_trace_settings(body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotImplemented, "{body}");
            let expected = format!(
                "`{name}` cannot be changed: the traces of this server are set when it starts"
            );
            assert_eq!(error.to_string(), expected);
        }
        for (body, name) in [
            (r#"{"log_info":true}"#, "log_info"),
            (r#"{"log_verbose_level":1}"#, "log_verbose_level"),
            (r#"{"log_file":"/tmp/log"}"#, "log_file"),
            (r#"{"log_format":1}"#, "log_format"),
        ] {
            let error = check_log_settings(body.as_bytes(), LOG).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotImplemented, "{body}");
            let expected =
                format!("`{name}` cannot be changed: the log of this server is set when it starts");
            assert_eq!(error.to_string(), expected);
        }
        for body in ["", "[]", "{"] {
            let error = check_log_settings(body.as_bytes(), LOG).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{body}");
        }
    }
}
