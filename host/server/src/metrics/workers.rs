//! The metrics of the worker processes of tenants.

use super::page::{Kind, Page};
use crate::worker_counts::{WorkerCount, WorkerCounts};
use wisp_serving::tenants::tenant_id::TenantId;

const RUNNING: &str = "wisp_worker_running";

const STARTS: &str = "wisp_worker_starts_total";

const FAILURES: &str = "wisp_worker_failures_total";

/// Writes the families, if a tenant has had a worker.
pub(super) fn write(page: &mut Page, counts: &WorkerCounts) {
    let tenants = counts.all();
    if !tenants.is_empty() {
        write_tenants(page, &tenants);
    }
}

fn write_tenants(page: &mut Page, tenants: &[(TenantId, WorkerCount)]) {
    let help = "1 if the worker process of a tenant runs";
    page.family(Kind::Gauge, RUNNING, help);
    for (tenant, count) in tenants {
        page.sample(RUNNING, &[("tenant", tenant.as_str())], count.running);
    }
    let help = "Starts of the worker process of a tenant";
    page.family(Kind::Counter, STARTS, help);
    for (tenant, count) in tenants {
        page.sample(STARTS, &[("tenant", tenant.as_str())], count.starts);
    }
    let help = "Worker processes of a tenant that ended by themselves or could not be started";
    page.family(Kind::Counter, FAILURES, help);
    for (tenant, count) in tenants {
        page.sample(FAILURES, &[("tenant", tenant.as_str())], count.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_three_series() -> anyhow::Result<()> {
        let count = WorkerCount {
            running: 1,
            starts: 3,
            failures: 2,
        };
        let mut page = Page::default();
        write_tenants(&mut page, &[("acme".parse()?, count)]);
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "wisp_worker_running{tenant=\"acme\"} 1",
            "wisp_worker_starts_total{tenant=\"acme\"} 3",
            "wisp_worker_failures_total{tenant=\"acme\"} 2",
        ];
        assert_eq!(samples, expected);
        Ok(())
    }
}
