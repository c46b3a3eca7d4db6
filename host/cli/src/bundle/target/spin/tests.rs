//! Tests of the manifests of Spin applications.

use super::*;
use crate::bundle::finished::sample::{self, model};
use std::fs;
use wisp_protocol::call::ModelDescription;

/// Writes an application, and returns its manifest.
fn written(bundle: &Bundle<'_>, output: &Path) -> anyhow::Result<toml::Table> {
    write(bundle, output)?;
    Ok(fs::read_to_string(output.join(MANIFEST))?.parse()?)
}

fn bundle<'a>(model: &'a ModelDescription, source: &'a Path) -> Bundle<'a> {
    Bundle {
        source,
        ..sample::bundle(model)
    }
}

#[test]
fn an_application_has_one_component_and_the_command_that_makes_it() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("my models/ResNet_50");
    let model = model("ResNet_50")?;
    let arguments = ["--version".to_owned(), "1".to_owned()];
    let bundle = Bundle {
        arguments: &arguments,
        ..bundle(&model, &source)
    };
    let output = directory.path().join("out/app");
    let manifest = written(&bundle, &output)?;
    assert_eq!(manifest["spin_manifest_version"].as_integer(), Some(2));
    assert_eq!(manifest["application"]["name"].as_str(), Some("resnet50"));
    let trigger = &manifest["trigger"]["http"][0];
    assert_eq!(trigger["route"].as_str(), Some("/..."));
    assert_eq!(trigger["component"].as_str(), Some("resnet50"));
    let component = &manifest["component"]["resnet50"];
    assert_eq!(component["source"].as_str(), Some("ResNet_50.wasm"));
    assert_eq!(
        component["build"]["command"].as_str(),
        Some("wisp bundle '../../my models/ResNet_50' --version 1 -o ResNet_50.wasm")
    );
    assert!(component.get("dependencies").is_none());
    assert_eq!(fs::read(output.join("ResNet_50.wasm"))?, b"component");
    Ok(())
}

#[test]
fn the_parts_of_a_bundle_are_a_component_and_its_dependency() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let model = model("digits")?;
    let parts = BundleParts {
        adapter: b"adapter".to_vec(),
        model: b"model".to_vec(),
    };
    let source = directory.path().join("digits");
    let bundle = Bundle {
        parts: Some(&parts),
        ..bundle(&model, &source)
    };
    let output = directory.path().join("app");
    let manifest = written(&bundle, &output)?;
    let component = &manifest["component"]["digits"];
    let dependency = &component["dependencies"][MODEL_INTERFACE];
    assert_eq!(dependency["path"].as_str(), Some("digits-model.wasm"));
    assert_eq!(
        component["dependencies_inherit_configuration"].as_bool(),
        Some(true)
    );
    assert_eq!(
        component["build"]["command"].as_str(),
        Some("wisp bundle ../digits --target spin --split -o .")
    );
    assert_eq!(fs::read(output.join("digits.wasm"))?, b"adapter");
    assert_eq!(fs::read(output.join("digits-model.wasm"))?, b"model");
    Ok(())
}

#[test]
fn a_manifest_that_its_owner_has_changed_stays_as_it_is() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (digits, wine) = (model("digits")?, model("wine")?);
    let path = directory.path().join(MANIFEST);
    written(&bundle(&digits, directory.path()), directory.path())?;
    let edited = fs::read_to_string(&path)?.replace("\"/...\"", "\"/digits/...\"");
    fs::write(&path, &edited)?;
    written(&bundle(&digits, directory.path()), directory.path())?;
    assert_eq!(fs::read_to_string(&path)?, edited);
    let refused = write(&bundle(&wine, directory.path()), directory.path());
    assert!(refused.is_err());
    assert!(!directory.path().join("wine.wasm").exists());
    Ok(())
}
