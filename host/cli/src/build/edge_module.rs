//! Checks a module of edge bundles, and removes the parts that no bundle needs.
//!
//! It stays a core module: `wisp bundle` gives it a model before it makes a component.

use anyhow::{Context, bail};
use wasmparser::{Parser, Payload};

/// The functions by which `wisp bundle` gives the module its data.
const REQUIRED_EXPORTS: [&str; 3] = ["cabi_realloc", "wisp-blob", "wisp-load"];

/// The prefix of the names of sections with the type of the component.
const COMPONENT_TYPE: &str = "component-type";

/// The length of the magic number and the version at the start of a module.
const PREAMBLE_BYTES: usize = 8;

/// Returns the module without custom sections other than the type of its component: the names of the functions of an
/// engine take a tenth of its size.
pub(super) fn stripped(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    const INVALID: &str = "cargo wrote no valid module";
    let mut stripped = module.get(..PREAMBLE_BYTES).context(INVALID)?.to_vec();
    let mut missing = REQUIRED_EXPORTS.to_vec();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.context(INVALID)?;
        match &payload {
            Payload::CustomSection(section) if !section.name().starts_with(COMPONENT_TYPE) => {
                continue;
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export.context(INVALID)?;
                    missing.retain(|name| *name != export.name);
                }
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            let content = module.get(range).context(INVALID)?;
            stripped.push(id);
            add_length(&mut stripped, content.len());
            stripped.extend(content);
        }
    }
    if let Some(name) = missing.first() {
        bail!("it does not export `{name}`, as the crate `wisp-edge-preload` does");
    }
    Ok(stripped)
}

/// Adds a length in LEB128.
fn add_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        bytes.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    bytes.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(exports: &[&str]) -> anyhow::Result<Vec<u8>> {
        let export = |name: &&str| format!(r#"(export "{name}" (func $named))"#);
        let exports: String = exports.iter().map(export).collect();
        let text = "x".repeat(300);
        Ok(wat::parse_str(format!(
            r#"(module (func $named) {exports} (memory 1) (data (i32.const 0) "{text}")
                (@custom "component-type:edge" "type") (@custom "producers" "\00"))"#
        ))?)
    }

    #[test]
    fn names_are_removed_and_the_type_of_the_component_is_not() -> anyhow::Result<()> {
        let module = module(&REQUIRED_EXPORTS)?;
        let stripped = stripped(&module)?;
        wasmparser::validate(&stripped)?;
        let mut sections = Vec::new();
        for payload in Parser::new(0).parse_all(&stripped) {
            if let Payload::CustomSection(section) = payload? {
                sections.push(section.name().to_owned());
            }
        }
        assert_eq!(sections, ["component-type:edge"]);
        assert!(stripped.len() < module.len());
        Ok(())
    }

    #[test]
    fn a_module_that_takes_no_data_is_refused() -> anyhow::Result<()> {
        let error = stripped(&module(&["cabi_realloc", "wisp-load"])?).err();
        let error = error.context("accepted")?.to_string();
        assert!(error.contains("`wisp-blob`"), "{error}");
        assert!(stripped(b"junk").is_err());
        Ok(())
    }
}
