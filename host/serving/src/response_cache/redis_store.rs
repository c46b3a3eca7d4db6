//! The responses that several servers share in Redis.
//!
//! Redis is never needed: each operation has a time limit, and a request whose operation fails is answered as if
//! there had been no response. The [`CircuitBreaker`] keeps an outage from costing every request that time. All
//! operations share one connection, which is opened by the trial of an open circuit, and dropped after a failure.
//! The log has one line for the beginning of an outage, and one for its end.

use crate::response_cache::circuit_breaker::{Admitted, CircuitBreaker};
use crate::response_cache::key::CacheKey;
use crate::response_cache::redis_counts::{RedisCounters, RedisCounts};
use crate::response_cache::redis_server::RedisServer;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, FromRedisValue, Pipeline, RedisError};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The beginning of the names under which responses are stored. Other programs may use the same database.
const PREFIX: &str = "wisp:response:";

/// The reply of PTTL for a name without a time to live.
const NO_TTL: i64 = -1;

/// The responses in Redis. Lifetime: the process.
pub(super) struct RedisStore {
    server: RedisServer,
    /// The time limit of one operation, with the time to connect.
    timeout: Duration,
    breaker: Mutex<CircuitBreaker>,
    connection: Mutex<Option<MultiplexedConnection>>,
    counters: RedisCounters,
    /// Set once the log contains that Redis cannot be used.
    has_reported: AtomicBool,
    /// Set once the log contains that Redis responds and refuses a command.
    has_reported_refusal: AtomicBool,
}

/// A stored value and the time that it has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredValue {
    pub(super) bytes: Bytes,
    /// `None` if it is kept without a limit.
    pub(super) remaining: Option<Duration>,
}

/// The reason that a reachable server refuses a command.
enum Refusal {
    /// The value of this name is not a string.
    Value,
    /// Something that concerns other values too, such as a lack of memory or of a permission.
    Command(String),
}

/// An operation that the circuit has admitted. It counts as abandoned if it is dropped without an outcome.
struct Operation<'a> {
    store: &'a RedisStore,
    admitted: Option<Admitted>,
}

impl RedisStore {
    /// Returns a store without a connection, whose operations end within `timeout`.
    pub(super) fn new(server: RedisServer, timeout: Duration) -> RedisStore {
        RedisStore {
            server,
            timeout,
            breaker: Mutex::new(CircuitBreaker::new(Instant::now())),
            connection: Mutex::new(None),
            counters: RedisCounters::default(),
            has_reported: AtomicBool::new(false),
            has_reported_refusal: AtomicBool::new(false),
        }
    }

    /// Returns the time limit of one operation.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the numbers of operations.
    pub(super) fn counts(&self) -> RedisCounts {
        self.counters.counts()
    }

    /// Returns the value of this key, if there is one of at most `max_bytes` and Redis answers in time.
    pub(super) async fn read(&self, key: &CacheKey, max_bytes: usize) -> Option<StoredValue> {
        let name = name(key);
        let mut commands = redis::pipe();
        // One byte more than allowed shows that the value is too large, without a transfer of all of it.
        commands.cmd("GETRANGE").arg(&name).arg(0).arg(max_bytes);
        commands.cmd("PTTL").arg(&name);
        let (bytes, milliseconds): (Bytes, i64) = self.query(&commands).await?;
        let remaining = match u64::try_from(milliseconds) {
            Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
            Err(_) if milliseconds == NO_TTL => None,
            // It has been removed between the two commands.
            Err(_) => return None,
        };
        let is_value = !bytes.is_empty() && bytes.len() <= max_bytes;
        is_value.then_some(StoredValue { bytes, remaining })
    }

    /// Stores the value of this key for this time, if Redis answers in time.
    pub(super) async fn write(&self, key: &CacheKey, value: Vec<u8>, ttl: Duration) {
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(name(key))
            .arg(value)
            .arg("PX")
            .arg(milliseconds)
            .ignore();
        // A value that is not stored is computed again.
        let _: Option<()> = self.query(&commands).await;
    }

