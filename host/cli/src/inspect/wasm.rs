//! Outlines of components and core modules, read section by section.

use super::handler::SignatureOutcome;
use crate::display;
use anyhow::{Context, bail};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use wasmparser::{
    CustomSectionReader, Encoding, GlobalSectionReader, KnownCustom, Operator, Parser, Payload,
    ValType,
};
use wisp_sandbox::component::{ComponentSummary, GRANTED_IMPORTS, MODEL_INTERFACE};
use wisp_sandbox::grants::{self, Grant};

/// The outline of a WebAssembly file.
#[derive(Debug)]
pub(super) enum WasmReport {
    Component(ComponentReport),
    CoreModule(ModuleReport),
}

/// The outline of a component: its imports, exports and core modules.
#[derive(Debug, Serialize)]
pub(super) struct ComponentReport {
    /// The handler's signature; `None` if the handler was not called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<SignatureOutcome>,
    imports: Vec<Import>,
    /// The capabilities that a model must grant.
    #[serde(skip)]
    needed_grants: BTreeSet<Grant>,
    exports: Vec<String>,
    core_modules: Vec<ModuleReport>,
    producers: Vec<Producer>,
}

#[derive(Debug, Serialize)]
struct Import {
    name: String,
    /// True if every handler may import it.
    granted: bool,
    /// The element of `[handler] grants` in `model.toml` with which a handler may import it.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'static str>,
}

/// The outline of a core module. Adapter modules that wit-component adds for calls between modules have
/// no memory.
#[derive(Debug, Default, Serialize)]
pub(super) struct ModuleReport {
    bytes: u64,
    functions: u32,
    code_bytes: u64,
    data_bytes: u64,
    /// The size of names and debugging information, which use no memory at run time.
    custom_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
    /// The initial stack pointer; the stack grows down from it. If the stack is first in memory, this is
    /// its size. It is the value of the first mutable i32 global, the convention of LLVM-based
    /// compilers.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_pointer: Option<i32>,
    /// The imports of a stand-alone module; empty for a module inside a component.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    imports: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Memory {
    /// The initial size, in pages of 64 KiB.
    minimum_pages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_pages: Option<u64>,
}

/// A tool or language that was used to produce the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Producer {
    field: String,
    name: String,
    version: String,
}

/// The module or component that is being read, and its start offset. `module` is `None` for a component.
struct Enclosing {
    module: Option<ModuleReport>,
    start: usize,
}

/// Reads a file that starts with the WebAssembly magic bytes.
pub(super) fn report(wasm: &[u8]) -> anyhow::Result<WasmReport> {
    let mut modules = Vec::new();
    let mut producers = Vec::new();
    let mut enclosing: Vec<Enclosing> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.context("the file is damaged")?;
        match &payload {
            Payload::Version {
                encoding, range, ..
            } => enclosing.push(Enclosing {
                module: (*encoding == Encoding::Module).then(ModuleReport::default),
                start: range.start,
            }),
            Payload::CustomSection(section) => collect_producers(section, &mut producers),
            // The parser does not check that the whole section is present.
            Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } if unchecked_range.end > wasm.len() => bail!("the file is truncated"),
            _ => {}
        }
        if let Some(Enclosing {
            module: Some(module),
            ..
        }) = enclosing.last_mut()
        {
            module.read(&payload).context("the file is damaged")?;
        }
        if let Payload::End(end) = payload
            && let Some(Enclosing {
                module: Some(module),
                start,
            }) = enclosing.pop()
        {
            let bytes = size(end.saturating_sub(start));
            modules.push(ModuleReport { bytes, ..module });
        }
    }
    if Parser::is_core_wasm(wasm) {
        let module = modules.pop().context("the file is truncated")?;
        return Ok(WasmReport::CoreModule(module));
    }
    let outline = ComponentSummary::read(wasm)?;
    let import = |name: String| Import {
        granted: GRANTED_IMPORTS.contains(&&*name),
        grant: Grant::of_import(&name).map(Grant::name),
        name,
    };
    Ok(WasmReport::Component(ComponentReport {
        signature: None,
        needed_grants: outline.needed_grants(),
        imports: outline.imports.into_iter().map(import).collect(),
        exports: outline.exports,
        // Imports between modules are not imports of the component.
        core_modules: modules
            .into_iter()
            .map(|module| ModuleReport {
                imports: Vec::new(),
                ..module
            })
            .collect(),
        producers,
    }))
}

