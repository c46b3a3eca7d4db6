//! Tests of the report of a bundle.

use super::finished::sample::{self, model};
use super::*;

#[test]
fn the_report_has_the_figures_of_the_bundle() -> anyhow::Result<()> {
    let model = model("digits")?;
    let imports = ["wasi:http/types@0.2.0".to_owned()];
    let mut bundle = Bundle {
        bytes: &[0; 2048],
        gzipped_bytes: 100,
        imports: &imports,
        ..sample::bundle(&model)
    };
    let took = Duration::from_millis(1_540);
    let path = Path::new("/out/digits.wasm");
    assert_eq!(
        report(&bundle, path, (&Verdict::Cases(3), took)),
        "/out/digits.wasm  2.0 KiB (100 B gzipped)\n  backend  rten\n  imports  wasi:http/types@0.2.0\n  \
         cases    3 of 3 passed, as natively\n  time     1.5 s\n"
    );
    bundle.imports = &[];
    let text = report(&bundle, path, (&Verdict::Sample, took));
    assert!(text.contains("  imports  nothing\n"), "{text}");
    Ok(())
}

#[test]
fn the_name_of_the_output_is_that_of_the_model() -> anyhow::Result<()> {
    let model = model("digits")?;
    let bundle = sample::bundle(&model);
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
