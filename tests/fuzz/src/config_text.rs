//! Configurations of models in protobuf's text format.
//!
//! A refusal has a line of the text and a short reason. Reading twice gives the same.

use wisp_protocol::config_text::{ConfigTextError, decode};

/// Checks one input.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let decoded = decode(text);
    match &decoded {
        Ok(config) => assert!(config.ignored.len() <= text.len(), "more fields than bytes"),
        Err(ConfigTextError::TooLarge) => {}
        Err(ConfigTextError::Line { line, reason }) => {
            assert!(
                (1..=text.lines().count() + 1).contains(line),
                "line {line} of {}",
                text.lines().count()
            );
            assert!(reason.len() < 4096, "{} bytes of text", reason.len());
        }
    }
    assert_eq!(decode(text), decoded);
}