/// Adds the tools that a section names, except those already present.
fn collect_producers(section: &CustomSectionReader<'_>, producers: &mut Vec<Producer>) {
    let KnownCustom::Producers(fields) = section.as_known() else {
        return;
    };
    // According to the WebAssembly specification, a damaged custom section is ignored.
    for field in fields.into_iter().flatten() {
        for value in field.values.into_iter().flatten() {
            let producer = Producer {
                field: field.name.to_owned(),
                name: value.name.to_owned(),
                version: value.version.to_owned(),
            };
            if !producers.contains(&producer) {
                producers.push(producer);
            }
        }
    }
}

/// Returns the initial value of the first mutable i32 global.
fn stack_pointer(globals: &GlobalSectionReader<'_>) -> wasmparser::Result<Option<i32>> {
    for global in globals.clone() {
        let global = global?;
        if global.ty.mutable && global.ty.content_type == ValType::I32 {
            return Ok(match global.init_expr.get_operators_reader().read()? {
                Operator::I32Const { value } => Some(value),
                _ => None,
            });
        }
    }
    Ok(None)
}

fn size(bytes: usize) -> u64 {
    bytes.try_into().unwrap_or(u64::MAX)
}

// === impl Import ===

impl Import {
    /// Returns whether a handler may import it, at least if its model grants it.
    fn can_be_granted(&self) -> bool {
        self.granted || self.grant.is_some()
    }
}

// === impl ModuleReport ===

impl ModuleReport {
    /// Reads one section.
    fn read(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.imports
                        .push(format!("{} {}", import.module, import.name));
                }
            }
            Payload::CodeSectionStart { count, range, .. } => {
                self.functions = *count;
                self.code_bytes = size(range.len());
            }
            Payload::DataSection(section) => self.data_bytes = size(section.range().len()),
            Payload::CustomSection(section) => self.custom_bytes += size(section.data().len()),
            Payload::GlobalSection(section) => self.stack_pointer = stack_pointer(section)?,
            Payload::MemorySection(section) => {
                let memory = section.clone().into_iter().next().transpose()?;
                self.memory = memory.map(|memory| Memory {
                    minimum_pages: memory.initial,
                    maximum_pages: memory.maximum,
                });
            }
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for ModuleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  core module  {}: {} functions, code {}, data {}",
            display::size(self.bytes),
            display::count(self.functions.into()),
            display::size(self.code_bytes),
            display::size(self.data_bytes),
        )?;
        if self.custom_bytes > 0 {
            write!(f, ", custom sections {}", display::size(self.custom_bytes))?;
        }
        if let Some(memory) = &self.memory {
            const PAGE: u64 = 64 << 10;
            let start = memory.minimum_pages.saturating_mul(PAGE);
            let pages = memory.minimum_pages;
            write!(
                f,
                "\n    memory     {pages} pages at the start ({})",
                display::size(start)
            )?;
            match memory.maximum_pages {
                Some(pages) => {
                    write!(f, ", at most {}", display::size(pages.saturating_mul(PAGE)))?
                }
                None => write!(f, ", growing up to the host's limit")?,
            }
        }
        if let Some(pointer) = self.stack_pointer
            && self.memory.is_some()
            && let Ok(bytes) = u64::try_from(pointer)
        {
            write!(
                f,
                "\n    stack      from {bytes} down ({})",
                display::size(bytes)
            )?;
        }
        writeln!(f)?;
        for import in &self.imports {
            writeln!(f, "    import     {import}")?;
        }
        Ok(())
    }
}

// === impl ComponentReport ===

impl ComponentReport {
    /// Returns whether the component is a handler whose imports are granted or can be.
    pub(super) fn is_granted_handler(&self) -> bool {
        let is_handler = self.exports.iter().any(|export| export == MODEL_INTERFACE);
        is_handler && self.imports.iter().all(Import::can_be_granted)
    }

    fn verdict(&self) -> String {
        if !self.exports.iter().any(|export| export == MODEL_INTERFACE) {
            return format!("no handler: it does not export {MODEL_INTERFACE}");
        }
        let mut imports = self.imports.iter();
        match imports.find(|import| !import.can_be_granted()) {
            None if !self.needed_grants.is_empty() => format!(
                "a handler that a server accepts with `{}` under [handler] in model.toml; `wisp check` compares it \
                 with its model",
                grants::setting(&self.needed_grants)
            ),
            None => {
                "a handler that a server accepts; `wisp check` compares it with its model".into()
            }
            Some(import) => format!("a handler that is rejected for importing {}", import.name),
        }
    }
}

