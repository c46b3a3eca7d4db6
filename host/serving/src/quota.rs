//! The quota of a tenant: its limits, which are independent of the server's capacity.
//!
//! A request over its quota is refused with the limit and the time after which it may succeed; the status is 429, where
//! one that the server has no capacity for gets 503. Requests are limited by a [`rate`], processor and backend time by
//! a [`time_budget`] that is corrected by what was measured, and concurrency, bytes and models by counting.
//!
//! A request that only the concurrency stands against may wait in a bounded queue (`turns`).
//!
//! Pure logic but for that wait: the time is passed in, so that tests choose it.

pub mod limits;
mod rate;
mod time_budget;
mod turns;

pub use self::limits::Limits;

use self::rate::Rate;
use self::time_budget::TimeBudget;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use wisp_protocol::error::{ErrorKind, HasErrorKind};

/// The time after which a client should try again if its request has to wait for others to end.
const SOON: Duration = Duration::from_secs(1);

/// The names of all limits, as [`OverQuota`] and the metrics show them.
pub const LIMITS: [&str; 6] = [
    limits::REQUESTS_PER_SECOND,
    limits::CONCURRENCY,
    limits::BODY_BYTES,
    limits::GUEST_MILLISECONDS,
    limits::BACKEND_MILLISECONDS,
    limits::TENSOR_BYTES,
];

/// The limits of a tenant and their use. Lifetime: the tenant, so that it is kept when its settings are
/// loaded again.
#[derive(Debug)]
pub struct Quota {
    state: Mutex<State>,
    /// Notified when a request that waits may have its turn.
    freed: Notify,
}

/// The refusal of a request for a quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct OverQuota {
    /// The name of the limit, one of [`LIMITS`].
    pub limit: &'static str,
    /// The value of the limit.
    pub allowed: u64,
    /// The time after which the request may succeed; `None` if time alone does not help.
    pub retry_after: Option<Duration>,
}

impl OverQuota {
    fn message(&self) -> String {
        let OverQuota { limit, allowed, .. } = self;
        match *limit {
            limits::BODY_BYTES => {
                format!("the body is larger than the tenant's limit `{limit}` of {allowed}")
            }
            _ => format!("the tenant's limit `{limit}` of {allowed} is used up"),
        }
    }
}

/// One admitted request. Dropping it ends the request, and gives its place and its bytes back. Lifetime: one request.
#[derive(Debug)]
pub struct QuotaPermit {
    quota: Arc<Quota>,
    /// The charge for the times of the request, until it is taken.
    times: Option<TimeCharge>,
    /// The bytes of tensors that the request holds.
    tensor_bytes: u64,
}

/// The times that one request is charged: the expected ones at first, and in the end those that were measured. Dropping it
/// before takes them back, since nothing was measured. Lifetime: one request, and the work for it that outlives it.
#[derive(Debug)]
pub struct TimeCharge {
    quota: Arc<Quota>,
    charged: Cost,
}

/// The time that a request has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// The processor time of its guest.
    pub guest: Duration,
    /// The time that its computations took, by its rows if others were computed with it.
    pub backend: Duration,
}

/// The use of a quota at some time, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaUse {
    /// The number of requests in progress.
    pub requests: u64,
    /// The number of requests that wait for their turn.
    pub waiting: u64,
    /// The bytes of tensors that they hold together.
    pub tensor_bytes: u64,
    /// The number of requests that were admitted since the start.
    pub admitted: u64,
    /// The numbers of refusals since the start, in the order of [`LIMITS`].
    pub refused: [u64; LIMITS.len()],
}

/// The place of a request among those of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Behind all that wait.
    New,
    /// The first of those that wait.
    Next,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    rate: Rate,
    guest: TimeBudget,
    backend: TimeBudget,
    current: QuotaUse,
}

// === impl Quota ===

impl Quota {
    /// Returns a quota of which nothing is used.
    pub fn new(limits: Limits) -> Arc<Quota> {
        Arc::new(Quota {
            state: Mutex::new(State {
                limits,
                rate: Rate::default(),
                guest: TimeBudget::default(),
                backend: TimeBudget::default(),
                current: QuotaUse::default(),
            }),
            freed: Notify::new(),
        })
    }

