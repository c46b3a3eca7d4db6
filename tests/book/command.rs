//! Checks commands that are not run: each has a reason, and the names in it exist.

use super::wisp;
use crate::harness::root;
use crate::python::succeed;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The beginnings of commands that tests cannot run, and the reasons. Any other command is run.
const NOT_RUN: [(&str, &str); 22] = [
    (
        "cargo bench",
        "takes minutes, on a machine without other work",
    ),
    ("cargo test", "is what runs this test, or needs a GPU"),
    ("cargo fmt-check", "is a check of its own, like this test"),
    ("cargo install", "changes the home directory"),
    ("cargo deny", "needs a program that is installed separately"),
    ("h2load", "measures, on a machine without other work"),
    (".venv/bin/pip install", "fetches the newest packages"),
    ("apt-get", "changes the machine"),
    ("docker", "needs a daemon"),
    ("kubectl", "needs a cluster"),
    ("mdbook", "needs a program that is installed separately"),
    ("npx", "fetches the newest packages"),
    ("spin", "needs a program that is installed separately"),
    ("systemctl", "changes the machine"),
    ("wasmtime", "needs a program that is installed separately"),
    ("curl -H Authorization", "needs a server with tenants"),
    ("wisp baseline", "needs the data of a training"),
    ("wisp push", "needs a registry"),
    ("wisp pull", "needs a registry"),
    ("wisp backend install cuda", "fetches more than a gigabyte"),
    (
        "wisp build guest-models/edge",
        "compiles two inference engines, which takes minutes",
    ),
    (
        "wisp serve --config",
        "needs the files that the configuration names",
    ),
];

/// Checks the commands of a block that is not run.
pub(super) fn check_unrun(code: &str) -> Result<()> {
    let commands = commands(code)?;
    let has_reason = |command: &Vec<String>| {
        let command = command.join(" ");
        NOT_RUN.iter().any(|(start, _)| command.starts_with(start))
    };
    ensure!(
        commands.iter().any(has_reason),
        "there is no reason not to run it"
    );
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        check(&words).with_context(|| words.join(" "))?;
    }
    Ok(())
}

