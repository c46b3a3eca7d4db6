//! The path of one inference, from its routed request head to its encoded response.
//!
//! Every request of every protocol takes the path through [`infer()`]. The function does not branch on
//! protocol, backend or kind of model; those are values inside the call and the version. A request is charged
//! to its tenant before its model is looked up, which may load the model. It is admitted in two stages. Its head
//! is granted a [`ReadingSlot`]; it gets its [`Permit`] once its body is complete, so that slow bodies keep no
//! other request out. The bytes of the body are reserved from the budget before that. The permit is held until
//! the response is encoded, and the memory of the response until its last byte has been sent.
//!
//! [`Permit`]: crate::admission::Permit

use crate::account::Charge;
use crate::blocking::BlockingPool;
use crate::body::BodyError;
use crate::current_request::recorded_timings;
use crate::error::InferError;
use crate::footprint::Footprint;
use crate::metering::usage_counters::UsageCounters;
use crate::owner::Owner;
use crate::payload_log::{LoggedCall, PayloadLog};
use crate::readers::ReadingSlot;
use crate::release::observation::Observed;
use crate::response_cache::{CallTerms, take_refusal};
use crate::serving::Serving;
use crate::statistics::PendingRequest;
use crate::timings::{PhaseTimer, Timings};
use crate::version::ModelVersion;
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::call::{InferCall, InferRequest, InferResponse};
use wisp_protocol::codec::{HeldBytes, RequestDecoder, ResponseEncoder};
use wisp_tensor::Reservation;

/// A completed inference. Lifetime: one request.
#[derive(Debug)]
pub struct Inferred<E> {
    /// The response, encoded for the protocol of the request.
    pub response: E,
    pub timings: Timings,
    /// The use of the server by the request, if the response shows it.
    pub shown_usage: Option<UsageCounters>,
    /// The reservation for the memory of the response, until its last byte has been sent.
    pub memory: Reservation,
}

/// Runs one inference and returns its encoded response.
///
/// `reading` completes with the source that the decoder of the call takes: a complete body, or a message. It
/// is polled only once the model is known to exist.
pub async fn infer<D: RequestDecoder>(
    serving: &Serving,
    slot: ReadingSlot,
    call: InferCall<D>,
    reading: impl Future<Output = Result<D::Source, BodyError>>,
) -> Result<Inferred<Encoded<D>>, InferError> {
    let mut pending = None;
    let inferred = run(serving, (slot, &mut pending), call, reading).await;
    if let (Err(error), Some(pending)) = (&inferred, &mut pending) {
        pending.fail(error.kind());
    }
    inferred
}

/// Runs one inference, which `pending` counts once its version is known.
async fn run<D: RequestDecoder>(
    serving: &Serving,
    (slot, pending): (ReadingSlot, &mut Option<PendingRequest>),
    call: InferCall<D>,
    reading: impl Future<Output = Result<D::Source, BodyError>>,
) -> Result<Inferred<Encoded<D>>, InferError> {
    let mut timer = PhaseTimer::start(slot.granted()).recording(recorded_timings());
    serving.pressure.check_inference()?;
    let account = serving.account.as_ref();
    let mut charge = Charge::begin_in_turn(account, serving.options.request_timeout).await?;
    let version = serving
        .select(&call.selection, call.routing, &charge)
        .await?;
    version.check_inference()?;
    let pending = pending.insert(version.statistics().begin());
    let meter = serving.meter(&version, pending.counters());
    charge.measure(&meter);
    let owner = slot.owner();
    let source = slot.read(reading).await?;
    timer.finish_read();
    let permit = serving.admission.admit_for(version.share(), owner)?;
    let permit = Arc::new(permit.metered(&meter, &serving.options.memory));
    let deadline = Instant::now() + serving.options.request_timeout;
    let memory = Footprint::new(&serving.options.memory);
    let codecs = Codecs {
        blocking: &serving.blocking,
        version: &version,
        owner: permit.owner(),
        deadline,
    };
    let space = serving.space(&version.description().model);
    let decoded = codecs.decode(call.decoder, source, memory).await;
    let decoded =
        decoded.inspect_err(|error| Observed::undecoded(space, &call.selection, &version, error));
    let (mut request, encoder, mut memory) = decoded?;
    timer.finish_decode();
    let received_bytes = request.content_bytes();
    meter.receive(received_bytes);
    charge.hold(received_bytes)?;
    let rows = version.batch_size(&request);
    let logged = PayloadLog::begin(&serving.options.payload_log, &version, &request);
    let terms = CallTerms {
        permit: &permit,
        deadline,
        is_declined: take_refusal(&mut request),
        tenant: &serving.tenant().id,
    };
    let observed = Observed::begin(space, &call.selection, &version, &request);
    let called = serving.cache.call(&version, request, terms).await;
    observed.record(space, called.as_ref().map(|called| (&called.0, called.2)));
    let (response, usage, cache) = called?;
    timer.finish_call(&usage);
    charge.settle();
    LoggedCall::end(logged, &response);
    let sent_bytes = response.content_bytes();
    let encoded_bytes = encoder.encoded_bytes(&response);
    memory.resize(sent_bytes.saturating_add(encoded_bytes))?;
    let response = codecs.encode(encoder, response).await?;
    memory.resize(response.held_bytes())?;
    let timings = timer.finish_encode();
    pending.succeed(rows, &timings, cache);
    meter.succeed(sent_bytes, cache);
    Ok(Inferred {
        response,
        timings,
        shown_usage: serving.options.shows_usage.then(|| meter.used()),
        memory: memory.into_reservation(),
    })
}

/// The encoded response type of a decoder's protocol.
type Encoded<D> = <<D as RequestDecoder>::Encoder as ResponseEncoder>::Encoded;

/// The context in which one request is decoded and its response encoded. Lifetime: one request.
struct Codecs<'a> {
    blocking: &'a BlockingPool,
    version: &'a Arc<ModelVersion>,
    owner: Owner,
    deadline: Instant,
}

impl Codecs<'_> {
    async fn decode<D: RequestDecoder>(
        &self,
        decoder: D,
        source: D::Source,
        mut memory: Footprint,
    ) -> Result<(InferRequest, D::Encoder, Footprint), InferError> {
        let text_bytes = decoder.text_bytes(&source);
        let decode = move |version: &ModelVersion| {
            memory.resize(decoder.decoded_bytes(&source))?;
            let (request, encoder) = decoder.decode(source, version.description())?;
            Ok::<_, InferError>((request, encoder, memory))
        };
        let decoding = self
            .blocking
            .run_codec(text_bytes, self.terms(), (self.version, decode));
        decoding.await
    }

    async fn encode<E: ResponseEncoder>(
        &self,
        encoder: E,
        response: InferResponse,
    ) -> Result<E::Encoded, InferError> {
        let text_bytes = encoder.text_bytes(&response);
        let encode = move |version: &ModelVersion| encoder.encode(response, version.description());
        let encoding = self
            .blocking
            .run_codec(text_bytes, self.terms(), (self.version, encode));
        encoding.await
    }

    fn terms(&self) -> (Owner, Instant) {
        (self.owner, self.deadline)
    }
}
