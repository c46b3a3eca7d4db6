//! The clock of a guest: how long it has run, and for how long it has had a processor.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A clock for the running time of a guest's own code. It stops while the host computes for the guest,
/// and while the guest's fiber waits for a thread. Clones share one clock. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct GuestClock(Arc<Mutex<PausableClock>>);

#[derive(Debug)]
struct PausableClock {
    before: Duration,
    /// The processor time before; `None` unless the call is driven.
    processor_before: Option<Duration>,
    running_since: Option<Reading>,
}

/// The time by the clock, and the processor time of the calling thread if the call is driven.
#[derive(Debug, Clone, Copy)]
struct Reading {
    time: Instant,
    processor: Option<Duration>,
}

// === impl GuestClock ===

impl GuestClock {
    pub(crate) fn start() -> GuestClock {
        GuestClock(Arc::new(Mutex::new(PausableClock {
            before: Duration::ZERO,
            processor_before: None,
            running_since: Some(Reading {
                time: Instant::now(),
                processor: None,
            }),
        })))
    }

    /// Stops the clock, and returns the running time by the clock so far.
    pub(crate) fn pause(&self) -> Duration {
        let mut clock = self.clock();
        let now = clock.read();
        clock.pause(now);
        clock.before
    }

    pub(crate) fn resume(&self) {
        let mut clock = self.clock();
        if clock.running_since.is_none() {
            clock.running_since = Some(clock.read());
        }
    }

    /// Returns the running time by the clock.
    pub(crate) fn elapsed(&self) -> Duration {
        let clock = self.clock();
        clock.elapsed(Instant::now())
    }

    /// Returns the running time until `now` that counts against the guest's limit: the processor time if the call is
    /// driven. By the clock, guests would be ended because others keep their thread from its processor.
    pub(crate) fn used_at(&self, now: Instant) -> Duration {
        let clock = self.clock();
        clock.used(clock.reading_at(now))
    }

    /// Drives a guest's call; the clock runs only while the call is polled, and measures processor time too.
    pub(crate) async fn drive<T>(&self, call: impl Future<Output = T>) -> T {
        self.clock().start_driving();
        let mut call = pin!(call);
        poll_fn(|cx| {
            self.resume();
            let poll = call.as_mut().poll(cx);
            self.pause();
            poll
        })
        .await
    }

    fn clock(&self) -> MutexGuard<'_, PausableClock> {
        // Only the thread that drives the call takes the lock, and nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PausableClock ===

impl PausableClock {
    fn read(&self) -> Reading {
        self.reading_at(Instant::now())
    }

    /// Returns the reading of a clock that shows `now`.
    fn reading_at(&self, now: Instant) -> Reading {
        Reading {
            time: now,
            processor: self.processor_before.is_some().then(processor_time),
        }
    }

    /// Stops the clock until the first poll, and measures processor time from then on.
    fn start_driving(&mut self) {
        let now = self.read();
        self.pause(now);
        self.processor_before = Some(Duration::ZERO);
    }

    fn pause(&mut self, now: Reading) {
        self.processor_before = self.processor(now);
        self.before = self.elapsed(now.time);
        self.running_since = None;
    }

    fn elapsed(&self, now: Instant) -> Duration {
        let running = self
            .running_since
            .map(|since| now.saturating_duration_since(since.time));
        self.before.saturating_add(running.unwrap_or_default())
    }

    /// Returns the processor time, on the thread that the guest runs on; `None` unless the call is driven.
    fn processor(&self, now: Reading) -> Option<Duration> {
        let since = self.running_since.and_then(|since| since.processor);
        let running = now.processor.zip(since);
        let running = running.map(|(now, since)| now.saturating_sub(since));
        let before = self.processor_before?;
        Some(before.saturating_add(running.unwrap_or_default()))
    }

    fn used(&self, now: Reading) -> Duration {
        self.processor(now)
            .unwrap_or_else(|| self.elapsed(now.time))
    }
}

/// Returns the processor time that the calling thread has used.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn waiting_for_a_thread_does_not_use_up_the_guests_time() {
        let clock = GuestClock::start();
        let runs = || clock.clock().running_since.is_some();
        let mut polls = 0;
        let mut driven = pin!(clock.drive(poll_fn(|_| {
            assert!(runs(), "it runs while it is polled");
            polls += 1;
            if polls == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })));
        let mut cx = Context::from_waker(Waker::noop());
        for expected in [Poll::Pending, Poll::Ready(())] {
            assert_eq!(driven.as_mut().poll(&mut cx), expected);
            assert!(!runs(), "and at no other time");
        }
    }

    #[test]
    fn waiting_for_a_processor_does_not_use_up_the_time_of_a_driven_guest() {
        let start = Instant::now();
        let reading = |seconds: u64, processor_milliseconds: u64| Reading {
            time: start + Duration::from_secs(seconds),
            processor: Some(Duration::from_millis(processor_milliseconds)),
        };
        let mut clock = PausableClock {
            before: Duration::ZERO,
            processor_before: Some(Duration::ZERO),
            running_since: Some(reading(0, 100)),
        };
        assert_eq!(clock.used(reading(3, 107)), Duration::from_millis(7));
        clock.pause(reading(3, 107));
        // Another thread, whose processor time includes other guests.
        clock.running_since = Some(reading(9, 5000));
        assert_eq!(clock.used(reading(10, 5001)), Duration::from_millis(8));
        assert_eq!(
            clock.elapsed(start + Duration::from_secs(10)),
            Duration::from_secs(4)
        );
    }

    #[test]
    fn a_guest_that_is_not_driven_uses_the_time_by_the_clock() {
        let start = Instant::now();
        let reading = |seconds: u64| Reading {
            time: start + Duration::from_secs(seconds),
            processor: None,
        };
        let mut clock = PausableClock {
            before: Duration::ZERO,
            processor_before: None,
            running_since: Some(reading(0)),
        };
        assert_eq!(clock.used(reading(3)), Duration::from_secs(3));
        clock.pause(reading(3));
        assert_eq!(clock.used(reading(9)), Duration::from_secs(3));
    }
}