/// Returns whether a text with the options of a program has this one, which may have a value after `=`.
pub(super) fn has_option(help: &str, option: &str) -> bool {
    let name = option.split('=').next().unwrap_or(option);
    help.match_indices(name).any(|(at, _)| {
        let next = help[at + name.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// Checks the programs that belong to Wisp or build it.
fn check(words: &[&str]) -> Result<()> {
    match words {
        ["wisp", arguments @ ..] => check_wisp(arguments),
        ["cargo", "run", options @ ..] => {
            let end = options.iter().position(|word| *word == "--");
            let end = end.context("`cargo run` without `--`")?;
            check_cargo(&options[..end])?;
            check_wisp(&options[end + 1..])
        }
        ["cargo", "bench" | "test", options @ ..] => {
            // The rest is for the benchmark or the test.
            let end = options.iter().position(|word| *word == "--");
            check_cargo(&options[..end.unwrap_or(options.len())])
        }
        ["cargo", "install" | "deny", options @ ..] => check_paths(options),
        ["cargo", alias, ..] => {
            let settings = std::fs::read_to_string(root().join(".cargo/config.toml"))?;
            let is_alias = settings.contains(&format!("\n{alias} = "));
            ensure!(is_alias, "there is no alias `{alias}`");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks a subcommand of `wisp` and its options against its help.
fn check_wisp(arguments: &[&str]) -> Result<()> {
    let depth = match arguments {
        ["tenant", "subject" | "signing-key", ..] => 3,
        ["backend" | "release" | "tenant", ..] => 2,
        _ => 1,
    };
    let subcommand = arguments.iter().take(depth);
    let help = succeed(wisp().args(subcommand).arg("--help"))?.stdout;
    let help = String::from_utf8_lossy(&help);
    for option in arguments.iter().filter(|word| word.starts_with('-')) {
        ensure!(has_option(&help, option), "there is no `{option}`");
    }
    Ok(())
}

/// Checks the packages, targets, features and filters that a command of Cargo names.
fn check_cargo(options: &[&str]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--no-deps", "--format-version=1"]);
    let metadata = succeed(cargo.current_dir(root()))?.stdout;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut integration = false;
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().context("no value");
        match *word {
            "-p" | "--package" => {
                let name = value()?;
                let found = packages.iter().any(|package| package["name"] == name);
                ensure!(found, "there is no package `{name}`");
            }
            "--bench" | "--test" => {
                let (kind, name) = (&word[2..], value()?);
                integration |= name == "integration";
                let found = packages
                    .iter()
                    .any(|package| has_target(package, kind, name));
                ensure!(found, "there is no {kind} `{name}`");
            }
            "--features" => {
                let name = value()?;
                let mut packages = packages.iter();
                let found = packages.any(|package| package["features"].get(name).is_some());
                ensure!(found, "there is no feature `{name}`");
            }
            "--workspace" | "--lib" | "--release" => {}
            option if option.starts_with('-') => bail!("`{option}` is not checked"),
            name if integration => {
                let file = root().join("tests").join(name).with_extension("rs");
                ensure!(file.is_file(), "there is no module `{name}` of tests");
            }
            name => ensure!(
                has_module(&root().join("host"), name)?,
                "there is no module `{name}`"
            ),
        }
    }
    Ok(())
}

fn has_target(package: &Value, kind: &str, name: &str) -> bool {
    let targets = package["targets"].as_array();
    targets.is_some_and(|targets| {
        let mut targets = targets.iter();
        targets.any(|target| target["name"] == name && target["kind"][0] == kind)
    })
}

/// Returns whether there is a file of Rust with this name below a directory.
fn has_module(directory: &Path, name: &str) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_module = path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|stem| stem == name);
        if is_module || (path.is_dir() && has_module(&path, name)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks that the values of options for paths exist.
fn check_paths(options: &[&str]) -> Result<()> {
    let mut words = options.iter();
    while let Some(word) = words.next() {
        if ["--config", "--path"].contains(word) {
            let path = words.next().context("no value")?;
            ensure!(root().join(path).exists(), "there is no `{path}`");
        }
    }
    Ok(())
}

/// Splits a script into commands and their words, without comments. Operators between commands separate
/// them; of the shell's other syntax, quotes and continued lines are understood.
fn commands(code: &str) -> Result<Vec<Vec<String>>> {
    let mut commands = vec![Vec::new()];
    for line in code.replace("\\\n", " ").lines() {
        for word in words(line)? {
            match word.as_str() {
                "&&" | "||" | "|" | ";" | "&" => commands.push(Vec::new()),
                _ => commands.last_mut().context("never empty")?.push(word),
            }
        }
        commands.push(Vec::new());
    }
    commands.retain(|command| !command.is_empty());
    Ok(commands)
}

/// Splits a line into words at spaces outside of quotes, up to a comment.
fn words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    ensure!(quote.is_none(), "a quote without end: {line}");
    words.extend(word);
    Ok(words)
}

#[test]
fn commands_are_split_at_operators_outside_of_quotes() -> Result<()> {
    let code = "a -b \\\n  'c d' # not this\n\nx && y|z | \"&& \" # \"\n";
    let found = commands(code)?;
    let expected: [&[&str]; 4] = [&["a", "-b", "c d"], &["x"], &["y|z"], &["&& "]];
    ensure!(found == expected, "{found:?}");
    Ok(())
}

#[test]
fn missing_names_in_commands_are_found() {
    for wrong in [
        "true",
        "cargo test && wisp serve --no-such-option models",
        "cargo test && wisp no-such-command",
        "cargo test && cargo run --release -- serve --bild examples",
        "cargo bench --bench no-such-benchmark",
        "cargo bench -p no-such-package",
        "cargo test --features no-such-feature",
        "cargo test --test integration no_such_module",
        "cargo test --workspace --lib no_such_module",
        "cargo install --locked --path no/such/path",
        "cargo test && cargo no-such-alias",
        "cargo deny --config no/such/file check",
    ] {
        assert!(check_unrun(wrong).is_err(), "accepted: {wrong}");
    }
}
