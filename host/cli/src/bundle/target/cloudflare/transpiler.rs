//! Runs jco, which translates a component to JavaScript and core modules, and adapts its output to workerd.
//!
//! workerd compiles modules only when a Worker is loaded. The JavaScript that jco writes for composed components
//! contains one helper that compiles a module of its own, for calls that wait, which a bundle has none of; that
//! module is removed. Invariant: nothing else is changed, and JavaScript with another compilation is refused.

use crate::failure::bad_configuration;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The name of the JavaScript, and the beginning of the names of the core modules.
const NAME: &str = "component";

/// The file with the JavaScript.
pub(super) const SCRIPT: &str = "component.js";

/// The package that is run with npx if jco is not installed.
const PACKAGE: &str = "@bytecodealliance/jco@1.35.0";

/// The helper's declaration up to the bytes of its module.
const HELPER: &str = "const _conditionalSuspending3I32ToVoidModule = ";
const COMPILATION: &str = "new WebAssembly.Module(new Uint8Array([";
const COMPILATION_END: &str = "]))";

/// The module of the helper, without spaces.
const HELPER_MODULE: &str = "\
    0x00,0x61,0x73,0x6d,0x01,0x00,0x00,0x00,0x01,0x0e,0x02,0x60,0x03,0x7f,0x7f,0x7f,0x01,0x7f,0x60,0x03,0x7f,0x7f,\
    0x7f,0x00,0x02,0x11,0x02,0x00,0x04,0x66,0x61,0x73,0x74,0x00,0x00,0x00,0x04,0x73,0x6c,0x6f,0x77,0x00,0x00,0x03,\
    0x02,0x01,0x01,0x07,0x07,0x01,0x03,0x72,0x75,0x6e,0x00,0x02,0x0a,0x19,0x01,0x17,0x00,0x20,0x00,0x20,0x01,0x20,\
    0x02,0x10,0x00,0x45,0x04,0x40,0x20,0x00,0x20,0x01,0x20,0x02,0x10,0x01,0x1a,0x0b,0x0b,";

/// The call of the helper, which its declaration contains once.
const HELPER_CALL: &str = "_conditionalSuspending3I32ToVoid(";

/// Constructs that workerd forbids.
const FORBIDDEN: [&str; 6] = [
    "WebAssembly.Module(",
    "WebAssembly.compile",
    "WebAssembly.instantiate",
    "new Function(",
    " eval(",
    "import(",
];

/// The output of jco.
#[derive(Debug)]
pub(super) struct Transpiled {
    pub(super) script: String,
    /// The names and contents of the core modules, in the order of the names.
    pub(super) modules: Vec<(String, Vec<u8>)>,
}

/// Translates a component.
pub(super) fn transpile(component: &[u8]) -> anyhow::Result<Transpiled> {
    let directory = tempfile::tempdir()?;
    let input = directory.path().join("bundle.wasm");
    let output = directory.path().join("output");
    fs::write(&input, component)?;
    run_jco(&input, &output)?;
    let script = fs::read_to_string(output.join(SCRIPT))
        .with_context(|| format!("jco has not written {SCRIPT}"))?;
    let mut modules = Vec::new();
    for entry in fs::read_dir(&output)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_module(name)) {
            modules.push((name.to_owned(), fs::read(entry.path())?));
        }
    }
    modules.sort();
    Ok(Transpiled {
        script: for_workerd(&script)?,
        modules,
    })
}

/// Returns whether a file of this name is a core module.
pub(super) fn is_module(name: &str) -> bool {
    name.starts_with("component.core") && name.ends_with(".wasm")
}

