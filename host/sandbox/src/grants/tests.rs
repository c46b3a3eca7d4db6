//! Tests of the granted interfaces with a component in the text format.

use super::*;
use crate::engine::{Engine, EngineOptions};
use crate::instance::InstanceState;
use crate::limits::Limits;
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use wasmtime::Store;
use wasmtime::component::{Component, Instance};

/// A component that imports older versions than those that are linked. `number` and `seed` return what the host
/// does, `bytes` the number of bytes that the host returns, and `nanoseconds` the time since the Unix epoch.
const GUEST: &str = r#"(component
    (import "wasi:random/random@0.2.0" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
        (export "get-random-u64" (func (result u64)))))
    (import "wasi:random/insecure-seed@0.2.3" (instance $seed
        (export "insecure-seed" (func (result (tuple u64 u64))))))
    (import "wasi:clocks/wall-clock@0.2.6" (instance $clock
        (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $datetime (eq $record)))
        (export "now" (func (result $datetime)))))
    (core module $libc
        (memory (export "memory") 2)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (core func $bytes
        (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))
    (core func $number (canon lower (func $random "get-random-u64")))
    (core func $seed (canon lower (func $seed "insecure-seed") (memory $memory)))
    (core func $now (canon lower (func $clock "now") (memory $memory)))
    (core module $m
        (import "libc" "memory" (memory 1))
        (import "host" "bytes" (func $bytes (param i64 i32)))
        (import "host" "number" (func $number (result i64)))
        (import "host" "seed" (func $seed (param i32)))
        (import "host" "now" (func $now (param i32)))
        (func (export "bytes") (param i64) (result i32)
            (call $bytes (local.get 0) (i32.const 16))
            (i32.load (i32.const 20)))
        (func (export "number") (result i64) (call $number))
        (func (export "seed") (result i64)
            (call $seed (i32.const 16))
            (i64.xor (i64.load (i32.const 16)) (i64.load (i32.const 24))))
        (func (export "nanoseconds") (result i64)
            (call $now (i32.const 16))
            (i64.add
                (i64.mul (i64.load (i32.const 16)) (i64.const 1000000000))
                (i64.extend_i32_u (i32.load (i32.const 24))))))
    (core instance $m (instantiate $m
        (with "libc" (instance $libc))
        (with "host" (instance
            (export "bytes" (func $bytes))
            (export "number" (func $number))
            (export "seed" (func $seed))
            (export "now" (func $now))))))
    (func (export "bytes") (param "len" u64) (result u32) (canon lift (core func $m "bytes")))
    (func (export "number") (result u64) (canon lift (core func $m "number")))
    (func (export "seed") (result u64) (canon lift (core func $m "seed")))
    (func (export "nanoseconds") (result u64) (canon lift (core func $m "nanoseconds"))))"#;

/// An instance of the guest, whose call began at `started`.
struct Guest {
    store: Store<InstanceState>,
    instance: Instance,
    _engine: Engine,
}

impl Guest {
    fn start(started: SystemTime) -> wasmtime::Result<Guest> {
        let engine = Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?;
        let component = Component::new(&engine.wasmtime, wat::parse_str(GUEST)?)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut state =
            InstanceState::new(&Limits::default(), &engine.memory, Arc::default(), deadline);
        state.started = started;
        let mut store = Store::new(&engine.wasmtime, state);
        store.set_epoch_deadline(1_000_000);
        let linker = &engine.linkers.inline;
        let instance = linker.instantiate(&mut store, &component)?;
        Ok(Guest {
            store,
            instance,
            _engine: engine,
        })
    }

    fn call(&mut self, function: &str) -> wasmtime::Result<u64> {
        let function = self
            .instance
            .get_typed_func::<(), (u64,)>(&mut self.store, function)?;
        let (result,) = function.call(&mut self.store, ())?;
        Ok(result)
    }

    fn bytes(&mut self, length: u64) -> wasmtime::Result<u32> {
        let function = self
            .instance
            .get_typed_func::<(u64,), (u32,)>(&mut self.store, "bytes")?;
        let (length,) = function.call(&mut self.store, (length,))?;
        Ok(length)
    }
}

#[test]
fn random_numbers_differ() -> wasmtime::Result<()> {
    let mut guest = Guest::start(SystemTime::now())?;
    for function in ["number", "seed"] {
        let (first, second) = (guest.call(function)?, guest.call(function)?);
        assert_ne!(first, second, "{function}");
    }
    Ok(())
}

#[test]
fn random_bytes_are_limited_for_each_call() -> wasmtime::Result<()> {
    let mut guest = Guest::start(SystemTime::now())?;
    for length in [0, 1, 65_536] {
        assert_eq!(u64::from(guest.bytes(length)?), length);
    }
    let refusal = guest.bytes(65_537).expect_err("they are too many");
    assert_eq!(
        refusal.root_cause().to_string(),
        "65537 random bytes are requested at once, the limit is 65536"
    );
    let mut other = Guest::start(SystemTime::now())?;
    assert!(other.bytes(u64::MAX).is_err());
    Ok(())
}

#[test]
fn the_time_is_that_of_the_beginning_in_milliseconds() -> wasmtime::Result<()> {
    let started = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let mut guest = Guest::start(started)?;
    for _ in 0..2 {
        assert_eq!(guest.call("nanoseconds")?, 1_700_000_000_123_000_000);
    }
    let mut early = Guest::start(SystemTime::UNIX_EPOCH - Duration::from_secs(1))?;
    assert_eq!(early.call("nanoseconds")?, 0);
    Ok(())
}

#[test]
fn an_import_needs_a_grant_in_every_compatible_version() {
    for (import, grant) in [
        ("wasi:random/random@0.2.0", Some(Grant::Random)),
        ("wasi:random/random@0.2.99", Some(Grant::Random)),
        ("wasi:random/insecure@0.2.3", Some(Grant::Random)),
        ("wasi:random/insecure-seed@0.2.3", Some(Grant::Random)),
        ("wasi:clocks/wall-clock@0.2.12", Some(Grant::Clock)),
        ("wasi:clocks/monotonic-clock@0.2.12", None),
        ("wasi:random/random@0.3.0", None),
        ("wasi:random/random@0.2.0-rc-2023-11-10", None),
        ("wasi:random/random@0.2.", None),
        ("wasi:random/random", None),
        ("", None),
    ] {
        assert_eq!(Grant::of_import(import), grant, "{import}");
    }
}

#[test]
fn grants_are_found_by_name() -> Result<()> {
    for grant in Grant::ALL {
        ensure!(grant.name().parse::<Grant>()? == grant);
    }
    let unknown = "files".parse::<Grant>().expect_err("it is no grant");
    assert_eq!(
        unknown.to_string(),
        "`files` is not a grant; expected one of `random`, `clock`"
    );
    let all = BTreeSet::from(Grant::ALL);
    assert_eq!(setting(&all), r#"grants = ["random", "clock"]"#);
    Ok(())
}
