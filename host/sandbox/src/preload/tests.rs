//! Tests of modules that are given their data.

use super::*;
use anyhow::{Context as _, Result};
use wasmtime::component::Linker as ComponentLinker;

/// A module that keeps blobs one after the other and exports their sum as the function `sum`. It refuses a manifest
/// that begins with `!`, loops for one with `~`, and calls its import for one with `?`.
const SUMMING: &str = r#"(module
    (import "$root" "outside" (func $outside))
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (global $sum (mut i32) (i32.const 0))
    (data (i32.const 16) "\20\00\00\00\05\00\00\00")
    (data (i32.const 32) "wrong")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 63)) (i32.const -64)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (block $fits
            (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
            (drop (memory.grow (i32.const 16))))
        (local.get $at))
    (func (export "wisp-blob") (param $at i32) (param $length i32)
        (loop $next
            (if (local.get $length) (then
                (global.set $sum (i32.add (global.get $sum) (i32.load8_u (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (local.set $length (i32.sub (local.get $length) (i32.const 1)))
                (br $next)))))
    (func (export "wisp-load") (param $at i32) (param i32) (result i32)
        (local $first i32)
        (local.set $first (i32.load8_u (local.get $at)))
        (if (i32.eq (local.get $first) (i32.const 33)) (then (return (i32.const 16))))
        (if (i32.eq (local.get $first) (i32.const 63)) (then (call $outside)))
        (if (i32.eq (local.get $first) (i32.const 42)) (then (unreachable)))
        (if (i32.eq (local.get $first) (i32.const 95)) (then (return (i32.const -4))))
        (i32.const 0))
    (func (export "sum") (result i32) (global.get $sum)))"#;

const WORLD: &str =
    "package test:preload; world summing { import outside: func(); export sum: func() -> s32; }";

/// Returns the module with the type of its component.
fn module(text: &str) -> Result<Vec<u8>> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("world.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("summing"))?;
    let mut module = wat::parse_str(text)?;
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding)?;
    Ok(module)
}

fn preload(blobs: &[&[u8]], manifest: &[u8]) -> Result<Result<Vec<u8>, PreloadError>> {
    let module = module(SUMMING)?;
    let engine = Engine::without_pool()?;
    let preload = Preload {
        module: &module,
        blobs,
        manifest,
    };
    Ok(preload.component(&engine, &AotStore::in_memory()))
}

#[test]
fn an_instance_begins_with_the_data_that_its_module_was_given() -> Result<()> {
    let component = preload(&[&[1, 2, 3], &[], &[4; 100_000]], b"{}")??;
    let engine = wasmtime::Engine::default();
    let component = Component::new(&engine, component).map_err(anyhow::Error::msg)?;
    let mut linker = ComponentLinker::<()>::new(&engine);
    let outside = linker.root().func_wrap("outside", |_, (): ()| Ok(()));
    outside.map_err(anyhow::Error::msg)?;
    for _ in 0..2 {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component);
        let instance = instance.map_err(anyhow::Error::msg)?;
        let sum = instance.get_typed_func::<(), (i32,)>(&mut store, "sum");
        let sum = sum.map_err(anyhow::Error::msg)?;
        let (sum,) = sum.call(&mut store, ()).map_err(anyhow::Error::msg)?;
        assert_eq!(sum, 400_006);
    }
    Ok(())
}

#[test]
fn a_module_that_refuses_its_data_says_why() -> Result<()> {
    let refused = preload(&[], b"!")?.err().context("accepted")?;
    assert!(matches!(&refused, PreloadError::Declared(text) if text == "wrong"));
    Ok(())
}

#[test]
fn a_trap_and_a_call_of_an_import_are_failures_of_the_module() -> Result<()> {
    for manifest in [b"*", b"?"] {
        let failed = preload(&[], manifest)?.err().context("accepted")?;
        assert!(matches!(failed, PreloadError::Trap { .. }), "{failed:?}");
    }
    let failed = preload(&[], b"_")?.err().context("accepted")?;
    assert!(
        failed.to_string().contains("outside the memory"),
        "{failed}"
    );
    Ok(())
}

#[test]
fn files_that_are_no_modules_of_a_bundle_are_refused() -> Result<()> {
    let engine = Engine::without_pool()?;
    let no_memory = wat::parse_str("(module)")?;
    let no_blob = module(&SUMMING.replace("wisp-blob", "other"))?;
    for module in [b"junk".as_slice(), &no_memory, &no_blob] {
        let preload = Preload {
            module,
            blobs: &[],
            manifest: b"{}",
        };
        let refused = preload.component(&engine, &AotStore::in_memory());
        let refused = refused.err().context("accepted")?;
        assert!(
            matches!(refused, PreloadError::Contract { .. }),
            "{refused:?}"
        );
    }
    Ok(())
}

#[test]
fn machine_code_is_compiled_once_whatever_the_data() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = AotStore::open(&directory.path().join("aot"))?;
    let engine = Engine::without_pool()?;
    let module = module(SUMMING)?;
    for blob in [b"one".as_slice(), b"another"] {
        let preload = Preload {
            module: &module,
            blobs: &[blob],
            manifest: b"{}",
        };
        preload.component(&engine, &store)?;
    }
    let files = std::fs::read_dir(directory.path().join("aot"))?;
    let compiled = files.flatten().filter(|file| {
        let path = file.path();
        path.extension()
            .is_some_and(|extension| extension == "cwasm")
    });
    assert_eq!(compiled.count(), 1);
    Ok(())
}
