//! A component as an artifact: one layer, and the configuration that the tools of WebAssembly read.

use super::upload::Upload;
use crate::oci::artifact::ComponentArtifact;
use crate::oci::digest::Blob;
use crate::oci::file_title::FileTitle;
use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use wisp_sandbox::component::ComponentSummary;

/// The time in every configuration, which has to have one. With the time of the push, the same component
/// would have another digest each time.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The configuration of a component (CNCF, "Wasm OCI Artifact Layout").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig {
    created: &'static str,
    architecture: &'static str,
    /// `wasip2` stands for every component.
    os: &'static str,
    layer_digests: [String; 1],
    component: ComponentInterface,
}

/// The names that a component imports and exports.
#[derive(Debug, Serialize)]
struct ComponentInterface {
    exports: Vec<String>,
    imports: Vec<String>,
}

/// Reads the component in a file.
pub(super) fn prepare(path: &Path) -> anyhow::Result<Upload> {
    let bytes = std::fs::read(path)?;
    let summary = ComponentSummary::read(&bytes)
        .context("only components and directories of models can be pushed")?;
    let blob = Blob::of(&bytes);
    let config = serde_json::to_vec(&WasmConfig {
        created: CREATED,
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [blob.digest.to_string()],
        component: ComponentInterface {
            exports: summary.exports,
            imports: summary.imports,
        },
    })?;
    let name = path.file_name().and_then(|name| name.to_str());
    let artifact = ComponentArtifact {
        blob: blob.clone(),
        // A name that could not be pulled is left out.
        title: name.and_then(|name| FileTitle::new(name).ok()),
    };
    Ok(Upload {
        manifest: artifact.manifest(&config)?,
        config,
        files: vec![(path.to_owned(), blob)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A component that imports a function and exports it.
    const COMPONENT: &str = r#"(component
        (import "wasi:cli/stderr@0.2.0" (instance $stderr (export "f" (func))))
        (export "test:test/run@0.1.0" (instance $stderr)))"#;

    #[test]
    fn the_configuration_contains_imports_exports_and_no_time_of_the_push() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("digits.wasm");
        let component = wat::parse_str(COMPONENT)?;
        std::fs::write(&path, &component)?;
        let upload = prepare(&path)?;
        let config: Value = serde_json::from_slice(&upload.config)?;
        assert_eq!(
            config,
            json!({
                "created": "1970-01-01T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [Blob::of(&component).digest.as_str()],
                "component": {
                    "exports": ["test:test/run@0.1.0"],
                    "imports": ["wasi:cli/stderr@0.2.0"],
                },
            })
        );
        assert_eq!(prepare(&path)?.manifest, upload.manifest);
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_component_is_refused() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        for (name, content) in [
            ("model.onnx", b"\x08\x07".to_vec()),
            ("module.wasm", wat::parse_str("(module)")?),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, content)?;
            let error = prepare(&path).err().context(name)?;
            assert!(error.to_string().contains("only components"), "{error}");
        }
        Ok(())
    }
}
