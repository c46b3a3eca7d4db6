//! The computations that are in flight, each for all requests with the same key.
//!
//! Every request of a key holds the same future and polls it, so that the computation goes on as long as one of them
//! waits, whichever began it, and ends with the last. The table itself holds no computation.

use crate::response_cache::key::CacheKey;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A computation that several requests wait for.
pub(super) type Flight<T> = Shared<BoxFuture<'static, T>>;

/// The computations in flight, by key. Lifetime: the process.
pub(super) struct Flights<T> {
    table: Mutex<Table<T>>,
}

struct Table<T> {
    /// The number of the next flight, which distinguishes flights of one key.
    next: u64,
    flights: HashMap<CacheKey, (u64, WeakShared<BoxFuture<'static, T>>)>,
}

/// The place of a flight in the table, which it leaves when it is dropped.
pub(super) struct Place<T> {
    flights: Arc<Flights<T>>,
    key: CacheKey,
    number: u64,
}

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        let table = Table {
            next: 0,
            flights: HashMap::new(),
        };
        Flights {
            table: Mutex::new(table),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Returns the flight of this key, or `Err` with the value of `ready`, if it has one.
    ///
    /// `ready` is asked while no flight of the key can end. A flight whose value is ready before its place is dropped
    /// is therefore never begun again. `begin` makes the computation; it must keep the place until its end.
    pub(super) fn join<R>(
        self: &Arc<Flights<T>>,
        key: CacheKey,
        ready: impl FnOnce() -> Option<R>,
        begin: impl FnOnce(Place<T>) -> BoxFuture<'static, T>,
    ) -> Result<Flight<T>, R> {
        let mut table = self.lock();
        let known = table.flights.get(&key);
        if let Some(flight) = known.and_then(|(_, flight)| flight.upgrade()) {
            return Ok(flight);
        }
        if let Some(ready) = ready() {
            return Err(ready);
        }
        let number = table.next;
        table.next = number.wrapping_add(1);
        let place = Place {
            flights: Arc::clone(self),
            key,
            number,
        };
        let flight = begin(place).shared();
        // A future that has not been polled is not complete, so there is a weak reference to it.
        if let Some(weak) = flight.downgrade() {
            table.flights.insert(key, (number, weak));
        }
        Ok(flight)
    }
}

impl<T> Flights<T> {
    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // No code panics between two changes of the table that belong together.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        let number = table.flights.get(&self.key).map(|(number, _)| *number);
        if number == Some(self.number) {
            table.flights.remove(&self.key);
        }
    }
}

/// Writes the number of flights. They contain requests of clients.
impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flights = self.lock().flights.len();
        f.debug_struct("Flights")
            .field("flights", &flights)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_cache::policy::CachePolicy;
    use crate::tenants::tenant_id::TenantId;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::oneshot;
    use wisp_protocol::call::InferRequest;

    async fn key() -> CacheKey {
        let policy = CachePolicy {
            identity: [0; 32],
            ttl: Duration::from_secs(1),
        };
        let request = InferRequest {
            inputs: Vec::new(),
            parameters: Vec::new(),
            outputs: Vec::new(),
            scheduling: Default::default(),
        };
        CacheKey::of(&TenantId::local(), &policy, &request).await
    }

    fn nothing() -> Option<Infallible> {
        None
    }

    /// Joins or begins a flight that ends with the number from the channel, and counts begun flights.
    fn join(
        flights: &Arc<Flights<u32>>,
        key: CacheKey,
        begun: &Arc<AtomicUsize>,
    ) -> (Flight<u32>, Option<oneshot::Sender<u32>>) {
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        let mut kept = None;
        let flight = flights.join(key, nothing, |place| {
            begun.fetch_add(1, Ordering::Relaxed);
            kept = sender.take();
            async move {
                let _place = place;
                receiver.await.unwrap_or(0)
            }
            .boxed()
        });
        let Ok(flight) = flight;
        (flight, kept)
    }

    #[tokio::test]
    async fn requests_with_the_same_key_wait_for_one_computation() {
        let (flights, begun) = (Arc::<Flights<u32>>::default(), Arc::default());
        let key = key().await;
        let (first, sender) = join(&flights, key, &begun);
        let others: Vec<Flight<u32>> = (0..10).map(|_| join(&flights, key, &begun).0).collect();
        sender.unwrap().send(7).unwrap();
        assert_eq!(first.await, 7);
        for other in others {
            assert_eq!(other.await, 7);
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        let (_, sender) = join(&flights, key, &begun);
        assert!(sender.is_some(), "the first has ended");
    }

    #[tokio::test]
    async fn the_computation_goes_on_when_the_client_that_began_it_leaves() {
        let (flights, begun) = (Arc::<Flights<u32>>::default(), Arc::default());
        let key = key().await;
        let (mut first, sender) = join(&flights, key, &begun);
        assert_eq!((&mut first).now_or_never(), None, "it runs");
        let (second, _) = join(&flights, key, &begun);
        drop(first);
        sender.unwrap().send(7).unwrap();
        assert_eq!(second.await, 7);
        assert_eq!(begun.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_computation_that_all_clients_leave_ends_and_is_forgotten() {
        let (flights, begun) = (Arc::<Flights<u32>>::default(), Arc::default());
        let key = key().await;
        let (first, sender) = join(&flights, key, &begun);
        let (second, _) = join(&flights, key, &begun);
        drop(first);
        assert!(!sender.as_ref().unwrap().is_closed());
        drop(second);
        assert!(sender.unwrap().is_closed(), "it is cancelled");
        assert!(flights.lock().flights.is_empty());
        let (third, sender) = join(&flights, key, &begun);
        sender.unwrap().send(9).unwrap();
        assert_eq!(third.await, 9);
    }

    #[tokio::test]
    async fn a_flight_leaves_a_later_one_of_its_key_in_the_table() {
        let (flights, begun) = (Arc::<Flights<u32>>::default(), Arc::default());
        let key = key().await;
        let (_flight, _sender) = join(&flights, key, &begun);
        drop(Place {
            flights: Arc::clone(&flights),
            key,
            number: 999,
        });
        assert_eq!(flights.lock().flights.len(), 1);
    }

    #[tokio::test]
    async fn a_ready_value_needs_no_flight() {
        let flights = Arc::<Flights<u32>>::default();
        let joined = flights.join(key().await, || Some("ready"), |_| async { 1 }.boxed());
        assert_eq!(joined.err(), Some("ready"));
    }
}
