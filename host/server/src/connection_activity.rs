//! The time limits of a connection: the event that it waits for, and the start and limit of the wait.
//!
//! hyper's time limit for heads includes the idle time before a head, and hyper has no limit before the
//! protocol is detected, on idle connections, or on responses that the client does not read. Here, one
//! check covers all of these; the connection's task runs it each time its timer fires. Requests only update
//! atomic marks, without a lock or a timer.
//!
//! Invariant: the time to work on a request is not limited here; the request has its own deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The time that an HTTP/2 client without a request in flight may be silent while the server drains. A live
/// client responds to the server's PING within a round trip; a dead one would delay the shutdown
/// indefinitely.
const DRAIN_SILENCE: Duration = Duration::from_secs(2);

/// The time from the opening of a connection to its first request while the server drains. A client that
/// has just connected is about to send one.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// The times that a connection may wait for its client. Lifetime: the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) header: Duration,
    pub(crate) write: Duration,
    pub(crate) idle: Duration,
}

/// The marks that the socket and the requests of a connection update. Lifetime: a connection.
///
/// Times are in microseconds since the connection was opened.
#[derive(Debug)]
pub(crate) struct ConnectionActivity {
    opened: Instant,
    /// The number of requests without a response.
    working: AtomicUsize,
    /// The number of responses that hyper has not completely taken.
    responding: AtomicUsize,
    /// The time when an incomplete head began to arrive, or [`NEVER`].
    head_since: AtomicU64,
    /// The time since which the system has accepted no bytes to send, or [`NEVER`].
    write_blocked_since: AtomicU64,
    /// The time of the connection's last progress.
    progress: AtomicU64,
    /// Set if requests share the connection (HTTP/2), so that bytes prove no progress of any one request.
    multiplexed: AtomicBool,
    /// Set if a response is sent before all of its request's body has been read.
    body_unread: AtomicBool,
    /// The time when bytes were last received.
    last_received: AtomicU64,
    /// Set after the first request.
    used: AtomicBool,
    /// The time when the server began to drain, or [`NEVER`].
    draining_since: AtomicU64,
    /// Wakes the connection's task when another connection needs its place.
    place_needed: Notify,
}

/// A mark that is not set.
const NEVER: u64 = u64::MAX;

/// The share of one request in the activity, until its response is sent. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    activity: Arc<ConnectionActivity>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Working,
    Responding,
}

/// The way in which requests use the connection: in turn or concurrently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Multiplexing {
    /// HTTP/1.
    Sequential,
    /// HTTP/2.
    Concurrent,
}

/// The action to take on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeoutCheck {
    /// None; check again at this time.
    CheckAt(Instant),
    /// Close it gracefully: it has been idle for too long.
    Idle,
    /// Cut it: the client has stopped in the middle of an exchange.
    Stalled,
}

// === impl Timeouts ===

impl Timeouts {
    fn shortest(&self) -> Duration {
        self.header.min(self.write).min(self.idle)
    }
}

// === impl ConnectionActivity ===

impl ConnectionActivity {
    /// Returns the activity of a connection that was opened just now and from which a head is expected.
    pub(crate) fn new() -> ConnectionActivity {
        ConnectionActivity {
            opened: Instant::now(),
            working: AtomicUsize::new(0),
            responding: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(NEVER),
            progress: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            body_unread: AtomicBool::new(false),
            last_received: AtomicU64::new(0),
            used: AtomicBool::new(false),
            draining_since: AtomicU64::new(NEVER),
            place_needed: Notify::new(),
        }
    }

    /// Restarts the time for the head when the TLS handshake is complete.
    pub(crate) fn expect_head(&self) {
        self.head_since.store(self.now(), Relaxed);
    }

    /// Records that the connection begins with the bytes of HTTP/2.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    /// Records that bytes have been received.
    pub(crate) fn received(&self) {
        let now = self.now();
        self.last_received.store(now, Relaxed);
        if self.multiplexed.load(Relaxed) {
            return;
        }
        self.progress.store(now, Relaxed);
        let between_requests =
            self.working.load(Relaxed) == 0 && self.responding.load(Relaxed) == 0;
        if between_requests && self.head_since.load(Relaxed) == NEVER {
            self.head_since.store(now, Relaxed);
        }
    }

    /// Records that the system has accepted bytes to send.
    pub(crate) fn sent(&self) {
        self.write_blocked_since.store(NEVER, Relaxed);
        if !self.multiplexed.load(Relaxed) {
            self.progress.store(self.now(), Relaxed);
        }
    }

    /// Records that the system has not accepted bytes to send.
    pub(crate) fn write_blocked(&self) {
        if self.write_blocked_since.load(Relaxed) == NEVER {
            self.write_blocked_since.store(self.now(), Relaxed);
        }
    }

