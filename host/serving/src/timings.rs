//! How long each phase of one inference took.
//!
//! A [`Stopwatch`] runs beside the straight line and is told where it has come to; what happens within
//! a call of the version is measured there and comes as [`Usage`]. What it measures goes to
//! the client and to [`crate::statistics`]; nothing is decided by it.

use std::time::{Duration, Instant};
use wisp_sandbox::handler::Usage;

/// The phases of an answered inference, in their order. Lifetime: one request.
///
/// They do not add up to the total: handing work from one thread to another belongs to none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until the body was complete; choosing the version included.
    pub read: Duration,
    pub decode: Duration,
    /// Waiting for a place in the sandbox and for threads of the handler's and the graph's. An
    /// inline call that was begun in vain is part of the wait for the one that answered.
    pub queue: Duration,
    /// The handler's own code before its first `compute`, and making its instance.
    pub preprocess: Duration,
    /// The graph, all of its computations together.
    pub compute: Duration,
    /// The handler's own code from its first `compute` on.
    pub postprocess: Duration,
    pub encode: Duration,
    /// From the routed head to the encoded answer, which is compressed and sent after it.
    pub total: Duration,
}

/// The time that passes while an inference takes its way. Lifetime: one request.
#[derive(Debug)]
pub struct Stopwatch {
    started: Instant,
    lap: Instant,
    timings: Timings,
}

// === impl Timings ===

impl Timings {
    /// Each phase and its name, the total as the last.
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

    /// The body is complete.
    pub fn has_read(&mut self) {
        self.timings.read = self.next_lap();
    }

    /// The request is decoded.
    pub fn has_decoded(&mut self) {
        self.timings.decode = self.next_lap();
    }

    /// The version has answered, and this is what it took.
    pub fn has_called(&mut self, usage: &Usage) {
        self.next_lap();
        self.timings.queue = usage.queue;
        self.timings.preprocess = usage.preprocess;
        self.timings.compute = usage.compute;
        self.timings.postprocess = usage.postprocess();
    }

    /// The answer is encoded, which is the end.
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
