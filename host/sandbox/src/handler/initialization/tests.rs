//! Tests of the initialization with components in the text format.

use super::*;
use crate::component::MODEL_INTERFACE;
use crate::configuration::ConfigValue;
use crate::engine::EngineOptions;
use crate::grants::Grant;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Returns a component whose `init` is this code. It returns the address of the answer, which is `Ok(true)`
/// at first. `state` returns ten times a global plus a number in memory, and then increases both.
fn component(init: &str) -> String {
    format!(
        r#"(component
            (import "{CONFIGURATION_INTERFACE}" (instance $configuration
                (export "file-size" (func (param "name" string) (result (option u64))))))
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance $graph
                (export "unusual" (func))))
            (core module $libc
                (memory (export "memory") 1)
                (data (i32.const 16) "words no"))
            (core instance $libc (instantiate $libc))
            (core func $size
                (canon lower (func $configuration "file-size") (memory (core memory $libc "memory"))))
            (core func $unusual (canon lower (func $graph "unusual")))
            (core module $m
                (import "libc" "memory" (memory 1))
                (import "host" "size" (func $size (param i32 i32 i32)))
                (import "host" "unusual" (func $unusual))
                (global $runs (mut i32) (i32.const 0))
                (func (export "init") (result i32)
                    (i32.store8 (i32.const 0) (i32.const 0))
                    (i32.store8 (i32.const 4) (i32.const 1))
                    {init}
                    (i32.const 0))
                (func (export "state") (result i32)
                    (local $state i32)
                    (local.set $state (i32.add
                        (i32.mul (global.get $runs) (i32.const 10))
                        (i32.load (i32.const 100))))
                    (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
                    (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1)))
                    (local.get $state)))
            (core instance $m (instantiate $m
                (with "libc" (instance $libc))
                (with "host" (instance
                    (export "size" (func $size))
                    (export "unusual" (func $unusual))))))
            (func $init (result (result bool (error string)))
                (canon lift (core func $m "init") (memory (core memory $libc "memory"))))
            (func $state (result u32) (canon lift (core func $m "state")))
            (instance $initialization (export "init" (func $init)))
            (export "{INITIALIZATION_INTERFACE}" (instance $initialization))
            (instance $model (export "state" (func $state)))
            (export "{MODEL_INTERFACE}" (instance $model)))"#
    )
}

/// The code of an `init` that leaves 1 in the global and in memory, and grows memory.
const LEAVES_STATE: &str = r#"
    (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
    (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1)))
    (drop (memory.grow (i32.const 1)))"#;

struct Sandbox {
    engine: Engine,
    store: AotStore,
    limits: Limits,
    _directory: tempfile::TempDir,
}

impl Sandbox {
    fn start() -> Result<Sandbox> {
        let directory = tempfile::tempdir()?;
        let engine = Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?;
        Ok(Sandbox {
            engine,
            store: AotStore::open(&directory.path().join("aot"))?,
            limits: Limits::default(),
            _directory: directory,
        })
    }

    fn initialize(&self, wat: &str) -> Result<Result<CheckedComponent, InitializationError>> {
        let wasm = wat::parse_str(wat)?;
        let component =
            CheckedComponent::load(&self.engine, &self.store, &wasm, &Grant::ALL.into())?;
        let values = BTreeMap::from([("key".to_owned(), ConfigValue::Bool(true))]);
        let files = BTreeMap::from([("words".to_owned(), Bytes::from_static(b"seven b"))]);
        let initializer = Initializer {
            engine: &self.engine,
            store: &self.store,
            configuration: Arc::new(HandlerConfiguration::new(values, files)),
            limits: &self.limits,
        };
        Ok(initializer.initialize(component, &wasm))
    }

    fn refusal(&self, init: &str) -> Result<String> {
        let refusal = self.initialize(&component(init))?.err();
        Ok(refusal.context("it is initialized")?.to_string())
    }

    /// Calls `state` on a new instance.
    fn state(&self, component: &CheckedComponent) -> Result<u32> {
        let states = self.states(&component.component);
        let (first, second) = states.map_err(anyhow::Error::msg)?;
        ensure!(second == first + 11, "{first}, then {second}");
        Ok(first)
    }

    fn states(&self, component: &Component) -> wasmtime::Result<(u32, u32)> {
        let deadline = Instant::now() + WALL_TIME;
        let mut store = inline_store(
            (&self.engine, &Payer::default()),
            &self.limits,
            Arc::default(),
            deadline,
        );
        let linker = linker(&self.engine, component)?;
        let instance = linker.instantiate(&mut store, component)?;
        let state = component
            .get_export_index(None, MODEL_INTERFACE)
            .and_then(|model| component.get_export_index(Some(&model), "state"))
            .ok_or_else(|| wasmtime::Error::msg("there is no `state`"))?;
        let state = instance.get_typed_func::<(), (u32,)>(&mut store, &state)?;
        let (first,) = state.call(&mut store, ())?;
        let (second,) = state.call(&mut store, ())?;
        Ok((first, second))
    }
}

