//! Pages of Markdown, and their code blocks and inline code.

use crate::harness::root;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

/// The pages at the root of the repository. Those of the book follow.
const TOP: [&str; 3] = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];

/// The attribute of a block whose commands are checked instead of run.
const NO_RUN: &str = "no-run";

/// The attribute of a block that shows some lines of a guest's source or manifest.
const PART: &str = "part";

/// A page of Markdown.
#[derive(Debug)]
pub(super) struct Page {
    /// The path relative to the repository's root.
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
    /// The inline code, in order.
    pub(super) code_spans: Vec<String>,
}

/// A fenced code block.
#[derive(Debug)]
pub(super) struct Block {
    /// The page and the line of the opening fence, for messages.
    pub(super) place: String,
    pub(super) language: Language,
    pub(super) code: String,
    no_run: bool,
    /// Set if the code is incomplete, and found in a source.
    pub(super) is_part: bool,
    /// Set if there is nothing but empty lines between the previous block and this one.
    follows: bool,
}

/// A language of code blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Shell,
    Python,
    Rust,
    Toml,
    Json,
    Yaml,
    Text,
}

/// Reads all pages that are checked.
pub(super) fn all() -> Result<Vec<Page>> {
    let mut paths: Vec<PathBuf> = TOP.iter().map(|name| root().join(name)).collect();
    let mut book = Vec::new();
    for entry in std::fs::read_dir(root().join("docs/src"))? {
        book.push(entry?.path());
    }
    book.sort();
    paths.extend(book);
    let mut pages = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let path = path.strip_prefix(root())?.to_str().context("not UTF-8")?;
        pages.push(Page::parse(path, &text)?);
    }
    Ok(pages)
}

// === impl Page ===

impl Page {
    fn parse(path: &str, text: &str) -> Result<Page> {
        let mut page = Page {
            path: path.to_owned(),
            blocks: Vec::new(),
            code_spans: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        let mut follows = false;
        let mut after_blank = true;
        while let Some((index, line)) = lines.next() {
            let place = format!("{path}:{}", index + 1);
            let start = line.trim_start();
            if let Some(info) = start.strip_prefix("```") {
                let indent = line.len() - start.len();
                let code = code(lines.by_ref().map(|(_, line)| line), indent);
                let code = code.with_context(|| format!("{place}: no end"))?;
                let block = Block::new(place.clone(), info, code).context(place)?;
                page.blocks.push(Block { follows, ..block });
                follows = true;
            } else {
                ensure!(!start.starts_with("~~~"), "{place}: use ``` for code");
                ensure!(
                    !(after_blank && line.starts_with("    ")),
                    "{place}: code without a language"
                );
                follows &= start.is_empty();
                let spans = line.split('`').skip(1).step_by(2);
                page.code_spans.extend(spans.map(str::to_owned));
            }
            after_blank = start.is_empty();
        }
        Ok(page)
    }

    /// Returns the block that shows the output of block `index`: the next one, if nothing but empty lines
    /// is between them.
    pub(super) fn output_of(&self, index: usize) -> Option<&Block> {
        let next = self.blocks.get(index + 1)?;
        let is_output = matches!(next.language, Language::Json | Language::Text);
        (next.follows && is_output).then_some(next)
    }
}

/// Returns the lines up to the closing fence, without their indentation, or `None` if the page ends first.
fn code<'a>(lines: impl Iterator<Item = &'a str>, indent: usize) -> Option<String> {
    let mut code = String::new();
    for line in lines {
        if line.trim() == "```" {
            return Some(code);
        }
        code += line.get(indent..).unwrap_or_default();
        code.push('\n');
    }
    None
}

// === impl Block ===

impl Block {
    /// Creates a block from its info string: a language, and attributes after commas.
    fn new(place: String, info: &str, code: String) -> Result<Block> {
        let mut parts = info.split(',');
        let language = match parts.next().unwrap_or_default() {
            "sh" => Language::Shell,
            "python" => Language::Python,
            "rust" => Language::Rust,
            "toml" => Language::Toml,
            "json" => Language::Json,
            "yaml" => Language::Yaml,
            "text" => Language::Text,
            other => bail!("the language `{other}` is not checked"),
        };
        let attributes: Vec<&str> = parts.collect();
        let (no_run, is_part) = match attributes[..] {
            [] => (false, false),
            [NO_RUN] if language == Language::Shell => (true, false),
            [PART] if matches!(language, Language::Rust | Language::Toml) => (false, true),
            _ => bail!("{attributes:?} does not apply to {language:?}"),
        };
        Ok(Block {
            place,
            language,
            code,
            no_run,
            is_part,
            follows: false,
        })
    }

    /// Returns whether the block is run in a terminal.
    pub(super) fn is_run(&self) -> bool {
        match self.language {
            Language::Shell => !self.no_run,
            Language::Python => true,
            _ => false,
        }
    }
}

#[test]
fn a_block_has_a_language_and_may_show_the_output_of_another() -> Result<()> {
    let page = Page::parse(
        "x.md",
        "`a`, `b c`\n\n1. Run:\n\n   ```sh\n   one\n     two\n   ```\n\n```json\n{}\n```\n\nText\n\n```sh,no-run\nx\n```\n",
    )?;
    ensure!(page.code_spans == ["a", "b c"]);
    ensure!(page.blocks[0].code == "one\n  two\n");
    ensure!(page.blocks[1].place == "x.md:10");
    ensure!(page.output_of(0).is_some_and(|block| block.code == "{}\n"));
    ensure!(page.output_of(1).is_none());
    ensure!(page.blocks[0].is_run() && !page.blocks[2].is_run());
    for wrong in [
        "```\nx\n```",
        "```perl\nx\n```",
        "```json,no-run\n{}\n```",
        "```json,part\n{}\n```",
        "```sh,ignore\nx\n```",
        "```sh\nx",
        "Text:\n\n    x\n",
        "~~~sh\nx\n~~~",
    ] {
        ensure!(Page::parse("x.md", wrong).is_err(), "accepted: {wrong}");
    }
    Ok(())
}
