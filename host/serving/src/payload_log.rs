//! The log of the inputs and outputs of calls: which calls are logged, and the queue of their events.
//!
//! A call of the sample adds two events with the same id: its request once it is decoded, and its response once it is
//! computed. Events share the bytes of the tensors and are written by another thread, which the program starts. A
//! slow writer costs events, which are counted, and nothing else: adding one never waits, and neither the number nor
//! the bytes of the waiting events exceed their limits. Responses from the cache are logged like all others.

use crate::current_request::CurrentRequest;
use crate::event_queue::{EventQueue, QueueCounts, QueueLimits};
use crate::sample_ratio::SampleRatio;
use crate::version::ModelVersion;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use wisp_protocol::call::{InferRequest, InferResponse, ModelName, Version};
use wisp_tensor::{NamedTensor, Parameter};

/// The most events that wait for the writer.
const MAX_EVENTS: usize = 1024;

/// The most events that the writer takes at once, whose bytes no longer count as waiting.
const MAX_BATCH: usize = 16;

/// The counts of a payload log since the start.
pub type PayloadCounts = QueueCounts;

/// The log of inputs and outputs. Lifetime: the process.
#[derive(Debug)]
pub struct PayloadLog {
    options: PayloadLogOptions,
    queue: EventQueue<PayloadEvent>,
    /// A random part of the ids, which no two servers share.
    server: u64,
    next: AtomicU64,
    hasher: RandomState,
}

/// The choices of the operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PayloadLogOptions {
    /// The share of the calls that are logged.
    pub sample: SampleRatio,
    /// The most bytes of tensors in one event. An event with more contains their names, types and shapes only.
    pub max_payload_bytes: usize,
    /// The most bytes of tensors that wait for the writer.
    pub max_waiting_bytes: usize,
}

/// The inputs or the outputs of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadEvent {
    /// The id of the call, the same for both of its events, and different for every other call.
    pub id: String,
    pub half: PayloadHalf,
    pub model: ModelName,
    pub version: Version,
    /// The id of the request in the log, if it is known. Clients may use an id again.
    pub request_id: Option<String>,
    pub time: SystemTime,
    /// The tensors, of no elements if they are left out.
    pub tensors: Vec<NamedTensor>,
    /// Set if the tensors exceed the limit. Their names, types and shapes are in `outlines` then.
    pub is_left_out: bool,
    /// The names, types and shapes of tensors that are left out.
    pub outlines: Vec<TensorOutline>,
    pub parameters: Vec<Parameter>,
    /// The outputs that a request names; empty for all.
    pub requested: Vec<String>,
}

/// The two events of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadHalf {
    Request,
    Response,
}

/// A tensor without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorOutline {
    pub name: String,
    pub datatype: &'static str,
    pub shape: Vec<u32>,
}

/// A call whose request has been logged. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct LoggedCall {
    log: Arc<PayloadLog>,
    id: String,
    model: ModelName,
    version: Version,
    request_id: Option<String>,
}

// === impl PayloadLog ===

impl PayloadLog {
    /// Returns the log, whose events wait for a writer.
    pub fn new(options: PayloadLogOptions) -> PayloadLog {
        let hasher = RandomState::new();
        PayloadLog {
            options,
            queue: EventQueue::new(QueueLimits {
                events: MAX_EVENTS,
                bytes: options.max_waiting_bytes,
                batch: MAX_BATCH,
                linger: Duration::ZERO,
            }),
            server: hasher.hash_one("server"),
            next: AtomicU64::new(1),
            hasher,
        }
    }

    /// Returns the queue that the writer empties.
    pub fn queue(&self) -> &EventQueue<PayloadEvent> {
        &self.queue
    }

    /// Returns the counts since the start.
    pub fn counts(&self) -> PayloadCounts {
        self.queue.counts()
    }

    /// Logs the request of a call, if there is a log and the call belongs to its sample.
    pub(crate) fn begin(
        log: &Option<Arc<PayloadLog>>,
        version: &ModelVersion,
        request: &InferRequest,
    ) -> Option<LoggedCall> {
        let log = log.as_ref().filter(|_| version.logs_payloads())?;
        let number = log.next.fetch_add(1, Relaxed);
        if !log.options.sample.admits(log.hasher.hash_one(number)) {
            return None;
        }
        let description = version.description();
        let call = LoggedCall {
            log: Arc::clone(log),
            id: format!("{:016x}-{number:x}", log.server),
            model: description.model.clone(),
            version: description.version,
            request_id: CurrentRequest::of_task().map(|request| request.to_string()),
        };
        let event = PayloadEvent {
            parameters: request.parameters.clone(),
            requested: request.outputs.clone(),
            ..call.event(PayloadHalf::Request, &request.inputs)
        };
        // A response without its request would be of no use.
        log.add(event).then_some(call)
    }

    fn add(&self, event: PayloadEvent) -> bool {
        let bytes = content_bytes(&event.tensors);
        self.queue.push(event, bytes)
    }
}

// === impl LoggedCall ===

impl LoggedCall {
    /// Logs the response of a call whose request was logged.
    pub(crate) fn end(call: Option<LoggedCall>, response: &InferResponse) {
        if let Some(call) = call {
            let event = PayloadEvent {
                parameters: response.parameters.clone(),
                ..call.event(PayloadHalf::Response, &response.outputs)
            };
            call.log.add(event);
        }
    }

    fn event(&self, half: PayloadHalf, tensors: &[NamedTensor]) -> PayloadEvent {
        let is_left_out = content_bytes(tensors) > self.log.options.max_payload_bytes;
        let (tensors, outlines) = match is_left_out {
            // A clone shares the bytes.
            false => (tensors.to_vec(), Vec::new()),
            true => (Vec::new(), tensors.iter().map(TensorOutline::new).collect()),
        };
        PayloadEvent {
            id: self.id.clone(),
            half,
            model: self.model.clone(),
            version: self.version,
            request_id: self.request_id.clone(),
            time: SystemTime::now(),
            tensors,
            is_left_out,
            outlines,
            parameters: Vec::new(),
            requested: Vec::new(),
        }
    }
}

impl TensorOutline {
    fn new(tensor: &NamedTensor) -> TensorOutline {
        TensorOutline {
            name: tensor.name.clone(),
            datatype: tensor.tensor.element_type().name(),
            shape: tensor.tensor.shape().dimensions().to_vec(),
        }
    }
}

fn content_bytes(tensors: &[NamedTensor]) -> usize {
    let bytes = tensors.iter().map(|tensor| tensor.tensor.content().len());
    bytes.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests;
