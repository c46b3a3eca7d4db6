//! The durations of the phases of one inference.
//!
//! A [`Stopwatch`] is notified at the end of each phase. The phases within a call of the version are
//! measured there and returned as [`Usage`]. The measurements are sent to the client and added to
//! [`crate::statistics`]; no decision depends on them.

use std::time::{Duration, Instant};
use wisp_sandbox::handler::Usage;

/// The phases of a completed inference, in order. Lifetime: one request.
///
/// They do not add up to the total: handing work from one thread to another belongs to no phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// The time until the body was complete, including the choice of the version.
    pub read: Duration,
    pub decode: Duration,
    /// The wait for a place in the sandbox and for the threads of the handler and the graph. Includes an
    /// inline call that was abandoned in favour of a queued one.
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
#[derive(Debug)]
pub struct Stopwatch {
    started: Instant,
    lap: Instant,
    timings: Timings,
}

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

// === impl Stopwatch ===

impl Stopwatch {
    pub fn start() -> Stopwatch {
        let started = Instant::now();
        Stopwatch {
            started,
            lap: started,
            timings: Timings::default(),
        }
    }

    /// Records the time of reading, at the complete body.
    pub fn has_read(&mut self) {
        self.timings.read = self.next_lap();
    }

    /// Records the time of decoding.
    pub fn has_decoded(&mut self) {
        self.timings.decode = self.next_lap();
    }

    /// Records the usage of the call, once the version has returned.
    pub fn has_called(&mut self, usage: &Usage) {
        self.next_lap();
        self.timings.queue = usage.queue;
        self.timings.preprocess = usage.preprocess;
        self.timings.compute = usage.compute;
        self.timings.postprocess = usage.postprocess();
    }

    /// Records the time of encoding and returns all timings.
    pub fn has_encoded(mut self) -> Timings {
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
        let mut stopwatch = Stopwatch::start();
        stopwatch.has_read();
        stopwatch.has_decoded();
        stopwatch.has_called(&usage);
        let timings = stopwatch.has_encoded();
        assert_eq!(timings.preprocess, Duration::from_millis(2));
        assert_eq!(timings.postprocess, Duration::from_millis(3));
        assert!(timings.read + timings.decode + timings.encode <= timings.total);
        assert_eq!(timings.phases()[7], ("total", timings.total));
    }
}
