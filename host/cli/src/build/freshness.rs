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

/// The directory of the modules of edge bundles in the target directory of their workspace.
pub(crate) const EDGE_MODULES: &str = "wisp/edge";

/// The maximum depth of the directories with the sources of a crate.
const MAX_DEPTH: usize = 32;

/// The maximum number of files of a crate that are watched.
const MAX_FILES: usize = 20_000;

/// Returns whether the component of `order` exists and is at least as new as its sources.
pub(super) fn is_fresh(order: &Order) -> bool {
    newer_files(order).is_some_and(|files| files.is_empty())
}

/// Returns the sources that are missing or newer than the component of `order`; `None` if there is no component,
/// or no record of its sources.
pub(super) fn newer_files(order: &Order) -> Option<Vec<PathBuf>> {
    let (file, model_file) = match &order.destination {
        Destination::Model {
            component,
            model_file,
        } => (component.clone(), Some(model_file.clone())),
        Destination::EdgeModules => (
            edge_module(&target_directory(&order.source), &order.name),
            None,
        ),
        Destination::TargetDirectory => return None,
    };
    let built = modified(&file)?;
    let sources = recorded_sources(&order.source)?;
    let settings = settings_above(&sources);
    let is_newer = |path: &PathBuf| modified(path).is_none_or(|modified| modified > built);
    let files = model_file.into_iter().chain(sources);
    Some(files.chain(settings).filter(is_newer).collect())
}

/// Returns the files that determine the component of a crate, some of which may not exist: those that cargo
/// recorded, everything in its `src` directory, since no build has recorded new files, and the settings above.
pub(super) fn files_of(crate_directory: &Path) -> BTreeSet<PathBuf> {
    let mut files = recorded_sources(crate_directory).unwrap_or_default();
    files.push(crate_directory.join("build.rs"));
    add_files(&crate_directory.join("src"), &mut files, MAX_DEPTH);
    let settings = settings_above(&files);
    files.into_iter().chain(settings).collect()
}

/// Adds the files in a directory and in the directories below it, without following links to directories.
fn add_files(directory: &Path, files: &mut Vec<PathBuf>, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    // A directory that cannot be read is one for cargo to report.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if files.len() >= MAX_FILES {
            return;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => add_files(&entry.path(), files, depth),
            _ => files.push(entry.path()),
        }
    }
}

/// Returns the sources that cargo recorded for the crate's last release build, or `None` if the crate
/// was never built or has a different target directory.
fn recorded_sources(crate_directory: &Path) -> Option<Vec<PathBuf>> {
    let library = CrateManifest::load(crate_directory).ok()?.library;
    let target_directory = target_directory(crate_directory);
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

/// Returns the target directory of the crate's workspace, unless a configuration names another.
pub(super) fn target_directory(crate_directory: &Path) -> PathBuf {
    workspace_root(crate_directory).join("target")
}

/// Returns the path of a module of edge bundles in the target directory of its workspace.
pub(super) fn edge_module(target_directory: &Path, name: &str) -> PathBuf {
    let directory = target_directory.join(EDGE_MODULES);
    directory.join(format!("{name}.wasm"))
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
    fn a_module_of_edge_bundles_is_compared_with_its_sources_too() -> anyhow::Result<()> {
        let (directory, order) = project()?;
        let order = Order {
            name: "handler".to_owned(),
            destination: Destination::EdgeModules,
            ..order
        };
        assert!(!is_fresh(&order), "it does not exist");
        let root = directory.path();
        put(&root.join("target/wisp/edge/handler.wasm"), "", 100)?;
        assert!(is_fresh(&order));
        put(&root.join("handler/src/lib.rs"), "", 101)?;
        assert!(!is_fresh(&order));
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
    fn new_files_and_settings_belong_to_a_crate_too() -> anyhow::Result<()> {
        let (directory, order) = project()?;
        let root = directory.path().canonicalize()?;
        put(&order.source.join("src/deep/new.rs"), "", 10)?;
        let files = files_of(&order.source);
        for file in [
            "handler/src/lib.rs",
            "handler/src/deep/new.rs",
            "handler/build.rs",
            "handler/Cargo.toml",
            "sdk with space/src/lib.rs",
            "Cargo.toml",
        ] {
            assert!(files.contains(&root.join(file)), "{file}: {files:?}");
        }
        assert!(!files.contains(&root.join("model.toml")));
        assert!(
            files
                .iter()
                .all(|file| !file.starts_with(root.join("target")))
        );
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
