//! Checks of the dependencies of the workspace by `.cargo/deny.toml`, and of the program's bill of materials.
//!
//! These are the checks of cargo-deny that need nothing but `cargo metadata`: licenses, banned crates and sources.
//! Building cargo-deny takes minutes and its binaries on PyPI are older than the format of the file, so the workflows
//! of GitHub run cargo-deny itself, with the advisories besides.

use crate::harness::root;
use crate::python;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use toml::Table;

/// Returns all packages that are compiled for x86-64 Linux, tests included, as `cargo metadata` describes them.
fn packages() -> Result<Vec<Value>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .args(["--all-features", "--manifest-path"])
        .arg(root().join("Cargo.toml"));
    let output = python::succeed(&mut cargo)?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let needed = metadata["resolve"]["nodes"]
        .as_array()
        .context("no graph")?;
    let needed: BTreeSet<&str> = needed
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let is_needed = |package: &&Value| package["id"].as_str().is_some_and(|id| needed.contains(id));
    Ok(packages.iter().filter(is_needed).cloned().collect())
}

fn policy() -> Result<Table> {
    let text = std::fs::read_to_string(root().join(".cargo/deny.toml"))?;
    Ok(toml::from_str(&text)?)
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap_or_default()
}

/// Returns the texts in an array of a table.
fn texts(table: &toml::Value, key: &str) -> BTreeSet<String> {
    let array = table.get(key).and_then(toml::Value::as_array);
    let texts = array.into_iter().flatten().filter_map(toml::Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The parts of a license expression of SPDX.
fn tokens(expression: &str) -> Vec<String> {
    // Before 2020, a slash stood for `OR`.
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut tokens: Vec<String> = Vec::new();
    let mut words = spaced.split_whitespace();
    while let Some(word) = words.next() {
        match (word, tokens.last_mut()) {
            // An exception belongs to its license.
            ("WITH", Some(license)) => {
                *license = format!("{license} WITH {}", words.next().unwrap_or_default());
            }
            _ => tokens.push(word.to_owned()),
        }
    }
    tokens
}

/// An expression that is read from its beginning. `AND` binds more strongly than `OR`.
struct Expression<'a> {
    tokens: std::iter::Peekable<std::slice::Iter<'a, String>>,
    allowed: &'a BTreeSet<String>,
}

impl Expression<'_> {
    fn takes(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| *token == word).is_some()
    }

    fn any(&mut self) -> Result<bool> {
        let mut is_allowed = self.all()?;
        while self.takes("OR") {
            is_allowed |= self.all()?;
        }
        Ok(is_allowed)
    }

    fn all(&mut self) -> Result<bool> {
        let mut is_allowed = self.one()?;
        while self.takes("AND") {
            is_allowed &= self.one()?;
        }
        Ok(is_allowed)
    }

    fn one(&mut self) -> Result<bool> {
        if self.takes("(") {
            let is_allowed = self.any()?;
            ensure!(self.takes(")"), "a bracket is open");
            return Ok(is_allowed);
        }
        let license = self.tokens.next().context("a license is missing")?;
        Ok(self.allowed.contains(license))
    }
}

/// Returns whether the licenses allow what the expression asks for.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Result<bool> {
    let tokens = tokens(expression);
    let mut expression = Expression {
        tokens: tokens.iter().peekable(),
        allowed,
    };
    let is_allowed = expression.any()?;
    ensure!(expression.tokens.next().is_none(), "something follows");
    Ok(is_allowed)
}

#[test]
fn expressions_of_licenses_are_read_as_spdx_defines_them() -> Result<()> {
    let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"];
    let allowed: BTreeSet<String> = allowed.map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT OR GPL-3.0 AND Zlib", true),
        ("(MIT OR GPL-3.0) AND Zlib", true),
        ("(MIT OR Zlib) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        ensure!(
            is_allowed(expression, &allowed)? == expected,
            "{expression}"
        );
    }
    for broken in ["", "MIT OR", "(MIT", "MIT MIT", ")"] {
        ensure!(!is_allowed(broken, &allowed).is_ok_and(|is| is), "{broken}");
    }
    Ok(())
}

#[test]
fn every_dependency_has_an_allowed_license() -> Result<()> {
    let policy = policy()?;
    let licenses = policy.get("licenses").context("no licenses")?;
    let allowed = texts(licenses, "allow");
    let mut exceptions = BTreeMap::new();
    let listed = licenses.get("exceptions").and_then(toml::Value::as_array);
    for exception in listed.into_iter().flatten() {
        let of = exception.get("crate").and_then(toml::Value::as_str);
        exceptions.insert(of.context("no crate")?, texts(exception, "allow"));
    }
    let mut refused = Vec::new();
    for package in packages()? {
        let license = package["license"].as_str();
        let license = license.with_context(|| format!("{} has no license", name(&package)))?;
        let more = exceptions.remove(name(&package)).unwrap_or_default();
        let allowed = &allowed | &more;
        if !is_allowed(license, &allowed).with_context(|| license.to_owned())? {
            refused.push(format!("{}: {license}", name(&package)));
        }
    }
    ensure!(refused.is_empty(), "{}", refused.join("\n"));
    ensure!(exceptions.is_empty(), "not needed: {exceptions:?}");
    Ok(())
}

#[test]
fn no_banned_crate_is_a_dependency_and_all_come_from_one_registry() -> Result<()> {
    let policy = policy()?;
    let banned = policy.get("bans").and_then(|bans| bans.get("deny"));
    let banned = banned.and_then(toml::Value::as_array).context("no bans")?;
    let banned: BTreeSet<&str> = (banned.iter())
        .filter_map(|ban| ban.get("name")?.as_str())
        .collect();
    let sources = policy.get("sources").context("no sources")?;
    let registries = texts(sources, "allow-registry");
    for package in packages()? {
        ensure!(
            !banned.contains(name(&package)),
            "{} is banned",
            name(&package)
        );
        // A package without a source is in this repository.
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        let Some(registry) = source.strip_prefix("registry+") else {
            bail!("{} comes from {source}", name(&package));
        };
        ensure!(
            registries.contains(registry),
            "{}: {source}",
            name(&package)
        );
    }
    Ok(())
}

#[test]
fn the_bill_of_materials_is_valid_and_the_same_each_time() -> Result<()> {
    let write = || -> Result<Vec<u8>> {
        let mut program = Command::new("python3");
        program.arg("-B").arg(root().join(".ci/sbom.py"));
        Ok(python::succeed(&mut program)?.stdout)
    };
    let text = write()?;
    ensure!(text == write()?, "it differs between two runs");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("wisp.cdx.json");
    std::fs::write(&path, &text)?;
    let path = path.to_str().context("the path is text")?;
    let count = python::run_in(&python::SBOM, "sbom.py", &[path])?;
    ensure!(count.trim().parse::<usize>()? > 100, "{count} components");
    let document: Value = serde_json::from_slice(&text)?;
    let components = document["components"].as_array().context("no components")?;
    for native in ["jemalloc", "zstd", "onnxruntime", "CUDA Toolkit"] {
        let is_listed = components
            .iter()
            .any(|component| component["name"] == native);
        ensure!(is_listed, "{native} is not listed");
    }
    Ok(())
}
