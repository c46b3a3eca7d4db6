//! Tests of what an author and an operator learn about a handler: its log lines, panics and limits. Clients
//! learn none of it, which `isolation` tests.

use crate::harness::component;
use crate::harness::sandbox::{Sandbox, call_with_log};
use anyhow::{Context, Result, ensure};
use std::error::Error;
use std::time::Duration;
use wisp_sandbox::handler::HandlerOutcome;
use wisp_sandbox::limits::Limits;
use wisp_sandbox::logging::{GuestLog, LINE_BYTES, LogLevel};
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// Runs one behavior of the hostile guest, with a log at every level.
fn behave(behaviour: &str, limits: Limits) -> Result<HandlerOutcome> {
    let sandbox = Sandbox::start()?;
    let wasm = std::fs::read(component("hostile_guest")?)?;
    let handler = sandbox.load(&wasm, limits)??;
    let length = u32::try_from(behaviour.len())?.to_le_bytes();
    let content = [&length, behaviour.as_bytes()].concat();
    let input = NamedTensor {
        name: "behaviour".to_owned(),
        tensor: Tensor::new(ElementType::Bytes, Shape::new(vec![1])?, content.into())?,
    };
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::sink)
        .finish();
    let call = || call_with_log(&handler, &[input]);
    Ok(tracing::subscriber::with_default(everything, call))
}

/// Returns the error of a behavior with its causes, as the log has it.
fn failure(behaviour: &str, limits: Limits) -> Result<String> {
    let error = behave(behaviour, limits)?.result.err();
    let error = error.with_context(|| format!("{behaviour} was not stopped"))?;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Ok(text)
}

fn logged(behaviour: &str) -> Result<GuestLog> {
    let HandlerOutcome { result, log, .. } = behave(behaviour, Limits::default())?;
    result.with_context(|| behaviour.to_owned())?;
    Ok(log)
}

#[test]
fn a_panic_has_its_message_its_place_and_the_functions_around_it() -> Result<()> {
    let text = failure("panic", Limits::default())?;
    let start = "the handler failed: panicked at ";
    ensure!(text.starts_with(start), "{text}");
    for part in [
        "behaviour.rs:",
        ": 1 inputs 2026-01-01 ERROR  [2J: backtrace, innermost function first:\n",
        "0: hostile_guest::behaviour::panic_with\n",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let index = failure("index", Limits::default())?;
    let message = "index out of bounds: the len is 3 but the index is 5";
    ensure!(index.contains(message), "{index}");
    ensure!(
        index.contains("hostile_guest::behaviour::element"),
        "{index}"
    );
    Ok(())
}

#[test]
fn an_exceeded_limit_is_named_with_its_setting() -> Result<()> {
    let short = Limits {
        guest_time: Duration::from_millis(200),
        ..Limits::default()
    };
    for (behaviour, limits, setting) in [
        (
            "grow",
            Limits::default(),
            "`limits.memory_bytes` in model.toml",
        ),
        (
            "handles",
            Limits::default(),
            "`limits.handles` in model.toml",
        ),
        (
            "recurse",
            Limits::default(),
            "stack-size in [package.metadata.wisp]",
        ),
        (
            "loop",
            short.clone(),
            "`limits.guest_time_milliseconds` in model.toml",
        ),
        ("loop", short, "hostile_guest::behaviour::loop_for_ever"),
    ] {
        let text = failure(behaviour, limits)?;
        ensure!(text.contains(setting), "{behaviour}: {text}");
    }
    Ok(())
}

#[test]
fn lines_arrive_in_order_without_control_characters() -> Result<()> {
    let log = logged("log")?;
    let lines = log.lines.iter();
    let lines: Vec<_> = lines
        .map(|line| (line.level, line.context.as_str(), line.text.as_str()))
        .collect();
    ensure!(
        lines[..3]
            == [
                (LogLevel::Info, "", "a line"),
                (LogLevel::Info, "", "and\\u{1b}[2J another"),
                (LogLevel::Info, "", "an error"),
            ],
        "{log:?}"
    );
    let (_, _, debugged) = lines[3];
    ensure!(debugged.contains("behaviour.rs:"), "{log:?}");
    ensure!(debugged.ends_with("SURVIVED = \"survived\""), "{log:?}");
    // Those of the crates `log` and `tracing` have the path of the module as their context.
    let module = "hostile_guest::behaviour";
    ensure!(
        lines[4..]
            == [
                (LogLevel::Warn, "topic", "a warning"),
                (LogLevel::Debug, module, "a record of `log`"),
                (LogLevel::Error, module, "an event of `tracing` rows=3"),
            ],
        "{log:?}"
    );
    ensure!(log.dropped == 0, "{log:?}");
    Ok(())
}

#[test]
fn lines_beyond_the_budget_are_counted_and_dropped() -> Result<()> {
    let log = logged("log_flood")?;
    let bytes: usize = log.lines.iter().map(|line| line.bytes()).sum();
    ensure!(bytes <= Limits::default().log_bytes, "{bytes} bytes");
    ensure!(
        bytes > Limits::default().log_bytes - 2 * LINE_BYTES,
        "{bytes} bytes"
    );
    ensure!(
        log.lines.len() as u64 + log.dropped == 5_000,
        "{}",
        log.dropped
    );
    Ok(())
}

#[test]
fn a_line_of_megabytes_is_cut() -> Result<()> {
    let log = logged("log_huge")?;
    let [line] = &log.lines[..] else {
        anyhow::bail!("{} lines", log.lines.len());
    };
    ensure!(line.text.ends_with("x…"), "{}", line.text);
    ensure!(line.text.len() < 5000, "{} bytes", line.text.len());
    Ok(())
}

#[test]
fn endless_logging_keeps_the_lines_before_its_end() -> Result<()> {
    let short = Limits {
        guest_time: Duration::from_millis(200),
        log_bytes: 10 * (LINE_BYTES + "again".len()),
        ..Limits::default()
    };
    let HandlerOutcome { result, log, .. } = behave("log_for_ever", short)?;
    ensure!(result.is_err());
    ensure!(log.lines.len() == 10, "{log:?}");
    ensure!(log.dropped > 0, "{log:?}");
    Ok(())
}
