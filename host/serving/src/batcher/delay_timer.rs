//! Wakes batchers at the end of delays and timeouts.
//!
//! One thread of the process sleeps until the next time for all batchers. It is started by the first batcher that
//! needs it, and only calls them: the work is done by the threads of the pool.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

static TIMER: Timer = Timer {
    state: Mutex::new(State {
        next_number: 0,
        alarms: BinaryHeap::new(),
    }),
    wake: Condvar::new(),
};

/// Set once the thread has been started or has failed to start.
static STARTED: OnceLock<bool> = OnceLock::new();

/// A thing that is woken at a time. The call must be quick.
pub(crate) trait Wake: Send + Sync {
    fn wake(self: Arc<Self>);
}

struct Timer {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    next_number: u64,
    alarms: BinaryHeap<Reverse<Alarm>>,
}

struct Alarm {
    at: Instant,
    number: u64,
    target: Weak<dyn Wake>,
}

/// Starts the thread if it is not running yet. Returns whether it is running.
pub(crate) fn start() -> bool {
    *STARTED.get_or_init(|| {
        let thread = std::thread::Builder::new().name("wisp-batch-delays".to_owned());
        thread.spawn(|| TIMER.run()).is_ok()
    })
}

/// Wakes `target` at this time, if it still exists. The thread must have been started.
pub(crate) fn wake_at(at: Instant, target: Weak<dyn Wake>) {
    let mut state = TIMER.lock();
    let number = state.next_number;
    state.next_number = number.wrapping_add(1);
    let is_first = (state.alarms.peek()).is_none_or(|Reverse(first)| at < first.at);
    state.alarms.push(Reverse(Alarm { at, number, target }));
    drop(state);
    if is_first {
        TIMER.wake.notify_one();
    }
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let next = state.alarms.peek().map(|Reverse(alarm)| alarm.at);
            state = match next {
                None => self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(at) if at > now => {
                    let wait = at.saturating_duration_since(now);
                    let woken = self.wake.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let alarm = state.alarms.pop();
                    // Outside the lock, since the target may set its next alarm or be dropped here.
                    drop(state);
                    if let Some(target) = alarm.and_then(|Reverse(alarm)| alarm.target.upgrade()) {
                        target.wake();
                    }
                    self.lock()
                }
            };
        }
    }
}

// === impl Alarm ===

impl Ord for Alarm {
    fn cmp(&self, other: &Alarm) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Alarm) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Alarm) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Alarm {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    struct Named {
        name: &'static str,
        woken: Mutex<Sender<&'static str>>,
    }

    impl Wake for Named {
        fn wake(self: Arc<Self>) {
            let _ = self.woken.lock().unwrap().send(self.name);
        }
    }

    #[test]
    fn the_targets_that_still_exist_are_woken_in_the_order_of_their_times() -> anyhow::Result<()> {
        assert!(start());
        let (send, woken) = channel();
        let target = |name: &'static str| {
            Arc::new(Named {
                name,
                woken: Mutex::new(send.clone()),
            })
        };
        let [late, soon, gone, never] = ["late", "soon", "gone", "never"].map(target);
        let now = Instant::now();
        let set = |after: Duration, target: &Arc<Named>| {
            let target: Arc<dyn Wake> = Arc::<Named>::clone(target);
            wake_at(now + after, Arc::downgrade(&target));
        };
        set(LONG, &never);
        set(Duration::from_millis(20), &late);
        set(Duration::from_millis(10), &gone);
        set(Duration::ZERO, &soon);
        drop(gone);
        assert_eq!(woken.recv_timeout(LONG)?, "soon");
        assert_eq!(woken.recv_timeout(LONG)?, "late");
        Ok(())
    }
}