    /// Records that the head of a request is complete.
    pub(crate) fn begin(
        self: &Arc<ConnectionActivity>,
        multiplexing: Multiplexing,
    ) -> RequestGuard {
        self.working.fetch_add(1, Relaxed);
        self.head_since.store(NEVER, Relaxed);
        self.used.store(true, Relaxed);
        if multiplexing == Multiplexing::Concurrent {
            self.multiplexed.store(true, Relaxed);
            self.progress.store(self.now(), Relaxed);
        }
        RequestGuard {
            activity: Arc::clone(self),
            stage: Stage::Working,
        }
    }

    /// Returns whether the client may be sending bytes that will not be read.
    pub(crate) fn leaves_bytes_unread(&self) -> bool {
        self.body_unread.load(Relaxed) || self.head_since.load(Relaxed) != NEVER
    }

    /// Records that the server drains. Returns the deadline for the first request if there has been none.
    pub(crate) fn start_draining(&self) -> Option<Instant> {
        self.draining_since.store(self.now(), Relaxed);
        if self.used.load(Relaxed) || self.multiplexed.load(Relaxed) {
            return None;
        }
        let expected_since = match self.head_since.load(Relaxed) {
            NEVER => 0,
            since => since,
        };
        Some(self.at(expected_since) + FIRST_REQUEST)
    }

    /// Returns the time since which no request has been in flight and no bytes of a response are waiting to
    /// be sent.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let is_busy = self.working.load(Relaxed) > 0
            || self.responding.load(Relaxed) > 0
            || self.write_blocked_since.load(Relaxed) != NEVER;
        let since = match self.head_since.load(Relaxed) {
            NEVER => self.progress.load(Relaxed),
            head_since => head_since,
        };
        (!is_busy).then(|| self.at(since))
    }

    /// Asks the connection, which is idle, to make room for another one.
    pub(crate) fn request_close(&self) {
        self.place_needed.notify_one();
    }

    /// Completes when the connection has been asked to leave.
    pub(crate) async fn close_requested(&self) {
        self.place_needed.notified().await;
    }

    pub(crate) fn check_timeouts(&self, timeouts: &Timeouts) -> TimeoutCheck {
        let blocked_since = self.write_blocked_since.load(Relaxed);
        let head_since = self.head_since.load(Relaxed);
        let progress = self.progress.load(Relaxed);
        let draining_since = self.draining_since.load(Relaxed);
        let is_draining = draining_since != NEVER;
        let shortest = match is_draining {
            true => timeouts.shortest().min(DRAIN_SILENCE),
            false => timeouts.shortest(),
        };
        let (since, timeout, late) = if blocked_since != NEVER {
            (blocked_since, timeouts.write, TimeoutCheck::Stalled)
        } else if self.responding.load(Relaxed) > 0 {
            (progress, timeouts.write, TimeoutCheck::Stalled)
        } else if self.working.load(Relaxed) > 0 {
            (self.now(), shortest, TimeoutCheck::Stalled)
        } else if is_draining && self.multiplexed.load(Relaxed) {
            let silent_since = draining_since.max(self.last_received.load(Relaxed));
            (silent_since, DRAIN_SILENCE, TimeoutCheck::Stalled)
        } else if head_since != NEVER {
            (head_since, timeouts.header, TimeoutCheck::Stalled)
        } else {
            (progress, timeouts.idle, TimeoutCheck::Idle)
        };
        let now = Instant::now();
        let deadline = self.at(since) + timeout;
        if deadline <= now {
            return late;
        }
        // At most the shortest limit from now: a wait that begins after this check cannot exceed its limit
        // before the next one. All waits are thus detected in time, without a timer for each.
        TimeoutCheck::CheckAt(deadline.min(now + shortest))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(NEVER)
    }

    fn at(&self, mark: u64) -> Instant {
        self.opened + Duration::from_micros(mark)
    }
}

// === impl RequestGuard ===

impl RequestGuard {
    /// Records that the response is ready and is being sent.
    pub(crate) fn start_responding(&mut self) {
        if self.stage == Stage::Working {
            self.stage = Stage::Responding;
            // In this order, so that the connection does not appear idle in between.
            self.activity.responding.fetch_add(1, Relaxed);
            self.activity.working.fetch_sub(1, Relaxed);
        }
        self.record_progress();
    }

    /// Records that the client has received all of the response so far, and that more is being made.
    pub(crate) fn resume_working(&mut self) {
        if self.stage == Stage::Responding {
            self.stage = Stage::Working;
            self.activity.working.fetch_add(1, Relaxed);
            self.activity.responding.fetch_sub(1, Relaxed);
        }
    }

    /// Records that the client has made room for more of the response.
    pub(crate) fn record_progress(&self) {
        self.activity.progress.store(self.activity.now(), Relaxed);
    }

    /// Records that the response is sent although the request's body has not been read completely.
    pub(crate) fn leave_body_unread(&self) {
        self.activity.body_unread.store(true, Relaxed);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let counter = match self.stage {
            Stage::Working => &self.activity.working,
            Stage::Responding => &self.activity.responding,
        };
        // The idle time begins here, even if the request has had no response.
        self.record_progress();
        counter.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        header: Duration::from_secs(10),
        write: Duration::from_secs(30),
        idle: Duration::from_secs(600),
    };

