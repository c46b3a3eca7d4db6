//! Tests that the documentation works: every code block of the README, CONTRIBUTING.md, ARCHITECTURE.md and the
//! book is run or checked, according to its language.
//!
//! | language | check |
//! |---|---|
//! | `sh`, `python` | run in the order of the page (`terminal`); a block that follows at once is the output |
//! | `sh,no-run` | the reason is one of `command::NOT_RUN`; the programs, options and targets exist |
//! | `rust` | is a handler, which is built and computes |
//! | `rust,part`, `toml,part` | is a part of a source or manifest in `guest-models` |
//! | `toml` | a `model.toml` that loads, or a part of a `Cargo.toml` that `wisp build` accepts; `cli::config` checks the configuration of a server |
//! | `json` | is JSON; a golden case passes |
//! | `yaml`, `text` | is not empty |
//!
//! A block of another language, or without one, is an error, so that no block is left out unnoticed.

mod command;
mod output;
mod page;
mod project;
mod terminal;

use crate::harness::{Repository, TestServer, component, root};
use crate::python::succeed;
use anyhow::{Context, Result, ensure};
use page::{Block, Language, Page};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Returns the program under test. It uses the compiled handlers of other tests.
fn wisp() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wisp"));
    command.env("XDG_CACHE_HOME", cache());
    command.env_remove("RUST_LOG");
    command
}

/// Returns the cache directory of tests that run the program.
fn cache() -> &'static Path {
    Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
}

/// Returns the blocks of all pages in this language.
fn blocks(language: Language) -> Result<Vec<Block>> {
    let blocks = page::all()?.into_iter().flat_map(|page| page.blocks);
    let found: Vec<Block> = blocks.filter(|block| block.language == language).collect();
    ensure!(!found.is_empty(), "no page has a block of {language:?}");
    Ok(found)
}

/// Fails with all of these failures, if there are any.
fn none_of(failures: &[String]) -> Result<()> {
    ensure!(failures.is_empty(), "\n{}", failures.join("\n\n"));
    Ok(())
}

#[test]
fn every_code_block_has_a_language_that_is_checked() -> Result<()> {
    for page in page::all()? {
        for block in page.blocks {
            ensure!(!block.code.trim().is_empty(), "{}: empty", block.place);
        }
    }
    Ok(())
}

#[test]
fn the_commands_of_every_page_run_and_print_what_it_shows() -> Result<()> {
    let mut failures = Vec::new();
    for page in page::all()? {
        if page.blocks.iter().any(Block::is_run)
            && let Err(error) = runs(&page)
        {
            failures.push(format!("{error:#}"));
        }
    }
    none_of(&failures)
}

/// Runs the commands of a page, and compares their output with the blocks that show it.
fn runs(page: &Page) -> Result<()> {
    let printed = terminal::run(page)?;
    for (index, block) in page.blocks.iter().enumerate() {
        if let Some(shown) = page.output_of(index)
            && block.is_run()
        {
            let printed = printed.get(&index).context("a block without output")?;
            output::compare(shown, printed).with_context(|| shown.place.clone())?;
        }
    }
    Ok(())
}

#[test]
fn the_commands_that_are_not_run_exist_and_have_a_reason() -> Result<()> {
    let mut failures = Vec::new();
    for block in blocks(Language::Shell)? {
        if !block.is_run()
            && let Err(error) = command::check_unrun(&block.code)
        {
            failures.push(format!("{}: {error:#}", block.place));
        }
    }
    none_of(&failures)
}

#[test]
fn every_option_that_the_text_names_is_in_the_command_reference() -> Result<()> {
    let reference = std::fs::read_to_string(root().join("docs/src/cli.md"))?;
    let mut failures = Vec::new();
    for page in page::all()? {
        for span in &page.code_spans {
            let options = span.split_whitespace();
            let options = options.filter(|word| word.starts_with("--") && word.len() > 2);
            let is_ours = span.starts_with("--") || span.starts_with("wisp ");
            for option in options.filter(|_| is_ours) {
                if !command::has_option(&reference, option) {
                    failures.push(format!("{}: there is no `{option}`", page.path));
                }
            }
        }
    }
    none_of(&failures)
}

