//! Writes the lines of guests to the log of the process, with their model, the request and its tenant.
//!
//! The sandbox bounds the lines of one call; this module bounds the lines of all calls of a tenant, of any version, and
//! without tenants of all calls of a version. Lines beyond either are dropped, and their number is written in one line.

use crate::current_request::CurrentRequest;
use crate::tenants::tenant_id::TenantId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wisp_protocol::call::{ModelName, Version};
use wisp_sandbox::logging::{GuestLog, LINE_BYTES, LogLevel, LogLine, TARGET};

/// The maximum size of the lines that one tenant, or one version, logs per second, so that it cannot fill a disk quickly
/// or delay the lines of others.
const BYTES_PER_SECOND: usize = 1 << 20;

/// The time after its last lines for which the second of a tenant is kept, if another one begins to log.
const KEPT: Duration = Duration::from_secs(60);

/// The lines of tenants in the log, of which a process has one.
static TENANTS: TenantRates = TenantRates(Mutex::new(BTreeMap::new()));

/// The names for the lines of a version, and the limit on them. Lifetime: a model version.
#[derive(Debug)]
pub struct GuestLogWriter {
    model: ModelName,
    version: Version,
    rate: LogRate,
}

/// The limit on the lines of all calls of a version. Lifetime: a model version.
#[derive(Debug)]
struct LogRate(Mutex<LoggedSecond>);

/// The limits on the lines of all calls of each tenant. Lifetime: the process.
#[derive(Debug)]
struct TenantRates(Mutex<BTreeMap<TenantId, LoggedSecond>>);

/// The lines of the current second.
#[derive(Debug)]
struct LoggedSecond {
    began: Instant,
    bytes_left: usize,
    /// The number of dropped lines that have not been reported.
    dropped: u64,
}

// === impl GuestLogWriter ===

/// Writes one line at a level.
macro_rules! write_line {
    ($level:ident, $writer:expr, $line:expr, $request:expr) => {
        tracing::event!(
            target: TARGET,
            tracing::Level::$level,
            model = %$writer.model,
            version = %$writer.version,
            tenant = $request.and_then(CurrentRequest::tenant).map(tracing::field::display),
            request_id = $request.map(tracing::field::display),
            context = (!$line.context.is_empty()).then_some($line.context.as_str()),
            "{}",
            $line.text
        )
    };
}

impl GuestLogWriter {
    /// Returns the writer of a version.
    pub fn new(model: ModelName, version: Version) -> GuestLogWriter {
        GuestLogWriter {
            model,
            version,
            rate: LogRate::new(),
        }
    }

    /// Writes the lines of one call.
    pub(crate) fn write(&self, log: GuestLog, request: Option<&CurrentRequest>) {
        if log.is_empty() {
            return;
        }
        // The tenant that owns the server has the limits of a server without tenants.
        let tenant = request.and_then(CurrentRequest::tenant);
        let tenant = tenant.filter(|tenant| !tenant.is_local());
        let now = Instant::now();
        let GuestLog { lines, dropped } = match tenant {
            Some(tenant) => TENANTS.admit(tenant, log, now),
            None => self.rate.admit(log, now),
        };
        for line in &lines {
            self.write_line(line, request);
        }
        if dropped > 0 {
            tracing::warn!(
                target: TARGET,
                model = %self.model,
                version = %self.version,
                tenant = request.and_then(CurrentRequest::tenant).map(tracing::field::display),
                request_id = request.map(tracing::field::display),
                "{dropped} lines of the handler were dropped: a call may log limits.log_bytes of model.toml, and \
                 a tenant, or a version without tenants, {BYTES_PER_SECOND} bytes per second"
            );
        }
    }

    fn write_line(&self, line: &LogLine, request: Option<&CurrentRequest>) {
        match line.level {
            LogLevel::Trace => write_line!(TRACE, self, line, request),
            LogLevel::Debug => write_line!(DEBUG, self, line, request),
            LogLevel::Info => write_line!(INFO, self, line, request),
            LogLevel::Warn => write_line!(WARN, self, line, request),
            LogLevel::Error | LogLevel::Critical => write_line!(ERROR, self, line, request),
        }
    }
}

// === impl LogRate ===

impl LogRate {
    fn new() -> LogRate {
        LogRate(Mutex::new(LoggedSecond::begin(Instant::now())))
    }

    /// Returns the lines that may be written at `now`.
    fn admit(&self, log: GuestLog, now: Instant) -> GuestLog {
        // A panic leaves numbers that are valid, if not the latest.
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        second.admit(log, now)
    }
}

