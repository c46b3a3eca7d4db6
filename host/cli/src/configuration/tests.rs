//! Tests of the settings, of the configuration file, and of the documents that describe them. The order
//! of precedence is tested with processes, since it includes the environment.

use super::file::ConfigurationFile;
use super::setting::{DefaultValue, Kind, Setting};
use super::*;
use crate::failure::BadConfiguration;
use anyhow::Context;
use std::path::Path;
use tempfile::TempDir;

/// Returns the page of the book.
fn page() -> std::io::Result<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(directory.join("../../docs/src/configuration.md"))
}

/// Parses a command line with a configuration file of this content.
fn parsed(content: &str, arguments: &str) -> anyhow::Result<(Options, TempDir)> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("wisp.toml");
    std::fs::write(&file, content)?;
    let mut words: Vec<OsString> = ["wisp", "serve", "--config"].map(Into::into).into();
    words.push(file.into());
    words.extend(arguments.split_whitespace().map(Into::into));
    Ok((parse(words)?.options, directory))
}

/// Returns the error of a configuration file of this content, without the path of the file.
fn refused(content: &str) -> anyhow::Result<String> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("wisp.toml");
    std::fs::write(&file, content)?;
    let error = ConfigurationFile::read(file)
        .err()
        .context(content.to_owned())?;
    assert!(error.is::<BadConfiguration>(), "{error:#}");
    let prefix = format!("{}/", directory.path().display());
    Ok(error.to_string().replace(&prefix, ""))
}

/// Returns the example of a configuration file in the book.
fn documented_example() -> anyhow::Result<String> {
    let page = page()?;
    let (_, rest) = page.split_once("```toml\n").context("no example")?;
    let (example, _) = rest.split_once("```").context("no end")?;
    Ok(example.to_owned())
}

#[test]
fn every_setting_has_an_argument_a_variable_and_a_key() {
    let command = Options::command();
    let serve = command.find_subcommand(SERVE).unwrap();
    for setting in settings() {
        let Setting { key, argument, .. } = &setting;
        assert_eq!(setting.variable, format!("WISP_{}", key.to_uppercase()));
        let flag = format!("--{}", key.replace('_', "-"));
        assert!(
            argument.starts_with(&flag) || key == "repository",
            "{argument}"
        );
        assert!(!setting.description.is_empty(), "{key}");
        let hidden = serve
            .get_arguments()
            .find(|argument| argument.get_id() == key);
        assert!(
            hidden.is_some_and(clap::Arg::is_hide_env_values_set),
            "{key}"
        );
        assert!(Kind::Boolean != setting.kind || !setting.is_list, "{key}");
    }
    let arguments = serve.get_arguments().count();
    // All but `--config`, `--check-config`, `--no-exit-on-error` and `--no-cage`.
    assert_eq!(settings().len(), arguments - 4);
}

#[test]
fn every_default_is_valid_and_no_integer_may_be_0() {
    for setting in settings() {
        if let DefaultValue::Value(value) = &setting.default {
            assert_eq!(setting.check(value.as_ref()), Ok(()), "{}", setting.key);
        }
        if setting.kind == Kind::Integer {
            // The minimum in the schema.
            assert!(setting.check("0".as_ref()).is_err(), "{}", setting.key);
            assert_eq!(setting.check("1".as_ref()), Ok(()), "{}", setting.key);
        }
    }
}

#[test]
fn the_schema_has_every_setting_and_no_other_key() {
    let schema = schema::schema();
    let properties = schema["properties"].as_object().unwrap();
    let mut keys: Vec<String> = settings().into_iter().map(|setting| setting.key).collect();
    keys.sort();
    assert_eq!(properties.keys().cloned().collect::<Vec<_>>(), keys);
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(properties["max_body_bytes"]["type"], "integer");
    assert_eq!(properties["max_body_bytes"]["default"], 64 << 20);
    assert_eq!(properties["build"]["default"], false);
    assert_eq!(properties["trace_sample_ratio"]["type"], "number");
    assert_eq!(properties["trace_sample_ratio"]["default"], 1);
    assert_eq!(properties["cors_origin"]["items"]["type"], "string");
    let modes = serde_json::json!(["none", "explicit", "poll"]);
    assert_eq!(properties["model_control_mode"]["enum"], modes);
}

#[test]
fn the_page_of_the_book_is_current() -> anyhow::Result<()> {
    assert!(
        page()?.ends_with(&reference::reference()),
        "run docs/configuration.sh, as CONTRIBUTING.md describes"
    );
    Ok(())
}

#[test]
fn the_example_of_the_book_is_valid() -> anyhow::Result<()> {
    let (options, directory) = parsed(&documented_example()?, "")?;
    let Command::Serve(args) = options.command else {
        anyhow::bail!("another command");
    };
    assert_eq!(args.repository, directory.path().join("models"));
    assert_eq!(args.http.to_string(), "0.0.0.0:8443");
    assert_eq!(
        args.tls.tls_key,
        Some(directory.path().join("tls/server.key"))
    );
    assert_eq!(args.cors_origin.len(), 2);
    Ok(())
}

