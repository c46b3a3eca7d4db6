//! Checks whether a component is newer than everything that it was built from, without calling cargo.
//!
//! Next to each artifact cargo writes a `.d` file that lists the sources of the crate and of all its
//! path dependencies, including files read by macros and build scripts. A component is fresh if all of
//! those exist and none is newer, and if the same holds for the manifests, lock files and cargo
//! configurations in their ancestor directories and for the model file that names the crate.
//!
//! Invariant: missing information makes a component stale, and the build that follows calls cargo. A
//! different compiler is not detected; `wisp build` always calls cargo.

use super::cargo::{CONFIG_FILES, TARGET};
use super::manifest::{self, CrateManifest};
use super::plan::{Destination, Order};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Returns whether the component of `order` exists and is at least as new as its sources.
pub(super) fn is_fresh(order: &Order) -> bool {
    let Destination::Model {
        component,
        model_file,
    } = &order.destination
    else {
        return false;
    };
    let Some(built) = modified(component) else {
        return false;
    };
    let Some(sources) = recorded_sources(&order.source) else {
        return false;
    };
    let is_older = |path: &Path| modified(path).is_some_and(|modified| modified <= built);
    is_older(model_file)
        && sources.iter().all(|source| is_older(source))
        && settings_above(&sources).iter().all(|file| is_older(file))
}

/// Returns the sources that cargo recorded for the crate's last release build, or `None` if the crate
/// was never built or has a different target directory.
fn recorded_sources(crate_directory: &Path) -> Option<Vec<PathBuf>> {
    let library = CrateManifest::load(crate_directory).ok()?.library;
    let target_directory = workspace_root(crate_directory).join("target");
    let file = target_directory
        .join(TARGET)
        .join("release")
        .join(format!("{library}.d"));
    let listed = prerequisites(&fs::read_to_string(file).ok()?);
    // Generated files are as new as the build; the sources of the generator are listed too.
    let is_source = |path: &PathBuf| !path.starts_with(&target_directory);
    let sources: Vec<PathBuf> = listed.into_iter().filter(is_source).collect();
    (!sources.is_empty()).then_some(sources)
}

/// Returns the nearest ancestor directory whose manifest has a `[workspace]` section, or the crate's own
/// directory. This is cargo's rule except for workspaces that exclude the crate, for which no `.d` file
/// is found.
fn workspace_root(crate_directory: &Path) -> &Path {
    let is_workspace = |directory: &&Path| {
        fs::read_to_string(directory.join(manifest::FILE_NAME)).is_ok_and(|text| {
            text.lines()
                .any(|line| line.trim_start().starts_with("[workspace"))
        })
    };
    crate_directory
        .ancestors()
        .find(is_workspace)
        .unwrap_or(crate_directory)
}

/// Returns the paths after the colon of a `.d` file's first rule. A space in a path is escaped as `\ `.
fn prerequisites(rule: &str) -> Vec<PathBuf> {
    let first = rule.lines().next().unwrap_or_default();
    let Some((_, list)) = first.split_once(": ") else {
        return Vec::new();
    };
    let mut paths = vec![String::new()];
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next_if_eq(&' ').is_some() {
            paths.last_mut().into_iter().for_each(|path| path.push(' '));
        } else if character == ' ' {
            paths.push(String::new());
        } else {
            paths
                .last_mut()
                .into_iter()
                .for_each(|path| path.push(character));
        }
    }
    paths.retain(|path| !path.is_empty());
    paths.into_iter().map(PathBuf::from).collect()
}

/// Returns the manifests, lock files and cargo configurations in all directories above the sources.
fn settings_above(sources: &[PathBuf]) -> Vec<PathBuf> {
    let directories: BTreeSet<&Path> = sources
        .iter()
        .flat_map(|source| source.ancestors().skip(1))
        .collect();
    let names = [
        manifest::FILE_NAME,
        "Cargo.lock",
        "rust-toolchain.toml",
        "rust-toolchain",
    ];
    directories
        .into_iter()
        .flat_map(|directory| {
            let names = names.iter().chain(&CONFIG_FILES);
            names.map(|name| directory.join(name)).collect::<Vec<_>>()
        })
        .filter(|path| path.is_file())
        .collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::fs::File;
    use std::time::Duration;
    use tempfile::TempDir;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    fn put(path: &Path, text: &str, seconds: u64) -> anyhow::Result<()> {
        fs::create_dir_all(path.parent().context("a file has a parent")?)?;
        fs::write(path, text)?;
        Ok(File::options()
            .append(true)
            .open(path)?
            .set_modified(at(seconds))?)
    }

    /// Creates a workspace with one crate, built at time 100 from sources of time 10.
    fn project() -> anyhow::Result<(TempDir, Order)> {
        let directory = tempfile::tempdir()?;
        let root = directory.path().canonicalize()?;
        let source = root.join("handler");
        put(
            &root.join("Cargo.toml"),
            "[workspace]\nmembers = [\"handler\"]",
            10,
        )?;
        put(&source.join("Cargo.toml"), "[package]\nname = \"a-b\"", 10)?;
        put(&source.join("src/lib.rs"), "", 10)?;
        put(&root.join("sdk with space/src/lib.rs"), "", 10)?;
        put(&root.join("model.toml"), "", 10)?;
        let release = root.join("target").join(TARGET).join("release");
        put(&release.join("build/out/table.rs"), "", 150)?;
        let rule = format!(
            "{0}/a_b.wasm: {0}/build/out/table.rs {1}/handler/src/lib.rs {1}/sdk\\ with\\ space/src/lib.rs\n",
            release.display(),
            root.display()
        );
        put(&release.join("a_b.d"), &rule, 150)?;
        let component = root.join("1/handler.wasm");
        put(&component, "", 100)?;
        let order = Order {
            name: "m".to_owned(),
            source,
            destination: Destination::Model {
                component,
                model_file: root.join("model.toml"),
            },
        };
        Ok((directory, order))
    }

    #[test]
    fn a_component_newer_than_all_it_was_made_of_is_fresh() -> anyhow::Result<()> {
        let (_directory, order) = project()?;
        assert!(is_fresh(&order));
        Ok(())
    }

    #[test]
    fn any_newer_source_or_setting_makes_it_stale() -> anyhow::Result<()> {
        for file in [
            "handler/src/lib.rs",
            "sdk with space/src/lib.rs",
            "sdk with space/Cargo.toml",
            "handler/Cargo.toml",
            "Cargo.toml",
            "Cargo.lock",
            ".cargo/config.toml",
            "rust-toolchain.toml",
            "model.toml",
        ] {
            let (directory, order) = project()?;
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap_or_default();
            put(&path, &text, 101)?;
            assert!(!is_fresh(&order), "{file}");
        }
        Ok(())
    }

    #[test]
    fn anything_missing_makes_it_stale() -> anyhow::Result<()> {
        for file in [
            "handler/src/lib.rs",
            "model.toml",
            "1/handler.wasm",
            &format!("target/{TARGET}/release/a_b.d"),
        ] {
            let (directory, order) = project()?;
            fs::remove_file(directory.path().join(file))?;
            assert!(!is_fresh(&order), "{file}");
        }
        Ok(())
    }

    #[test]
    fn only_the_first_rule_of_a_record_is_read() {
        assert_eq!(
            prerequisites("/t/a.wasm: /s/a.rs /s/b\\ c.rs\n\n/s/a.rs:\n"),
            [PathBuf::from("/s/a.rs"), PathBuf::from("/s/b c.rs")]
        );
        assert!(prerequisites("nonsense").is_empty());
    }
}