#[test]
fn every_instance_begins_with_the_state_after_one_initialization() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let initialized = sandbox.initialize(&component(LEAVES_STATE))??;
    for _ in 0..3 {
        assert_eq!(sandbox.state(&initialized)?, 11);
    }
    // The code that was compiled for the state is found again.
    let again = sandbox.initialize(&component(LEAVES_STATE))??;
    assert_eq!(again.origin, crate::aot::Origin::Stored);
    assert_eq!(sandbox.state(&again)?, 11);
    Ok(())
}

#[test]
fn without_anything_to_keep_the_component_stays_as_it_is() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let keeps_nothing = format!("{LEAVES_STATE} (i32.store8 (i32.const 4) (i32.const 0))");
    let initialized = sandbox.initialize(&component(&keeps_nothing))??;
    assert_eq!(sandbox.state(&initialized)?, 0);
    Ok(())
}

#[test]
fn a_component_without_an_initialization_keeps_its_code_and_gets_the_configuration() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let bare =
        format!(r#"(component (instance $model) (export "{MODEL_INTERFACE}" (instance $model)))"#);
    let initialized = sandbox.initialize(&bare)??;
    assert!(initialized.configuration.is_some());
    Ok(())
}

#[test]
fn files_can_be_read_during_the_initialization() -> Result<()> {
    let sandbox = Sandbox::start()?;
    // The size of `words`, the five bytes at 16: some at 32, and the number at 40.
    let reads = r#"
        (call $size (i32.const 16) (i32.const 5) (i32.const 32))
        (i32.store (i32.const 100) (i32.wrap_i64 (i64.load (i32.const 40))))"#;
    let initialized = sandbox.initialize(&component(reads))??;
    assert_eq!(sandbox.state(&initialized)?, 7);
    Ok(())
}

#[test]
fn an_initialization_that_fails_is_an_error_with_its_reason() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let declared = r#"
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store (i32.const 4) (i32.const 16))
        (i32.store (i32.const 8) (i32.const 8))"#;
    assert_eq!(sandbox.refusal(declared)?, "words no");
    let refusal = sandbox.refusal("(unreachable)")?;
    ensure!(refusal.contains("unreachable"), "{refusal}");
    let refusal = sandbox.refusal("(call $unusual)")?;
    ensure!(
        refusal.contains("`unusual` of `wasi:nn/graph@0.2.0-rc-2024-10-28` is not available"),
        "{refusal}"
    );
    let limited = Sandbox {
        limits: Limits {
            memory_bytes: 2 << 16,
            ..Limits::default()
        },
        ..sandbox
    };
    let refusal = limited.refusal("(drop (memory.grow (i32.const 2)))")?;
    ensure!(refusal.contains("the limit is 131072"), "{refusal}");
    Ok(())
}

#[test]
fn a_module_whose_state_cannot_be_kept_is_an_error() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let wat = component(LEAVES_STATE).replacen(
        "(instance $model ",
        "(core module $private (global (mut i32) (i32.const 0)))
         (core instance $private (instantiate $private))
         (instance $model ",
        1,
    );
    let refusal = sandbox
        .initialize(&wat)?
        .err()
        .context("it is initialized")?;
    let refusal = refusal.to_string();
    ensure!(refusal.contains("cannot be kept"), "{refusal}");
    Ok(())
}

#[test]
fn an_initialization_has_no_random_numbers_and_no_time() -> Result<()> {
    let sandbox = Sandbox::start()?;
    for interface in ["wasi:random/random@0.2.3", "wasi:clocks/wall-clock@0.2.12"] {
        let calls_it =
            component("(call $unusual)").replace("wasi:nn/graph@0.2.0-rc-2024-10-28", interface);
        let refusal = sandbox.initialize(&calls_it)?.err();
        let refusal = refusal.context("it is initialized")?.to_string();
        let expected =
            format!("`unusual` of `{interface}` is not available during the initialization");
        ensure!(refusal.contains(&expected), "{refusal}");
    }
    Ok(())
}

#[test]
fn an_initialization_that_does_not_end_is_stopped() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let sandbox = Sandbox {
        limits: Limits {
            guest_time: Duration::from_millis(20),
            ..Limits::default()
        },
        ..sandbox
    };
    let refusal = sandbox.refusal("(loop $forever (br $forever))")?;
    ensure!(refusal.contains("ran longer than 100ms"), "{refusal}");
    Ok(())
}

#[test]
fn a_wrong_type_of_init_is_an_error_that_names_the_interface() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let wat = format!(
        r#"(component
            (core module $m (func (export "init")))
            (core instance $m (instantiate $m))
            (func $init (canon lift (core func $m "init")))
            (instance $initialization (export "init" (func $init)))
            (export "{INITIALIZATION_INTERFACE}" (instance $initialization))
            (instance $model)
            (export "{MODEL_INTERFACE}" (instance $model)))"#
    );
    let refusal = sandbox.initialize(&wat)?.err().context("accepted")?;
    let refusal = refusal.to_string();
    ensure!(refusal.contains(INITIALIZATION_INTERFACE), "{refusal}");
    Ok(())
}
