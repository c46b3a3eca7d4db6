//! Triton's settings of traces and of the log as messages; `v2::settings` determines them.

use super::target::target;
use crate::call::Target;
use crate::codec::CodecError;
use crate::grpc::message::inference::{
    LogSettingsRequest, LogSettingsResponse, TraceSettingRequest, TraceSettingResponse,
    log_settings_request, log_settings_response, trace_setting_response,
};
use crate::grpc::target::TargetError;
use crate::v2::LogSettings;
use crate::v2::settings::{FixedSetting, LogValue, TRACE_SETTINGS};

/// Returns the model whose traces a message is about; `None` for the server's.
pub fn trace_target(message: &TraceSettingRequest) -> Result<Option<Target>, TargetError> {
    match message.model_name.as_str() {
        "" => Ok(None),
        name => target(name, "").map(Some),
    }
}

/// Returns the settings of traces, which the message must not change.
pub fn trace_settings(message: &TraceSettingRequest) -> Result<TraceSettingResponse, CodecError> {
    for (name, current) in TRACE_SETTINGS {
        let requested = message.settings.get(name);
        // An empty list restores the default.
        if requested.is_some_and(|setting| setting.value.iter().any(|value| value != current)) {
            return Err(FixedSetting::Trace(name).into());
        }
    }
    let settings = TRACE_SETTINGS.map(|(name, value)| {
        let value = vec![value.to_owned()];
        let setting = trace_setting_response::SettingValue { value };
        (name.to_owned(), setting)
    });
    Ok(TraceSettingResponse {
        settings: settings.into(),
    })
}

/// Returns the settings of the log, which the message must not change.
pub fn log_settings(
    message: &LogSettingsRequest,
    current: LogSettings,
) -> Result<LogSettingsResponse, CodecError> {
    use log_settings_request::setting_value::ParameterChoice as Requested;
    use log_settings_response::setting_value::ParameterChoice as Returned;
    for (name, current) in current.values() {
        let requested = message.settings.get(name);
        let requested = requested.and_then(|setting| setting.parameter_choice.as_ref());
        let is_kept = match (requested, current) {
            (None, _) => true,
            (Some(Requested::BoolParam(value)), LogValue::Bool(current)) => *value == current,
            (Some(Requested::Uint32Param(value)), LogValue::Number(current)) => *value == current,
            (Some(Requested::StringParam(value)), LogValue::Text(current)) => value == current,
            _ => false,
        };
        if !is_kept {
            return Err(FixedSetting::Log(name).into());
        }
    }
    let settings = current.values().map(|(name, value)| {
        let choice = match value {
            LogValue::Bool(value) => Returned::BoolParam(value),
            LogValue::Number(value) => Returned::Uint32Param(value),
            LogValue::Text(value) => Returned::StringParam(value.to_owned()),
        };
        let parameter_choice = Some(choice);
        let setting = log_settings_response::SettingValue { parameter_choice };
        (name.to_owned(), setting)
    });
    Ok(LogSettingsResponse {
        settings: settings.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::grpc::message::inference::trace_setting_request;

    fn trace_request(name: &str, values: &[&str]) -> TraceSettingRequest {
        let value = values.iter().map(|&value| value.to_owned()).collect();
        let setting = trace_setting_request::SettingValue { value };
        TraceSettingRequest {
            settings: [(name.to_owned(), setting)].into(),
            model_name: String::new(),
        }
    }

    #[test]
    fn traces_are_off_and_stay_off() {
        let read = trace_settings(&TraceSettingRequest::default()).unwrap();
        assert_eq!(read.settings.len(), TRACE_SETTINGS.len());
        assert_eq!(read.settings["trace_level"].value, ["OFF"]);
        for request in [
            trace_request("trace_level", &["OFF"]),
            trace_request("trace_rate", &[]),
            trace_request("unknown", &["1"]),
        ] {
            assert_eq!(trace_settings(&request).as_ref(), Ok(&read), "{request:?}");
        }
        let refused = trace_settings(&trace_request("trace_level", &["TIMESTAMPS"]));
        let kind = refused.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::NotImplemented));
    }

    #[test]
    fn the_log_is_read_and_may_be_set_to_what_it_is() {
        use log_settings_request::setting_value::ParameterChoice;
        let current = LogSettings {
            error: true,
            warning: true,
            info: true,
            verbose_level: 1,
        };
        let request = |name: &str, choice| {
            let parameter_choice = Some(choice);
            let setting = log_settings_request::SettingValue { parameter_choice };
            let settings = [(name.to_owned(), setting)].into();
            log_settings(&LogSettingsRequest { settings }, current)
        };
        let read = log_settings(&LogSettingsRequest::default(), current).unwrap();
        assert_eq!(read.settings.len(), 6);
        let kept = request("log_verbose_level", ParameterChoice::Uint32Param(1));
        assert_eq!(kept, Ok(read));
        for (name, choice) in [
            ("log_info", ParameterChoice::BoolParam(false)),
            ("log_file", ParameterChoice::StringParam("x".to_owned())),
            ("log_format", ParameterChoice::BoolParam(true)),
        ] {
            let kind = request(name, choice).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::NotImplemented), "{name}");
        }
    }
}
