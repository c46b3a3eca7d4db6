//! Calls a version outside a server.

use anyhow::Context;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wisp_protocol::call::{InferRequest, InferResponse};
use wisp_serving::InferError;
use wisp_serving::admission::Admission;
use wisp_serving::version::ModelVersion;

/// The timeout of one call. It is generous, since there are no other requests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Calls versions, one request at a time.
#[derive(Debug)]
pub(crate) struct LocalCaller {
    runtime: Runtime,
    admission: Admission,
}

impl LocalCaller {
    pub(crate) fn new() -> anyhow::Result<LocalCaller> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .context("failed to start the runtime")?;
        Ok(LocalCaller {
            runtime,
            admission: Admission::new(1, 1),
        })
    }

    /// Runs one request as the server would.
    pub(crate) fn call(
        &self,
        version: &ModelVersion,
        request: InferRequest,
    ) -> Result<InferResponse, InferError> {
        let permit = self.admission.admit(version.share())?;
        let deadline = Instant::now() + TIMEOUT;
        let call = version.call(request, &permit, deadline);
        let (response, _) = self.runtime.block_on(call)?;
        Ok(response)
    }
}
