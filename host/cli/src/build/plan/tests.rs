//! Tests of the plans for crates, models and repositories.

use super::*;
use tempfile::TempDir;

/// Creates a directory with these files.
fn tree(files: &[(&str, &str)]) -> anyhow::Result<TempDir> {
    let root = tempfile::tempdir()?;
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().context("a file has a parent")?)?;
        std::fs::write(path, text)?;
    }
    Ok(root)
}

const CRATE: &str = "[package]\nname = \"handler\"";

fn build(plans: Vec<Plan>) -> Vec<Order> {
    let order = |plan| match plan {
        Plan::Build(order) => Some(order),
        Plan::Keep { .. } => None,
    };
    plans.into_iter().filter_map(order).collect()
}

#[test]
fn a_repository_is_all_its_models_that_name_a_source() -> anyhow::Result<()> {
    let root = tree(&[
        ("crates/a/Cargo.toml", CRATE),
        (
            "models/a/model.toml",
            "[handler]\nsource = \"../../crates/a\"",
        ),
        ("models/a/1/model.onnx", ""),
        ("models/a/10/model.onnx", ""),
        ("models/a/9/model.onnx", ""),
        ("models/a/011/model.onnx", ""),
        ("models/bare/1/model.onnx", ""),
        ("models/notes/readme.txt", ""),
        (
            "models/z/model.toml",
            "[handler]\nsource = \"../../crates/a\"",
        ),
    ])?;
    let models = root.path().canonicalize()?.join("models");
    let orders = build(plan(&models)?);
    let place = |order: &Order| (order.name.clone(), order.destination.clone());
    let model = |name: &str, version: &str| {
        let directory = models.join(name);
        let component = directory.join(version).join("handler.wasm");
        let model_file = directory.join("model.toml");
        (
            name.to_owned(),
            Destination::Model {
                component,
                model_file,
            },
        )
    };
    assert_eq!(
        orders.iter().map(place).collect::<Vec<_>>(),
        [model("a", "011"), model("z", "1")]
    );
    assert_eq!(build(plan(&models.join("z"))?).len(), 1);
    assert_eq!(plan_models(&models.join("bare"))?, []);
    assert_eq!(plan_models(&models.join("a/1/model.onnx"))?, []);
    Ok(())
}

#[test]
fn a_source_that_is_not_here_matters_only_without_a_component() -> anyhow::Result<()> {
    let root = tree(&[
        ("kept/model.toml", "[handler]\nsource = \"../gone\""),
        ("kept/1/handler.wasm", ""),
    ])?;
    let plans = plan(root.path())?;
    assert!(matches!(&plans[..], [Plan::Keep { name, .. }] if name == "kept"));
    std::fs::remove_file(root.path().join("kept/1/handler.wasm"))?;
    let error = plan(root.path()).err().context("accepted")?.to_string();
    for part in [
        "kept/model.toml",
        "handler.source",
        "`../gone`",
        "1/handler.wasm",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    Ok(())
}

#[test]
fn a_source_without_a_manifest_is_named() -> anyhow::Result<()> {
    let root = tree(&[
        ("m/model.toml", "[handler]\nsource = \"src\""),
        ("m/src/lib.rs", ""),
        ("m/1/handler.wasm", ""),
    ])?;
    let error = plan(root.path()).err().context("accepted")?.to_string();
    assert!(
        error.contains("`src`") && error.contains("Cargo.toml"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_crate_goes_to_the_models_it_names_or_below_target() -> anyhow::Result<()> {
    let root = tree(&[("Cargo.toml", CRATE)])?;
    let orders = build(plan(root.path())?);
    assert_eq!(orders[0].destination, Destination::TargetDirectory);
    assert_eq!(orders[0].name, "handler");

    let manifest = format!("{CRATE}\n[package.metadata.wisp]\nmodels = \"models\"");
    let root = tree(&[
        ("Cargo.toml", &manifest),
        ("models/ours/model.toml", "[handler]\nsource = \"../..\""),
        ("models/other/model.toml", "[handler]\nsource = \"../gone\""),
        ("models/other/1/handler.wasm", ""),
    ])?;
    let orders = build(plan(root.path())?);
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].name, "ours");

    std::fs::remove_dir_all(root.path().join("models/ours"))?;
    let error = plan(root.path()).err().context("accepted")?.to_string();
    assert!(error.contains("package.metadata.wisp.models"), "{error}");
    Ok(())
}

#[test]
fn modules_of_edge_bundles_are_built_together_or_alone() -> anyhow::Result<()> {
    let module = format!("{CRATE}\n[package.metadata.wisp]\nedge-module = true");
    let root = tree(&[
        ("edge/nn-rten/Cargo.toml", &module),
        ("edge/http-adapter/Cargo.toml", &module),
        ("edge/preload/Cargo.toml", CRATE),
        ("edge/wit/world.wit", ""),
    ])?;
    let names = |orders: Vec<Order>| orders.into_iter().map(|order| order.name);
    let orders = build(plan(&root.path().join("edge"))?);
    let is_edge = |order: &Order| order.destination == Destination::EdgeModules;
    assert!(orders.iter().all(is_edge), "{orders:?}");
    assert!(names(orders).eq(["http-adapter", "nn-rten"]));
    let orders = build(plan(&root.path().join("edge/nn-rten"))?);
    assert!(names(orders).eq(["nn-rten"]));
    Ok(())
}

#[test]
fn a_path_with_nothing_to_build_says_what_was_looked_for() -> anyhow::Result<()> {
    let root = tree(&[("bare/1/model.onnx", "")])?;
    for (path, expected) in [
        (root.path().to_owned(), "[handler] source"),
        (root.path().join("bare/1/model.onnx"), "is a file"),
        (root.path().join("none"), "cannot open"),
    ] {
        let error = plan(&path).err().context("accepted")?.to_string();
        assert!(error.contains(expected), "{error}");
    }
    Ok(())
}
