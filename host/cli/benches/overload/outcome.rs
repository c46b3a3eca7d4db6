//! The results of requests: counts by status, and latencies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The status of requests without a valid response.
pub(crate) const BROKEN: u16 = 0;

/// The statuses of refusals: of one client's excess, and of the server's.
pub(crate) const REFUSALS: [u16; 2] = [429, 503];

/// One request that was sent on schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The scheduled time, from the start of the schedule on.
    pub(crate) due: Duration,
    /// The time from the scheduled to the actual start.
    pub(crate) lag: Duration,
    /// The time from the scheduled start to the end of the response.
    pub(crate) latency: Duration,
    /// The status, or [`BROKEN`].
    pub(crate) status: u16,
}

/// All requests of one schedule, in its order.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    /// The duration of the schedule.
    pub(crate) time: Duration,
    /// The number of requests that were due while every thread was busy.
    pub(crate) late: usize,
    /// The reason of a request that was not answered.
    pub(crate) failure: Option<String>,
    /// The number of refusals that do not say when to send the request again.
    pub(crate) refusals_without_time: usize,
}

/// The number of requests by status.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(BTreeMap<u16, u64>);

impl Sample {
    pub(crate) fn is_answered(&self) -> bool {
        self.status == 200
    }

    pub(crate) fn is_refused(&self) -> bool {
        REFUSALS.contains(&self.status)
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns the number of requests per second that were due.
    pub(crate) fn offered(&self) -> f64 {
        self.samples.len() as f64 / self.time.as_secs_f64()
    }

    /// Returns the number of requests per second that were answered before the end of the schedule.
    pub(crate) fn goodput(&self) -> f64 {
        let samples = self.samples.iter();
        let in_time = samples
            .filter(|sample| sample.is_answered() && sample.due + sample.latency <= self.time);
        in_time.count() as f64 / self.time.as_secs_f64()
    }

    /// Returns the number of refusals per second.
    pub(crate) fn refused(&self) -> f64 {
        let refused = self.samples.iter().filter(|sample| sample.is_refused());
        refused.count() as f64 / self.time.as_secs_f64()
    }

    /// Returns the latency in milliseconds that this share of the answered requests did not exceed.
    pub(crate) fn answer_percentile(&self, share: f64) -> f64 {
        let answered = self.samples.iter().filter(|sample| sample.is_answered());
        percentile(answered.map(|sample| sample.latency), share)
    }

    /// Returns the latency in milliseconds that this share of the refusals did not exceed.
    pub(crate) fn refusal_percentile(&self, share: f64) -> f64 {
        let refused = self.samples.iter().filter(|sample| sample.is_refused());
        percentile(refused.map(|sample| sample.latency), share)
    }

    /// Returns the delay in milliseconds that the starts of this share of the requests did not exceed.
    pub(crate) fn lag_percentile(&self, share: f64) -> f64 {
        percentile(self.samples.iter().map(|sample| sample.lag), share)
    }

    /// Returns the requests by status.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for sample in &self.samples {
            tally.add(sample.status);
        }
        tally
    }

    /// Returns both outcomes as one.
    pub(crate) fn joined(mut self, other: Outcome) -> Outcome {
        self.samples.extend(other.samples);
        self.time += other.time;
        self.late += other.late;
        self.failure = self.failure.or(other.failure);
        self.refusals_without_time += other.refusals_without_time;
        self
    }
}

/// Returns the time in milliseconds that this share of the times does not exceed, or NaN if there are
/// none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in the list"
)]
pub(crate) fn percentile(times: impl Iterator<Item = Duration>, share: f64) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let place = (times.len() as f64 * share) as usize;
    let time = times.get(place).or(times.last());
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Returns the number in the middle, or NaN if there are none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.get(numbers.len() / 2);
    middle.copied().unwrap_or(f64::NAN)
}

// === impl Tally ===

impl Tally {
    pub(crate) fn add(&mut self, status: u16) {
        *self.0.entry(status).or_default() += 1;
    }

    /// Adds the counts of another tally.
    pub(crate) fn join(&mut self, other: &Tally) {
        for (status, count) in &other.0 {
            *self.0.entry(*status).or_default() += count;
        }
    }

    /// Returns the number of requests with this status.
    pub(crate) fn count(&self, status: u16) -> u64 {
        self.0.get(&status).copied().unwrap_or(0)
    }

    /// Returns the requests that were neither answered nor among `others`.
    pub(crate) fn failures(&self, others: &[u16]) -> Tally {
        let failures = self.0.iter();
        let failures = failures.filter(|(status, _)| **status != 200 && !others.contains(status));
        Tally(failures.map(|(status, count)| (*status, *count)).collect())
    }

    /// Returns the requests that were neither answered nor refused, and had a valid response.
    pub(crate) fn unexpected(&self) -> Tally {
        let [excess, overload] = REFUSALS;
        self.failures(&[excess, overload, BROKEN])
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("0");
        }
        for (index, (status, count)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match *status {
                BROKEN => write!(f, "{separator}{count} broken")?,
                status => write!(f, "{separator}{count} x {status}")?,
            }
        }
        Ok(())
    }
}
