//! Tests of the budget and of the text of lines.

use super::*;

const PLENTY: usize = 1 << 20;

fn logged(bytes: usize, messages: &[&str]) -> GuestLog {
    let mut meter = LogMeter::new(bytes);
    for message in messages {
        meter.add(LogLevel::Info, "topic", message);
    }
    meter.take()
}

fn texts(log: &GuestLog) -> Vec<&str> {
    log.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn each_line_of_a_message_is_a_line_without_control_characters() {
    let log = logged(PLENTY, &["one\n\x1b[2Jtwo\r\n", "three\u{202e}"]);
    assert_eq!(
        texts(&log),
        ["one", "\\u{1b}[2Jtwo", "three\\u{202e}"],
        "{log:?}"
    );
    assert_eq!(log.dropped, 0);
    assert!(logged(PLENTY, &["", "\n"]).lines.len() <= 1);
}

#[test]
fn lines_beyond_the_budget_are_counted_and_dropped() {
    let line = "topic".len() + "text".len() + LINE_BYTES;
    let log = logged(2 * line, &["text", "text", "text", "text"]);
    assert_eq!(texts(&log), ["text", "text"]);
    assert_eq!(log.dropped, 2);
    // A line that does not fit ends the log: a later, shorter one would hide the gap.
    let log = logged(2 * line, &["text", "a longer text", "t"]);
    assert_eq!(texts(&log), ["text"]);
    assert_eq!(log.dropped, 2);
}

#[test]
fn lines_without_text_use_up_the_budget_too() {
    let log = logged(1000, &["x"; 100]);
    assert!(log.lines.len() <= 1000 / LINE_BYTES, "{log:?}");
    assert_eq!(log.lines.len() as u64 + log.dropped, 100);
}

#[test]
fn lines_below_the_level_of_the_process_are_neither_charged_nor_counted() {
    // There is no subscriber in this test.
    let mut meter = LogMeter::new(0);
    assert!(!meter.admits(LogLevel::Error));
    assert!(meter.take().is_empty());
}
