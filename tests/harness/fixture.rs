//! Requests and responses over the wire, stored as data: every directory of a suite is one case.
//!
//! `request.http` is sent as it is, except that `{length}` in its head is replaced by the length of the
//! body after the empty line. `response.http` contains the status, the required headers and the body.
//! JSON bodies are compared as JSON: `"{any}"` matches any value, `{text}` matches any text within a
//! string, numbers are equal within a tolerance, and a bare `NaN` equals another one. Other bodies are compared
//! byte by byte.

use super::{TestServer, root};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;

/// The tolerance of numbers in responses.
pub(crate) const TOLERANCE: f64 = 1e-4;

/// Sends every case of `fixtures/<suite>` to `server`. The suite must have at least `at_least` cases.
pub(crate) fn check_all(server: &TestServer, suite: &str, at_least: usize) -> Result<()> {
    let fixtures = root().join("tests/fixtures").join(suite);
    let mut cases: Vec<_> = std::fs::read_dir(&fixtures)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    cases.sort();
    ensure!(
        cases.len() >= at_least,
        "only {} cases in {}",
        cases.len(),
        fixtures.display()
    );
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(error) = check(server, case) {
            failures.push(format!("{}: {error:#}", case.display()));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    server.get("/v2/health/live")?.ok()?;
    Ok(())
}

fn check(server: &TestServer, case: &Path) -> Result<()> {
    let request = std::fs::read(case.join("request.http"))?;
    let (head, body) = split(&request).context("the request has no empty line")?;
    let mut head = std::str::from_utf8(head)?
        .replace("{length}", &body.len().to_string())
        .replace('\n', "\r\n");
    head += "\r\nconnection: close\r\n\r\n";
    let response = server.raw(&[head.as_bytes(), body].concat())?;

    let expected = std::fs::read(case.join("response.http"))?;
    let (head, body) = split(&expected).context("the response has no empty line")?;
    let mut lines = std::str::from_utf8(head)?.lines();
    let status: u16 = lines.next().context("no status")?.parse()?;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    ensure!(
        response.status == status,
        "expected {status}, got {}: {text}",
        response.status
    );
    for line in lines {
        let (name, value) = line.split_once(": ").context("not a header")?;
        let actual = response.header(name);
        ensure!(
            actual == Some(value),
            "{name} is {actual:?}, expected {value}"
        );
    }
    if status != 200 {
        response.error(status)?;
    }
    match with_quoted_nan(body) {
        Ok(expected) => {
            let actual = with_quoted_nan(&response.body).with_context(|| text.clone())?;
            ensure!(
                matches(&expected, &actual, TOLERANCE),
                "expected {expected}, got {actual}"
            );
        }
        Err(_) => ensure!(
            body.trim_ascii() == response.body.trim_ascii(),
            "got {text}"
        ),
    }
    Ok(())
}

/// Parses JSON in which a bare `NaN`, which is not valid JSON, is read as a string.
fn with_quoted_nan(json: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(json).or_else(|_| {
        let text = String::from_utf8_lossy(json);
        serde_json::from_str(&text.replace("NaN", "\"NaN\""))
    })
}

/// Returns the head, and the body after the empty line. Fixtures have plain line ends.
fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = file.windows(2).position(|window| window == b"\n\n")?;
    let body = &file[end + 2..];
    Some((&file[..end], body.strip_suffix(b"\n").unwrap_or(body)))
}

/// Returns whether a response is as expected, with numbers compared within the tolerance. Expected strings
/// may contain the placeholders of fixtures.
pub(crate) fn matches(expected: &Value, actual: &Value, tolerance: f64) -> bool {
    match (expected, actual) {
        (Value::String(expected), _) if expected == "{any}" => true,
        (Value::String(expected), Value::String(actual)) => match expected.split_once("{text}") {
            Some((start, end)) => actual.starts_with(start) && actual.ends_with(end),
            None => expected == actual,
        },
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .zip(actual)
                    .all(|(e, a)| matches(e, a, tolerance))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(key, e)| actual.get(key).is_some_and(|a| matches(e, a, tolerance)))
        }
        (Value::Number(expected), Value::Number(actual)) => {
            match (expected.as_f64(), actual.as_f64()) {
                (Some(expected), Some(actual)) => (expected - actual).abs() <= tolerance,
                _ => false,
            }
        }
        (expected, actual) => expected == actual,
    }
}
