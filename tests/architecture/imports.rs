//! The imports between the files of a crate, as a graph of modules.
//!
//! The graph is made from the text: every path that begins with `crate`, `self`, `super` or a child
//! module is an import of the file that defines its item. A re-export is followed to that file, and is
//! an import of its own. Tests are left out. A `mod` declaration alone is no import, and neither is the path of a
//! visibility, such as `pub(in crate::a)`.

use super::source::Source;
use super::tokens::{Token, tokens};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The names from a crate's root to a module or an item.
type Path = Vec<String>;

/// The limit on re-exports of re-exports, which may form circles.
const MAX_REEXPORTS: usize = 16;

/// The modules of a crate and their imports.
#[derive(Debug)]
pub(super) struct Imports {
    /// The file of each module, by the module's path.
    files: BTreeMap<Path, String>,
    /// For each module, the imported names and what they stand for.
    names: BTreeMap<Path, BTreeMap<String, Path>>,
    /// For each module, every path in it.
    paths: BTreeMap<Path, BTreeSet<Path>>,
}

/// A path in a file.
#[derive(Debug)]
struct Mention {
    path: Path,
    /// The name under which a `use` declaration makes it available.
    name: Option<String>,
    /// `true` if a `*` follows.
    is_glob: bool,
}

impl Imports {
    /// Reads the files of the crate in `host/<krate>`.
    pub(super) fn of(krate: &str, sources: &[Source]) -> Result<Imports> {
        let directory = format!("host/{krate}/src/");
        let mut imports = Imports {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            paths: BTreeMap::new(),
        };
        let sources = sources
            .iter()
            .filter(|source| source.path.starts_with(&directory) && !source.is_test());
        let mut read = Vec::new();
        for source in sources {
            let file = &source.path[directory.len()..];
            let module = file.strip_suffix(".rs").context("not a Rust file")?;
            let module: Path = match module {
                "lib" | "main" => Path::new(),
                other => other.split('/').map(str::to_owned).collect(),
            };
            imports.files.insert(module.clone(), file.to_owned());
            read.push((module, tokens(source.code())));
        }
        for (module, tokens) in read {
            let children = imports.children(&module);
            for mention in mentions(&module, &children, &tokens) {
                if let Some(name) = mention.name {
                    let names = imports.names.entry(module.clone()).or_default();
                    names.insert(name, mention.path.clone());
                }
                let mut path = mention.path;
                if mention.is_glob {
                    path.push("*".to_owned());
                }
                imports
                    .paths
                    .entry(module.clone())
                    .or_default()
                    .insert(path);
            }
        }
        Ok(imports)
    }

    /// Returns the files that each file imports from.
    pub(super) fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let edges = self.files.iter().map(|(module, file)| {
            let paths = self.paths.get(module).into_iter().flatten();
            let files = paths
                .map(|path| self.file(path, MAX_REEXPORTS))
                .filter(|imported| *imported != file.as_str());
            (file.as_str(), files.collect())
        });
        edges.collect()
    }

    /// Returns the file that defines the item at `path`.
    fn file(&self, path: &[String], reexports: usize) -> &str {
        let mut module = Path::new();
        let mut rest = path.iter();
        for name in rest.by_ref() {
            module.push(name.clone());
            if self.files.contains_key(&module) {
                continue;
            }
            module.pop();
            let names = self.names.get(&module);
            return match names.and_then(|names| names.get(name)) {
                Some(target) if reexports > 0 && target != path => {
                    let target: Path = target.iter().chain(rest).cloned().collect();
                    self.file(&target, reexports - 1)
                }
                _ => &self.files[&module],
            };
        }
        &self.files[&module]
    }

    fn children(&self, module: &Path) -> BTreeSet<String> {
        let modules = self.files.keys();
        let children = modules.filter_map(|other| match other.split_last() {
            Some((name, parent)) if parent == module.as_slice() => Some(name.clone()),
            _ => None,
        });
        children.collect()
    }
}

/// Returns the paths in the file of `module` that can be those of the crate's own items.
fn mentions(module: &Path, children: &BTreeSet<String>, tokens: &[Token]) -> Vec<Mention> {
    let mut mentions = Vec::new();
    // The positions at which inline modules end, for `super` within them.
    let mut inline = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        match token {
            Token::Symbol('{') => {
                depth += 1;
                let opens_module = at >= 2 && tokens[at - 2] == Token::Name("mod".to_owned());
                if opens_module {
                    inline.push(depth);
                }
            }
            Token::Symbol('}') => {
                inline.retain(|&opened| opened != depth);
                depth -= 1;
            }
            Token::Name(name) => {
                let is_use = before == Some(&Token::Name("use".to_owned()));
                let continues = matches!(before, Some(Token::Path | Token::Symbol('.')));
                let is_visibility = at >= 2
                    && tokens[at - 2] == Token::Symbol('(')
                    && tokens[at - 1] == Token::Name("in".to_owned());
                let is_path = is_use || tokens.get(at + 1) == Some(&Token::Path);
                let is_ours =
                    matches!(name.as_str(), "crate" | "self" | "super") || children.contains(name);
                if is_path && is_ours && !continues && !is_visibility {
                    let mut found = Vec::new();
                    at = read_path(tokens, at, &mut Path::new(), &mut found);
                    mentions.extend(found.into_iter().filter_map(|mention| {
                        Some(Mention {
                            path: absolute(module, inline.len(), &mention.path)?,
                            name: mention.name.filter(|_| is_use && inline.is_empty()),
                            ..mention
                        })
                    }));
                    continue;
                }
            }
            Token::Path | Token::Symbol(_) => {}
        }
        at += 1;
    }
    mentions
}