// === impl TenantRates ===

impl TenantRates {
    /// Returns the lines of a tenant that may be written at `now`.
    fn admit(&self, tenant: TenantId, log: GuestLog, now: Instant) -> GuestLog {
        // As in a version.
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tenants.contains_key(&tenant) {
            // Tenants that were removed leave nothing.
            tenants.retain(|_, second| now.saturating_duration_since(second.began) < KEPT);
        }
        let second = tenants
            .entry(tenant)
            .or_insert_with(|| LoggedSecond::begin(now));
        second.admit(log, now)
    }
}

// === impl LoggedSecond ===

impl LoggedSecond {
    fn begin(now: Instant) -> LoggedSecond {
        LoggedSecond {
            began: now,
            bytes_left: BYTES_PER_SECOND,
            dropped: 0,
        }
    }

    /// Returns the lines that may be written at `now`, and the number of dropped ones if that may be written
    /// too. Otherwise it is added to the number of a later second.
    fn admit(&mut self, log: GuestLog, now: Instant) -> GuestLog {
        let GuestLog {
            mut lines,
            mut dropped,
        } = log;
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            self.began = now;
            self.bytes_left = BYTES_PER_SECOND;
            dropped += std::mem::take(&mut self.dropped);
        }
        let all = lines.len();
        lines.retain(|line| self.charge(line.bytes()));
        dropped += (all - lines.len()) as u64;
        if dropped > 0 && !self.charge(LINE_BYTES) {
            self.dropped += std::mem::take(&mut dropped);
        }
        GuestLog { lines, dropped }
    }

    fn charge(&mut self, bytes: usize) -> bool {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines of a call that logs `count` lines of 4 KiB.
    fn log(count: usize) -> GuestLog {
        let line = LogLine {
            level: LogLevel::Info,
            context: String::new(),
            text: "x".repeat((4 << 10) - LINE_BYTES),
        };
        GuestLog {
            lines: vec![line; count],
            dropped: 0,
        }
    }

    #[test]
    fn lines_beyond_the_rate_are_dropped_and_reported_once_in_a_later_second() {
        let rate = LogRate::new();
        let now = Instant::now();
        assert_eq!(rate.admit(log(200), now).lines.len(), 200);
        let full = rate.admit(log(100), now);
        // 256 lines fill the second, and leave no room for the report.
        assert_eq!((full.lines.len(), full.dropped), (56, 0));
        let later = now + Duration::from_secs(2);
        let next = rate.admit(log(1), later);
        assert_eq!((next.lines.len(), next.dropped), (1, 44));
        let after = rate.admit(log(1), later);
        assert_eq!((after.lines.len(), after.dropped), (1, 0));
    }

    #[test]
    fn a_tenant_has_one_limit_for_all_versions_and_no_part_in_those_of_others() -> anyhow::Result<()>
    {
        let tenants = TenantRates(Mutex::default());
        let now = Instant::now();
        let (noisy, quiet): (TenantId, TenantId) = ("noisy".parse()?, "quiet".parse()?);
        for (lines, written) in [(200, 200), (100, 56), (1, 0)] {
            let admitted = tenants.admit(noisy.clone(), log(lines), now);
            assert_eq!(admitted.lines.len(), written);
        }
        let admitted = tenants.admit(quiet.clone(), log(100), now);
        assert_eq!((admitted.lines.len(), admitted.dropped), (100, 0));
        let later = now + Duration::from_secs(2);
        let admitted = tenants.admit(noisy, log(1), later);
        assert_eq!((admitted.lines.len(), admitted.dropped), (1, 45));
        // Another tenant that begins to log makes room.
        let other: TenantId = "other".parse()?;
        tenants.admit(other, log(1), now + KEPT * 2);
        let kept = tenants.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(kept.len(), 1);
        Ok(())
    }

    #[test]
    fn lines_beyond_the_budget_of_a_call_are_reported_with_it() {
        let rate = LogRate::new();
        let cut = GuestLog {
            dropped: 7,
            ..log(1)
        };
        assert_eq!(rate.admit(cut, Instant::now()).dropped, 7);
    }

    #[test]
    fn work_within_a_scope_has_the_id_of_its_request() -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let request = CurrentRequest::new(std::sync::Arc::new("r1"), Default::default());
        let within = async { CurrentRequest::of_task().map(|request| request.to_string()) };
        assert_eq!(
            runtime.block_on(request.scope(within)),
            Some("r1".to_owned())
        );
        let without = async { CurrentRequest::of_task().is_none() };
        assert!(runtime.block_on(without));
        Ok(())
    }
}
