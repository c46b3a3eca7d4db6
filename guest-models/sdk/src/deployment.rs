//! The model that the handler is deployed with, and its grants: those of the host in a component, and
//! natively the ones that a test provides.

#[cfg(target_arch = "wasm32")]
pub(crate) use self::component::{
    file_size, keys, now, number, random_bytes, random_u64, read_file, setting,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::native::{
    file_size, keys, now, number, random_bytes, random_u64, read_file, setting,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::native::{Deployment, enter};

#[cfg(target_arch = "wasm32")]
mod component {
    use crate::component::bindings::wasi::clocks::wall_clock;
    use crate::component::bindings::wasi::random::random;
    use crate::component::bindings::wisp::handler::configuration as host;
    use crate::config::ConfigValue;
    use std::time::Duration;

    /// The number of the only deployment of a component.
    pub(crate) fn number() -> u64 {
        0
    }

    pub(crate) fn setting(key: &str) -> Option<ConfigValue> {
        Some(match host::get(key)? {
            host::Value::Bool(value) => ConfigValue::Bool(value),
            host::Value::Integer(value) => ConfigValue::Integer(value),
            host::Value::Float(value) => ConfigValue::Float(value),
            host::Value::String(value) => ConfigValue::String(value),
            host::Value::Bools(elements) => ConfigValue::Bools(elements),
            host::Value::Integers(elements) => ConfigValue::Integers(elements),
            host::Value::Floats(elements) => ConfigValue::Floats(elements),
            host::Value::Strings(elements) => ConfigValue::Strings(elements),
        })
    }

    pub(crate) fn keys() -> Vec<String> {
        host::keys()
    }

    pub(crate) fn file_size(name: &str) -> Option<u64> {
        host::file_size(name)
    }

    pub(crate) fn read_file(name: &str, offset: u64, length: u32) -> Option<Vec<u8>> {
        host::read_file(name, offset, length)
    }

    pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
        random::get_random_bytes(length as u64)
    }

    pub(crate) fn random_u64() -> u64 {
        random::get_random_u64()
    }

    pub(crate) fn now() -> Duration {
        let time = wall_clock::now();
        Duration::new(time.seconds, time.nanoseconds)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use crate::config::ConfigValue;
    use crate::random::Sequence;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    thread_local! {
        static CURRENT: RefCell<Deployment> = RefCell::default();
    }

    /// The number of the next deployment; 0 is that outside of any.
    static NEXT: AtomicU64 = AtomicU64::new(1);

    /// The settings and files of a model, and the grants of its handler.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Deployment {
        pub(crate) settings: BTreeMap<String, ConfigValue>,
        pub(crate) files: BTreeMap<String, Vec<u8>>,
        /// The time since the Unix epoch; `None` for that of the machine.
        pub(crate) time: Option<Duration>,
        /// The random numbers.
        pub(crate) random: Sequence,
        number: u64,
    }

    /// Restores the previous deployment of the thread when it is dropped.
    pub(crate) struct Entered {
        previous: Deployment,
    }

    /// Makes a deployment that of this thread.
    pub(crate) fn enter(deployment: Deployment) -> Entered {
        let deployment = Deployment {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            ..deployment
        };
        Entered {
            previous: CURRENT.replace(deployment),
        }
    }

    impl Drop for Entered {
        fn drop(&mut self) {
            CURRENT.set(std::mem::take(&mut self.previous));
        }
    }

    /// Returns the number of the current deployment.
    pub(crate) fn number() -> u64 {
        CURRENT.with_borrow(|current| current.number)
    }

    pub(crate) fn setting(key: &str) -> Option<ConfigValue> {
        CURRENT.with_borrow(|current| current.settings.get(key).cloned())
    }

    pub(crate) fn keys() -> Vec<String> {
        CURRENT.with_borrow(|current| current.settings.keys().cloned().collect())
    }

    pub(crate) fn file_size(name: &str) -> Option<u64> {
        CURRENT.with_borrow(|current| current.files.get(name)?.len().try_into().ok())
    }

    pub(crate) fn read_file(name: &str, offset: u64, length: u32) -> Option<Vec<u8>> {
        CURRENT.with_borrow(|current| {
            let content = current.files.get(name)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let start = start.min(content.len());
            let end = start.saturating_add(length as usize).min(content.len());
            Some(content[start..end].to_vec())
        })
    }

    pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        CURRENT.with_borrow_mut(|current| current.random.fill(&mut bytes));
        bytes
    }

    pub(crate) fn random_u64() -> u64 {
        CURRENT.with_borrow_mut(|current| current.random.next())
    }

    pub(crate) fn now() -> Duration {
        CURRENT
            .with_borrow(|current| current.time)
            .unwrap_or_else(|| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                now.unwrap_or_default()
            })
    }
}