/// Reads a path or a tree of paths from `at` on, and returns the position after it.
fn read_path(
    tokens: &[Token],
    mut at: usize,
    prefix: &mut Path,
    found: &mut Vec<Mention>,
) -> usize {
    let length = prefix.len();
    let mut is_glob = false;
    let mut is_tree = false;
    loop {
        match tokens.get(at) {
            Some(Token::Name(name)) => prefix.push(name.clone()),
            Some(Token::Symbol('*')) => is_glob = true,
            Some(Token::Symbol('{')) => {
                is_tree = true;
                at += 1;
                while !matches!(tokens.get(at), Some(Token::Symbol('}')) | None) {
                    match tokens.get(at) {
                        Some(Token::Name(_) | Token::Symbol('*' | '{')) => {
                            at = read_path(tokens, at, prefix, found);
                        }
                        _ => at += 1,
                    }
                }
            }
            _ => break,
        }
        at += 1;
        let goes_on = matches!(
            (tokens.get(at), tokens.get(at + 1)),
            (
                Some(Token::Path),
                Some(Token::Name(_) | Token::Symbol('*' | '{'))
            )
        );
        if is_glob || is_tree || !goes_on {
            break;
        }
        at += 1;
    }
    if !is_tree {
        let mut name = prefix.last().cloned();
        if let (Some(Token::Name(word)), Some(Token::Name(alias))) =
            (tokens.get(at), tokens.get(at + 1))
            && word == "as"
        {
            name = Some(alias.clone());
            at += 2;
        }
        // `{self}` is the module itself.
        let mut path = prefix.clone();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
            name = path.last().cloned();
        }
        found.push(Mention {
            path,
            name: name.filter(|_| !is_glob),
            is_glob,
        });
    }
    prefix.truncate(length);
    at
}

/// Returns the path from the crate's root, or `None` for one that leaves the crate.
fn absolute(module: &Path, inline: usize, path: &[String]) -> Option<Path> {
    let (first, mut rest) = path.split_first()?;
    let mut start = module.clone();
    match first.as_str() {
        "crate" => start.clear(),
        "self" => {}
        "super" => {
            let mut levels = inline;
            rest = path;
            while let Some((first, after)) = rest.split_first()
                && first == "super"
            {
                // An inline module's parent is the file's module.
                match levels.checked_sub(1) {
                    Some(fewer) => levels = fewer,
                    None => drop(start.pop()?),
                }
                rest = after;
            }
        }
        _ => rest = path,
    }
    start.extend(rest.iter().cloned());
    Some(start)
}

#[test]
fn paths_lead_to_the_files_that_define_their_items() -> Result<()> {
    let source = |path: &str, text: &str| Source {
        path: format!("host/x/src/{path}"),
        text: text.to_owned(),
    };
    let sources = [
        source("lib.rs", "mod a;\nmod b;\nmod c;\npub use c::d::E;"),
        source(
            "a.rs",
            "use crate::E;\nuse std::fmt;\nfn f() { super::b::g() }",
        ),
        source(
            "b.rs",
            "use crate::{a::{self, F as G}, b::*};\nmod inner { use super::h; }",
        ),
        source(
            "c.rs",
            "mod d;\n// crate::a::f\nfn f() { d::g(\"crate::a\") }",
        ),
        source(
            "c/d.rs",
            "use super::*;\npub(in crate::a) struct E;\nmod tests {\nuse crate::a::F;",
        ),
    ];
    let imports = Imports::of("x", &sources)?;
    let edges = imports.edges().into_iter();
    let edges: Vec<_> = edges
        .map(|(file, imported)| (file, Vec::from_iter(imported)))
        .collect();
    let expected = [
        ("lib.rs", vec!["c/d.rs"]),
        ("a.rs", vec!["b.rs", "c/d.rs"]),
        ("b.rs", vec!["a.rs"]),
        ("c.rs", vec!["c/d.rs"]),
        ("c/d.rs", vec!["c.rs"]),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(edges, expected);
    Ok(())
}
