//! The account of a tenant: its part of the server's capacity, and its quota.
//!
//! An account lives as long as its tenant is configured, so that a change of the limits forgives no use. Without one, as
//! for everyone on a server without tenants, nothing is counted and nothing bounded.

use crate::metering::call_meter::CallMeter;
use crate::owner::{Owner, OwnerShare};
use crate::quota::{OverQuota, Quota, QuotaPermit, QuotaUse};
use crate::tenants::tenant_set::Tenant;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The account of a tenant. Clones share it. Lifetime: until the tenant is removed.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// `None` for the tenant that owns the server.
    share: Option<Arc<OwnerShare>>,
    quota: Arc<Quota>,
}

/// The use of an account by one request; empty without an account. Its times come from the meter, which lasts as long as
/// work for the request goes on. A request that fails is charged at least what was expected until then. Lifetime: one
/// request.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    permit: Option<QuotaPermit>,
    /// The meter of the request, once it has its version.
    meter: Option<Arc<CallMeter>>,
    has_succeeded: bool,
}

// === impl Account ===

impl Account {
    /// Returns the account of a new tenant, whose work has this number.
    pub(crate) fn open(tenant: &Tenant, number: u32) -> Account {
        let owner = Owner {
            id: number,
            weight: tenant.weight,
        };
        Account {
            share: (!tenant.id.is_local()).then(|| OwnerShare::new(owner)),
            quota: Quota::new(tenant.limits.quota()),
        }
    }

    /// Returns the same account with other settings of the tenant.
    pub(crate) fn with_settings(&self, tenant: &Tenant) -> Account {
        self.quota.set_limits(tenant.limits.quota());
        let share = self
            .share
            .as_ref()
            .map(|share| match share.owner().weight == tenant.weight {
                true => Arc::clone(share),
                false => share.with_weight(tenant.weight),
            });
        Account {
            share,
            quota: Arc::clone(&self.quota),
        }
    }

    /// Returns the owner to whom the work of the tenant is charged; `None` for the local one.
    pub(crate) fn share(&self) -> Option<&Arc<OwnerShare>> {
        self.share.as_ref()
    }

    /// Returns the current use of the quota.
    pub(crate) fn usage(&self) -> QuotaUse {
        self.quota.usage()
    }
}

// === impl Charge ===

impl Charge {
    /// Admits a request of this account, or refuses it before its body is read.
    pub(crate) fn begin(account: Option<&Account>) -> Result<Charge, OverQuota> {
        let Some(account) = account else {
            return Ok(Charge::default());
        };
        // The size of the body is bounded where it is read.
        let permit = account.quota.admit(Instant::now(), 0)?;
        Ok(Charge::admitted(permit))
    }

    /// Admits a request of this account as [`Charge::begin`] does, and lets it wait for its turn for as long as its
    /// `patience`, if the tenant has a queue.
    pub(crate) async fn begin_in_turn(
        account: Option<&Account>,
        patience: Duration,
    ) -> Result<Charge, OverQuota> {
        let Some(account) = account else {
            return Ok(Charge::default());
        };
        let deadline = tokio::time::Instant::now() + patience;
        let permit = account.quota.admit_in_turn(deadline).await?;
        Ok(Charge::admitted(permit))
    }

    fn admitted(permit: QuotaPermit) -> Charge {
        Charge {
            permit: Some(permit),
            meter: None,
            has_succeeded: false,
        }
    }

    /// Charges the usage of this meter from now on.
    pub(crate) fn measure(&mut self, meter: &Arc<CallMeter>) {
        let times = self.permit.as_mut().and_then(QuotaPermit::take_times);
        if let Some(times) = times {
            meter.charge(times);
            self.meter = Some(Arc::clone(meter));
        }
    }