    /// Runs commands, if the circuit admits it. Returns their results, unless one is an error.
    async fn query<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<T> {
        let admitted = self.breaker().admit(Instant::now());
        if admitted.is_none() {
            self.counters.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let operation = Operation {
            store: self,
            admitted,
        };
        match tokio::time::timeout(self.timeout, self.exchange(commands)).await {
            Ok(Ok(value)) => {
                operation.succeed();
                Some(value)
            }
            Ok(Err(error)) => {
                match Refusal::of(&error) {
                    Some(Refusal::Value) => operation.succeed(),
                    Some(Refusal::Command(reason)) => operation.refused(&reason),
                    None => operation.fail(&reason(&error)),
                }
                None
            }
            Err(_elapsed) => {
                operation.fail("it does not answer in time");
                None
            }
        }
    }

    /// Sends commands on the connection, which is opened if there is none.
    async fn exchange<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let open = self.connection().clone();
        let mut connection = match open {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(self.timeout))
                    .set_response_timeout(Some(self.timeout));
                let client = self.server.client();
                let connecting = client.get_multiplexed_async_connection_with_config(&config);
                let connection = connecting.await?;
                *self.connection() = Some(connection.clone());
                connection
            }
        };
        commands.query_async(&mut connection).await
    }

    fn breaker(&self) -> MutexGuard<'_, CircuitBreaker> {
        // No method of the circuit panics between two changes of its state.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        // The lock is held for one assignment or one clone.
        let connection = self.connection.lock();
        connection.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operation<'_> {
    fn succeed(mut self) {
        let Some(admitted) = self.admitted.take() else {
            return;
        };
        self.store.counters.answered.fetch_add(1, Ordering::Relaxed);
        let has_closed = self.store.breaker().succeed(admitted);
        if has_closed && self.store.has_reported.swap(false, Ordering::Relaxed) {
            let server = &self.store.server;
            tracing::info!(%server, "the Redis server of the response cache responds again");
        }
    }

    /// Records an answer that is a refusal. The connection works.
    fn refused(self, reason: &str) {
        if !self
            .store
            .has_reported_refusal
            .swap(true, Ordering::Relaxed)
        {
            let server = &self.store.server;
            tracing::warn!(%server, reason, "the Redis server of the response cache refuses a command");
        }
        self.count_failure(reason);
    }

    /// Records that there was no answer.
    fn fail(self, reason: &str) {
        // A new connection is as likely to work, for any reason.
        let lost = self.store.connection().take();
        drop(lost);
        self.count_failure(reason);
    }

    fn count_failure(mut self, reason: &str) {
        let Some(admitted) = self.admitted.take() else {
            return;
        };
        self.store.counters.failed.fetch_add(1, Ordering::Relaxed);
        let has_opened = self.store.breaker().fail(admitted, Instant::now());
        let is_outage = has_opened || admitted == Admitted::OnTrial;
        if is_outage && !self.store.has_reported.swap(true, Ordering::Relaxed) {
            let server = &self.store.server;
            tracing::warn!(
                %server,
                reason,
                "the Redis server of the response cache cannot be used; responses are computed meanwhile"
            );
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            self.store.breaker().abandon(admitted, Instant::now());
        }
    }
}

/// Writes the address without the password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", &self.server)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Returns the name of the value of a key.
fn name(key: &CacheKey) -> String {
    format!("{PREFIX}{key}")
}

impl Refusal {
    /// Returns the refusal, or `None` if the server has not answered.
    fn of(error: &RedisError) -> Option<Refusal> {
        let refused = error.clone().into_server_errors()?;
        let is_type = refused
            .iter()
            .all(|(_, refused)| refused.code() == "WRONGTYPE");
        Some(match is_type {
            true => Refusal::Value,
            false => Refusal::Command(reason(error)),
        })
    }
}

/// Returns the reason of a failure for the log.
fn reason(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "the password or the user is refused; set WISP_RESPONSE_CACHE_PASSWORD".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_cache::policy::CachePolicy;
    use crate::response_cache::redis_server::RedisSettings;
    use crate::tenants::tenant_id::TenantId;
    use std::io::{Read, Write};
    use std::net::TcpListener;
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

    /// Returns a store in the server that listens here.
    fn store(listener: &TcpListener, timeout: Duration) -> anyhow::Result<RedisStore> {
        let url = format!("redis://{}", listener.local_addr()?);
        let server = RedisServer::new(RedisSettings {
            url: &url,
            ..RedisSettings::default()
        })?;
        Ok(RedisStore::new(server, timeout))
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_waited_for_once() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let store = store(&listener, Duration::from_millis(20))?;
        let key = key().await;
        assert_eq!(store.read(&key, 100).await, None);
        assert!(store.has_reported.load(Ordering::Relaxed));
        let breaker = format!("{:?}", store.breaker());
        assert!(breaker.contains("Open"), "{breaker}");
        Ok(())
    }

    #[tokio::test]
    async fn a_closed_port_is_a_miss() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let store = store(&listener, Duration::from_secs(5))?;
        drop(listener);
        assert_eq!(store.read(&key().await, 100).await, None);
        assert!(store.connection().is_none());
        Ok(())
    }

    #[tokio::test]
    async fn a_server_that_answers_with_anything_else_is_a_miss() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let store = store(&listener, Duration::from_secs(5))?;
        let answering = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut socket, _) = listener.accept()?;
            let mut buffer = [0; 100];
            let _ = socket.read(&mut buffer)?;
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        });
        assert_eq!(store.read(&key().await, 100).await, None);
        let answered = answering.join();
        assert!(answered.is_ok_and(|answered| answered.is_ok()));
        Ok(())
    }
}
