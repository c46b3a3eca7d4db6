//! Tests of the report of a bundle.

use super::*;
use std::collections::BTreeMap;
use wisp_protocol::call::{ModelDescription, ModelName, Version};
use wisp_tensor::Signature;

fn model() -> anyhow::Result<ModelDescription> {
    Ok(ModelDescription {
        model: ModelName::new("digits")?,
        version: Version::FIRST,
        platform: "rten_onnx".to_owned(),
        signature: Signature {
            inputs: Vec::new(),
            outputs: Vec::new(),
        },
        max_batch_size: 0,
        max_rows: None,
        class_labels: BTreeMap::new(),
        properties: BTreeMap::new(),
        configuration: Default::default(),
    })
}

#[test]
fn the_report_has_the_figures_of_the_bundle() -> anyhow::Result<()> {
    let model = model()?;
    let imports = ["wasi:http/types@0.2.0".to_owned()];
    let mut bundle = Bundle {
        bytes: &[0; 2048],
        gzipped_bytes: 100,
        model: &model,
        engine: "rten",
        imports: &imports,
        keeps_instance: false,
    };
    let took = Duration::from_millis(1_540);
    let path = Path::new("/out/digits.wasm");
    assert_eq!(
        report(&bundle, path, (&Verdict::Cases(3), took)),
        "/out/digits.wasm  2.0 KiB (100 B gzipped)\n  engine   rten\n  imports  wasi:http/types@0.2.0\n  \
         cases    3 of 3 passed, as natively\n  time     1.5 s\n"
    );
    bundle.imports = &[];
    let text = report(&bundle, path, (&Verdict::Sample, took));
    assert!(text.contains("  imports  nothing\n"), "{text}");
    Ok(())
}

#[test]
fn the_name_of_the_output_is_that_of_the_model() -> anyhow::Result<()> {
    let model = model()?;
    let bundle = Bundle {
        bytes: &[],
        gzipped_bytes: 0,
        model: &model,
        engine: "rten",
        imports: &[],
        keeps_instance: false,
    };
    for (choice, name) in [
        (TargetChoice::Component, "digits.wasm"),
        (TargetChoice::Spin, "digits-spin"),
        (TargetChoice::Cloudflare, "digits-cloudflare"),
    ] {
        assert_eq!(target::default_output(choice, &bundle), Path::new(name));
    }
    Ok(())
}

#[test]
fn bytes_that_repeat_take_less_with_gzip() -> io::Result<()> {
    let size = gzipped_bytes(&[7; 100_000])?;
    assert!(size > 0 && size < 1_000, "{size}");
    Ok(())
}