impl fmt::Display for ComponentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.verdict())?;
        if let Some(outcome) = &self.signature {
            outcome.fmt(f)?;
        }
        for import in &self.imports {
            write!(f, "  import       {}  ", import.name)?;
            match import.grant {
                Some(grant) => writeln!(f, "(granted by \"{grant}\" in model.toml)")?,
                None if import.granted => writeln!(f, "(granted)")?,
                None => writeln!(f, "(NOT granted)")?,
            }
        }
        for export in &self.exports {
            writeln!(f, "  export       {export}")?;
        }
        for module in &self.core_modules {
            module.fmt(f)?;
        }
        for producer in &self.producers {
            let Producer {
                field,
                name,
                version,
            } = producer;
            writeln!(f, "  {field:<12} {name} {version}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(wat: &str) -> anyhow::Result<ComponentReport> {
        match report(&wat::parse_bytes(wat.as_bytes())?)? {
            WasmReport::Component(component) => Ok(component),
            _ => bail!("not a component"),
        }
    }

    #[test]
    fn a_component_shows_what_it_wants_and_what_it_is_made_of() -> anyhow::Result<()> {
        let component = component(
            r#"(component
                (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance))
                (import "wasi:clocks/wall@0.2.0" (instance))
                (core module
                    (memory 3 8)
                    (global i32 (i32.const 7))
                    (global (mut i32) (i32.const 65536))
                    (func) (func)
                    (data (i32.const 0) "0123456789"))
                (core module (func))
                (component (core module)))"#,
        )?;
        let granted: Vec<bool> = component
            .imports
            .iter()
            .map(|import| import.granted)
            .collect();
        assert_eq!(granted, [true, false]);
        assert_eq!(component.core_modules.len(), 3);
        let main = &component.core_modules[0];
        assert_eq!((main.functions, main.stack_pointer), (2, Some(65536)));
        assert!(main.bytes > main.code_bytes + main.data_bytes && main.data_bytes >= 10);
        let memory = main.memory.as_ref().context("it has a memory")?;
        assert_eq!((memory.minimum_pages, memory.maximum_pages), (3, Some(8)));
        let text = component.to_string();
        for part in [
            "no handler",
            "wasi:clocks/wall@0.2.0  (NOT granted)",
            "3 pages at the start (192.0 KiB), at most 512.0 KiB",
            "from 65536 down (64.0 KiB)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        Ok(())
    }

    #[test]
    fn a_handler_shows_the_grants_that_it_needs() -> anyhow::Result<()> {
        let component = component(&format!(
            r#"(component
                (import "wasi:random/random@0.2.0" (instance))
                (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance))
                (instance $model)
                (export "{MODEL_INTERFACE}" (instance $model)))"#
        ))?;
        assert!(component.is_granted_handler());
        let text = component.to_string();
        for part in [
            "accepts with `grants = [\"random\"]` under [handler] in model.toml",
            "wasi:random/random@0.2.0  (granted by \"random\" in model.toml)",
            "wasi:nn/graph@0.2.0-rc-2024-10-28  (granted)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = serde_json::to_value(&component)?;
        assert_eq!(json["imports"][0]["grant"], "random");
        assert_eq!(json["imports"][0]["granted"], false);
        assert!(json["imports"][1].get("grant").is_none());
        Ok(())
    }

    #[test]
    fn a_core_module_shows_its_own_imports() -> anyhow::Result<()> {
        let wasm = wat::parse_str(r#"(module (import "env" "f" (func)))"#)?;
        let WasmReport::CoreModule(module) = report(&wasm)? else {
            bail!("not a core module");
        };
        assert_eq!(module.imports, ["env f"]);
        assert_eq!(module.bytes, wasm.len() as u64);
        Ok(())
    }

    #[test]
    fn damage_is_an_error_wherever_it_is() -> anyhow::Result<()> {
        let wasm = wat::parse_str("(component (core module (memory 1) (func)))")?;
        // The first 8 bytes alone are an empty component.
        for length in (4..wasm.len()).filter(|length| *length != 8) {
            assert!(report(&wasm[..length]).is_err(), "cut off at {length}");
        }
        Ok(())
    }
}
