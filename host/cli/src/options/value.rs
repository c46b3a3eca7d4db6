//! Argument values that have a form of their own: addresses, `NAME=VALUE`, parameters.
//!
//! Each function is a clap value parser: its error says which form is expected, clap adds which
//! argument it was.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use wisp_tensor::{Parameter, ParameterValue};

/// One `--input`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NamedInput {
    pub(crate) name: String,
    pub(crate) source: InputSource,
}

/// Where an input's elements come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputSource {
    /// The bytes of a file.
    File(PathBuf),
    /// JSON, which the input's datatype gives its meaning.
    Json(serde_json::Value),
}

/// A time that is typed and shown as whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Milliseconds(pub(crate) Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_millis().fmt(f)
    }
}

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Milliseconds, String> {
        // A day is far beyond any request, and far below what `Instant` can add.
        const DAY: u64 = 24 * 60 * 60 * 1000;
        match text.parse() {
            Ok(number) if (1..=DAY).contains(&number) => {
                Ok(Milliseconds(Duration::from_millis(number)))
            }
            _ => Err(format!("expected milliseconds, from 1 to {DAY} (a day)")),
        }
    }
}

/// A time that is typed and shown as whole seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs().fmt(f)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        // As for milliseconds.
        const DAY: u64 = 24 * 60 * 60;
        match text.parse() {
            Ok(number) if (1..=DAY).contains(&number) => Ok(Seconds(Duration::from_secs(number))),
            _ => Err(format!("expected seconds, from 1 to {DAY} (a day)")),
        }
    }
}

/// Where gRPC has a port of its own, if it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcAddress {
    At(SocketAddr),
    Nowhere,
}

impl FromStr for GrpcAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<GrpcAddress, String> {
        match text {
            "none" => Ok(GrpcAddress::Nowhere),
            text => match address(text) {
                Ok(address) => Ok(GrpcAddress::At(address)),
                Err(expected) => Err(format!("{expected}, or `none`")),
            },
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected ADDRESS:PORT, such as 127.0.0.1:8000, 0.0.0.0:80 or [::1]:8000".to_owned()
    })
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("expected a number from 1 to {}", usize::MAX)),
        Ok(number) => Ok(number),
    }
}

/// Requests at once: a million is far beyond what a machine has memory for, and far below what the
/// semaphore that counts them can hold.
pub(super) fn concurrency(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match text.parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from 1 to {MOST}")),
    }
}

pub(super) fn named_input(text: &str) -> Result<NamedInput, String> {
    let (name, value) = split(text, "image=@seven.png or features=[[1.0, 2.0]]")?;
    let source = match value.strip_prefix('@') {
        Some("") => return Err("expected a file name after `@`".to_owned()),
        Some(file) => InputSource::File(PathBuf::from(file)),
        None => InputSource::Json(serde_json::from_str(value).map_err(|error| {
            format!(
                "`{value}` is not JSON ({error}); text is written as '{name}=\"text\"', \
                 a file as {name}=@FILE"
            )
        })?),
    };
    Ok(NamedInput {
        name: name.to_owned(),
        source,
    })
}

/// JSON's scalars mean themselves, everything else is text: `top_k=3`, `fast=true`, `mode=exact`.
pub(super) fn parameter(text: &str) -> Result<Parameter, String> {
    let (name, value) = split(text, "top_k=3 or mode=exact")?;
    let text = || ParameterValue::String(value.to_owned());
    let value = match serde_json::from_str::<serde_json::Value>(value) {
        Ok(serde_json::Value::Bool(value)) => ParameterValue::Bool(value),
        Ok(serde_json::Value::String(value)) => ParameterValue::String(value),
        Ok(serde_json::Value::Number(number)) => number
            .as_i64()
            .map(ParameterValue::Int64)
            .or_else(|| number.as_u64().map(ParameterValue::Uint64))
            .or_else(|| number.as_f64().map(ParameterValue::Double))
            .unwrap_or_else(text),
        _ => text(),
    };
    Ok(Parameter {
        name: name.to_owned(),
        value,
    })
}

fn split<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(format!("expected NAME=VALUE, such as {example}")),
    }
}