fn run_jco(input: &Path, output: &Path) -> anyhow::Result<()> {
    let candidates: [&[&str]; 2] = [&["jco"], &["npx", "--yes", PACKAGE]];
    for candidate in candidates {
        let [program, arguments @ ..] = candidate else {
            continue;
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("transpile")
            .arg(input)
            .args(["--name", NAME, "--instantiation", "sync"])
            // Every core module is a file.
            .args(["--base64-cutoff", "0", "--no-typescript", "--quiet"])
            .arg("--out-dir")
            .arg(output)
            .stdin(Stdio::null());
        match command.output() {
            Ok(result) => return succeeded(&result, program),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to run `{program}`")),
        }
    }
    Err(bad_configuration(format!(
        "--target cloudflare needs jco, which translates components to JavaScript, and neither `jco` nor `npx` is in \
         PATH: install Node.js 20 or newer, then `npm install -g {PACKAGE}`"
    )))
}

fn succeeded(result: &Output, program: &str) -> anyhow::Result<()> {
    if result.status.success() {
        return Ok(());
    }
    let said = [&result.stdout, &result.stderr].map(|text| String::from_utf8_lossy(text));
    bail!(
        "`{program}` has failed to translate the bundle to JavaScript ({}): {}",
        result.status,
        said.join("\n").trim()
    )
}

/// Returns the JavaScript without the module that workerd would refuse to compile.
fn for_workerd(script: &str) -> anyhow::Result<String> {
    let adapted = without_helper_module(script)?;
    if let Some(construct) = FORBIDDEN.iter().find(|found| adapted.contains(**found)) {
        bail!(
            "the JavaScript that jco has written contains `{}`, which Workers may not use: use the version of jco \
             that this version of Wisp is tested with, {PACKAGE}",
            construct.trim()
        );
    }
    Ok(adapted)
}

fn without_helper_module(script: &str) -> anyhow::Result<String> {
    let Some((before, rest)) = script.split_once(HELPER) else {
        return Ok(script.to_owned());
    };
    let unknown = || {
        format!(
            "the JavaScript that jco has written differs from the output of {PACKAGE}, with which Wisp is tested"
        )
    };
    let rest = rest.strip_prefix(COMPILATION).with_context(unknown)?;
    let (module, after) = rest.split_once(COMPILATION_END).with_context(unknown)?;
    let module: String = module.split_whitespace().collect();
    ensure!(module == HELPER_MODULE, unknown());
    // Only its own declaration may have the name of the helper: no call waits.
    ensure!(script.matches(HELPER_CALL).count() == 1, unknown());
    Ok(format!("{before}{HELPER}null{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(module: &str, calls: &str) -> String {
        format!(
            "let a;\n{HELPER}{COMPILATION}\n{}\n{COMPILATION_END};\nfunction {HELPER_CALL}fast, slow) {{}}\n{calls}",
            module.replace(',', ", ")
        )
    }

    #[test]
    fn the_module_of_the_helper_is_removed_and_nothing_else() -> anyhow::Result<()> {
        let adapted = for_workerd(&script(HELPER_MODULE, "let b;"))?;
        let expected =
            format!("let a;\n{HELPER}null;\nfunction {HELPER_CALL}fast, slow) {{}}\nlet b;");
        assert_eq!(adapted, expected);
        assert_eq!(for_workerd("let a;")?, "let a;");
        Ok(())
    }

    #[test]
    fn javascript_that_would_compile_anything_else_is_refused() {
        let other_module = script("0x00,0x61,", "");
        let helper_in_use = script(HELPER_MODULE, &format!("{HELPER_CALL}a, b);"));
        let compiles = format!("{}\nnew WebAssembly.Module(x);", script(HELPER_MODULE, ""));
        for script in [other_module, helper_in_use, compiles] {
            let error = for_workerd(&script).err().map(|error| error.to_string());
            assert!(error.is_some_and(|text| text.contains(PACKAGE)), "{script}");
        }
    }

    #[test]
    fn core_modules_are_known_by_name() {
        assert!(is_module("component.core.wasm") && is_module("component.core12.wasm"));
        assert!(!is_module("component.js") && !is_module("notes.wasm"));
    }
}
