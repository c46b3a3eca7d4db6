//! A component around a core module, which it exports as it is.
//!
//! Nothing else of the component is used: it is the form in which a module passes through the store of compiled
//! code and through the process that compiles.

/// The name under which the component exports the module.
pub(super) const MODULE_EXPORT: &str = "module";

/// The magic number, and the version and layer of components.
const PREAMBLE: [u8; 8] = [0x00, b'a', b's', b'm', 0x0d, 0x00, 0x01, 0x00];

const CORE_MODULE_SECTION: u8 = 1;
const EXPORT_SECTION: u8 = 11;

/// The sort of a core module: first of core items, then of modules among them.
const CORE_MODULE_SORT: [u8; 2] = [0x00, 0x11];

/// Returns the component that contains and exports `module`.
pub(super) fn exporting_component(module: &[u8]) -> Vec<u8> {
    let mut component = Vec::with_capacity(module.len() + 64);
    component.extend(PREAMBLE);
    add_section(&mut component, CORE_MODULE_SECTION, module);
    // One export, with a name that is not versioned.
    let mut export = vec![1, 0x00];
    add_length(&mut export, MODULE_EXPORT.len());
    export.extend(MODULE_EXPORT.as_bytes());
    export.extend(CORE_MODULE_SORT);
    // The index of the module, whose type is not repeated.
    export.extend([0, 0x00]);
    add_section(&mut component, EXPORT_SECTION, &export);
    component
}

fn add_section(component: &mut Vec<u8>, id: u8, content: &[u8]) {
    component.push(id);
    add_length(component, content.len());
    component.extend(content);
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

    #[test]
    fn the_component_contains_and_exports_the_module() -> anyhow::Result<()> {
        // Short and long enough for lengths of one and of several bytes.
        for length in [3, 40_000] {
            let text = "x".repeat(length);
            let module = format!(r#"(module (memory 1) (data (i32.const 0) "{text}"))"#);
            let module = wat::parse_str(&module)?;
            let component = exporting_component(&module);
            wasmparser::validate(&component)?;
            let holds_module = component.windows(module.len()).any(|bytes| bytes == module);
            anyhow::ensure!(holds_module, "the module is not there");
        }
        Ok(())
    }
}
