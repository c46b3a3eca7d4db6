//! The paths of files and folders that documents name.

use crate::harness::root;
use anyhow::Result;
use std::path::Path;

/// Directories without files that documents name.
const NOT_SOURCES: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];

/// Returns the paths between backticks in a text: what ends with `.rs`, or has a slash and only
/// characters of paths, except for build results in `target/`. Patterns such as `a/{b,c}` are expanded.
pub(super) fn named_paths(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|quoted| {
        let is_path = quoted
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/{},".contains(c));
        let is_built = quoted.starts_with("target/");
        is_path && !is_built && (quoted.contains('/') || quoted.ends_with(".rs"))
    });
    paths.flat_map(expand).collect()
}

fn expand(pattern: &str) -> Vec<String> {
    let parts = pattern.split_once('{').and_then(|(before, rest)| {
        let (choices, after) = rest.split_once('}')?;
        Some((before, choices, after))
    });
    match parts {
        Some((before, choices, after)) => {
            let expanded = choices.split(',');
            let expanded = expanded.map(|choice| format!("{before}{choice}{after}"));
            expanded.collect()
        }
        None => vec![pattern.to_owned()],
    }
}

/// Returns every file and folder of the repository, relative to its root.
pub(super) fn all_paths() -> Result<Vec<String>> {
    let mut paths = Vec::new();
    collect(&root(), "", &mut paths)?;
    Ok(paths)
}

fn collect(directory: &Path, prefix: &str, paths: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if NOT_SOURCES.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), paths)?;
        }
        paths.push(path);
    }
    Ok(())
}

/// Returns whether a path of the repository ends with `named`, as a document that is about one crate
/// leaves out the crate's own path.
pub(super) fn exists(named: &str, paths: &[String]) -> bool {
    let named = named.trim_end_matches('/');
    let within = format!("/{named}");
    paths
        .iter()
        .any(|path| path == named || path.ends_with(&within))
}

#[test]
fn paths_are_recognised_and_patterns_expanded() {
    let text = "See `a/{b,c}.rs`, `d.rs`, `cargo test` and `wisp:handler/model@0.1.0`.";
    assert_eq!(named_paths(text), ["a/b.rs", "a/c.rs", "d.rs"]);
}
