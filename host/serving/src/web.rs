//! The path of one request to a web component, from its routed head to the head of its response.
//!
//! It has the stages of [`crate::infer()`], and the component takes the place of decoder, model and encoder: it gets
//! the request as it is and makes a response of its own. The permit and the memory of the body are held until the
//! guest has ended, which may be after the last byte of its response. Its outcome is then added to the statistics.

use crate::account::Charge;
use crate::body::BodyError;
use crate::current_request::recorded_timings;
use crate::error::InferError;
use crate::footprint::Footprint;
use crate::readers::ReadingSlot;
use crate::serving::Serving;
use crate::timings::{PhaseTimer, Timings};
use crate::web_executor::AdmittedWebRequest;
use std::time::Instant;
use wisp_protocol::call::{ModelName, Target, VersionChoice};

pub use wisp_sandbox::web::{WebBody, WebBodyError, WebRequest, WebResponse};

/// A response whose body is still being produced. Lifetime: one request.
#[derive(Debug)]
pub struct WebResponded {
    pub response: WebResponse,
    /// The timings up to the head of the response.
    pub timings: Timings,
}

/// Calls the web component of a model and returns its response.
///
/// `reading` completes with the request once its body is complete. It is polled only once the component is known to
/// exist.
pub async fn respond(
    serving: &Serving,
    slot: ReadingSlot,
    model: ModelName,
    reading: impl Future<Output = Result<WebRequest, BodyError>>,
) -> Result<WebResponded, InferError> {
    let mut timer = PhaseTimer::start(slot.granted()).recording(recorded_timings());
    serving.pressure.check_inference()?;
    let target = Target {
        model,
        version: VersionChoice::Default,
    };
    let account = serving.account.as_ref();
    let mut charge = Charge::begin_in_turn(account, serving.options.request_timeout).await?;
    let version = serving.charged_version(&target, &charge).await?;
    let component = version.web_component()?;
    let mut pending = version.statistics().begin();
    let meter = serving.meter(&version, pending.counters());
    charge.measure(&meter);
    let admitting = async {
        let owner = slot.owner();
        let request = slot.read(reading).await?;
        timer.finish_read();
        let permit = serving.admission.admit_for(version.share(), owner)?;
        let mut memory = Footprint::new(&serving.options.memory);
        memory.resize(request.body().len())?;
        meter.receive(request.body().len());
        Ok::<_, InferError>((
            request,
            permit.metered(&meter, &serving.options.memory),
            memory,
        ))
    };
    let admitted = admitting
        .await
        .inspect_err(|error| pending.fail(error.kind()));
    let (request, permit, memory) = admitted?;
    let deadline = Instant::now() + serving.options.request_timeout;
    let admitted = AdmittedWebRequest {
        permit,
        _memory: memory.into_reservation(),
        charge,
        pending,
        timer: timer.clone(),
        deadline,
    };
    let response = component.respond(request, admitted).await?;
    Ok(WebResponded {
        response,
        timings: timer.timings(),
    })
}
