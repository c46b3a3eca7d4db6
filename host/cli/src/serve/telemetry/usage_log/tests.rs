//! Tests of the lines of the log, at times that the tests choose.

use super::*;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;
use wisp_protocol::call::{ModelName, Version};
use wisp_serving::metering::usage_cell::{UsageCell, UsageKey};
use wisp_serving::metering::usage_counters::UsageCounters;
use wisp_serving::tenants::tenant_id::TenantId;

/// A log in a directory of its own, which was opened at second 90, with periods of a minute.
struct Fixture {
    directory: TempDir,
    book: Arc<UsageBook>,
    log: UsageLog,
}

fn second(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

impl Fixture {
    fn open() -> Result<Fixture> {
        let directory = tempfile::tempdir()?;
        let book = Arc::new(UsageBook::default());
        let period = Period(Duration::from_secs(60));
        let log = UsageLog::open_at(
            &directory.path().join("usage"),
            (period, second(90)),
            ("r1".to_owned(), Arc::clone(&book)),
        )?;
        Ok(Fixture {
            directory,
            book,
            log,
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("usage")
    }

    fn cell(&self, tenant: &str) -> Result<Arc<UsageCell>> {
        Ok(self.book.open(UsageKey {
            tenant: tenant.parse()?,
            owner: TenantId::local(),
            model: ModelName::new("wine")?,
            version: Version::from_decimal("2").context("no version")?,
        }))
    }

    fn lines(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.path())?;
        ensure!(text.ends_with('\n'));
        let lines = text.lines().map(serde_json::from_str);
        Ok(lines.collect::<Result<Vec<Value>, _>>()?)
    }
}

fn requests(requests: u64) -> UsageCounters {
    UsageCounters {
        requests,
        ..UsageCounters::default()
    }
}

#[test]
fn a_period_has_a_line_for_each_tenant_that_has_used_a_model() -> Result<()> {
    let mut fixture = Fixture::open()?;
    let (acme, other) = (fixture.cell("acme")?, fixture.cell("other")?);
    acme.add(&UsageCounters {
        requests: 3,
        failures: 1,
        cached: 2,
        guest: Duration::from_micros(1),
        backend: Duration::from_millis(2),
        bytes_in: 4,
        bytes_out: 5,
        peak_memory_bytes: 6,
    });
    fixture.log.end_period(second(120));
    // Nobody is served in this one, which has no line.
    fixture.log.end_period(second(180));
    other.add(&requests(1));
    acme.add(&requests(1));
    fixture.log.end_period(second(240));
    let lines = fixture.lines()?;
    let expected = json!({
        "run": "r1",
        "sequence": 1,
        "event": "usage",
        "start": "1970-01-01T00:01:30.000000Z",
        "end": "1970-01-01T00:02:00.000000Z",
        "tenant": "acme",
        "owner": "local",
        "model": "wine",
        "version": "2",
        "requests": 3,
        "failures": 1,
        "cached": 2,
        "guest_nanoseconds": 1000,
        "backend_nanoseconds": 2_000_000,
        "received_bytes": 4,
        "sent_bytes": 5,
        "peak_memory_bytes": 6,
    });
    ensure!(lines[1] == expected, "{}", lines[1]);
    let rest: Vec<_> = (lines[2..].iter())
        .map(|line| (line["sequence"].as_u64(), line["tenant"].as_str()))
        .collect();
    ensure!(rest == [(Some(2), Some("acme")), (Some(3), Some("other"))]);
    ensure!(lines[3]["start"] == "1970-01-01T00:03:00.000000Z");
    Ok(())
}

#[test]
fn the_rest_is_written_before_the_line_about_the_end() -> Result<()> {
    let mut fixture = Fixture::open()?;
    fixture.cell("acme")?.add(&requests(1));
    fixture.log.finish(second(100));
    let lines = fixture.lines()?;
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
    ensure!(
        events == [Some("start"), Some("usage"), Some("end")],
        "{events:?}"
    );
    ensure!(lines[1]["end"] == "1970-01-01T00:01:40.000000Z");
    ensure!(lines[2]["tenant"].is_null());
    Ok(())
}

#[test]
fn lines_that_cannot_be_written_are_written_later_with_their_numbers() -> Result<()> {
    let mut fixture = Fixture::open()?;
    let acme = fixture.cell("acme")?;
    // No file can have this name now.
    std::fs::rename(fixture.path(), fixture.directory.path().join("usage.1"))?;
    std::fs::create_dir(fixture.path())?;
    acme.add(&requests(1));
    fixture.log.end_period(second(120));
    acme.add(&requests(2));
    fixture.log.end_period(second(180));
    std::fs::remove_dir(fixture.path())?;
    acme.add(&requests(4));
    fixture.log.end_period(second(240));
    let lines = fixture.lines()?;
    let found: Vec<_> = (lines.iter())
        .map(|line| (line["sequence"].as_u64(), line["requests"].as_u64()))
        .collect();
    ensure!(found == [(Some(1), Some(1)), (Some(2), Some(2)), (Some(3), Some(4))]);
    Ok(())
}

#[test]
fn a_clock_that_is_set_back_gives_no_period_of_negative_length() -> Result<()> {
    let mut fixture = Fixture::open()?;
    fixture.cell("acme")?.add(&requests(1));
    fixture.log.end_period(second(60));
    let lines = fixture.lines()?;
    ensure!(lines[1]["start"] == lines[1]["end"]);
    Ok(())
}

#[test]
fn a_file_that_cannot_be_written_is_reported_at_the_start() {
    let book = Arc::new(UsageBook::default());
    let period = Period(Duration::from_secs(60));
    let opened = UsageLog::open(Path::new("/no/such/place/usage"), period, book);
    let error = opened.map(drop).unwrap_err();
    assert!(error.to_string().contains("--usage-log"), "{error:#}");
}
