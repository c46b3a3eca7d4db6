//! The open connections, and the choice of the one to close when there are too many.
//!
//! The connection that has been idle longest is closed. Requests only update the activity of their connection;
//! idle connections are found by a scan over all pulses. One scan serves many connections that need room,
//! and after a scan that finds no idle connection the next one is delayed.

use crate::connection_activity::ConnectionActivity;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::Id;
use tokio::time::Instant;

/// The number of idle connections that one scan keeps. Scanning 10,000 pulses takes about a millisecond.
const MAX_CANDIDATES: usize = 64;

/// The delay after a scan that found no idle connection, which limits the scans to a hundredth of a core.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of connections that have been asked to leave and are still open. They close within
/// one poll, so more of them means that the server is overloaded.
const MAX_LEAVING: usize = 64;

/// The connections that serve requests. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct OpenConnections {
    pulses: HashMap<Id, Arc<ConnectionActivity>>,
    /// Connections that have been asked to leave and no longer count.
    leaving: HashMap<Id, Arc<ConnectionActivity>>,
    /// Connections that were idle in the last scan, with the start of their idle time. The longest idle one
    /// is last.
    candidates: Vec<(Instant, Id)>,
    next_look: Option<Instant>,
    /// The last time at which one of the connections that have ended was in use.
    last_use: Instant,
}

impl OpenConnections {
    pub(crate) fn new() -> OpenConnections {
        OpenConnections {
            pulses: HashMap::new(),
            leaving: HashMap::new(),
            candidates: Vec::new(),
            next_look: None,
            last_use: Instant::now(),
        }
    }

    /// Returns the number of connections, without those that have been asked to leave.
    pub(crate) fn len(&self) -> usize {
        self.pulses.len()
    }

    /// Returns the number of connection tasks, including those that have been asked to leave.
    pub(crate) fn tasks(&self) -> usize {
        self.pulses.len() + self.leaving.len()
    }

    pub(crate) fn insert(&mut self, id: Id, activity: Arc<ConnectionActivity>) {
        self.pulses.insert(id, activity);
    }

    pub(crate) fn remove(&mut self, id: Id) {
        let activity = self.pulses.remove(&id);
        if let Some(activity) = activity.or_else(|| self.leaving.remove(&id)) {
            // The requests of a connection end with it.
            let last_use = activity.idle_since().unwrap_or_else(Instant::now);
            self.last_use = self.last_use.max(last_use);
        }
    }

