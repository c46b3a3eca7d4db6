//! The target `cloudflare`: a directory with a Worker, which `wrangler` uploads and workerd runs.
//!
//! jco translates the component to JavaScript and core modules when the bundle is made, and `templates/cloudflare`
//! has the rest: the entry module, and the interfaces of WASI that the component imports. `transpiler` runs jco,
//! `limits` compares the Worker with the limits of Cloudflare.

mod limits;
mod transpiler;

use super::directory::{TargetDirectory, TargetFile};
use super::identifier::{kebab_case, literal};
use crate::bundle::finished::Bundle;
use anyhow::bail;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use toml::Value;
use transpiler::Transpiled;

const MANIFEST: &str = "wrangler.toml";
const ENTRY: &str = "worker.js";
const WASI: &str = "wasi.js";
const SETTINGS: &str = "bundle.js";

const ENTRY_SOURCE: &str = include_str!("../../../templates/cloudflare/worker.js");
const WASI_SOURCE: &str = include_str!("../../../templates/cloudflare/wasi.js");

/// The date whose behaviour of the runtime the Worker expects.
const COMPATIBILITY_DATE: &str = "2026-11-01";

/// The longest name of a Worker.
const MAX_NAME: usize = 63;

/// The interfaces that `wasi.js` implements.
const INTERFACES: [&str; 9] = [
    "wasi:cli/stderr",
    "wasi:clocks/wall-clock",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Writes the Worker to the directory `output`.
pub(super) fn write(bundle: &Bundle<'_>, output: &Path) -> anyhow::Result<()> {
    check_imports(bundle.imports)?;
    let warning = limits::check_memory(bundle.bytes, bundle.keeps_instance)?;
    let transpiled = transpiler::transpile(bundle.bytes)?;
    let directory = TargetDirectory {
        manifest: TargetFile::new(MANIFEST, manifest(bundle)),
        files: files(bundle, transpiled),
    };
    let contents = directory.files.iter().map(|file| file.content.as_slice());
    let warnings = warning.into_iter().chain(limits::check_size(contents)?);
    directory.write(output, names_entry, transpiler::is_module)?;
    for warning in warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    Ok(())
}

fn check_imports(imports: &[String]) -> anyhow::Result<()> {
    let is_foreign = |import: &&String| {
        let interface = import.split('@').next().unwrap_or_default();
        !INTERFACES.contains(&interface)
    };
    match imports.iter().find(is_foreign) {
        Some(import) => bail!(
            "the bundle imports `{import}`, which the Worker does not have; it has {}",
            INTERFACES.join(", ")
        ),
        None => Ok(()),
    }
}

/// Returns the modules of the Worker.
fn files(bundle: &Bundle<'_>, transpiled: Transpiled) -> Vec<TargetFile> {
    let Transpiled { script, modules } = transpiled;
    let names: Vec<_> = modules.iter().map(|(name, _)| name.as_str()).collect();
    let mut files = vec![
        TargetFile::new(ENTRY, ENTRY_SOURCE),
        TargetFile::new(WASI, WASI_SOURCE),
        TargetFile::new(SETTINGS, settings(bundle, &names)),
        TargetFile::new(transpiler::SCRIPT, script),
    ];
    let modules = modules.into_iter();
    files.extend(modules.map(|(name, content)| TargetFile { name, content }));
    files
}

/// Returns the module with the settings of the Worker and the core modules of the component.
fn settings(bundle: &Bundle<'_>, modules: &[&str]) -> String {
    let mut text =
        "// Written by `wisp bundle`: what differs between the Workers of two models.\n\n"
            .to_owned();
    for (index, module) in modules.iter().enumerate() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "import module{index} from './{module}';");
    }
    let (keeps_instance, max_body_bytes) = (bundle.keeps_instance, bundle.max_body_bytes);
    let _ = write!(
        text,
        "\n\
         /** Whether an instance answers more than one request. */\n\
         export const keepInstance = {keeps_instance};\n\n\
         /** The largest body that the component accepts, in bytes. */\n\
         export const maxBodyBytes = {max_body_bytes};\n\n\
         /** The core modules of the component, by the names that it has for them. */\n\
         export const modules = {{\n"
    );
    for (index, module) in modules.iter().enumerate() {
        let _ = writeln!(text, "  '{module}': module{index},");
    }
    text + "};\n"
}

/// Returns the text of the manifest.
fn manifest(bundle: &Bundle<'_>) -> String {
    format!(
        "\
# Written by `wisp bundle --target cloudflare`: a Worker that answers with the model `{model}`, version {version}.
#
#   npx wrangler dev       serves it on this machine
#   npx wrangler deploy    uploads it
name = {name}
main = {main}
compatibility_date = {date}

# The modules are uploaded as they are.
no_bundle = true
find_additional_modules = true

[[rules]]
type = \"ESModule\"
globs = [\"**/*.js\"]

[[rules]]
type = \"CompiledWasm\"
globs = [\"**/*.wasm\"]
",
        model = bundle.model.model,
        version = bundle.model.version,
        name = literal(&worker_name(bundle.model.model.as_str())),
        main = literal(ENTRY),
        date = literal(COMPATIBILITY_DATE),
    )
}

fn worker_name(model: &str) -> String {
    let mut name = kebab_case(model);
    name.truncate(MAX_NAME);
    name.trim_end_matches('-').to_owned()
}

/// Returns whether the manifest belongs to a Worker with this entry module.
fn names_entry(manifest: &toml::Table) -> bool {
    manifest.get("main").and_then(Value::as_str) == Some(ENTRY)
}

#[cfg(test)]
mod tests;
