//! The processor time of the jobs of a thread.

use super::state::SHORT_CALL;
use crate::metering::processor_time::processor_time;
use std::time::Duration;

/// The number of jobs after which the processor time is read, since it includes the work between jobs.
const JOBS_PER_READING: u32 = 64;

/// Measures the processor time of the jobs of one thread. Their time by the clock would include that of
/// waiting for a processor, and short jobs would be taken for long ones on a busy machine.
///
/// Reading the processor time is a system call, so jobs that are short by the clock are charged that time.
pub(super) struct Meter {
    /// The processor time of the thread at the last reading.
    read: Duration,
    /// The time and the number of the jobs since then.
    since: Duration,
    jobs: u32,
}

impl Meter {
    /// Returns the meter of the calling thread.
    pub(super) fn start() -> Meter {
        Meter {
            read: processor_time(),
            since: Duration::ZERO,
            jobs: 0,
        }
    }

    /// Returns the processor time of a job that has just ended and took `elapsed` by the clock.
    pub(super) fn used_by_job(&mut self, elapsed: Duration) -> Duration {
        self.jobs += 1;
        if elapsed < SHORT_CALL && self.jobs < JOBS_PER_READING {
            self.since += elapsed;
            return elapsed;
        }
        let Meter { read, since, .. } = std::mem::replace(self, Meter::start());
        let used = self.read.saturating_sub(read).saturating_sub(since);
        used.min(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_not_charged_the_time_that_it_waited_for_a_processor() {
        let mut meter = Meter::start();
        let hour = Duration::from_secs(3600);
        assert!(meter.used_by_job(hour) < hour / 60);
        let short = Duration::from_nanos(1);
        assert_eq!(meter.used_by_job(short), short);
    }
}
