//! The admission of requests that a process of their tenant answers.
//!
//! This process only passes them on. They count as requests of their tenant here, within its share of the capacity and
//! its limits on requests; the process of the tenant counts what they compute, and charges it.

use crate::account::{Account, Charge};
use crate::admission::{Permit, Share};
use crate::body::BodyError;
use crate::current_request::record_tenant;
use crate::error::InferError;
use crate::serving::Serving;
use std::sync::Arc;
use wisp_tensor::Reservation;

/// The memory for the bytes of a request and its response that are on their way through this process.
pub const FORWARDED_BYTES: usize = 512 << 10;

/// A request that is passed on, and its place in the capacity of the server. Lifetime: one request.
#[derive(Debug)]
pub struct ForwardedCall {
    _permit: Permit,
    _charge: Charge,
    _memory: Reservation,
}

impl Serving {
    /// Admits a request that is passed on to the process of the tenant. Inferences count within its limits.
    pub async fn admit_forwarded(&self, is_inference: bool) -> Result<ForwardedCall, InferError> {
        record_tenant(&self.tenant().id, self.owner());
        let charge = match is_inference {
            true => {
                self.pressure.check_inference()?;
                Charge::begin_in_turn(self.account.as_ref(), self.options.request_timeout).await?
            }
            false => Charge::default(),
        };
        let owner = self.account.as_ref().and_then(Account::share).cloned();
        // The process of the tenant divides its capacity between versions.
        let permit = self
            .admission
            .admit_for(&Arc::new(Share::default()), owner)?;
        let mut memory = self.memory().reservation();
        if !memory.grow(FORWARDED_BYTES) {
            return Err(BodyError::NoRoom.into());
        }
        Ok(ForwardedCall {
            _permit: permit,
            _charge: charge,
            _memory: memory,
        })
    }
}
