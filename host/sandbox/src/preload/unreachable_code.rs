//! Removes the code of functions that no export of a module reaches.
//!
//! A module whose data is loaded needs its loader no more: the parsers, the checks and the rewriting of models. The
//! functions stay, so that no index changes, and their bodies become a trap. A function in a table counts as
//! reachable, since its address may be anywhere in memory. The names of functions, a sixth of a module, are removed too.

use std::collections::BTreeSet;
use std::ops::Range;
use wasm_encoder::{CodeSection, Module, RawSection};
use wasmparser::{
    ConstExpr, ElementItems, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef,
};

/// A body without locals: `unreachable`, `end`.
const TRAP: [u8; 3] = [0x00, 0x00, 0x0b];

/// The functions of a module, and where its sections lie.
#[derive(Default)]
struct Outline<'a> {
    /// The number of imported functions, which precede the others.
    imported: u32,
    /// The functions from which others are reached.
    roots: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// The number and content of each section.
    sections: Vec<(u8, Range<usize>)>,
}

/// The custom section with the names of functions.
const NAMES: &str = "name";

/// The number of the code section.
const CODE: u8 = 10;

/// Returns a valid module without the code that only the exports in `unused` reach, and without the names of functions.
pub(super) fn remove_unreachable_code(
    module: &[u8],
    unused: &[&str],
) -> wasmparser::Result<Vec<u8>> {
    let outline = Outline::read(module, unused)?;
    let reachable = outline.reachable()?;
    let mut code = CodeSection::new();
    for (index, body) in (outline.imported..).zip(&outline.bodies) {
        match reachable.contains(&index) {
            true => code.raw(body.as_bytes()),
            false => code.raw(&TRAP),
        };
    }
    let mut pruned = Module::new();
    for (id, range) in outline.sections {
        match id {
            CODE => pruned.section(&code),
            id => pruned.section(&RawSection {
                id,
                data: module.get(range).unwrap_or_default(),
            }),
        };
    }
    Ok(pruned.finish())
}

// === impl Outline ===

impl<'a> Outline<'a> {
    fn read(module: &'a [u8], unused: &[&str]) -> wasmparser::Result<Outline<'a>> {
        let mut outline = Outline::default();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            let is_names =
                matches!(&payload, Payload::CustomSection(custom) if custom.name() == NAMES);
            if !is_names {
                outline.sections.extend(payload.as_section());
            }
            outline.add(payload, unused)?;
        }
        Ok(outline)
    }

    fn add(&mut self, payload: Payload<'a>, unused: &[&str]) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let is_function =
                        matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    self.imported = self.imported.saturating_add(u32::from(is_function));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let is_used = !unused.contains(&export.name);
                    if export.kind == ExternalKind::Func && is_used {
                        self.roots.push(export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.roots.push(func),
            Payload::GlobalSection(globals) => {
                for global in globals {
                    self.add_constant(&global?.init_expr)?;
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    match element?.items {
                        ElementItems::Functions(functions) => {
                            for function in functions {
                                self.roots.push(function?);
                            }
                        }
                        ElementItems::Expressions(_, constants) => {
                            for constant in constants {
                                self.add_constant(&constant?)?;
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    fn add_constant(&mut self, constant: &ConstExpr<'_>) -> wasmparser::Result<()> {
        for operator in constant.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.roots.push(function_index);
            }
        }
        Ok(())
    }

    /// Returns the functions that the roots reach.
    fn reachable(&self) -> wasmparser::Result<BTreeSet<u32>> {
        let mut reachable = BTreeSet::new();
        let mut waiting = self.roots.clone();
        while let Some(function) = waiting.pop() {
            if !reachable.insert(function) {
                continue;
            }
            let own = function.checked_sub(self.imported);
            let own = own.and_then(|own| self.bodies.get(usize::try_from(own).ok()?));
            let Some(body) = own else { continue };
            for operator in body.get_operators_reader()? {
                match operator? {
                    Operator::Call { function_index }
                    | Operator::ReturnCall { function_index }
                    | Operator::RefFunc { function_index } => waiting.push(function_index),
                    _ => {}
                }
            }
        }
        Ok(reachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Result, Store};

    const TEXT: &str = r#"(module
        (import "" "" (func $imported))
        (table 1 funcref)
        (elem (i32.const 0) $in_table)
        (func $in_table (result i32) (i32.const 5))
        (func $shared (result i32) (i32.const 7))
        (func $only_load (result i32) (i32.add (call $shared) (i32.const 35)))
        (func (export "load") (result i32) (call $only_load))
        (func (export "use") (result i32) (call $shared))
        (func (export "through") (result i32) (call_indirect (result i32) (i32.const 0))))"#;

    fn call(module: &[u8], name: &str) -> Result<Option<i32>> {
        let engine = Engine::default();
        let module = wasmtime::Module::new(&engine, module)?;
        let mut store = Store::new(&engine, ());
        let mut linker = wasmtime::Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module)?;
        let instance: Instance = linker.instantiate(&mut store, &module)?;
        let function = instance.get_typed_func::<(), i32>(&mut store, name)?;
        Ok(function.call(&mut store, ()).ok())
    }

    #[test]
    fn only_the_code_of_unused_exports_is_removed() -> Result<()> {
        let module = wat::parse_str(TEXT)?;
        let pruned = remove_unreachable_code(&module, &["load"])?;
        assert_eq!(call(&module, "load")?, Some(42));
        // The export itself is a root of nothing.
        assert_eq!(call(&pruned, "load")?, None);
        assert_eq!(call(&pruned, "use")?, Some(7));
        assert_eq!(call(&pruned, "through")?, Some(5));
        assert!(pruned.len() < module.len());
        Ok(())
    }

    #[test]
    fn bytes_that_are_no_module_are_an_error() -> Result<()> {
        let module = wat::parse_str(TEXT)?;
        let cut = &module[..module.len() / 2];
        assert!(remove_unreachable_code(cut, &[]).is_err());
        Ok(())
    }
}
