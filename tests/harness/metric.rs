//! The values of single metrics of a server in this process.

use super::{TestServer, exchange};
use anyhow::{Context, Result};

/// Returns the value of the series that has exactly this text before it: its name and its labels.
pub(crate) fn sample(server: &TestServer, series: &str) -> Result<f64> {
    let text = metrics_page(server)?;
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    let value = found.with_context(|| format!("there is no {series}: {text}"))?;
    Ok(value.trim().parse()?)
}

/// Returns the text of the page of metrics.
pub(crate) fn metrics_page(server: &TestServer) -> Result<String> {
    let request = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    let response = exchange(server.metrics_address(), request)?;
    Ok(String::from_utf8(response.body)?)
}
