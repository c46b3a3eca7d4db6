//! The metrics of tenants: their admitted and refused requests, and their current usage.
//!
//! The tenants come from the operator's file, so their number does not depend on clients.

use super::page::{Kind, Page};
use wisp_serving::namespaces::Namespaces;
use wisp_serving::quota::{LIMITS, QuotaUse};

const ADMITTED: &str = "wisp_tenant_requests_total";

const REFUSED: &str = "wisp_tenant_refusals_total";

const CURRENT: &str = "wisp_tenant_requests";

const WAITING: &str = "wisp_tenant_waiting_requests";

const TENSORS: &str = "wisp_tenant_tensor_bytes";

/// Writes the families, which have no samples without tenants.
pub(super) fn write(page: &mut Page, namespaces: &Namespaces) {
    let tenants = namespaces.all_tenants().into_iter();
    let tenants = tenants.filter_map(|serving| {
        let usage = serving.quota_use()?;
        Some((serving.tenant().id.to_string(), usage))
    });
    let tenants: Vec<(String, QuotaUse)> = tenants.collect();
    if !tenants.is_empty() {
        write_tenants(page, &tenants);
    }
}

fn write_tenants(page: &mut Page, tenants: &[(String, QuotaUse)]) {
    let help = "Requests for inference that a tenant's limits have admitted";
    page.family(Kind::Counter, ADMITTED, help);
    for (tenant, usage) in tenants {
        page.sample(ADMITTED, &[("tenant", tenant.as_str())], usage.admitted);
    }
    let help = "Requests that a limit of the tenant has refused";
    page.family(Kind::Counter, REFUSED, help);
    for (tenant, usage) in tenants {
        for (limit, refused) in LIMITS.iter().zip(usage.refused) {
            let labels = [("tenant", tenant.as_str()), ("limit", *limit)];
            page.sample(REFUSED, &labels, refused);
        }
    }
    let help = "Requests for inference of a tenant that are in progress";
    page.family(Kind::Gauge, CURRENT, help);
    for (tenant, usage) in tenants {
        page.sample(CURRENT, &[("tenant", tenant.as_str())], usage.requests);
    }
    let help = "Requests for inference of a tenant that wait for their turn";
    page.family(Kind::Gauge, WAITING, help);
    for (tenant, usage) in tenants {
        page.sample(WAITING, &[("tenant", tenant.as_str())], usage.waiting);
    }
    let help = "Bytes of tensors that the requests of a tenant hold";
    page.family(Kind::Gauge, TENSORS, help);
    for (tenant, usage) in tenants {
        page.sample(TENSORS, &[("tenant", tenant.as_str())], usage.tensor_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_a_series_for_each_limit() {
        let usage = QuotaUse {
            admitted: 7,
            requests: 2,
            ..QuotaUse::default()
        };
        let mut page = Page::default();
        write_tenants(&mut page, &[("acme".to_owned(), usage)]);
        let text = page.into_text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.len(), 4 + LIMITS.len());
        assert!(samples.contains(&"wisp_tenant_requests_total{tenant=\"acme\"} 7"));
        assert!(samples.contains(&"wisp_tenant_requests{tenant=\"acme\"} 2"));
    }
}
