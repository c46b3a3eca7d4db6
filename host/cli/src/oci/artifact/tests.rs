//! Tests of manifests: written ones, foreign ones and hostile ones.

use super::*;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};

fn model() -> Result<ModelArtifact> {
    let file =
        |title: &str, content: &[u8]| anyhow::Ok((FileTitle::new(title)?, Blob::of(content)));
    Ok(ModelArtifact {
        name: ModelName::new("digits")?,
        version: Version::FIRST,
        files: BTreeMap::from([
            file("model.toml", b"")?,
            file("1/model.onnx", b"graph")?,
            file("1/handler.wasm", b"handler")?,
            file("cases/one.json", b"{}")?,
        ]),
    })
}

fn error(manifest: &Value) -> Result<String> {
    match Artifact::parse(&serde_json::to_vec(manifest)?) {
        Ok(artifact) => Err(anyhow!("accepted: {artifact:?}")),
        Err(error) => Ok(error.to_string()),
    }
}

#[test]
fn a_model_is_read_as_it_was_written() -> Result<()> {
    let model = model()?;
    let manifest = model.manifest()?;
    assert_eq!(manifest, model.manifest()?);
    let json: Value = serde_json::from_slice(&manifest)?;
    assert_eq!(json["artifactType"], "application/vnd.wisp.model.v1");
    assert_eq!(
        json["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    let titles = json["layers"].as_array().into_iter().flatten();
    let titles: Vec<&Value> = titles
        .map(|layer| &layer["annotations"]["org.opencontainers.image.title"])
        .collect();
    assert_eq!(
        titles,
        [
            "1/handler.wasm",
            "1/model.onnx",
            "cases/one.json",
            "model.toml"
        ]
    );
    assert_eq!(Artifact::parse(&manifest)?, Artifact::Model(model));
    Ok(())
}

#[test]
fn no_byte_makes_reading_panic_or_leaves_the_folder_of_a_model() -> Result<()> {
    let manifest = model()?.manifest()?;
    for position in 0..manifest.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = manifest.clone();
            damaged[position] ^= change;
            match Artifact::parse(&damaged) {
                Ok(Artifact::Model(model)) => {
                    let titles = model.files.keys().map(ToString::to_string);
                    for title in titles {
                        let mut parts = title.split('/');
                        anyhow::ensure!(
                            parts.all(|part| !["", ".", ".."].contains(&part)),
                            "byte {position}: {title}"
                        );
                    }
                }
                Ok(Artifact::Component(_)) => {}
                Err(error) => anyhow::ensure!(!error.to_string().is_empty()),
            }
        }
    }
    Ok(())
}

#[test]
fn a_component_is_read_as_it_was_written() -> Result<()> {
    let component = ComponentArtifact {
        blob: Blob::of(b"component"),
        title: Some(FileTitle::new("digits.wasm")?),
    };
    let manifest = component.manifest(b"{}")?;
    let json: Value = serde_json::from_slice(&manifest)?;
    assert_eq!(
        json["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    assert_eq!(json["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(Artifact::parse(&manifest)?, Artifact::Component(component));
    Ok(())
}

#[test]
fn an_artifact_of_another_kind_is_named() -> Result<()> {
    for (manifest, expected) in [
        (
            json!({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}),
            "an index of several artifacts (`application/vnd.oci.image.index.v1+json`)",
        ),
        (
            json!({"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}),
            "a container image",
        ),
        (
            json!({"artifactType": "application/spdx+json", "config": {"mediaType": "x"}}),
            "an artifact of type `application/spdx+json`",
        ),
        (
            json!({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}),
            "the configuration type `application/vnd.cncf.helm.config.v1+json`",
        ),
        (json!({}), "something without a configuration"),
    ] {
        let text = error(&manifest)?;
        assert!(text.contains(expected), "{text}");
    }
    assert!(Artifact::parse(b"<html>").is_err());
    Ok(())
}

#[test]
fn a_component_has_one_layer_of_wasm() -> Result<()> {
    let component = ComponentArtifact {
        blob: Blob::of(b"component"),
        title: None,
    };
    let manifest: Value = serde_json::from_slice(&component.manifest(b"{}")?)?;
    let mut two = manifest.clone();
    two["layers"] = json!([manifest["layers"][0], manifest["layers"][0]]);
    assert!(error(&two)?.contains("and this one has 2"));
    let mut other = manifest.clone();
    other["layers"][0]["mediaType"] = json!("application/vnd.wasm.content.layer.v1+wasm");
    assert!(error(&other)?.contains("content.layer.v1+wasm"));
    Ok(())
}

#[test]
fn hostile_manifests_are_refused() -> Result<()> {
    const TITLE: &str = "org.opencontainers.image.title";
    let manifest: Value = serde_json::from_slice(&model()?.manifest()?)?;
    for (pointer, value, expected) in [
        (
            "/layers/0/digest",
            json!("sha256:../../x"),
            "with the digest",
        ),
        ("/layers/0/size", json!(-1), "and -1 bytes"),
        (
            "/layers/0/annotations",
            json!(null),
            "layer 1 has no file name",
        ),
        ("/layers/1/annotations", json!({TITLE: "../x"}), "leads out"),
        ("/layers/1/annotations", json!({TITLE: "/x"}), "absolute"),
        ("/layers/1/annotations", json!({TITLE: "1\\x"}), "backslash"),
        ("/layers/1/annotations", json!({TITLE: ".x"}), "hidden"),
        (
            "/layers/1/annotations",
            json!({TITLE: "2/x"}),
            "not part of version 1",
        ),
        (
            "/layers/1/annotations",
            json!({TITLE: "01/x"}),
            "not part of version 1",
        ),
        (
            "/layers/1/annotations",
            json!({TITLE: "model.toml"}),
            "two files",
        ),
        (
            "/layers/1/annotations",
            json!({TITLE: "model.toml/x"}),
            "as a directory",
        ),
        (
            "/annotations",
            json!({TITLE: "..", "org.opencontainers.image.version": "1"}),
            "no valid",
        ),
        (
            "/annotations",
            json!({TITLE: "m", "org.opencontainers.image.version": "0"}),
            "no valid",
        ),
        ("/annotations", json!(null), "no valid"),
        ("/layers", json!([]), "no file of version 1"),
        ("/schemaVersion", json!("two"), "not an OCI manifest"),
    ] {
        let mut hostile = manifest.clone();
        *hostile
            .pointer_mut(pointer)
            .ok_or_else(|| anyhow!("no {pointer}"))? = value;
        let text = error(&hostile)?;
        assert!(text.contains(expected), "{pointer}: {text}");
    }
    Ok(())
}

#[test]
fn sizes_are_added_without_overflow() -> Result<()> {
    let mut model = model()?;
    for blob in model.files.values_mut() {
        blob.size = u64::MAX;
    }
    assert_eq!(Artifact::Model(model).bytes(), u64::MAX);
    Ok(())
}
