//! A call of a version for a golden case, outside of the requests of clients.

use crate::admission::Admission;
use crate::error::InferError;
use crate::owner::{Owner, OwnerShare};
use crate::version::ModelVersion;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wisp_protocol::call::{InferRequest, InferResponse};
use wisp_protocol::golden_case::CaseFailure;

/// The time limit of one call. It is generous, since the first call of a version may be slow.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs one request as the server would for this owner. The calling thread must be one that may block, of a runtime.
pub(crate) fn call_case(
    version: &ModelVersion,
    request: InferRequest,
    owner: Owner,
) -> Result<InferResponse, CaseFailure> {
    call(version, request, owner).map_err(|error| CaseFailure {
        party: error.kind().party(),
        message: error.client_message().to_owned(),
    })
}

fn call(
    version: &ModelVersion,
    request: InferRequest,
    owner: Owner,
) -> Result<InferResponse, InferError> {
    // Its own admission and shares of the version and the owner, so that requests of clients do not make a case fail. The
    // work has its turns among the owner's.
    let owner = (!owner.is_local()).then(|| OwnerShare::new(owner));
    let permit = Admission::new(1, 1).admit_for(&Arc::default(), owner)?;
    let deadline = Instant::now() + TIMEOUT;
    let calling = version.call(request, &permit, deadline);
    let (response, _) = Handle::current().block_on(calling)?;
    Ok(response)
}