    /// Returns the final result of the checks if nothing more happens, and the number of seconds until then.
    async fn final_check(activity: &ConnectionActivity) -> (TimeoutCheck, u64) {
        let start = Instant::now();
        loop {
            match activity.check_timeouts(&TIMEOUTS) {
                TimeoutCheck::CheckAt(at) => tokio::time::sleep_until(at).await,
                check => return (check, start.elapsed().as_secs()),
            }
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_however_slowly_it_drips() {
        let activity = ConnectionActivity::new();
        for _ in 0..3 {
            pass(2).await;
            activity.received();
        }
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_after_a_handshake_has_all_of_its_time() {
        let activity = ConnectionActivity::new();
        pass(4).await;
        activity.received();
        activity.expect_head();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_between_requests_is_idle() {
        let activity = Arc::new(ConnectionActivity::new());
        drop(activity.begin(Multiplexing::Sequential));
        activity.sent();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Idle, 600));
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_after_a_pause_has_its_own_ten_seconds() {
        let activity = Arc::new(ConnectionActivity::new());
        drop(activity.begin(Multiplexing::Sequential));
        pass(500).await;
        activity.received();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_left_alone() {
        let activity = Arc::new(ConnectionActivity::new());
        let _guard = activity.begin(Multiplexing::Sequential);
        pass(10_000).await;
        assert!(matches!(
            activity.check_timeouts(&TIMEOUTS),
            TimeoutCheck::CheckAt(_)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_nobody_takes_is_stuck() {
        let activity = Arc::new(ConnectionActivity::new());
        let mut guard = activity.begin(Multiplexing::Sequential);
        pass(100).await;
        guard.start_responding();
        pass(20).await;
        activity.sent();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 30));
        drop(guard);
        activity.write_blocked();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_whose_next_message_is_being_made_is_work() {
        let activity = Arc::new(ConnectionActivity::new());
        let mut guard = activity.begin(Multiplexing::Concurrent);
        guard.start_responding();
        guard.resume_working();
        pass(10_000).await;
        assert!(matches!(
            activity.check_timeouts(&TIMEOUTS),
            TimeoutCheck::CheckAt(_)
        ));
        guard.start_responding();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_do_not_excuse_a_stuck_response_among_others() {
        let activity = Arc::new(ConnectionActivity::new());
        let mut guard = activity.begin(Multiplexing::Concurrent);
        guard.start_responding();
        pass(20).await;
        activity.received();
        activity.sent();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 10));
    }
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_of_http2_does_not_hold_a_drain() {
        let activity = Arc::new(ConnectionActivity::new());
        drop(activity.begin(Multiplexing::Concurrent));
        pass(5).await;
        assert_eq!(activity.start_draining(), None);
        pass(1).await;
        // A live client responds, and its time starts again.
        activity.received();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 2));
        // A client that has sent no request does not hold the drain either.
        let activity = ConnectionActivity::new();
        activity.multiplex();
        activity.start_draining();
        assert_eq!(final_check(&activity).await, (TimeoutCheck::Stalled, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_holds_a_drain_and_its_end_is_noticed_soon() {
        let activity = Arc::new(ConnectionActivity::new());
        let guard = activity.begin(Multiplexing::Concurrent);
        activity.start_draining();
        pass(20).await;
        let TimeoutCheck::CheckAt(at) = activity.check_timeouts(&TIMEOUTS) else {
            panic!("it was closed");
        };
        drop(guard);
        tokio::time::sleep_until(at).await;
        assert_eq!(activity.check_timeouts(&TIMEOUTS), TimeoutCheck::Stalled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_just_connected_may_send_a_request_while_the_server_drains() {
        let activity = Arc::new(ConnectionActivity::new());
        let opened = Instant::now();
        pass(5).await;
        assert_eq!(activity.start_draining(), Some(opened + FIRST_REQUEST));
        drop(activity.begin(Multiplexing::Sequential));
        assert_eq!(activity.start_draining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_time_begins_with_the_end_of_a_request_without_a_response() {
        let activity = Arc::new(ConnectionActivity::new());
        let guard = activity.begin(Multiplexing::Concurrent);
        pass(60).await;
        drop(guard);
        assert_eq!(activity.idle_since(), Some(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_between_requests_and_before_the_first() {
        let activity = Arc::new(ConnectionActivity::new());
        let opened = Instant::now();
        pass(1).await;
        assert_eq!(activity.idle_since(), Some(opened));
        let guard = activity.begin(Multiplexing::Sequential);
        assert_eq!(activity.idle_since(), None);
        drop(guard);
        activity.write_blocked();
        assert_eq!(activity.idle_since(), None);
        activity.sent();
        assert_eq!(activity.idle_since(), Some(Instant::now()));
    }
}
