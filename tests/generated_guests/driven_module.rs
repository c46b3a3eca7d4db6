//! A random core module behind valid functions of the contract of handlers.
//!
//! Random functions under the names of the contract rarely get past its first rule: the addresses that they return are
//! random. Here the random functions stay, and `signature`, `infer` and the allocator of the contract are replaced:
//! `infer` calls some of the random functions and imports, with arguments that are often valid, and returns a response
//! from memory that they may have overwritten.

use crate::harness::numbers::Numbers;
use crate::harness::wat_handler::{RESPONSE, SIGNATURE, static_memory};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, Function, Ieee32, Ieee64,
    InstructionSink, MemArg, MemorySection, MemoryType, Module, RawSection,
};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

/// The address of the end of the memory that the allocator has given out.
const HEAP_END: u64 = 1020;

/// The first address that the allocator gives out.
const HEAP: i32 = 8192;

/// The minimum number of pages of the memory, which contains the signature and the response.
const MIN_PAGES: u64 = 4;

/// The maximum number of parameters of a function that `infer` calls.
const MAX_PARAMETERS: usize = 16;

/// The parts of a module that the replaced functions depend on.
#[derive(Debug, Default)]
struct Outline {
    types: Vec<FuncType>,
    /// The type of each function, imports first.
    functions: Vec<u32>,
    imported: usize,
    /// The functions that are exported, by name.
    exports: BTreeMap<String, usize>,
}

/// Returns the module with other functions under the names of the contract.
pub(super) fn driven(module: &[u8], numbers: &mut Numbers) -> Result<Vec<u8>> {
    let outline = Outline::read(module)?;
    let replaced = outline.replacements(numbers)?;
    let mut encoded = Module::new();
    let mut code = CodeSection::new();
    let mut data = DataSection::new();
    let mut function = outline.imported;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::MemorySection(memories) => {
                let mut section = MemorySection::new();
                for memory in memories {
                    section.memory(with_room(&memory?));
                }
                encoded.section(&section);
            }
            // Code and data come last, after the number of the data.
            Payload::DataCountSection { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_) => {}
            Payload::CodeSectionEntry(body) => {
                match replaced.get(&function) {
                    Some(replacement) => code.function(replacement),
                    None => code.raw(body.as_bytes()),
                };
                function += 1;
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    data.raw(&module[segment?.range]);
                }
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = &module[range];
                    encoded.section(&RawSection { id, data });
                }
            }
        }
    }
    data.active(
        0,
        &ConstExpr::i32_const(i32::from(SIGNATURE)),
        static_memory(),
    );
    encoded.section(&DataCountSection { count: data.len() });
    encoded.section(&code);
    encoded.section(&data);
    Ok(encoded.finish())
}

