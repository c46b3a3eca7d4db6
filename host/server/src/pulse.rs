//! What a connection is waiting for, since when, and when that has been too long.
//!
//! hyper's own time limit for heads counts the idle time before a head as well, and there is none
//! before the protocol is known, none on idle connections and none on responses that nobody takes.
//! Here all of them are one question, asked by the connection's task each time its timer fires; a
//! request only leaves marks, which take no lock and arm no timer.
//!
//! Invariant: decides nothing about a request that is being worked on; that has its own deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a peer of HTTP/2 without a request in flight may be silent while the server drains. One that is
/// there answers the server's PING within a round trip; one that is gone would hold the end for ever.
const DRAIN_SILENCE: Duration = Duration::from_secs(2);

/// From the opening of a connection to its first request, while the server drains: who has just connected
/// is about to send one.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// How long a connection may wait for its peer. Lifetime: the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) header: Duration,
    pub(crate) write: Duration,
    pub(crate) idle: Duration,
}

/// The marks that a connection's socket and requests leave. Lifetime: a connection.
///
/// Times are microseconds since it opened.
#[derive(Debug)]
pub(crate) struct Pulse {
    opened: Instant,
    /// Requests without a response yet.
    working: AtomicUsize,
    /// Responses that are not yet wholly taken by hyper.
    replying: AtomicUsize,
    /// When a head began to arrive that is not complete, or [`NEVER`].
    head_since: AtomicU64,
    /// Since when the system has not taken any bytes from us, or [`NEVER`].
    write_blocked_since: AtomicU64,
    /// When the connection last got on.
    progress: AtomicU64,
    /// Whether requests share the connection (HTTP/2): bytes then prove nothing about any of them.
    multiplexed: AtomicBool,
    /// Whether a request was answered without reading all of its body.
    body_unread: AtomicBool,
    /// When bytes last came in.
    heard: AtomicU64,
    /// Whether there has been a request.
    used: AtomicBool,
    /// When the server began to drain, or [`NEVER`].
    draining_since: AtomicU64,
    /// Wakes the connection's task when its place is needed.
    place_needed: Notify,
}

/// A time that has not come.
const NEVER: u64 = u64::MAX;

/// One request's place in the pulse, until its response is gone. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Turn {
    pulse: Arc<Pulse>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Working,
    Replying,
}

/// Whether requests have the connection to themselves, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// HTTP/1.
    InTurn,
    /// HTTP/2.
    Multiplexed,
}

/// What to do about a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing; ask again then.
    AskAgain(Instant),
    /// Nobody has used it for long: close it politely.
    Idle,
    /// Its peer has stopped in the middle of something: cut it.
    Stuck,
}

// === impl Timeouts ===

impl Timeouts {
    fn shortest(&self) -> Duration {
        self.header.min(self.write).min(self.idle)
    }
}

// === impl Pulse ===

impl Pulse {
    /// The pulse of a connection that was opened just now, and from which a head is expected.
    pub(crate) fn new() -> Pulse {
        Pulse {
            opened: Instant::now(),
            working: AtomicUsize::new(0),
            replying: AtomicUsize::new(0),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(NEVER),
            progress: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            body_unread: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            used: AtomicBool::new(false),
            draining_since: AtomicU64::new(NEVER),
            place_needed: Notify::new(),
        }
    }

    /// The handshake of TLS is over, whose time was not the head's.
    pub(crate) fn expect_head(&self) {
        self.head_since.store(self.now(), Relaxed);
    }

    /// The first bytes are those of HTTP/2.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    /// Bytes have come in.
    pub(crate) fn received(&self) {
        let now = self.now();
        self.heard.store(now, Relaxed);
        if self.multiplexed.load(Relaxed) {
            return;
        }
        self.progress.store(now, Relaxed);
        let between_requests = self.working.load(Relaxed) == 0 && self.replying.load(Relaxed) == 0;
        if between_requests && self.head_since.load(Relaxed) == NEVER {
            self.head_since.store(now, Relaxed);
        }
    }

    /// The system has taken bytes from us.
    pub(crate) fn sent(&self) {
        self.write_blocked_since.store(NEVER, Relaxed);
        if !self.multiplexed.load(Relaxed) {
            self.progress.store(self.now(), Relaxed);
        }
    }

