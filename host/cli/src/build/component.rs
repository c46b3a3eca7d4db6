//! Converts the core module that rustc produces to a component that a server accepts.
//!
//! Performs the same checks as a server that loads the handler, so that a build reports the cause of a
//! rejection before deployment.

use anyhow::{Context, bail};
use wasmparser::{Parser, Payload};
use wisp_sandbox::component::{
    ComponentError, ComponentSummary, MAX_COMPONENT_BYTES, MODEL_INTERFACE,
};
use wit_component::ComponentEncoder;

/// The error for a crate that compiles but exports no handler.
const NO_EXPORT: &str = "the crate exports no handler: call `wisp_handler::export!(YourHandler);` \
    once in its lib.rs, for a type that implements `wisp_handler::Handler`";

/// Returns the component for `module`, with its world checked.
pub(super) fn from_module(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    if !has_component_type(module)? {
        bail!(NO_EXPORT);
    }
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .context(
            "the module does not match its WIT world; a handler has no files, sockets, clocks, \
             threads or randomness, and cannot use a crate that needs them",
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

fn check(component: &[u8]) -> anyhow::Result<()> {
    if component.len() > MAX_COMPONENT_BYTES {
        return Err(ComponentError::TooLarge.into());
    }
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
}