impl Outline {
    fn read(module: &[u8]) -> Result<Outline> {
        let mut outline = Outline::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(types) => {
                    for function in types.into_iter_err_on_gc_types() {
                        outline.types.push(function?);
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if let TypeRef::Func(number) = import?.ty {
                            outline.functions.push(number);
                        }
                    }
                    outline.imported = outline.functions.len();
                }
                Payload::FunctionSection(functions) => {
                    for number in functions {
                        outline.functions.push(number?);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            let index = usize::try_from(export.index)?;
                            outline.exports.insert(export.name.to_owned(), index);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    /// Returns the functions that are replaced, by index.
    fn replacements(&self, numbers: &mut Numbers) -> Result<BTreeMap<usize, Function>> {
        let mut replaced = BTreeMap::new();
        for (name, &index) in &self.exports {
            let replacement = match name.as_str() {
                "cabi_realloc" => Some(allocator()),
                "wisp:handler/model@0.1.0#signature" => Some(returning(SIGNATURE)),
                "wisp:handler/model@0.1.0#infer" => Some(self.driver(numbers)?),
                // The code before and after the calls stays random, but rarely, since most of it traps.
                "_initialize" => numbers.of_these(&[true, true, true, false]).then(nothing),
                _ => numbers.of_these(&[true, false]).then(nothing),
            };
            let returns = self.function(index)?.results();
            // A function without a response is replaced by one without.
            let is_needed = name.contains("realloc") || name.starts_with("wisp:handler/");
            if let Some(replacement) = replacement
                && (is_needed || returns.is_empty())
            {
                replaced.insert(index, replacement);
            }
        }
        Ok(replaced)
    }

    /// Returns a function that calls others and returns the address of the response.
    fn driver(&self, numbers: &mut Numbers) -> Result<Function> {
        let exported = |index: &usize| self.exports.values().any(|other| other == index);
        let mut callable = Vec::new();
        for index in (0..self.functions.len()).filter(|index| !exported(index)) {
            let parameters = self.function(index)?.params();
            let is_number = |value: &ValType| !matches!(value, ValType::Ref(_));
            if parameters.len() <= MAX_PARAMETERS && parameters.iter().all(is_number) {
                callable.push(index);
            }
        }
        let mut function = Function::new(Vec::new());
        let mut body = function.instructions();
        let calls = match callable.is_empty() {
            true => 0,
            false => numbers.below(8),
        };
        for _ in 0..calls {
            let called = numbers.of_these(&callable);
            let function = self.function(called)?;
            for parameter in function.params() {
                push_constant(&mut body, parameter, numbers);
            }
            body.call(u32::try_from(called)?);
            for _ in function.results() {
                body.drop();
            }
        }
        body.i32_const(i32::from(RESPONSE)).end();
        Ok(function)
    }

    fn function(&self, index: usize) -> Result<&FuncType> {
        let number = self.functions.get(index).context("no such function")?;
        let function = self.types.get(usize::try_from(*number)?);
        function.context("no such type")
    }
}

/// Returns a memory in which the signature and the response have room.
fn with_room(memory: &wasmparser::MemoryType) -> MemoryType {
    MemoryType {
        minimum: memory.initial.max(MIN_PAGES),
        maximum: memory.maximum.map(|maximum| maximum.max(MIN_PAGES)),
        memory64: memory.memory64,
        shared: memory.shared,
        page_size_log2: memory.page_size_log2,
    }
}

/// Returns a function that hands out one piece of memory after the other, and takes none back.
fn allocator() -> Function {
    const ALIGNMENT: u32 = 2;
    const SIZE: u32 = 3;
    const AT: u32 = 4;
    let heap_end = MemArg {
        offset: HEAP_END,
        align: 2,
        memory_index: 0,
    };
    let mut function = Function::new([(1, wasm_encoder::ValType::I32)]);
    let mut body = function.instructions();
    body.i32_const(0)
        .i32_load(heap_end)
        .local_tee(AT)
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(HEAP)
        .local_set(AT)
        .end();
    // The address, rounded up to the alignment.
    body.local_get(AT)
        .local_get(ALIGNMENT)
        .i32_add()
        .i32_const(1)
        .i32_sub()
        .i32_const(0)
        .local_get(ALIGNMENT)
        .i32_sub()
        .i32_and()
        .local_set(AT);
    body.i32_const(0)
        .local_get(AT)
        .local_get(SIZE)
        .i32_add()
        .i32_store(heap_end)
        .local_get(AT)
        .end();
    function
}

fn returning(address: u16) -> Function {
    let mut function = Function::new(Vec::new());
    function.instructions().i32_const(i32::from(address)).end();
    function
}

/// Returns a function that does nothing.
fn nothing() -> Function {
    let mut function = Function::new(Vec::new());
    function.instructions().end();
    function
}

/// Pushes an argument: often a handle, an address or a size that is valid.
fn push_constant(body: &mut InstructionSink<'_>, value: &ValType, numbers: &mut Numbers) {
    let word = numbers.word();
    let argument = numbers.of_these(&[0, 1, 2, 3, 4096, u32::from(RESPONSE), 40, word, word]);
    match value {
        ValType::I32 => body.i32_const(argument.cast_signed()),
        ValType::I64 => body.i64_const(numbers.next().cast_signed()),
        ValType::F32 => body.f32_const(Ieee32::new(word)),
        ValType::F64 => body.f64_const(Ieee64::new(numbers.next())),
        ValType::V128 => body.v128_const(i128::from(numbers.next())),
        // Functions with references are not called.
        ValType::Ref(_) => body.unreachable(),
    };
}
