//! Bodies of the control requests of V2: unload, index, and settings of traces and logs.

use super::models::check_refusal;
use wisp_protocol::codec::CodecError;
use wisp_protocol::v2::{
    LogSettings, check_log_settings, check_trace_settings, check_unload, decode_index,
};

/// Checks one input.
pub fn run(input: &[u8]) {
    let settings = LogSettings {
        error: true,
        warning: true,
        info: true,
        verbose_level: 0,
    };
    check(check_unload(input));
    check(decode_index(input));
    check(check_trace_settings(input));
    check(check_log_settings(input, settings));
}

fn check<T>(decoded: Result<T, CodecError>) {
    if let Err(error) = decoded {
        check_refusal(error.kind(), &error.to_string());
    }
}
