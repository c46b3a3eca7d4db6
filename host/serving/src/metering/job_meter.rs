//! The processor time of the jobs of a thread.

use std::cell::RefCell;
use std::time::Duration;
use wisp_sandbox::guest_clock::processor_time;

/// The time by the clock from which the processor time of a job is read.
const LONG_JOB: Duration = Duration::from_micros(500);

/// The number of jobs after which the processor time is read, since it includes the work between jobs.
const JOBS_PER_READING: u32 = 64;

/// Measures the processor time of the jobs of one thread. Their time by the clock would include that of
/// waiting for a processor, and short jobs would be taken for long ones on a busy machine.
///
/// Reading the processor time is a system call, so jobs that are short by the clock are charged that time.
pub(crate) struct JobMeter {
    /// The processor time of the thread at the last reading.
    read: Duration,
    /// The time and the number of the jobs since then.
    since: Duration,
    jobs: u32,
}

impl JobMeter {
    /// Returns the meter of the calling thread.
    pub(crate) fn start() -> JobMeter {
        JobMeter {
            read: processor_time(),
            since: Duration::ZERO,
            jobs: 0,
        }
    }

    /// Returns the processor time of a job that has just ended and took `elapsed` by the clock.
    pub(crate) fn used_by_job(&mut self, elapsed: Duration) -> Duration {
        self.jobs += 1;
        if elapsed < LONG_JOB && self.jobs < JOBS_PER_READING {
            self.since += elapsed;
            return elapsed;
        }
        let JobMeter { read, since, .. } = std::mem::replace(self, JobMeter::start());
        let used = self.read.saturating_sub(read).saturating_sub(since);
        used.min(elapsed)
    }
}

thread_local! {
    static RUNS: RefCell<JobMeter> = RefCell::new(JobMeter::start());
}

/// Returns the processor time of an inline run that has just ended on the calling thread and took `elapsed` by the clock.
pub(crate) fn used_by_run(elapsed: Duration) -> Duration {
    RUNS.with_borrow_mut(|meter| meter.used_by_job(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_not_charged_the_time_that_it_waited_for_a_processor() {
        let mut meter = JobMeter::start();
        let hour = Duration::from_secs(3600);
        assert!(meter.used_by_job(hour) < hour / 60);
        let short = Duration::from_nanos(1);
        assert_eq!(meter.used_by_job(short), short);
    }
}
