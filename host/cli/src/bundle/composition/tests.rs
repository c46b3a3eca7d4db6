//! Tests of compositions of components that do nothing.

use super::*;
use anyhow::Result;
use wisp_sandbox::component::ComponentSummary;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// The interfaces of the parts, much shortened.
const PACKAGES: [&str; 3] = [
    "package wasi:http@0.2.0;
     interface types { now: func(); }
     interface incoming-handler { handle: func(); }",
    "package wasi:nn@0.2.0-rc-2024-10-28;
     interface tensor { resource tensor { size: func() -> u32; } }
     interface graph { use tensor.{tensor}; compute: func(input: tensor) -> tensor; }",
    "package wisp:handler@0.1.0;
     interface model { infer: func(request: string) -> string; }
     interface configuration { keys: func() -> list<string>; }",
];

const ADAPTER: &str = "import wisp:handler/model@0.1.0; import wasi:http/types@0.2.0;
    export wasi:http/incoming-handler@0.2.0;";

const PROVIDER: &str = "export wasi:nn/tensor@0.2.0-rc-2024-10-28;
    export wasi:nn/graph@0.2.0-rc-2024-10-28; export wisp:handler/configuration@0.1.0;
    export wisp:handler/model@0.1.0;";

const HANDLER: &str = "import wasi:nn/tensor@0.2.0-rc-2024-10-28;
    import wasi:nn/graph@0.2.0-rc-2024-10-28; import wisp:handler/configuration@0.1.0;
    export wisp:handler/model@0.1.0;";

/// Returns a component with these imports and exports.
fn component(items: &str) -> Result<Vec<u8>> {
    component_with(&PACKAGES, items)
}

fn component_with(packages: &[&str], items: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    for (index, package) in packages.iter().enumerate() {
        resolve.push_str(format!("{index}.wit"), package)?;
    }
    let world = format!("package test:part; world part {{ {items} }}");
    let package = resolve.push_str("world.wit", &world)?;
    let world = resolve.select_world(&[package], Some("part"))?;
    let abi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let mut module = dummy_module(&resolve, world, abi);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode())
}

fn parts(handler: Option<Vec<u8>>) -> Result<Parts> {
    Ok(Parts {
        adapter: component(ADAPTER)?,
        provider: component(PROVIDER)?,
        handler,
    })
}

fn imports_and_exports(component: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let ComponentSummary {
        imports, exports, ..
    } = ComponentSummary::read(component)?;
    Ok((imports, exports))
}

#[test]
fn a_bundle_imports_only_what_its_parts_do_not_have() -> Result<()> {
    let expected = (
        vec!["wasi:http/types@0.2.0".to_owned()],
        vec!["wasi:http/incoming-handler@0.2.0".to_owned()],
    );
    for handler in [None, Some(component(HANDLER)?)] {
        let bundle = compose(parts(handler)?)?;
        assert_eq!(imports_and_exports(&bundle)?, expected);
    }
    Ok(())
}

#[test]
fn imports_that_no_part_has_are_those_of_the_bundle() -> Result<()> {
    let handler = component(&format!("import wasi:http/types@0.2.0; {HANDLER}"))?;
    let (imports, _) = imports_and_exports(&compose(parts(Some(handler))?)?)?;
    assert_eq!(imports, ["wasi:http/types@0.2.0"]);
    Ok(())
}

#[test]
fn parts_that_do_not_fit_are_named() -> Result<()> {
    let other = PACKAGES.map(|package| package.replace("request: string", "request: u32"));
    let other = other.each_ref().map(String::as_str);
    let handler = component_with(&other, HANDLER)?;
    let error = compose(parts(Some(handler))?).err().context("composed")?;
    let text = error.to_string();
    for name in [MODEL_INTERFACE, "wisp:http-adapter", "wisp:model-handler"] {
        assert!(text.contains(name), "{text}");
    }
    let parts = Parts {
        adapter: component("import wisp:handler/model@0.1.0;")?,
        ..parts(None)?
    };
    let error = compose(parts).err().context("composed")?;
    assert!(error.to_string().contains("incoming-handler"), "{error}");
    Ok(())
}

#[test]
fn a_model_apart_from_its_adapter_exports_the_model() -> Result<()> {
    let parts = parts(Some(component(HANDLER)?))?;
    let (imports, exports) = imports_and_exports(&compose_model(&parts)?)?;
    assert_eq!(
        (imports.len(), exports),
        (0, vec![MODEL_INTERFACE.to_owned()])
    );
    let bare = Parts {
        handler: None,
        ..parts
    };
    let (_, exports) = imports_and_exports(&compose_model(&bare)?)?;
    assert!(exports.iter().any(|export| export == MODEL_INTERFACE));
    Ok(())
}
