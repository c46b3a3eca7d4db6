//! The dependencies that the manifests of the host crates declare.

use crate::harness::root;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use toml::Table;

/// The dependencies of a host crate, by the names with which code refers to them. Those of its tests
/// are left out.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) dependencies: BTreeSet<String>,
    pub(super) build_dependencies: BTreeSet<String>,
}

impl Manifest {
    /// Reads the manifest of `host/<krate>`.
    pub(super) fn of(krate: &str) -> Result<Manifest> {
        let path = root().join(format!("host/{krate}/Cargo.toml"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let table: Table = toml::from_str(&text)?;
        let targets = table.get("target").and_then(|targets| targets.as_table());
        let targets = targets.into_iter().flat_map(|targets| targets.values());
        let tables = targets.filter_map(|target| target.as_table());
        let tables = tables.chain([&table]);
        Ok(Manifest {
            dependencies: tables
                .flat_map(|table| names(table, "dependencies"))
                .collect(),
            build_dependencies: names(&table, "build-dependencies").collect(),
        })
    }

    /// Returns all dependencies that belong to other projects.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &str> {
        let all = self.dependencies.union(&self.build_dependencies);
        all.map(String::as_str)
            .filter(|name| !name.starts_with("wisp_"))
    }
}

fn names(table: &Table, section: &str) -> impl Iterator<Item = String> {
    let section = table.get(section).and_then(|section| section.as_table());
    let names = section.into_iter().flat_map(|section| section.keys());
    names.map(|name| name.replace('-', "_"))
}

/// Returns the host crates that depend on each foreign crate.
pub(super) fn users_of_foreign_crates(
    krates: &[&'static str],
) -> Result<BTreeMap<String, BTreeSet<&'static str>>> {
    let mut users = BTreeMap::<_, BTreeSet<_>>::new();
    for krate in krates {
        for name in Manifest::of(krate)?.foreign() {
            users.entry(name.to_owned()).or_default().insert(*krate);
        }
    }
    Ok(users)
}