    /// The system has taken none.
    pub(crate) fn write_blocked(&self) {
        if self.write_blocked_since.load(Relaxed) == NEVER {
            self.write_blocked_since.store(self.now(), Relaxed);
        }
    }

    /// A request's head is complete.
    pub(crate) fn begin(self: &Arc<Pulse>, sharing: Sharing) -> Turn {
        self.working.fetch_add(1, Relaxed);
        self.head_since.store(NEVER, Relaxed);
        self.used.store(true, Relaxed);
        if sharing == Sharing::Multiplexed {
            self.multiplexed.store(true, Relaxed);
            self.progress.store(self.now(), Relaxed);
        }
        Turn {
            pulse: Arc::clone(self),
            stage: Stage::Working,
        }
    }

    /// Whether the peer may be sending something that nobody is going to read.
    pub(crate) fn leaves_bytes_unread(&self) -> bool {
        self.body_unread.load(Relaxed) || self.head_since.load(Relaxed) != NEVER
    }

    /// The server drains from now on. Returns until when the first request is waited for, where there has
    /// been none.
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

    /// Since when there has been no request in flight, nor any bytes of a response to send.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let is_busy = self.working.load(Relaxed) > 0
            || self.replying.load(Relaxed) > 0
            || self.write_blocked_since.load(Relaxed) != NEVER;
        let since = match self.head_since.load(Relaxed) {
            NEVER => self.progress.load(Relaxed),
            head_since => head_since,
        };
        (!is_busy).then(|| self.at(since))
    }

    /// Somebody else needs the place of this connection, which is idle.
    pub(crate) fn ask_to_leave(&self) {
        self.place_needed.notify_one();
    }

    /// Completes when the connection has been asked to leave.
    pub(crate) async fn asked_to_leave(&self) {
        self.place_needed.notified().await;
    }

    pub(crate) fn verdict(&self, timeouts: &Timeouts) -> Verdict {
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
            (blocked_since, timeouts.write, Verdict::Stuck)
        } else if self.replying.load(Relaxed) > 0 {
            (progress, timeouts.write, Verdict::Stuck)
        } else if self.working.load(Relaxed) > 0 {
            (self.now(), shortest, Verdict::Stuck)
        } else if is_draining && self.multiplexed.load(Relaxed) {
            let silent_since = draining_since.max(self.heard.load(Relaxed));
            (silent_since, DRAIN_SILENCE, Verdict::Stuck)
        } else if head_since != NEVER {
            (head_since, timeouts.header, Verdict::Stuck)
        } else {
            (progress, timeouts.idle, Verdict::Idle)
        };
        let now = Instant::now();
        let deadline = self.at(since) + timeout;
        if deadline <= now {
            return late;
        }
        // No later than the shortest limit from now: a wait that begins after this question cannot
        // end before the next one, so that each is noticed on time without arming a timer for it.
        Verdict::AskAgain(deadline.min(now + shortest))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(NEVER)
    }

    fn at(&self, mark: u64) -> Instant {
        self.opened + Duration::from_micros(mark)
    }
}

// === impl Turn ===

impl Turn {
    /// The response is there and goes to the client from now on.
    pub(crate) fn start_replying(&mut self) {
        if self.stage == Stage::Working {
            self.stage = Stage::Replying;
            // First the one, then the other: in between, the connection must not look idle.
            self.pulse.replying.fetch_add(1, Relaxed);
            self.pulse.working.fetch_sub(1, Relaxed);
        }
        self.got_on();
    }

    /// The client has all of the response that there is, and more is being made.
    pub(crate) fn resume_working(&mut self) {
        if self.stage == Stage::Replying {
            self.stage = Stage::Working;
            self.pulse.working.fetch_add(1, Relaxed);
            self.pulse.replying.fetch_sub(1, Relaxed);
        }
    }

    /// The client has made room for more of the response.
    pub(crate) fn got_on(&self) {
        self.pulse.progress.store(self.pulse.now(), Relaxed);
    }

