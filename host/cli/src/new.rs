//! `wisp new`: creates a project that builds, tests and serves, from files embedded in this binary.
//!
//! A template is a crate that compiles in its source directory (host/cli/templates); `project` applies
//! the changes for a project of another name. Nothing is downloaded, and an existing directory is never
//! changed.

mod project;

use crate::display;
use crate::failure::bad_configuration;
use crate::options::{NewArgs, Template};
use anyhow::Context;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Names that cargo rejects for a library, or that would shadow a library that the project needs.
const TAKEN_NAMES: [&str; 8] = [
    "alloc",
    "core",
    "proc-macro",
    "proc_macro",
    "std",
    "test",
    "wisp-handler",
    "wisp_handler",
];

/// Rust's keywords, which cannot be crate names.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Runs the subcommand: writes the project, then prints the next steps.
pub(crate) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    check_name(&args.name)?;
    let directory = args
        .path
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let files = project::files(args.template, &args.name);
    create(&directory, &files)?;
    let text = next_steps(args.template, &args.name, &directory);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Checks a name, which is used for the crate, for the model and in URLs.
fn check_name(name: &str) -> anyhow::Result<()> {
    let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let fits = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(goes_on);
    if !fits {
        return Err(bad_configuration(format!(
            "`{name}` is not a valid project name: use 1 to 64 lower-case letters, digits, `-` \
             and `_`, beginning with a letter"
        )));
    }
    if TAKEN_NAMES.contains(&name) || KEYWORDS.contains(&name) {
        return Err(bad_configuration(format!(
            "`{name}` is not a valid project name: it is reserved in Rust; use another, such as \
             `{name}-model`"
        )));
    }
    Ok(())
}

/// Writes the files to a new directory. Removes the directory if writing fails.
fn create(directory: &Path, files: &[project::File]) -> anyhow::Result<()> {
    let shown = directory.display();
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to create `{}`", parent.display()))?;
    }
    // Created without its parents, so that an existing directory is detected without a race.
    fs::create_dir(directory).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => bad_configuration(format!(
            "`{shown}` already exists; choose another name, or another directory with --path"
        )),
        _ => anyhow::Error::new(error).context(format!("failed to create `{shown}`")),
    })?;
    let written = files.iter().try_for_each(|file| write(directory, file));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_dir_all(directory);
    }
    written
}

fn write(directory: &Path, file: &project::File) -> anyhow::Result<()> {
    let path = directory.join(&file.path);
    let directory = path.parent().unwrap_or(directory);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, &file.content))
        .with_context(|| format!("failed to write `{}`", path.display()))
}

fn next_steps(template: Template, name: &str, directory: &Path) -> String {
    let place = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let place = display::path(&place);
    let curl = project::curl(template, name);
    format!(
        "\
Created `{place}`: a handler, a placeholder model and cases to check them with.

  cd {place}
  cargo test                    test the handler natively
  wisp serve --build models     compile the handler to WebAssembly, and serve

Then, from another terminal in the same directory:

  {curl}

README.md describes how to use your own model.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates_models_and_urls() {
        for name in ["a", "flowers", "resnet-50", "my_model2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(65);
        for name in [
            "", "Flowers", "2nd", "-a", "_a", "a.b", "a/b", "..", "ä", "a b", &long,
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["std", "test", "match", "wisp-handler"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_that_exists_is_not_touched() -> anyhow::Result<()> {
        let parent = tempfile::tempdir()?;
        let directory = parent.path().join("deep/flowers");
        let files = project::files(Template::Tabular, "flowers");
        create(&directory, &files)?;
        assert!(directory.join("models/flowers/1/model.onnx").is_file());
        fs::remove_file(directory.join("README.md"))?;
        let error = create(&directory, &files)
            .err()
            .context("accepted")?
            .to_string();
        assert!(error.contains("already exists"), "{error}");
        assert!(!directory.join("README.md").exists());
        Ok(())
    }

    #[test]
    fn a_failure_leaves_nothing_behind() -> anyhow::Result<()> {
        let parent = tempfile::tempdir()?;
        let directory = parent.path().join("x");
        let file = |path: &str| project::File {
            path: path.into(),
            content: Vec::new(),
        };
        assert!(create(&directory, &[file("a"), file("a/b")]).is_err());
        assert!(!directory.exists());
        Ok(())
    }
}
