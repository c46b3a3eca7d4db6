//! A request that Triton was sent, and its response.

use super::difference::{Difference, difference};
use crate::harness::{Response, TestServer, root};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// An entry of `tests/fixtures/triton/<group>.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: String,
    /// The bytes of the request, one for each character.
    request: String,
    status: u16,
    /// The JSON of a successful response or of its only event; without it, only the status is compared.
    body: Option<Value>,
    /// The bytes after the JSON, one for each character.
    binary: Option<String>,
}

impl Case {
    /// Reads the cases of a group, in order.
    pub(super) fn group(group: &str) -> Result<Vec<Case>> {
        let path = root().join(format!("tests/fixtures/triton/{group}.json"));
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Sends the request, and describes the difference between the responses, if there is one.
    pub(super) fn deviation(&self, server: &TestServer) -> Result<Option<String>> {
        let response = server.raw(&self.request()?)?;
        let is_expected = match self.status {
            200 => response.status == 200,
            501 => matches!(response.status, 400..=499 | 501),
            // Many invalid requests are errors of the server in Triton.
            _ => matches!(response.status, 400..=499),
        };
        if !is_expected {
            return Ok(Some(format!("status {}", response.status)));
        }
        let Some(expected) = &self.body else {
            return Ok(None);
        };
        let (body, binary) = split(&response)?;
        if let Some(Difference { path, what }) = difference(expected, &body) {
            return Ok(Some(format!("`{path}` {what}")));
        }
        let is_equal = bytes(self.binary.as_deref().unwrap_or_default())? == binary;
        Ok((!is_equal).then(|| "other bytes".to_owned()))
    }

    fn request(&self) -> Result<Vec<u8>> {
        let (line, rest) = self.request.split_once("\r\n").context("no head")?;
        let request = format!("{line}\r\nConnection: close\r\n{rest}");
        bytes(&request)
    }
}

/// Returns the JSON of a response, and the bytes after it.
fn split(response: &Response) -> Result<(Value, &[u8])> {
    let length = response.header("inference-header-content-length");
    let length = length.map_or(Ok(response.body.len()), str::parse)?;
    let (json, binary) = response
        .body
        .split_at_checked(length)
        .context("the body is too short")?;
    let json = match json {
        [] => Value::Null,
        json => serde_json::from_slice(json.strip_prefix(b"data: ").unwrap_or(json))?,
    };
    Ok((json, binary))
}

/// Returns the bytes of which each is one character of `text`.
fn bytes(text: &str) -> Result<Vec<u8>> {
    text.chars()
        .map(|c| Ok(u8::try_from(u32::from(c))?))
        .collect()
}