    /// The request is answered although its body has not been read to the end.
    pub(crate) fn leave_body_unread(&self) {
        self.pulse.body_unread.store(true, Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let counter = match self.stage {
            Stage::Working => &self.pulse.working,
            Stage::Replying => &self.pulse.replying,
        };
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

    /// What the verdict is in the end when nothing happens any more, and after how many seconds.
    async fn verdict_of(pulse: &Pulse) -> (Verdict, u64) {
        let start = Instant::now();
        loop {
            match pulse.verdict(&TIMEOUTS) {
                Verdict::AskAgain(at) => tokio::time::sleep_until(at).await,
                verdict => return (verdict, start.elapsed().as_secs()),
            }
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_however_slowly_it_drips() {
        let pulse = Pulse::new();
        for _ in 0..3 {
            pass(2).await;
            pulse.received();
        }
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_after_a_handshake_has_all_of_its_time() {
        let pulse = Pulse::new();
        pass(4).await;
        pulse.received();
        pulse.expect_head();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_between_requests_is_idle() {
        let pulse = Arc::new(Pulse::new());
        drop(pulse.begin(Sharing::InTurn));
        pulse.sent();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Idle, 600));
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_after_a_pause_has_its_own_ten_seconds() {
        let pulse = Arc::new(Pulse::new());
        drop(pulse.begin(Sharing::InTurn));
        pass(500).await;
        pulse.received();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_left_alone() {
        let pulse = Arc::new(Pulse::new());
        let _turn = pulse.begin(Sharing::InTurn);
        pass(10_000).await;
        assert!(matches!(pulse.verdict(&TIMEOUTS), Verdict::AskAgain(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_nobody_takes_is_stuck() {
        let pulse = Arc::new(Pulse::new());
        let mut turn = pulse.begin(Sharing::InTurn);
        pass(100).await;
        turn.start_replying();
        pass(20).await;
        pulse.sent();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 30));
        drop(turn);
        pulse.write_blocked();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_whose_next_message_is_being_made_is_work() {
        let pulse = Arc::new(Pulse::new());
        let mut turn = pulse.begin(Sharing::Multiplexed);
        turn.start_replying();
        turn.resume_working();
        pass(10_000).await;
        assert!(matches!(pulse.verdict(&TIMEOUTS), Verdict::AskAgain(_)));
        turn.start_replying();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_do_not_excuse_a_stuck_response_among_others() {
        let pulse = Arc::new(Pulse::new());
        let mut turn = pulse.begin(Sharing::Multiplexed);
        turn.start_replying();
        pass(20).await;
        pulse.received();
        pulse.sent();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 10));
    }
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_of_http2_does_not_hold_a_drain() {
        let pulse = Arc::new(Pulse::new());
        drop(pulse.begin(Sharing::Multiplexed));
        pass(5).await;
        assert_eq!(pulse.start_draining(), None);
        pass(1).await;
        // Who is there answers, and gets as long again.
        pulse.received();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 2));
        // Nor does one that has sent no request at all.
        let pulse = Pulse::new();
        pulse.multiplex();
        pulse.start_draining();
        assert_eq!(verdict_of(&pulse).await, (Verdict::Stuck, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_holds_a_drain_and_its_end_is_noticed_soon() {
        let pulse = Arc::new(Pulse::new());
        let turn = pulse.begin(Sharing::Multiplexed);
        pulse.start_draining();
        pass(20).await;
        let Verdict::AskAgain(at) = pulse.verdict(&TIMEOUTS) else {
            panic!("it was cut");
        };
        drop(turn);
        tokio::time::sleep_until(at).await;
        assert_eq!(pulse.verdict(&TIMEOUTS), Verdict::Stuck);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_connected_may_send_a_request_while_the_server_drains() {
        let pulse = Arc::new(Pulse::new());
        let opened = Instant::now();
        pass(5).await;
        assert_eq!(pulse.start_draining(), Some(opened + FIRST_REQUEST));
        drop(pulse.begin(Sharing::InTurn));
        assert_eq!(pulse.start_draining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_between_requests_and_before_the_first() {
        let pulse = Arc::new(Pulse::new());
        let opened = Instant::now();
        pass(1).await;
        assert_eq!(pulse.idle_since(), Some(opened));
        let turn = pulse.begin(Sharing::InTurn);
        assert_eq!(pulse.idle_since(), None);
        drop(turn);
        pulse.write_blocked();
        assert_eq!(pulse.idle_since(), None);
        pulse.sent();
        assert_eq!(pulse.idle_since(), Some(Instant::now()));
    }
}
