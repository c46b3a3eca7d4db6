//! The usage that a worker has metered, on its way to the usage of all tenants in the server.
//!
//! The worker writes a line of JSON to its standard output for each model version that was used in a short time. The server
//! adds it to the usage of the worker's tenant. No line names a tenant, so a worker that has been taken over can report wrong
//! usage of its own tenant only.

use super::usage_amounts::UsageAmounts;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use wisp_protocol::call::{ModelName, Version};
use wisp_serving::metering::usage_book::UsageBook;
use wisp_serving::metering::usage_cell::{UsageCell, UsageKey};
use wisp_serving::metering::usage_counters::UsageCounters;
use wisp_serving::tenants::tenant_id::TenantId;

/// The time between two reports, which is the most that is lost if a worker is killed.
const PERIOD: Duration = Duration::from_millis(100);

/// The size limit of a line, far above any line that a worker writes.
const MAX_LINE_BYTES: u64 = 4096;

/// The number of model versions of a worker whose usage is added up.
const MAX_VERSIONS: usize = 10_000;

/// The usage of a model version in a short time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageReport {
    /// Set for a model of the tenant itself, and not for a public one.
    is_own: bool,
    model: String,
    version: String,
    used: UsageAmounts,
}

// === impl UsageReport ===

impl UsageReport {
    fn new(key: &UsageKey, used: &UsageCounters) -> UsageReport {
        UsageReport {
            is_own: key.owner == key.tenant,
            model: key.model.as_str().to_owned(),
            version: key.version.to_string(),
            used: UsageAmounts::of(used),
        }
    }

    /// Returns the tenant and the model version, unless their names are none.
    fn key(&self, tenant: &TenantId) -> Option<UsageKey> {
        Some(UsageKey {
            tenant: tenant.clone(),
            owner: match self.is_own {
                true => tenant.clone(),
                false => TenantId::local(),
            },
            model: ModelName::new(&self.model).ok()?,
            version: Version::from_decimal(&self.version)?,
        })
    }
}

// === the worker ===

/// Reports the usage to the server from time to time, for as long as the process runs.
pub(super) fn start_reporting(book: Arc<UsageBook>) -> anyhow::Result<()> {
    book.keep_until_taken();
    let reporting = move || {
        let (_kept, ended) = channel::<()>();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PERIOD) {
            if report(&book).is_err() {
                // The server has ended, and this process is about to.
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("wisp-usage".to_owned());
    let spawned = thread.spawn(reporting);
    spawned
        .map(drop)
        .context("failed to start the thread for the usage")
}

/// Reports the usage since the last report.
pub(super) fn report(book: &UsageBook) -> io::Result<()> {
    write(book, io::stdout().lock())
}

/// Writes a line for each model version that was used since the last call.
fn write(book: &UsageBook, mut output: impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for (key, used) in book.take() {
        serde_json::to_writer(&mut lines, &UsageReport::new(&key, &used))?;
        lines.push(b'\n');
    }
    output.write_all(&lines)?;
    output.flush()
}

// === the server ===

/// Adds the reports of this tenant's worker to the usage of the server, until the worker has ended.
pub(super) fn start_receiving(
    reports: impl Read + Send + 'static,
    tenant: &TenantId,
    book: &Arc<UsageBook>,
) -> io::Result<()> {
    let (tenant, book) = (tenant.clone(), Arc::clone(book));
    let thread = thread::Builder::new().name("wisp-usage".to_owned());
    let spawned = thread.spawn(move || {
        if let Err(error) = receive(reports, &tenant, &book) {
            tracing::error!(%tenant, %error, "the usage of the tenant is not complete");
        }
    });
    spawned.map(drop)
}

fn receive(reports: impl Read, tenant: &TenantId, book: &UsageBook) -> io::Result<()> {
    let mut reports = BufReader::new(reports);
    let mut cells: BTreeMap<UsageKey, Arc<UsageCell>> = BTreeMap::new();
    loop {
        let mut line = Vec::new();
        let read = reports
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a report of a worker");
        if !line.ends_with(b"\n") {
            // A worker that is killed while it writes leaves a part of a line.
            return Ok(());
        }
        let report: UsageReport = serde_json::from_slice(&line).map_err(|_| invalid())?;
        let key = report.key(tenant).ok_or_else(invalid)?;
        if !cells.contains_key(&key) && cells.len() >= MAX_VERSIONS {
            return Err(invalid());
        }
        let cell = cells
            .entry(key)
            .or_insert_with_key(|key| book.open(key.clone()));
        cell.add(&report.used.counters());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;

    fn key(owner: &str, model: &str) -> Result<UsageKey> {
        Ok(UsageKey {
            tenant: "acme".parse()?,
            owner: owner.parse()?,
            model: ModelName::new(model)?,
            version: Version::FIRST,
        })
    }

    #[test]
    fn usage_metered_by_workers_is_added_up_in_the_server() -> Result<()> {
        let (worker, server) = (UsageBook::default(), UsageBook::default());
        worker.keep_until_taken();
        server.keep_until_taken();
        let used = UsageCounters {
            requests: 1,
            guest: Duration::from_micros(1500),
            bytes_out: 7,
            peak_memory_bytes: 65_536,
            ..UsageCounters::default()
        };
        let mut lines = Vec::new();
        for owner in ["acme", "local", "acme"] {
            worker.open(key(owner, "wine")?).add(&used);
            write(&worker, &mut lines)?;
        }
        let acme: TenantId = "acme".parse()?;
        receive(lines.as_slice(), &acme, &server)?;
        let taken = server.take();
        let expected = [
            (key("acme", "wine")?, used.plus(&used)),
            (key("local", "wine")?, used),
        ];
        assert_eq!(taken, expected);
        Ok(())
    }

    #[test]
    fn a_worker_reports_usage_of_its_own_tenant_only_and_in_lines_of_a_limited_length() -> Result<()>
    {
        let book = UsageBook::default();
        let acme: TenantId = "acme".parse()?;
        for text in ["{}\n".to_owned(), r#"{"tenant":"other"}"#.to_owned() + "\n"] {
            assert!(receive(text.as_bytes(), &acme, &book).is_err(), "{text}");
        }
        // The part of a line, and one without an end.
        for text in ["{".to_owned(), "x".repeat(10_000)] {
            receive(text.as_bytes(), &acme, &book)?;
        }
        assert!(book.take().is_empty());
        Ok(())
    }
}
