//! Tests of `wisp backend`: downloads from an index, the installed files, and computation with the
//! installed backend.

mod package_index;

use super::{failure, run, stdout, wisp};
use crate::harness::Repository;
use crate::python;
use anyhow::{Context, Result, ensure};
use package_index::{Form, PackageIndex};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A wine of the third class, from the cases of `examples/wine`.
const WINE: &str =
    "features=[[13.73, 4.36, 2.26, 22.5, 88, 1.28, 0.47, 0.52, 1.15, 6.62, 0.78, 1.75, 520]]";

/// Returns a command with a cache directory of its own, independent of the environment.
fn wisp_with(cache: &TempDir, args: &[&str]) -> Command {
    let mut command = wisp();
    for variable in [
        "ORT_DYLIB_PATH",
        "WISP_ONNXRUNTIME_LIBRARY",
        "PIP_INDEX_URL",
    ] {
        command.env_remove(variable);
    }
    command.env("NO_PROXY", "127.0.0.1");
    command.args(args).arg("--cache-dir").arg(cache.path());
    command
}

fn install_from(index: &PackageIndex, cache: &TempDir) -> Command {
    let mut command = wisp_with(cache, &["backend", "install", "onnxruntime"]);
    command.arg("--index-url").arg(index.url());
    command
}

fn list(cache: &TempDir) -> Result<Value> {
    let text = stdout(&run(&mut wisp_with(cache, &["backend", "list", "--json"]))?)?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns the entries of the package directory, except its lock.
fn kept(cache: &TempDir) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(cache.path().join("backends"))? {
        let name = entry?.file_name().into_string().ok().context("not UTF-8")?;
        if name != "lock" {
            names.push(name);
        }
    }
    Ok(names)
}

fn infer(cache: &TempDir, model: &Path) -> Command {
    let mut command = wisp_with(cache, &["infer", "--backend", "onnxruntime"]);
    command.arg(model).args(["--input", WINE]);
    command
}

#[test]
fn a_backend_is_installed_from_an_index_and_computes() -> Result<()> {
    let wheel = python::onnxruntime_wheel()?;
    let cache = tempfile::tempdir()?;
    let index = PackageIndex::start(Form::RelativeJson, wheel, std::fs::read(wheel)?)?;
    let text = stdout(&run(&mut install_from(&index, &cache))?)?;
    ensure!(
        text.starts_with("installed onnxruntime 1.31.1 in"),
        "{text}"
    );
    ensure!(
        kept(&cache)? == ["onnxruntime-1.31.1"],
        "{:?}",
        kept(&cache)?
    );
    for file in ["LICENSE", "ThirdPartyNotices.txt"] {
        let file = cache.path().join("backends/onnxruntime-1.31.1").join(file);
        ensure!(file.is_file(), "{}", file.display());
    }
    // The index is gone, and no request is sent to it.
    let mut install = install_from(&index, &cache);
    drop(index);
    let text = stdout(&run(&mut install)?)?;
    ensure!(text.contains("is already installed"), "{text}");

    let engine = &list(&cache)?[2];
    ensure!(engine["available"] == true, "{engine}");
    ensure!(engine["version"] == "1.31.1", "{engine}");
    let text = stdout(&run(&mut wisp_with(&cache, &["backend", "list"]))?)?;
    ensure!(text.contains("onnxruntime  yes        1.31.1"), "{text}");

    let repository = Repository::of(&["wine"])?;
    let model = repository.path().join("wine");
    let text = stdout(&run(&mut infer(&cache, &model))?)?;
    ensure!(text.contains("[\"class_2\"]"), "{text}");
    Ok(())
}

#[test]
fn a_corrupted_download_is_refused_and_removed() -> Result<()> {
    let wheel = python::onnxruntime_wheel()?;
    let whole = std::fs::read(wheel)?;
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let shorter = whole[..middle].to_vec();
    let longer = [whole.as_slice(), b"x"].concat();
    for (content, expected) in [
        (changed, "not the published file"),
        (shorter, "ended after"),
        (longer, "larger than the"),
    ] {
        let cache = tempfile::tempdir()?;
        let index = PackageIndex::start(Form::Json, wheel, content)?;
        let (text, code) = failure(&run(&mut install_from(&index, &cache))?)?;
        ensure!(text.contains(expected), "{expected}: {text}");
        ensure!(code == 1, "{expected}: {code}");
        ensure!(kept(&cache)?.is_empty(), "{expected}: {:?}", kept(&cache)?);
        ensure!(list(&cache)?[2]["available"] == false, "{expected}");
    }
    Ok(())
}

#[test]
fn an_error_names_an_index_without_the_file_or_project() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let other = Path::new("onnxruntime-0.1-py3-none-any.whl");
    let index = PackageIndex::start(Form::Json, other, Vec::new())?;
    let (text, _) = failure(&run(&mut install_from(&index, &cache))?)?;
    ensure!(
        text.contains("does not offer `onnxruntime-1.31.1-"),
        "{text}"
    );
    let html = PackageIndex::start(Form::Html, other, Vec::new())?;
    let (text, _) = failure(&run(&mut install_from(&html, &cache))?)?;
    ensure!(
        text.contains("has responded with text/html") && text.contains("PEP 691"),
        "{text}"
    );
    let mut install = wisp_with(&cache, &["backend", "install", "onnxruntime"]);
    // The page does not exist, and the password in its URL must not be printed.
    let nowhere = index.url().replace("//", "//me:secret@") + "/nowhere";
    let (text, _) = failure(&run(install.env("PIP_INDEX_URL", nowhere))?)?;
    ensure!(text.contains("/nowhere/onnxruntime/`"), "{text}");
    ensure!(
        text.contains("--index-url") && text.contains("--wheel"),
        "{text}"
    );
    ensure!(!text.contains("secret"), "{text}");
    Ok(())
}

#[test]
fn a_backend_is_installed_from_a_file_and_removed() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let mut install = wisp_with(&cache, &["backend", "install", "onnxruntime"]);
    install.arg("--wheel").arg(python::onnxruntime_wheel()?);
    stdout(&run(&mut install)?)?;
    ensure!(list(&cache)?[2]["available"] == true);
    let mut uninstall = wisp_with(&cache, &["backend", "uninstall", "onnxruntime"]);
    let text = stdout(&run(&mut uninstall)?)?;
    ensure!(text.starts_with("removed `"), "{text}");
    ensure!(kept(&cache)?.is_empty(), "{:?}", kept(&cache)?);
    let text = stdout(&run(&mut uninstall)?)?;
    ensure!(text == "onnxruntime is not installed\n", "{text}");
    Ok(())
}

#[test]
fn an_error_explains_how_to_install_a_missing_backend() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let repository = Repository::of(&["wine"])?;
    let model = repository.path().join("wine");
    let (text, code) = failure(&run(&mut infer(&cache, &model))?)?;
    ensure!(
        text.contains("`wisp backend install onnxruntime`"),
        "{text}"
    );
    ensure!(code == 64, "{code}");
    let text = stdout(&run(&mut wisp_with(&cache, &["backend", "list"]))?)?;
    ensure!(text.contains("onnxruntime  no         -"), "{text}");
    ensure!(
        text.contains("`wisp backend install onnxruntime`"),
        "{text}"
    );
    Ok(())
}
