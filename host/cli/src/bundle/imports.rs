//! The imports of a bundle and of the handler in it.
//!
//! The few interfaces that a bundle may import are those that every host of wasi:http has.

use anyhow::{Context, bail};
use wisp_sandbox::component::{ComponentSummary, GRANTED_IMPORTS, MODEL_INTERFACE};
use wisp_sandbox::grants::Grant;

/// The interfaces that a bundle may import, with the beginnings of their versions.
const HOST_INTERFACES: [&str; 5] = [
    "wasi:cli/stderr@0.2.",
    "wasi:http/types@0.2.",
    "wasi:io/error@0.2.",
    "wasi:io/poll@0.2.",
    "wasi:io/streams@0.2.",
];

/// Refuses a component that imports an interface that a bundle does not have, or that is not a handler.
pub(super) fn check_handler(wasm: &[u8]) -> anyhow::Result<()> {
    let summary = ComponentSummary::read(wasm).context("handler.wasm cannot be used")?;
    let mut imports = summary.imports.iter();
    let is_foreign = |import: &&String| {
        !GRANTED_IMPORTS.contains(&import.as_str()) && Grant::of_import(import).is_none()
    };
    if let Some(import) = imports.find(is_foreign) {
        bail!(
            "the handler imports `{import}`, which a bundle does not have; it has {}, and what `[handler] grants` in \
             model.toml grants",
            GRANTED_IMPORTS.join(", ")
        );
    }
    if !summary
        .exports
        .iter()
        .any(|export| export == MODEL_INTERFACE)
    {
        bail!(
            "handler.wasm does not export `{MODEL_INTERFACE}`, by which a bundle calls its handler"
        );
    }
    Ok(())
}

/// Returns the imports of a finished bundle. Fails if it imports an interface that some hosts of wasi:http lack.
pub(super) fn check(bundle: &[u8]) -> anyhow::Result<Vec<String>> {
    let summary = ComponentSummary::read(bundle).context("the bundle is not a component")?;
    let is_foreign = |import: &&String| {
        let is_of_host = HOST_INTERFACES
            .iter()
            .any(|interface| import.starts_with(interface));
        !is_of_host && Grant::of_import(import).is_none()
    };
    if let Some(import) = summary.imports.iter().find(is_foreign) {
        bail!(
            "the bundle would import `{import}`, which not every host of wasi:http has: the modules of edge bundles \
             are not of this version of Wisp; build them again with `wisp build guest-models/edge`"
        );
    }
    Ok(summary.imports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(imports: &[&str], export: &str) -> anyhow::Result<Vec<u8>> {
        let import = |name: &&str| format!(r#"(import "{name}" (instance))"#);
        let imports: String = imports.iter().map(import).collect();
        Ok(wat::parse_str(format!(
            r#"(component {imports} (instance $out) (export "{export}" (instance $out)))"#
        ))?)
    }

    #[test]
    fn a_handler_that_needs_more_than_a_bundle_has_is_refused_by_import() -> anyhow::Result<()> {
        let granted = "wasi:random/random@0.2.3";
        check_handler(&component(&[GRANTED_IMPORTS[0], granted], MODEL_INTERFACE)?)?;
        let foreign = component(&["wasi:sockets/tcp@0.2.0"], MODEL_INTERFACE)?;
        let error = check_handler(&foreign).err().context("accepted")?;
        assert!(error.to_string().contains("`wasi:sockets/tcp@0.2.0`"));
        let other = component(&[], "wasi:http/incoming-handler@0.2.0")?;
        let error = check_handler(&other).err().context("accepted")?;
        assert!(error.to_string().contains(MODEL_INTERFACE), "{error}");
        Ok(())
    }

    #[test]
    fn a_bundle_imports_what_every_host_has_and_what_its_model_grants() -> anyhow::Result<()> {
        let export = "wasi:http/incoming-handler@0.2.0";
        let imports = [
            "wasi:io/streams@0.2.0",
            "wasi:http/types@0.2.12",
            "wasi:clocks/wall-clock@0.2.3",
        ];
        assert_eq!(check(&component(&imports, export)?)?, imports);
        for import in ["wasi:nn/graph@0.2.0-rc-2024-10-28", "wasi:http/types@0.3.0"] {
            let error = check(&component(&[import], export)?).err();
            let error = error.context("accepted")?.to_string();
            assert!(error.contains(import), "{error}");
        }
        Ok(())
    }
}
