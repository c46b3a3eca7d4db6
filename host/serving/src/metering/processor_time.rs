//! The processor time of guests that run on whichever thread polls them.

use super::call_meter::CallMeter;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use wisp_sandbox::guest_clock::processor_time;

/// Runs the call of a guest, and adds the processor time of the threads that poll it to its meter, also that of a call
/// which is dropped before its end.
///
/// The time by the clock would include the wait for a processor. It is read twice for each poll, which costs less
/// than a microsecond; a guest that is not polled in turns of milliseconds waits for computations.
pub(crate) async fn metered<F: Future>(meter: Option<Arc<CallMeter>>, call: F) -> F::Output {
    let mut call = pin!(call);
    poll_fn(|cx| {
        let Some(meter) = &meter else {
            return call.as_mut().poll(cx);
        };
        let before = processor_time();
        let poll = call.as_mut().poll(cx);
        meter.add_guest(processor_time().saturating_sub(before));
        poll
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::usage_cell::{UsageCell, UsageKey};
    use crate::tenants::tenant_id::TenantId;
    use futures_util::FutureExt;
    use std::time::Duration;
    use wisp_protocol::call::{ModelName, Version};

    fn cell() -> anyhow::Result<Arc<UsageCell>> {
        Ok(Arc::new(UsageCell::new(UsageKey {
            tenant: "acme".parse()?,
            owner: TenantId::local(),
            model: ModelName::new("wine")?,
            version: Version::FIRST,
        })))
    }

    /// Uses at least this much processor time of this thread.
    fn work(time: Duration) {
        let started = processor_time();
        while processor_time().saturating_sub(started) < time {}
    }

    #[test]
    fn a_request_that_is_dropped_has_failed_and_pays_for_its_guest() -> anyhow::Result<()> {
        let cell = cell()?;
        let meter = CallMeter::begin(Arc::clone(&cell));
        let time = Duration::from_millis(2);
        let mut turns = 0;
        // A guest that is dropped after two turns.
        let guest = async {
            std::future::poll_fn::<(), _>(|_| {
                turns += 1;
                work(time);
                std::task::Poll::Pending
            })
            .await;
        };
        let mut guest = Box::pin(metered(Some(meter), guest));
        assert!(guest.as_mut().now_or_never().is_none());
        assert!(guest.as_mut().now_or_never().is_none());
        drop(guest);
        assert_eq!(turns, 2);
        let total = cell.total();
        assert_eq!((total.requests, total.failures), (0, 1));
        assert!(total.guest >= 2 * time, "{total:?}");
        Ok(())
    }
}
