//! The interfaces of wasi:random and wasi:clocks that can be granted: names and signatures, as wasmtime links them.

use super::{INSECURE, INSECURE_SEED, RANDOM, WALL_CLOCK};
use crate::instance::InstanceState;
use std::time::{Duration, SystemTime};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

/// The maximum number of random bytes of one call.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// The resolution of the clock.
const RESOLUTION: Duration = Duration::from_millis(1);

type Store<'a> = StoreContextMut<'a, InstanceState>;

/// The time since the Unix epoch.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Ends a call that asks for more random bytes than the host makes at once.
#[derive(Debug, thiserror::Error)]
#[error("{length} random bytes are requested at once, the limit is {MAX_RANDOM_BYTES}")]
struct TooManyBytes {
    length: u64,
}

/// Links the interfaces of all grants.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut random = linker.instance(RANDOM)?;
    random.func_wrap("get-random-bytes", |_: Store<'_>, (length,): (u64,)| {
        Ok((random_bytes(length)?,))
    })?;
    random.func_wrap("get-random-u64", |_: Store<'_>, (): ()| {
        Ok((getrandom::u64()?,))
    })?;
    let mut insecure = linker.instance(INSECURE)?;
    insecure.func_wrap(
        "get-insecure-random-bytes",
        |_: Store<'_>, (length,): (u64,)| Ok((random_bytes(length)?,)),
    )?;
    insecure.func_wrap("get-insecure-random-u64", |_: Store<'_>, (): ()| {
        Ok((getrandom::u64()?,))
    })?;
    let mut seed = linker.instance(INSECURE_SEED)?;
    seed.func_wrap("insecure-seed", |_: Store<'_>, (): ()| {
        Ok(((getrandom::u64()?, getrandom::u64()?),))
    })?;
    let mut clock = linker.instance(WALL_CLOCK)?;
    clock.func_wrap("now", |store: Store<'_>, (): ()| {
        let started = store.data().started;
        // A machine whose clock is before 1970 has no valid time.
        let time = started.duration_since(SystemTime::UNIX_EPOCH);
        Ok((Datetime::from(time.unwrap_or_default()),))
    })?;
    clock.func_wrap("resolution", |_: Store<'_>, (): ()| {
        Ok((Datetime::from(RESOLUTION),))
    })
}

fn random_bytes(length: u64) -> wasmtime::Result<Vec<u8>> {
    let allowed = usize::try_from(length)
        .ok()
        .filter(|_| length <= MAX_RANDOM_BYTES);
    let mut bytes = vec![0; allowed.ok_or(TooManyBytes { length })?];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl From<Duration> for Datetime {
    /// Converts the whole milliseconds of a duration.
    fn from(duration: Duration) -> Datetime {
        Datetime {
            seconds: duration.as_secs(),
            nanoseconds: duration.subsec_millis() * 1_000_000,
        }
    }
}
