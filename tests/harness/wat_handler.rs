//! Handlers written as WebAssembly text, for modules that no compiler would write: tables, sizes, bombs.
//!
//! Each takes an input `x` of one UINT32, and returns an output `y` of three UINT32. A [`WatHandler`]
//! contains the module's own fields and the body of its `infer`; this module generates the rest, which
//! the contract requires of every handler.

use super::root;
use anyhow::{Context, Result};
use wasm_encoder::{Component, RawSection};
use wisp_sandbox::component::ComponentSummary;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

/// The address at which `infer` writes the three numbers of its response. It is below 64 KiB, like the
/// request.
pub(crate) const ANSWER: usize = 2120;

/// The sections of a component that contain a core module, and that instantiate core modules.
const CORE_MODULE: u8 = 1;
const CORE_INSTANCE: u8 = 2;

/// The parts of a handler that differ between tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatHandler<'a> {
    /// The initial size of linear memory in pages, at least one.
    pub(crate) pages: u32,
    /// Imports, which come first in a module.
    pub(crate) imports: &'a str,
    /// Any other fields: globals, tables, functions.
    pub(crate) fields: &'a str,
    /// The instructions of `infer`. The local `$x` contains the input's number.
    pub(crate) infer: &'a str,
}

impl WatHandler<'_> {
    /// A handler that does nothing but respond.
    pub(crate) const BARE: WatHandler<'static> = WatHandler {
        pages: 1,
        imports: "",
        fields: "",
        infer: "",
    };

    /// Returns the handler as a component.
    pub(crate) fn component(&self) -> Result<Vec<u8>> {
        let WatHandler {
            pages,
            imports,
            fields,
            infer,
        } = self;
        let data = escaped(&static_memory());
        let text = format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                (global $heap (mut i32) (i32.const 8192))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and
                        (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get 2))))
                    (global.set $heap (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "wisp:handler/model@0.1.0#signature") (result i32) (i32.const 1024))
                (func (export "wisp:handler/model@0.1.0#infer")
                    (param $inputs i32) (param i32 i32 i32 i32 i32) (result i32)
                    (local $x i32) (local $i i32) (local $count i32)
                    (local.set $x (i32.load (i32.load offset=20 (local.get $inputs))))
                    {infer}
                    (i32.const 2048))
                (data (i32.const 1024) "{data}")
                {fields})"#
        );
        from_module(&wat::parse_str(text)?)
    }
}

/// Returns the component of a core module that conforms to the world of handlers.
pub(crate) fn from_module(module: &[u8]) -> Result<Vec<u8>> {
    from_module_with(module, StringEncoding::UTF8)
}

/// Returns the same component, whose strings have this encoding in its memory.
pub(crate) fn from_module_with(module: &[u8], encoding: StringEncoding) -> Result<Vec<u8>> {
    let mut module = module.to_vec();
    let (resolve, world) = handler_world()?;
    embed_component_metadata(&mut module, &resolve, world, encoding)?;
    ComponentEncoder::default()
        .module(&module)?
        .encode()
        .context("the module is no handler")
}

/// Returns a component with a further core module, which is instantiated without imports. No tool checks it.
pub(crate) fn beside(component: &[u8], module: &[u8]) -> Result<Vec<u8>> {
    let number = ComponentSummary::read(component)?.core_modules;
    let mut sections = Component::new();
    sections.section(&RawSection {
        id: CORE_MODULE,
        data: module,
    });
    // One instance: of this module, with no arguments.
    sections.section(&RawSection {
        id: CORE_INSTANCE,
        data: &[1, 0, u8::try_from(number)?, 0],
    });
    // The header of eight bytes is that of the component.
    let sections = sections.finish();
    Ok([component, sections.get(8..).unwrap_or_default()].concat())
}

/// Returns a handler that does nothing but respond, and has a core module with these fields beside its own.
pub(crate) fn bare_beside(fields: &str) -> Result<Vec<u8>> {
    let module = wat::parse_str(format!("(module {fields})"))?;
    beside(&WatHandler::BARE.component()?, &module)
}

/// Returns the random module that these bytes produce, or `None` if they do not produce one.
pub(crate) fn generated_module(
    config: wasm_smith::Config,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>> {
    let mut source = arbitrary::Unstructured::new(bytes);
    match wasm_smith::Module::new(config, &mut source) {
        Ok(module) => Ok(Some(module.to_bytes())),
        Err(arbitrary::Error::NotEnoughData | arbitrary::Error::IncorrectFormat) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns a core module with the imports and exports of the world of handlers, whose functions do
/// nothing.
pub(crate) fn dummy_module() -> Result<Vec<u8>> {
    let (resolve, world) = handler_world()?;
    let names = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    Ok(wit_component::dummy_module(&resolve, world, names))
}

fn handler_world() -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit"))?;
    let world = resolve.select_world(&[package], Some("handler"))?;
    Ok((resolve, world))
}

/// The address of the signature, and that of the response.
pub(crate) const SIGNATURE: u16 = 1024;
pub(crate) const RESPONSE: u16 = 2048;

/// Returns memory from [`SIGNATURE`] on, with the response at [`RESPONSE`].
pub(crate) fn static_memory() -> Vec<u8> {
    const UINT32: u32 = 3;
    let mut memory = vec![0; ANSWER + 12 - 1024];
    let mut put = |at: usize, words: &[u32]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        for (byte, to) in bytes.zip(&mut memory[at - 1024..]) {
            *to = byte;
        }
    };
    // Names and shapes: `x` has one element, `y` has three.
    put(1200, &[u32::from_le_bytes(*b"xy\0\0")]);
    put(1208, &[1, 0]);
    put(1216, &[3, 0]);
    put(1224, &[1200, 1, UINT32, 1208, 1, 0]);
    put(1248, &[1201, 1, UINT32, 1216, 1, 0]);
    // Inputs, outputs, graphs.
    put(1024, &[1224, 1, 1248, 1, 0, 0]);
    // Ok: one output, no parameters.
    put(2048, &[0, 2080, 1, 0, 0]);
    put(
        2080,
        &[
            1201,
            1,
            UINT32,
            2112,
            1,
            u32::try_from(ANSWER).unwrap_or(0),
            12,
        ],
    );
    put(2112, &[3]);
    memory
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