    /// Returns the time since which no request has been in progress and no connection has been opened; `None`
    /// while a request is in progress.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let mut activities = self.pulses.values().chain(self.leaving.values());
        activities.try_fold(self.last_use, |latest, activity| {
            Some(latest.max(activity.idle_since()?))
        })
    }

    /// Asks the connection that has been idle longest to leave. Returns whether there was one.
    pub(crate) fn make_room(&mut self, now: Instant) -> bool {
        if self.leaving.len() >= MAX_LEAVING {
            return false;
        }
        let Some(id) = self.idle_longest(now) else {
            return false;
        };
        if let Some(activity) = self.pulses.remove(&id) {
            activity.request_close();
            self.leaving.insert(id, activity);
        }
        true
    }

    fn idle_longest(&mut self, now: Instant) -> Option<Id> {
        if let Some(id) = self.next_candidate() {
            return Some(id);
        }
        if self.next_look.is_some_and(|next| now < next) {
            return None;
        }
        self.look();
        let found = self.next_candidate();
        self.next_look = found.is_none().then(|| now + LOOK_PAUSE);
        found
    }

    /// Returns the next candidate that has been idle since the scan.
    fn next_candidate(&mut self) -> Option<Id> {
        while let Some((since, id)) = self.candidates.pop() {
            let activity = self.pulses.get(&id);
            if activity.is_some_and(|activity| activity.idle_since() == Some(since)) {
                return Some(id);
            }
        }
        None
    }

    fn look(&mut self) {
        let idle =
            |(id, activity): (&Id, &Arc<ConnectionActivity>)| Some((activity.idle_since()?, *id));
        self.candidates.extend(self.pulses.iter().filter_map(idle));
        if self.candidates.len() > MAX_CANDIDATES {
            self.candidates
                .select_nth_unstable_by_key(MAX_CANDIDATES, |(since, _)| *since);
            self.candidates.truncate(MAX_CANDIDATES);
        }
        self.candidates
            .sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_activity::Multiplexing;
    use tokio::task::JoinSet;

    /// Returns connections that were opened one second apart.
    async fn opened(count: usize) -> (OpenConnections, Vec<(Id, Arc<ConnectionActivity>)>) {
        let mut connections = OpenConnections::new();
        let mut tasks = JoinSet::new();
        let mut all = Vec::new();
        for _ in 0..count {
            let id = tasks.spawn(std::future::pending::<()>()).id();
            let activity = Arc::new(ConnectionActivity::new());
            connections.insert(id, Arc::clone(&activity));
            all.push((id, activity));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (connections, all)
    }

    fn left(connections: &OpenConnections, all: &[(Id, Arc<ConnectionActivity>)]) -> Vec<usize> {
        let is_leaving = |(id, _): &(Id, _)| connections.leaving.contains_key(id);
        (0..all.len()).filter(|&n| is_leaving(&all[n])).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_been_idle_longest_gives_way() {
        let (mut connections, all) = opened(4).await;
        let _busy = all[0].1.begin(Multiplexing::Sequential);
        drop(all[1].1.begin(Multiplexing::Sequential));
        all[1].1.sent();
        assert!(connections.make_room(Instant::now()));
        assert_eq!(left(&connections, &all), [2]);
        // Idle in the scan, and busy since.
        let busy = all[3].1.begin(Multiplexing::Sequential);
        assert!(connections.make_room(Instant::now()));
        assert_eq!(left(&connections, &all), [1, 2]);
        assert!(!connections.make_room(Instant::now()));
        assert_eq!((connections.len(), connections.tasks()), (2, 4));
        // The next scan is delayed.
        drop(busy);
        all[3].1.sent();
        assert!(!connections.make_room(Instant::now()));
        tokio::time::advance(LOOK_PAUSE).await;
        assert!(connections.make_room(Instant::now()));
        all.iter().for_each(|(id, _)| connections.remove(*id));
        assert_eq!(connections.tasks(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_time_begins_with_the_last_request_or_connection() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let (mut connections, all) = opened(3).await;
        assert_eq!(connections.idle_since(), Some(start + 2 * second));
        // A connection that has been asked to leave may have begun a request.
        assert!(connections.make_room(Instant::now()));
        assert_eq!(left(&connections, &all), [0]);
        let request = all[0].1.begin(Multiplexing::Sequential);
        assert_eq!(connections.idle_since(), None);
        tokio::time::advance(second).await;
        drop(request);
        assert_eq!(connections.idle_since(), Some(start + 4 * second));
        // A request ends with its connection.
        let request = all[1].1.begin(Multiplexing::Sequential);
        tokio::time::advance(second).await;
        connections.remove(all[1].0);
        drop(request);
        assert_eq!(connections.idle_since(), Some(start + 5 * second));
        // The end of a connection without a request does not count as activity.
        tokio::time::advance(second).await;
        all.iter().for_each(|(id, _)| connections.remove(*id));
        assert_eq!(connections.idle_since(), Some(start + 5 * second));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_the_longest_idle_go_in_their_order() {
        let (mut connections, all) = opened(3 * MAX_CANDIDATES).await;
        for (id, _) in &all[..2 * MAX_CANDIDATES] {
            assert!(connections.make_room(Instant::now()));
            assert!(connections.leaving.contains_key(id));
            connections.remove(*id);
        }
    }
}