#[test]
fn the_command_reference_is_what_help_prints() -> Result<()> {
    let mut script = Command::new("sh");
    script.arg(root().join("docs/cli.sh"));
    let printed = succeed(script.arg(env!("CARGO_BIN_EXE_wisp")))?.stdout;
    let page = std::fs::read(root().join("docs/src/cli.md"))?;
    ensure!(
        printed == page,
        "docs/src/cli.md is out of date: write it again with docs/cli.sh"
    );
    Ok(())
}

#[test]
fn the_handlers_of_the_documentation_build_and_answer() -> Result<()> {
    let manifest = blocks(Language::Toml)?.into_iter().find(is_cargo_manifest);
    let manifest = manifest.context("no page shows the settings in a Cargo.toml")?;
    let handlers = blocks(Language::Rust)?.into_iter();
    for block in handlers.filter(|block| !block.is_part) {
        project::answers(&block.code, &manifest.code).with_context(|| block.place.clone())?;
    }
    Ok(())
}

#[test]
fn the_parts_that_pages_show_are_in_the_guests() -> Result<()> {
    let sources = guest_sources()?;
    let pages = page::all()?.into_iter();
    for part in pages.flat_map(|page| page.blocks).filter(|b| b.is_part) {
        let found = sources.iter().any(|source| source.contains(&part.code));
        ensure!(found, "{}: in no file of guest-models", part.place);
    }
    Ok(())
}

/// Returns the manifests of the guests, and the files next to their `lib.rs`.
fn guest_sources() -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for guest in std::fs::read_dir(root().join("guest-models"))? {
        let guest = guest?.path();
        let Ok(files) = std::fs::read_dir(guest.join("src")) else {
            continue;
        };
        sources.push(std::fs::read_to_string(guest.join("Cargo.toml"))?);
        for file in files {
            let file = file?.path();
            if file.is_file() {
                sources.push(std::fs::read_to_string(file)?);
            }
        }
    }
    Ok(sources)
}

fn is_cargo_manifest(block: &Block) -> bool {
    block.code.contains("[package")
}

/// Returns whether this is a configuration of `wisp serve`.
fn is_server_configuration(block: &Block) -> bool {
    block.code.starts_with("repository = ")
}

#[test]
fn the_model_files_of_the_documentation_load() -> Result<()> {
    let mut failures = Vec::new();
    for block in blocks(Language::Toml)? {
        if !block.is_part
            && !is_cargo_manifest(&block)
            && !is_server_configuration(&block)
            && let Err(error) = loads(&block.code)
        {
            failures.push(format!("{}: {error:#}", block.place));
        }
    }
    none_of(&failures)
}

/// Serves four versions of a model with this model file, which may name the class labels `labels.txt`.
fn loads(model_file: &str) -> Result<()> {
    let graph = std::fs::read(root().join("examples/wine/1/model.onnx"))?;
    let handler = std::fs::read(component("wine")?)?;
    let mut repository = Repository::empty()?
        .with_file("wine/model.toml", model_file)?
        .with_file("wine/labels.txt", "barolo\ngrignolino\nbarbera\n")?;
    for version in 1..=4 {
        repository = repository
            .with_file(&format!("wine/{version}/model.onnx"), &graph)?
            .with_file(&format!("wine/{version}/handler.wasm"), &handler)?;
    }
    let server = TestServer::start(repository)?;
    let ready = server.get("/v2/models/wine/ready")?;
    let reason = server.request("POST /v2/repository/index", &[], b"{}")?;
    ensure!(ready.status == 200, "{}", reason.ok()?);
    Ok(())
}

#[test]
fn the_json_of_the_documentation_is_valid_and_its_golden_cases_pass() -> Result<()> {
    let repository = Repository::of(&["digits"])?;
    let cases = repository.path().join("digits/cases");
    std::fs::create_dir(&cases)?;
    let mut count = 0;
    for block in blocks(Language::Json)? {
        let json: Value = serde_json::from_str(&block.code).with_context(|| block.place.clone())?;
        if json.get("expect").is_some() {
            count += 1;
            std::fs::write(cases.join(format!("{count}.json")), &block.code)?;
        }
    }
    let checked = succeed(wisp().arg("check").arg(repository.path().join("digits")))?;
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(checked.matches("  ok  ").count() == count + 1, "{checked}");
    Ok(())
}
