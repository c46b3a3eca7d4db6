//! Tests of the files of a Worker that need no Node.js.

use super::*;
use crate::bundle::finished::sample::{self, model};
use wisp_protocol::call::ModelDescription;

fn bundle(model: &ModelDescription) -> Bundle<'_> {
    Bundle {
        keeps_instance: true,
        max_body_bytes: 4096,
        ..sample::bundle(model)
    }
}

#[test]
fn the_manifest_names_the_worker_and_the_rules_for_its_modules() -> anyhow::Result<()> {
    let model = model(&format!("Digits_2.{}", "a".repeat(100)))?;
    let manifest: toml::Table = manifest(&bundle(&model)).parse()?;
    assert!(names_entry(&manifest));
    let name = manifest["name"].as_str().unwrap_or_default();
    assert!(
        name.starts_with("digits2-aaa") && name.len() == MAX_NAME,
        "{name}"
    );
    assert_eq!(manifest["rules"][1]["type"].as_str(), Some("CompiledWasm"));
    Ok(())
}

#[test]
fn the_settings_are_a_module_with_every_core_module() -> anyhow::Result<()> {
    let model = model("digits")?;
    let text = settings(
        &bundle(&model),
        &["component.core.wasm", "component.core2.wasm"],
    );
    for line in [
        "import module1 from './component.core2.wasm';",
        "export const keepInstance = true;",
        "export const maxBodyBytes = 4096;",
        "  'component.core.wasm': module0,",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    Ok(())
}

#[test]
fn the_worker_has_every_interface_that_is_listed_and_no_other() {
    for interface in INTERFACES {
        assert!(
            WASI_SOURCE.contains(&format!("\n  '{interface}': {{")),
            "{interface}"
        );
    }
    assert_eq!(WASI_SOURCE.matches("\n  'wasi:").count(), INTERFACES.len());
}

#[test]
fn an_import_that_the_worker_lacks_is_named() -> anyhow::Result<()> {
    let imports = ["wasi:io/poll@0.2.3", "wasi:http/types@0.2.0"].map(str::to_owned);
    check_imports(&imports)?;
    let error = check_imports(&["wasi:sockets/tcp@0.2.0".to_owned()]).err();
    assert!(error.is_some_and(|error| error.to_string().contains("wasi:sockets/tcp@0.2.0")));
    Ok(())
}