#[test]
fn arguments_take_precedence_over_the_file() -> anyhow::Result<()> {
    let content =
        "repository = '/a'\nbuild = true\nthreads = 4\ncors_origin = ['https://a.example']";
    let arguments = "/b --build=false --cors-origin https://b.example,https://c.example";
    let (options, _directory) = parsed(content, arguments)?;
    let Command::Serve(args) = options.command else {
        anyhow::bail!("another command");
    };
    assert_eq!(args.repository, Path::new("/b"));
    assert!(!args.build);
    assert_eq!(args.threads.map(|threads| threads.get()), Some(4));
    assert_eq!(args.cors_origin.len(), 2);
    Ok(())
}

#[test]
fn a_ratio_is_a_number_from_0_to_1() -> anyhow::Result<()> {
    for (value, expected) in [("0.25", "0.25"), ("1", "1"), ("0", "0"), ("1.0", "1")] {
        let content = format!("repository = \"models\"\ntrace_sample_ratio = {value}\n");
        let (options, _directory) = parsed(&content, "")?;
        let Command::Serve(args) = options.command else {
            anyhow::bail!("another command");
        };
        assert_eq!(args.telemetry.trace_sample_ratio.to_string(), expected);
    }
    let text = refused("trace_sample_ratio = \"half\"\n")?;
    assert!(
        text.contains("write a number, such as `trace_sample_ratio = 1`"),
        "{text}"
    );
    let text = refused("trace_sample_ratio = 2\n")?;
    assert!(
        text.contains("expected a ratio from 0 (none) to 1 (all)"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_certificate_needs_a_key_from_any_source() -> anyhow::Result<()> {
    parsed("repository = 'm'\ntls_cert = 'a.pem'", "--tls-key a.key")?;
    for (content, arguments, missing) in [
        ("tls_cert = 'a.pem'", ".", "--tls-key is not set"),
        ("", "--tls-key a.key .", "--tls-cert is not set"),
        ("tls_client_ca = 'ca.pem'", ".", "--tls-cert is not set"),
        (
            "tls_client_crl = 'a.crl'",
            ".",
            "--tls-client-ca is not set",
        ),
    ] {
        let error = parsed(content, arguments).err().context(missing)?;
        assert!(error.is::<BadConfiguration>(), "{error:#}");
        assert!(error.to_string().contains(missing), "{error:#}");
    }
    Ok(())
}

#[test]
fn every_error_of_a_file_has_its_line_and_the_correct_form() -> anyhow::Result<()> {
    for (content, expected) in [
        (
            "http = '127.0.0.1:80'\nmax-bodi = 1",
            "wisp.toml:2: unknown key `max-bodi`; did you mean `max_body_bytes`?",
        ),
        (
            "max-body-bytes = 1",
            "wisp.toml:1: unknown key `max-body-bytes`; did you mean `max_body_bytes`?",
        ),
        (
            "[server]\nport = 80",
            "wisp.toml:1: unknown key `server`; `wisp config reference` lists the keys",
        ),
        (
            "\n\nmax_body_bytes = '64M'",
            "wisp.toml:3: `max_body_bytes` is of type string; write an integer, such as \
             `max_body_bytes = 67108864`",
        ),
        (
            "build = 'yes'",
            "wisp.toml:1: `build` is of type string; write `true` or `false`, such as \
             `build = false`",
        ),
        (
            "http = 8000",
            "wisp.toml:1: `http` is of type integer; write a string, such as \
             `http = \"127.0.0.1:8000\"`",
        ),
        (
            "cors_origin = 'https://a.example'",
            "wisp.toml:1: `cors_origin` is of type string; write an array of strings",
        ),
        (
            "http = '8000'",
            "wisp.toml:1: \"8000\" is not a value of `http`: expected ADDRESS:PORT, such as \
             127.0.0.1:8000, 0.0.0.0:80 or [::1]:8000",
        ),
        (
            "threads = 0",
            "wisp.toml:1: 0 is not a value of `threads`: expected a number of threads, from 1",
        ),
        (
            "model_control_mode = 'all'",
            "wisp.toml:1: \"all\" is not a value of `model_control_mode`: expected one of none, \
             explicit, poll",
        ),
        (
            "tls_cert = ''",
            "wisp.toml:1: \"\" is not a value of `tls_cert`: expected a value that is not empty",
        ),
        (
            "threads = 0\nhtpp = 'x'",
            "wisp.toml:1: 0 is not a value of `threads`: expected a number of threads, from 1\n\
             wisp.toml:2: unknown key `htpp`; did you mean `http`?",
        ),
    ] {
        let error = refused(content)?;
        assert_eq!(error, expected, "{content}");
    }
    let error = refused("threads = 1\nhttp =")?;
    assert!(error.starts_with("wisp.toml:2: "), "{error}");
    Ok(())
}
