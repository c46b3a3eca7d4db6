//! Converts the core module that rustc produces to a component that a server accepts.
//!
//! Performs the same checks as a server that loads the handler, so that a build reports the cause of a
//! rejection before deployment. The grants of its model are checked when the model is loaded, since a
//! component can serve several.

use super::cargo::TARGET;
use anyhow::{Context, bail, ensure};
use std::fmt;
use wasmparser::{Parser, Payload};
use wisp_sandbox::component::{ComponentError, ComponentSummary, MODEL_INTERFACE};
use wisp_sandbox::limits::MAX_COMPONENT_BYTES;
use wit_component::ComponentEncoder;

/// The error for a crate that compiles but exports no handler.
const NO_EXPORT: &str = "the crate exports no handler: call `wisp_handler::export!(YourHandler);` \
    once in its lib.rs, for a type that implements `wisp_handler::Handler`";

/// The error for a module that imports a function of no WIT interface. A crate that requires anything else of
/// its surroundings compiles, but leaves such an import behind.
#[derive(Debug)]
pub(super) struct ForeignImport {
    from: String,
    name: String,
}

impl ForeignImport {
    /// Returns the crate through which such imports come about, if it is known.
    pub(super) fn dependency(&self) -> Option<&'static str> {
        if self.from.starts_with("__wbindgen") || self.from == "wbg" {
            Some("wasm-bindgen")
        } else if self.name.contains("getrandom") {
            Some("getrandom")
        } else if self.from.starts_with("wasi_") {
            Some("wasi")
        } else {
            None
        }
    }

    fn explanation(&self) -> String {
        let Some(dependency) = self.dependency() else {
            return "which nothing provides: a dependency declares the function without defining it, as \
                    bindings of C libraries do"
                .to_owned();
        };
        let explanation = match dependency {
            "wasm-bindgen" => {
                "which is JavaScript: a dependency wants the time, random numbers or something else of a \
                 browser; turn off its feature for that (such as `js`, `wasm_js` or `wasmbind`), or use \
                 another crate"
            }
            "getrandom" => {
                "a source of random numbers: enable the feature `getrandom` of `wisp-handler`, with which they \
                 are those that a model can grant; the documentation of `wisp_handler::random` also has the lines \
                 that version 0.2 needs"
            }
            _ => "the interface of command-line programs, which handlers do not have",
        };
        format!(
            "{explanation}. `cargo tree --target {TARGET} --invert {dependency}` shows the dependency"
        )
    }
}

impl fmt::Display for ForeignImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ForeignImport { from, name }, explanation) = (self, self.explanation());
        write!(
            f,
            "the handler imports `{name}` from `{from}`, {explanation}"
        )
    }
}

impl std::error::Error for ForeignImport {}

/// Returns the component for `module`, with its world checked.
pub(super) fn from_module(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    if !has_component_type(module)? {
        bail!(NO_EXPORT);
    }
    if let Some(import) = foreign_import(module)? {
        return Err(import.into());
    }
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .context(
            "the module does not match its WIT world; a handler has no files, sockets or threads, and \
             cannot use a crate that needs them",
        )?;
    check(&component)?;
    Ok(component)
}

/// Returns whether the module contains a description of its world, which wit-bindgen writes to custom
/// sections.
fn has_component_type(module: &[u8]) -> anyhow::Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.context("cargo wrote no valid module")?
            && section.name().starts_with("component-type")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the first import that belongs to no WIT interface.
fn foreign_import(module: &[u8]) -> anyhow::Result<Option<ForeignImport>> {
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(section) = payload.context("cargo wrote no valid module")?
        else {
            continue;
        };
        for import in section.into_imports() {
            let import = import.context("cargo wrote no valid module")?;
            // Such as `wasi:nn/graph@..`, `[export]wisp:handler/model@..` and `$root`.
            let is_ours = import.module.contains([':', '$']);
            if !is_ours {
                return Ok(Some(ForeignImport {
                    from: import.module.to_owned(),
                    name: import.name.to_owned(),
                }));
            }
        }
    }
    Ok(None)
}

fn check(component: &[u8]) -> anyhow::Result<()> {
    ensure!(
        component.len() <= MAX_COMPONENT_BYTES,
        "the component has more than {MAX_COMPONENT_BYTES} bytes"
    );
    let outline = ComponentSummary::read(component)?;
    if let Some(import) = outline.forbidden_import() {
        let import = import.to_owned();
        return Err(ComponentError::ForbiddenImport { import }.into());
    }
    // Linking the SDK is enough for the description of a world.
    if outline.exports.is_empty() {
        bail!(NO_EXPORT);
    }
    if !outline
        .exports
        .iter()
        .any(|export| export == MODEL_INTERFACE)
    {
        let exports = outline.exports;
        return Err(ComponentError::NoHandler { exports }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a core module for a world, as wit-bindgen would produce it.
    fn module(wit: &str) -> anyhow::Result<Vec<u8>> {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("test.wit", wit)?;
        let world = resolve.select_world(&[package], None)?;
        let mut module = wit_component::dummy_module(
            &resolve,
            world,
            wit_parser::ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync),
        );
        wit_component::embed_component_metadata(
            &mut module,
            &resolve,
            world,
            wit_component::StringEncoding::UTF8,
        )?;
        Ok(module)
    }

    fn refusal(module: &[u8]) -> String {
        match from_module(module) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_module_without_exports_is_told_how_to_get_them() -> anyhow::Result<()> {
        for module in [
            b"\0asm\x01\0\0\0".to_vec(),
            module("package a:b; world w {}")?,
        ] {
            let text = refusal(&module);
            assert!(text.contains("wisp_handler::export!"), "{text}");
        }
        Ok(())
    }

    #[test]
    fn an_import_of_another_surrounding_is_named_with_the_crate_to_look_for() -> anyhow::Result<()>
    {
        for (from, name, expected) in [
            (
                "__wbindgen_placeholder__",
                "__wbg_now_0",
                "--invert wasm-bindgen`",
            ),
            ("env", "__getrandom_v03_custom", "--invert getrandom`"),
            (
                "env",
                "__getrandom_custom",
                "documentation of `wisp_handler::random`",
            ),
            ("wasi_snapshot_preview1", "fd_write", "--invert wasi`"),
            ("env", "sqlite3_open", "bindings of C libraries"),
        ] {
            let wat = format!(
                r#"(module (@custom "component-type" "") (import "{from}" "{name}" (func)))"#
            );
            let text = refusal(&wat::parse_str(wat)?);
            assert!(text.contains(expected), "{text}");
            assert!(text.contains(&format!("`{name}`")), "{text}");
        }
        Ok(())
    }

    #[test]
    fn the_world_must_be_a_handlers() -> anyhow::Result<()> {
        let other = module("package a:b; world w { export run: func(); }")?;
        assert!(refusal(&other).contains(MODEL_INTERFACE));
        let hungry = module(
            "package wasi:clocks@0.2.0; interface wall { now: func() -> u64; } \
             world w { import wall; export run: func(); }",
        )?;
        assert!(refusal(&hungry).contains("`wasi:clocks/wall@0.2.0`"));
        Ok(())
    }

    #[test]
    fn imports_that_a_model_can_grant_are_left_to_the_model() -> anyhow::Result<()> {
        let granted = module(
            "package wasi:random@0.2.3; interface random { get-random-u64: func() -> u64; } \
             world w { import random; export run: func(); }",
        )?;
        // The exports are checked next.
        let text = refusal(&granted);
        assert!(text.contains(MODEL_INTERFACE), "{text}");
        Ok(())
    }
}
