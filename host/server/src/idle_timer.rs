//! The time after which an idle server exits.
//!
//! Requests do not touch the timer. At each check, it is given the time since which no request has been in
//! progress, and the next check is at the earliest time at which the limit can be reached.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The timer of a server's idle time. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    /// The limit; `None` if an idle server does not exit.
    limit: Option<Duration>,
    next_check: Instant,
}

impl IdleTimer {
    pub(crate) fn new(limit: Option<Duration>) -> IdleTimer {
        IdleTimer {
            limit,
            next_check: Instant::now(),
        }
    }

    /// Completes at the time of the next check; never without a limit.
    pub(crate) async fn check_due(&self) {
        match self.limit {
            Some(_) => sleep_until(self.next_check).await,
            None => std::future::pending().await,
        }
    }

    /// Returns whether the server has been idle for the whole limit, where `idle_since` is `None` while a
    /// request is in progress.
    pub(crate) fn is_over(&mut self, idle_since: Option<Instant>) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        let now = Instant::now();
        // A request in progress ends after `now`, and the limit is reached no earlier than counted from there.
        self.next_check = idle_since.unwrap_or(now) + limit;
        self.next_check <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_reached_exactly_after_the_last_request() {
        let start = Instant::now();
        let mut timer = IdleTimer::new(Some(LIMIT));
        // Until 100 s a request is in progress, and from 130 s to 170 s another one.
        let idle_since = |now: Instant| match (now - start).as_secs() {
            0..100 | 130..170 => None,
            100..130 => Some(start + Duration::from_secs(100)),
            _ => Some(start + Duration::from_secs(170)),
        };
        let mut checks = Vec::new();
        loop {
            timer.check_due().await;
            checks.push(start.elapsed().as_secs());
            if timer.is_over(idle_since(Instant::now())) {
                break;
            }
        }
        assert_eq!(checks, [0, 60, 120, 160, 220, 230]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_a_limit_never_ends() {
        let mut timer = IdleTimer::new(None);
        let due = tokio::time::timeout(LIMIT, timer.check_due()).await;
        assert!(due.is_err());
        assert!(!timer.is_over(Some(Instant::now() - LIMIT)));
    }
}
