//! Tests of the sources of a server's settings, and of the commands that check and describe them.

use super::{failure, run, stdout, wisp};
use crate::harness::{Repository, root};
use crate::python::{self, OPENAPI};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Returns a repository whose directory also contains a configuration file of this content.
fn configured(content: &str) -> Result<Repository> {
    Repository::of(&["progression"])?.with_file("wisp.toml", content)
}

/// Returns the command that checks this configuration.
fn check(repository: &Repository) -> Command {
    let mut command = wisp();
    command.args(["serve", "--check-config", "--config"]);
    command.arg(repository.path().join("wisp.toml"));
    command
}

/// Returns the value and the source of a setting that `--check-config` prints.
fn setting<'a>(text: &'a str, key: &str) -> Result<(&'a str, &'a str)> {
    let lines = text.lines().filter_map(|line| line.split_once("  # "));
    let mut settings = lines.map(|(setting, source)| (setting.trim_end(), source));
    let assigns = |setting: &str| {
        setting
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(" = "))
    };
    let found = settings.find(|(setting, _)| assigns(setting));
    found.with_context(|| format!("{key} is not set: {text}"))
}

#[test]
fn an_argument_precedes_a_variable_which_precedes_the_file_which_precedes_the_default() -> Result<()>
{
    let content = "repository = '.'\nhttp = '127.0.0.1:1'\ngrpc = '127.0.0.1:2'\nthreads = 3\n\
                   cors_origin = ['https://file.example']\n";
    let repository = configured(content)?;
    let mut command = check(&repository);
    command
        .args(["--http", "127.0.0.1:10"])
        .env("WISP_HTTP", "127.0.0.1:20")
        .env("WISP_GRPC", "none")
        .env("WISP_CORS_ORIGIN", "https://a.example,https://b.example");
    let text = stdout(&run(&mut command)?)?;
    let file = repository.path().join("wisp.toml");
    let file = file.display();
    for (key, value, source) in [
        (
            "http",
            "\"127.0.0.1:10\"",
            "argument --http <ADDR>".to_owned(),
        ),
        ("grpc", "\"none\"", "environment WISP_GRPC".to_owned()),
        ("threads", "3", format!("file {file}:4")),
        ("max_body_bytes", "67108864", "default".to_owned()),
        (
            "cors_origin",
            "[\"https://a.example\", \"https://b.example\"]",
            "environment WISP_CORS_ORIGIN".to_owned(),
        ),
    ] {
        let expected = (format!("{key} = {value}"), source);
        let (setting, source) = setting(&text, key)?;
        ensure!(
            (setting.to_owned(), source.to_owned()) == expected,
            "{expected:?}: {text}"
        );
    }
    let unset = "# max_connections";
    ensure!(text.lines().any(|line| line.starts_with(unset)), "{text}");
    Ok(())
}

#[test]
fn relative_paths_in_the_file_are_relative_to_the_file() -> Result<()> {
    let repository = configured("repository = 'progression'\n")?;
    let elsewhere = tempfile::tempdir()?;
    let text = stdout(&run(check(&repository).current_dir(elsewhere.path()))?)?;
    let (value, _) = setting(&text, "repository")?;
    let expected = repository.path().join("progression");
    ensure!(
        value == format!("repository = \"{}\"", expected.display()),
        "{text}"
    );
    // The output is a configuration file itself, with the same values.
    let printed = configured(&text)?;
    let again = stdout(&run(&mut check(&printed))?)?;
    let (value_again, _) = setting(&again, "repository")?;
    ensure!(value_again == value, "{again}");
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_used_ends_with_64() -> Result<()> {
    for (content, expected) in [
        (
            "max-bodi = 1",
            ":1: unknown key `max-bodi`; did you mean `max_body_bytes`?",
        ),
        (
            "threads = 'two'",
            ":1: `threads` is of type string; write an integer",
        ),
        ("repository = 'gone'", "gone` does not exist"),
        (
            "repository = '.'\nlog = 'wisp=loud'",
            "the log setting is `wisp=loud`",
        ),
        (
            "repository = '.'\ntls_cert = 'a.pem'",
            "--tls-key is not set",
        ),
        (
            "repository = '.'\ntls_cert = 'a'\ntls_key = 'b'",
            "--tls-cert",
        ),
        ("repository = '.'\nbackend = 'torch'", "torch"),
        ("", "<PATH>"),
    ] {
        let repository = configured(content)?;
        let (text, code) = failure(&run(&mut check(&repository))?)?;
        ensure!(text.contains(expected), "{content}: {text}");
        ensure!(code == 64, "{content}: {code}");
    }
    let missing = wisp()
        .args(["serve", "--config", "/no/such/file"])
        .output()?;
    let (text, code) = failure(&missing)?;
    ensure!(code == 64 && text.contains("/no/such/file"), "{text}");
    Ok(())
}

#[test]
fn an_error_in_a_variable_names_the_variable() -> Result<()> {
    let repository = configured("")?;
    for (variable, value, expected) in [
        ("WISP_HTTP", "8000", "such as 127.0.0.1:8000"),
        ("WISP_BUILD", "1", "expected one of true, false"),
        (
            "WISP_CORS_ORIGIN",
            "https://a.example,b",
            "such as https://example.com",
        ),
    ] {
        let mut command = check(&repository);
        command.arg(repository.path()).env(variable, value);
        let (text, code) = failure(&run(&mut command)?)?;
        ensure!(text.contains(variable) && text.contains(expected), "{text}");
        ensure!(code == 64, "{variable}: {code}");
    }
    Ok(())
}

#[test]
fn no_file_is_read_unless_it_is_named() -> Result<()> {
    let repository = configured("this is not read")?;
    let mut command = wisp();
    command.current_dir(repository.path());
    command.args(["serve", "--check-config", "."]);
    stdout(&run(&mut command)?)?;
    let (text, code) = failure(&run(command.env("WISP_CONFIG", "wisp.toml"))?)?;
    ensure!(code == 64 && text.contains("wisp.toml:1: "), "{text}");
    Ok(())
}

#[test]
fn the_schema_accepts_the_example_of_the_book_and_rejects_mistakes() -> Result<()> {
    check_schema(&["config", "schema"], "docs/src/configuration.md")
}

#[test]
fn the_schema_of_models_accepts_the_example_of_the_book_and_rejects_mistakes() -> Result<()> {
    check_schema(&["config", "schema", "--model"], "docs/src/model-toml.md")
}

/// Checks the schema that a command prints with the example on a page of the book.
fn check_schema(command: &[&str], page: &str) -> Result<()> {
    let schema = tempfile::NamedTempFile::new()?;
    let text = stdout(&run(wisp().args(command))?)?;
    std::fs::write(schema.path(), text)?;
    let schema = schema.path().to_str().context("not UTF-8")?;
    let page = root().join(page);
    let page = page.to_str().context("not UTF-8")?;
    python::run_in(&OPENAPI, "configuration_schema.py", &[schema, page])?;
    Ok(())
}