    /// Changes the limits. What is in use stays in use.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.lock();
        // The time that was used without a limit is no debt under a new one.
        if state.limits.guest_milliseconds_per_second.is_none() {
            state.guest.forgive();
        }
        if state.limits.backend_milliseconds_per_second.is_none() {
            state.backend.forgive();
        }
        state.limits = limits;
        drop(state);
        self.freed.notify_waiters();
    }

    /// Returns the current limits.
    pub fn limits(&self) -> Limits {
        self.lock().limits.clone()
    }

    /// Returns the current use.
    pub fn usage(&self) -> QuotaUse {
        self.lock().current
    }

    /// Admits a request whose body has `bytes`, or has declared them. A refused request uses nothing.
    ///
    /// # Errors
    /// Returns the first limit that the request would exceed.
    pub fn admit(self: &Arc<Quota>, now: Instant, bytes: u64) -> Result<QuotaPermit, OverQuota> {
        let mut state = self.lock();
        let admitted = state.admit(now, bytes, Turn::New);
        let estimate = admitted.map_err(|refusal| state.refuse(refusal))?;
        Ok(self.permit(estimate))
    }

    /// Returns the permit of a request that was admitted and is charged this in advance.
    fn permit(self: &Arc<Quota>, estimate: Cost) -> QuotaPermit {
        QuotaPermit {
            quota: Arc::clone(self),
            times: Some(TimeCharge {
                quota: Arc::clone(self),
                charged: estimate,
            }),
            tensor_bytes: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Admits a request, and returns the times that it is charged in advance. All limits are checked before any is used.
    fn admit(&mut self, now: Instant, bytes: u64, turn: Turn) -> Result<Cost, OverQuota> {
        let limits = &self.limits;
        if let Some(allowed) = limits.body_bytes.filter(|allowed| bytes > *allowed) {
            return Err(OverQuota {
                limit: limits::BODY_BYTES,
                allowed,
                retry_after: None,
            });
        }
        let in_flight = self.current.requests;
        let is_behind = turn == Turn::New && self.current.waiting > 0;
        let is_full = |allowed: &u64| is_behind || in_flight >= *allowed;
        if let Some(allowed) = limits.concurrency.filter(is_full) {
            return Err(OverQuota {
                limit: limits::CONCURRENCY,
                allowed,
                retry_after: Some(SOON),
            });
        }
        let budgets = [
            (
                limits::GUEST_MILLISECONDS,
                limits.guest_milliseconds_per_second,
                &mut self.guest,
            ),
            (
                limits::BACKEND_MILLISECONDS,
                limits.backend_milliseconds_per_second,
                &mut self.backend,
            ),
        ];
        for (limit, allowed, budget) in budgets {
            let Some(allowed) = allowed else {
                continue;
            };
            budget.check(now, allowed).map_err(|wait| OverQuota {
                limit,
                allowed,
                retry_after: Some(wait),
            })?;
        }
        if let Some(allowed) = limits.requests_per_second {
            let taken = self.rate.take(now, allowed);
            taken.map_err(|wait| OverQuota {
                limit: limits::REQUESTS_PER_SECOND,
                allowed,
                retry_after: Some(wait),
            })?;
        }
        self.current.requests = self.current.requests.saturating_add(1);
        self.current.admitted = self.current.admitted.saturating_add(1);
        Ok(Cost {
            guest: self.guest.reserve(),
            backend: self.backend.reserve(),
        })
    }

    /// Counts a refusal.
    fn refuse(&mut self, refusal: OverQuota) -> OverQuota {
        let counts = LIMITS.iter().zip(&mut self.current.refused);
        for (limit, count) in counts {
            if *limit == refusal.limit {
                *count = count.saturating_add(1);
            }
        }
        refusal
    }

    /// Replaces the times that a request has been charged.
    fn replace(&mut self, charged: Cost, cost: Cost) {
        self.guest.replace(charged.guest, cost.guest);
        self.backend.replace(charged.backend, cost.backend);
    }

    /// Replaces the times that a request has been charged by those that it has used.
    fn correct(&mut self, charged: Cost, cost: Cost) {
        self.guest.correct(charged.guest, cost.guest);
        self.backend.correct(charged.backend, cost.backend);
    }
}

// === impl QuotaPermit ===

impl QuotaPermit {
    /// Counts the bytes of tensors that the request holds from now on.
    ///
    /// # Errors
    /// Returns the limit if all requests of the tenant would hold more together. The request then holds what it held
    /// before.
    pub fn hold_tensors(&mut self, bytes: u64) -> Result<(), OverQuota> {
        let mut state = self.quota.lock();
        let others = state.current.tensor_bytes.saturating_sub(self.tensor_bytes);
        let all = others.saturating_add(bytes);
        if let Some(allowed) = state.limits.tensor_bytes.filter(|allowed| all > *allowed) {
            let fits_alone = bytes <= allowed;
            return Err(state.refuse(OverQuota {
                limit: limits::TENSOR_BYTES,
                allowed,
                retry_after: fits_alone.then_some(SOON),
            }));
        }
        state.current.tensor_bytes = all;
        self.tensor_bytes = bytes;
        Ok(())
    }

    /// Returns the charge for the times of the request, for whoever measures them; `None` after the first call.
    pub fn take_times(&mut self) -> Option<TimeCharge> {
        self.times.take()
    }
}

// === impl TimeCharge ===

impl TimeCharge {
    /// Charges these times in place of those before.
    pub fn set(&mut self, cost: Cost) {
        let charged = std::mem::replace(&mut self.charged, cost);
        self.quota.lock().replace(charged, cost);
    }

    /// Charges these times as far as they are more than those before.
    pub fn raise(&mut self, cost: Cost) {
        self.set(Cost {
            guest: cost.guest.max(self.charged.guest),
            backend: cost.backend.max(self.charged.backend),
        });
    }

    /// Charges all that the request has used, once no work for it goes on.
    pub fn end(mut self, cost: Cost) {
        let charged = std::mem::take(&mut self.charged);
        self.quota.lock().correct(charged, cost);
    }
}

impl Drop for TimeCharge {
    fn drop(&mut self) {
        // Nothing is left to take back after the end.
        self.set(Cost::default());
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut state = self.quota.lock();
        let current = &mut state.current;
        current.requests = current.requests.saturating_sub(1);
        current.tensor_bytes = current.tensor_bytes.saturating_sub(self.tensor_bytes);
        let is_wanted = current.waiting > 0;
        drop(state);
        if is_wanted {
            self.quota.freed.notify_one();
        }
    }
}

impl HasErrorKind for OverQuota {
    fn kind(&self) -> ErrorKind {
        match self.limit {
            // The request can never succeed.
            limits::BODY_BYTES => ErrorKind::TooLarge,
            _ => ErrorKind::OverQuota,
        }
    }
}

#[cfg(test)]
mod tests;
