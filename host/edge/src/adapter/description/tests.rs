//! Round trips of descriptions through the JSON of a manifest.

use super::*;
use crate::adapter::{AdapterManifest, Kind};

fn spec(name: &str, element_type: ElementType, sizes: &[i64], optional: bool) -> TensorSpec {
    let sizes = sizes.iter().copied();
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: sizes.filter_map(Dimension::from_wire).collect(),
        optional,
    }
}

/// Returns a description in which no field has its default.
fn full() -> anyhow::Result<ModelDescription> {
    let text = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let types = ElementType::ALL.into_iter();
    Ok(ModelDescription {
        model: ModelName::new("digits-v1.5")?,
        version: Version::from_decimal("18446744073709551615")
            .ok_or_else(|| anyhow::anyhow!("no version"))?,
        platform: "rten_onnx".to_owned(),
        signature: Signature {
            inputs: types
                .map(|of| spec(of.name(), of, &[-1, 0, 4_294_967_295], true))
                .collect(),
            outputs: vec![spec("a \"b\"\n\u{1f600}", ElementType::Fp32, &[], false)],
        },
        max_batch_size: 8,
        max_rows: Some(7),
        class_labels: BTreeMap::from([("y".to_owned(), vec!["cat".to_owned(), String::new()])]),
        properties: text("backend_selection", "rten"),
        configuration: ModelConfiguration {
            version_policy: VersionPolicy::Specific(vec![1, u64::MAX]),
            image_layouts: BTreeMap::from([
                ("a".to_owned(), ImageLayout::Nchw),
                ("b".to_owned(), ImageLayout::Nhwc),
            ]),
            label_files: text("y", "labels.txt"),
            instances: 3,
            gpu: Some(1),
            dynamic_batching: None,
            response_cache: false,
            file_name: "handler.wasm".to_owned(),
        },
    })
}

fn manifest(description: &ModelDescription) -> AdapterManifest {
    AdapterManifest {
        model: description.into(),
        labels: vec!["stable".to_owned()],
        kind: Kind::Handler,
        max_body_bytes: 1 << 40,
        server_version: "0.1.0".to_owned(),
    }
}

#[test]
fn a_description_survives_its_manifest() -> anyhow::Result<()> {
    let full = full()?;
    let mut plain = ModelDescription {
        max_rows: None,
        class_labels: BTreeMap::new(),
        properties: BTreeMap::new(),
        configuration: ModelConfiguration::default(),
        ..full.clone()
    };
    let all = ModelDescription {
        configuration: ModelConfiguration {
            version_policy: VersionPolicy::All,
            ..ModelConfiguration::default()
        },
        ..full.clone()
    };
    plain.signature.inputs.clear();
    for description in [full, plain, all] {
        let manifest = manifest(&description);
        let restored = AdapterManifest::from_json(&manifest.to_json()?)?;
        assert_eq!(restored, manifest);
        assert_eq!(ModelDescription::try_from(restored.model)?, description);
    }
    Ok(())
}

#[test]
fn an_entry_that_no_model_has_is_refused() -> anyhow::Result<()> {
    let entry = DescriptionEntry::from(&full()?);
    let with_input = |change: fn(&mut TensorEntry)| {
        let mut entry = entry.clone();
        entry.inputs.iter_mut().take(1).for_each(change);
        entry
    };
    let refused = [
        DescriptionEntry {
            name: "a/b".to_owned(),
            ..entry.clone()
        },
        DescriptionEntry {
            version: "01".to_owned(),
            ..entry.clone()
        },
        with_input(|input| input.datatype = "fp32".to_owned()),
        with_input(|input| input.shape.push(-2)),
    ];
    for entry in refused {
        assert!(
            ModelDescription::try_from(entry.clone()).is_err(),
            "{entry:?}"
        );
    }
    Ok(())
}

#[test]
fn a_manifest_has_no_unknown_fields() -> anyhow::Result<()> {
    let text = String::from_utf8(manifest(&full()?).to_json()?)?;
    let other = text.replacen('{', r#"{"other":1,"#, 1);
    assert!(AdapterManifest::from_json(other.as_bytes()).is_err());
    Ok(())
}
