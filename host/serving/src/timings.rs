//! The durations of the phases of one inference.
//!
//! A [`PhaseTimer`] records the end of each phase. The phases within a call of the version are
//! measured there and returned as [`Usage`]. The measurements are sent to the client and added to
//! [`crate::statistics`]; no decision depends on them. [`RecordedTimings`] keeps them for the trace and the log line of
//! the request, also of one that fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wisp_sandbox::handler::Usage;

/// The phases of a completed inference, in order. Lifetime: one request.
///
/// For a call of a handler or a graph, they add up to the total but for microseconds. A lookup in the response cache and the
/// hand-over of a web component's response belong to no phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// The time until the body or message was complete, including the choice of the version, and for gRPC the
    /// parsing of the message.
    pub read: Duration,
    pub decode: Duration,
    /// The wait for a place in the sandbox and for the threads of the handler and the graph: before the call, after each
    /// turn of the guest, and for the thread that goes on with the response. Includes an inline call that was abandoned
    /// in favour of a queued one.
    pub queue: Duration,
    /// The handler's own code before its first `compute`, including the creation of its instance.
    pub preprocess: Duration,
    /// The computation of graphs, summed over all computations.
    pub compute: Duration,
    /// The handler's own code from its first `compute` on.
    pub postprocess: Duration,
    pub encode: Duration,
    /// The time from the routed head to the encoded response, before it is compressed and sent.
    pub total: Duration,
}

/// The clock of one inference. Lifetime: one request.
#[derive(Debug, Clone)]
pub struct PhaseTimer {
    started: Instant,
    lap: Instant,
    timings: Timings,
    /// The place for the measurements once the clock is dropped, if somebody reads it.
    record: Option<RecordedTimings>,
}

/// The measurements of one request, once its inference has ended in whatever way. Clones share them. Lifetime: one
/// request.
#[derive(Debug, Clone, Default)]
pub struct RecordedTimings(Arc<Mutex<Option<(Instant, Timings)>>>);

// === impl Timings ===

impl Timings {
    /// Returns each phase with its name, and the total as the last.
    pub fn phases(&self) -> [(&'static str, Duration); 8] {
        [
            ("read", self.read),
            ("decode", self.decode),
            ("queue", self.queue),
            ("preprocess", self.preprocess),
            ("compute", self.compute),
            ("postprocess", self.postprocess),
            ("encode", self.encode),
            ("total", self.total),
        ]
    }
}

impl Timings {
    /// Returns the time that Triton's statistics call `compute_input`.
    pub fn compute_input(&self) -> Duration {
        self.decode.saturating_add(self.preprocess)
    }

    /// Returns the time that Triton's statistics call `compute_output`.
    pub fn compute_output(&self) -> Duration {
        self.postprocess.saturating_add(self.encode)
    }
}

// === impl PhaseTimer ===

impl PhaseTimer {
    /// Starts the clock of a request whose head was routed at `started`.
    pub(crate) fn start(started: Instant) -> PhaseTimer {
        PhaseTimer {
            started,
            lap: started,
            timings: Timings::default(),
            record: None,
        }
    }

    /// Returns the clock with a place for its measurements.
    pub(crate) fn recording(mut self, record: Option<RecordedTimings>) -> PhaseTimer {
        self.record = record;
        self
    }

    /// Records the time of reading, at the complete body.
    pub fn finish_read(&mut self) {
        self.timings.read = self.next_lap();
    }

    /// Records the time of decoding.
    pub fn finish_decode(&mut self) {
        self.timings.decode = self.next_lap();
    }

    /// Records the usage of the call, once the version has returned.
    pub fn finish_call(&mut self, usage: &Usage) {
        self.next_lap();
        self.timings.queue = usage.queue;
        self.timings.preprocess = usage.preprocess;
        self.timings.compute = usage.compute;
        self.timings.postprocess = usage.postprocess();
    }

    /// Returns the timings of a response that is encoded by somebody else, up to now.
    pub fn timings(&self) -> Timings {
        Timings {
            total: self.started.elapsed(),
            ..self.timings
        }
    }

    /// Records the time of encoding and returns all timings.
    pub fn finish_encode(mut self) -> Timings {
        self.timings.encode = self.next_lap();
        self.timings.total = self.lap.saturating_duration_since(self.started);
        self.timings
    }

    fn next_lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now.saturating_duration_since(self.lap);
        self.lap = now;
        lap
    }
}

/// Records the phases that have ended, also of a request that failed or was dropped.
impl Drop for PhaseTimer {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            record.set(self.started, self.timings());
        }
    }
}

// === impl RecordedTimings ===

impl RecordedTimings {
    /// Returns the time at which the head of the request was routed, and the phases that have ended. `None` if the
    /// request has no inference.
    pub fn get(&self) -> Option<(Instant, Timings)> {
        // Every change is a single assignment.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, started: Instant, timings: Timings) {
        // Every change is a single assignment.
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *recorded = Some((started, timings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_within_the_total() {
        let usage = Usage {
            guest: Duration::from_millis(5),
            preprocess: Duration::from_millis(2),
            ..Usage::default()
        };
        let mut timer = PhaseTimer::start(Instant::now());
        timer.finish_read();
        timer.finish_decode();
        timer.finish_call(&usage);
        let timings = timer.finish_encode();
        assert_eq!(timings.preprocess, Duration::from_millis(2));
        assert_eq!(timings.postprocess, Duration::from_millis(3));
        assert!(timings.read + timings.decode + timings.encode <= timings.total);
        assert_eq!(timings.phases()[7], ("total", timings.total));
    }

    #[test]
    fn the_phases_of_a_request_that_fails_are_recorded() {
        let record = RecordedTimings::default();
        let started = Instant::now();
        let mut timer = PhaseTimer::start(started).recording(Some(record.clone()));
        timer.finish_read();
        assert_eq!(record.get(), None);
        let read = timer.timings().read;
        drop(timer);
        let (recorded, timings) = record.get().unwrap();
        assert_eq!((recorded, timings.read), (started, read));
        assert_eq!(timings.decode, Duration::ZERO);
        assert!(timings.total >= read);
    }

    #[test]
    fn the_recorded_timings_of_a_success_are_those_of_its_response() {
        let record = RecordedTimings::default();
        let mut timer = PhaseTimer::start(Instant::now()).recording(Some(record.clone()));
        timer.finish_read();
        let timings = timer.finish_encode();
        assert_eq!(
            record.get().map(|(_, recorded)| recorded.encode),
            Some(timings.encode)
        );
    }
}