    /// Counts the bytes of tensors that the request holds from now on.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), OverQuota> {
        let Some(permit) = &mut self.permit else {
            return Ok(());
        };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        permit.hold_tensors(bytes)
    }

    /// Charges the usage of a successful call.
    pub(crate) fn settle(&mut self) {
        self.has_succeeded = true;
        if let Some(meter) = &self.meter {
            meter.settle();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(meter) = self.meter.as_ref().filter(|_| !self.has_succeeded) {
            meter.settle_at_least();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::usage_cell::{UsageCell, UsageKey};
    use crate::quota::limits::{BACKEND_MILLISECONDS, CONCURRENCY, GUEST_MILLISECONDS};
    use crate::tenants::tenant_id::TenantId;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_sandbox::compute::ComputeMeter;

    /// Returns the meter of a request of the tenant.
    fn meter(tenant: &Tenant) -> anyhow::Result<Arc<CallMeter>> {
        Ok(CallMeter::begin(Arc::new(UsageCell::new(UsageKey {
            tenant: tenant.id.clone(),
            owner: TenantId::local(),
            model: ModelName::new("wine")?,
            version: Version::FIRST,
        }))))
    }

    fn tenant(id: &str, concurrency: Option<u64>) -> anyhow::Result<Tenant> {
        let mut tenant = Tenant {
            id: id.parse()?,
            ..Tenant::local()
        };
        tenant.limits.concurrency = concurrency;
        Ok(tenant)
    }

    #[test]
    fn a_request_above_the_quota_is_refused_until_another_has_ended() -> anyhow::Result<()> {
        let account = Account::open(&tenant("acme", Some(1))?, 3);
        let first = Charge::begin(Some(&account))?;
        let refused = Charge::begin(Some(&account)).err();
        let limit = refused.map(|refusal| refusal.limit);
        assert_eq!(limit, Some(CONCURRENCY));
        drop(first);
        assert!(Charge::begin(Some(&account)).is_ok());
        assert!(Charge::begin(None).is_ok());
        Ok(())
    }

    #[test]
    fn a_request_that_fails_pays_for_its_guest() -> anyhow::Result<()> {
        let mut tenant = tenant("acme", None)?;
        tenant.limits.guest_milliseconds_per_second = Some(100);
        let account = Account::open(&tenant, 3);
        let mut charge = Charge::begin(Some(&account))?;
        let meter = meter(&tenant)?;
        charge.measure(&meter);
        meter.add_guest(Duration::from_secs(3600));
        drop(charge);
        let refused = Charge::begin(Some(&account)).err();
        let limit = refused.map(|refusal| refusal.limit);
        assert_eq!(limit, Some(GUEST_MILLISECONDS));
        Ok(())
    }

    #[test]
    fn a_computation_that_goes_on_without_its_request_is_charged() -> anyhow::Result<()> {
        let mut tenant = tenant("acme", Some(1))?;
        tenant.limits.backend_milliseconds_per_second = Some(100);
        let account = Account::open(&tenant, 3);
        let mut charge = Charge::begin(Some(&account))?;
        let meter = meter(&tenant)?;
        charge.measure(&meter);
        // The client has disconnected. Its place is free at once.
        drop(charge);
        let next = Charge::begin(Some(&account));
        assert!(next.is_ok());
        drop(next);
        meter.add_compute(Duration::from_secs(3600));
        drop(meter);
        let refused = Charge::begin(Some(&account)).err();
        let limit = refused.map(|refusal| refusal.limit);
        assert_eq!(limit, Some(BACKEND_MILLISECONDS));
        Ok(())
    }

    #[test]
    fn other_settings_keep_the_use_and_the_number() -> anyhow::Result<()> {
        let account = Account::open(&tenant("acme", Some(1))?, 3);
        let _first = Charge::begin(Some(&account))?;
        let heavier = Tenant {
            weight: 4,
            ..tenant("acme", Some(2))?
        };
        let changed = account.with_settings(&heavier);
        let owner = changed.share().map(|share| share.owner());
        assert_eq!(owner.map(|owner| (owner.id, owner.weight)), Some((3, 4)));
        let _second = Charge::begin(Some(&changed))?;
        assert!(Charge::begin(Some(&changed)).is_err());
        assert_eq!(changed.usage().requests, 2);
        Ok(())
    }

    #[test]
    fn the_owner_of_the_server_has_no_share_of_it() -> anyhow::Result<()> {
        assert!(Account::open(&tenant("local", None)?, 1).share().is_none());
        Ok(())
    }
}
