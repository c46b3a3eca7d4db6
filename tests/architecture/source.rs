//! The Rust files of the repository.

use crate::harness::root;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// A Rust file.
#[derive(Debug)]
pub(super) struct Source {
    /// The path relative to the repository's root.
    pub(super) path: String,
    pub(super) text: String,
}

/// Returns every Rust file below these directories.
pub(super) fn sources(directories: &[&str]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for directory in directories {
        collect(&root().join(directory), &mut sources)?;
    }
    ensure!(!sources.is_empty(), "no sources below {directories:?}");
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root())?.to_str().context("not UTF-8")?;
            sources.push(Source {
                path: relative.to_owned(),
                text: std::fs::read_to_string(&path)?,
            });
        }
    }
    Ok(())
}

impl Source {
    /// Returns whether the file belongs to tests, benchmarks or examples, which may use any crate.
    pub(super) fn is_test(&self) -> bool {
        let places = ["/tests/", "/benches/", "/examples/"];
        self.stem() == "tests" || places.iter().any(|place| self.path.contains(place))
    }

    pub(super) fn stem(&self) -> String {
        let path = PathBuf::from(&self.path);
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Returns the lines before the file's own tests.
    pub(super) fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| *line != "mod tests {")
    }

    /// Returns whether a line of code, not of a comment, names an item of this crate.
    pub(super) fn uses(&self, krate: &str) -> bool {
        let (path, link) = (format!("{krate}::"), format!("use {krate} as _;"));
        self.code()
            .filter(|line| !line.trim_start().starts_with("//"))
            .any(|line| {
                line == link
                    || line.match_indices(&path).any(|(at, _)| {
                        let before = line[..at].chars().next_back();
                        before.is_none_or(|c| {
                            !c.is_alphanumeric() && c != '_' && c != ':' && c != '$'
                        })
                    })
            })
    }

    /// Returns the number of each line on which a paragraph of a comment begins, and its text.
    pub(super) fn paragraphs(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut within = false;
        self.text.lines().enumerate().filter_map(move |(at, line)| {
            let text = comment(line).filter(|text| !text.is_empty());
            let begins = text.is_some() && !within;
            within = text.is_some();
            text.filter(|_| begins).map(|text| (at + 1, text))
        })
    }

    /// Returns the number of each line that is a comment, and its text.
    pub(super) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.filter_map(|(at, line)| Some((at + 1, comment(line)?)))
    }

    /// Returns the number of each line that defines a function, and the function's name.
    pub(super) fn functions(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().filter_map(|(at, line)| {
            let (before, rest) = line.split_once("fn ")?;
            let is_item = before.is_empty() || before.ends_with(' ');
            if !is_item || comment(line).is_some() {
                return None;
            }
            let name = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            name.map(|name| (at + 1, name))
        })
    }

    /// Returns the number of each line on which a doc comment begins, and the line's text.
    pub(super) fn doc_comments(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut within = false;
        self.text.lines().enumerate().filter_map(move |(at, line)| {
            let line = line.trim_start();
            let text = line
                .strip_prefix("///")
                .or_else(|| line.strip_prefix("//!"));
            let begins = text.is_some() && !within;
            within = text.is_some();
            text.filter(|_| begins).map(|text| (at + 1, text.trim()))
        })
    }
}

/// Returns the text of a line that is a comment, of documentation or not.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}
