//! Tests of the instructions of the Dockerfile, which are read without Docker or Podman. `image` runs the result.
//!
//! They stand for hadolint, which is in no registry. Of its rules, those are checked that the file could break unnoticed: all
//! instructions parse, the bases and copied files have names that exist, the user is none with privileges, and the commands
//! and settings are those of the program.

use super::{check_settings, checked, wisp};
use crate::harness::{Repository, root};
use crate::python::succeed;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// The files that the build of the program reads, which must not be left out of the context.
const SOURCES: [&str; 17] = [
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "guest-models/Cargo.lock",
    "guest-models/Cargo.toml",
    "guest-models/edge",
    "guest-models/sdk",
    "host",
    "tests/artifacts",
    "tests/granted_guest",
    "tests/hello_guest",
    "tests/hostile_guest",
    "tests/initialized_guest",
    "tests/main.rs",
    "tests/web_guest",
    "wit",
];

/// The instructions of one stage, without `FROM`.
#[derive(Debug)]
pub(super) struct Stage {
    image: String,
    name: Option<String>,
    instructions: Vec<(String, String)>,
}

impl Stage {
    /// Returns the arguments of every instruction of this kind, in order.
    pub(super) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.instructions.iter();
        let found = found.filter(move |(instruction, _)| instruction == kind);
        found.map(|(_, arguments)| arguments.as_str())
    }

    /// Returns the arguments of the only instruction of this kind.
    pub(super) fn only<'a>(&'a self, kind: &'a str) -> Result<&'a str> {
        let found: Vec<_> = self.all(kind).collect();
        ensure!(found.len() == 1, "{kind}: {found:?}");
        Ok(found[0])
    }

    /// Returns the words of an instruction whose arguments are a JSON array.
    pub(super) fn words(&self, kind: &str) -> Result<Vec<String>> {
        Ok(serde_json::from_str(self.only(kind)?)?)
    }
}

/// Returns the stages of the Dockerfile.
pub(super) fn stages() -> Result<Vec<Stage>> {
    let instructions = checked("dockerfile", "Dockerfile")?;
    let instructions: Vec<(String, String)> = serde_json::from_value(instructions)?;
    let mut stages: Vec<Stage> = Vec::new();
    for (instruction, arguments) in instructions {
        if instruction == "FROM" {
            let mut words = arguments.split_whitespace();
            stages.push(Stage {
                image: words.next().unwrap_or_default().to_owned(),
                name: words.nth(1).map(str::to_owned),
                instructions: Vec::new(),
            });
        } else {
            let stage = stages.last_mut().context("no FROM")?;
            stage.instructions.push((instruction, arguments));
        }
    }
    Ok(stages)
}

/// Returns the last stage, which is the image.
fn image() -> Result<Stage> {
    stages()?.pop().context("no stage")
}

/// Returns the environment of the image.
pub(super) fn environment(image: &Stage) -> BTreeMap<String, String> {
    let variables = image.all("ENV").flat_map(str::split_whitespace);
    let variables = variables.filter_map(|variable| variable.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.collect()
}

/// Returns the command that checks the health of the image.
pub(super) fn health(image: &Stage) -> Result<Vec<String>> {
    let (_, command) = image
        .only("HEALTHCHECK")?
        .split_once("CMD ")
        .context("no command")?;
    Ok(serde_json::from_str(command)?)
}

#[test]
fn every_source_that_the_image_copies_exists() -> Result<()> {
    let stages = stages()?;
    let names: Vec<_> = stages
        .iter()
        .filter_map(|stage| stage.name.as_deref())
        .collect();
    let runs: Vec<_> = stages.iter().flat_map(|stage| stage.all("RUN")).collect();
    let mut copied = 0;
    for arguments in stages.iter().flat_map(|stage| stage.all("COPY")) {
        let (options, paths): (Vec<_>, Vec<_>) = arguments
            .split_whitespace()
            .partition(|word| word.starts_with("--"));
        let (_, sources) = paths.split_last().context("no destination")?;
        let from = options.iter().find_map(|word| word.strip_prefix("--from="));
        for source in sources {
            match from {
                None => ensure!(root().join(source).exists(), "{source} does not exist"),
                Some(stage) => {
                    ensure!(names.contains(&stage), "there is no stage {stage}");
                    // The certificates come with a package.
                    let package = source.starts_with("/etc/ssl/").then_some("ca-certificates");
                    let made = package.unwrap_or(source);
                    ensure!(
                        runs.iter().any(|run| run.contains(made)),
                        "no step makes {source}"
                    );
                }
            }
            copied += 1;
        }
    }
    ensure!(copied >= 3, "{copied}");
    Ok(())
}

#[test]
fn the_context_of_the_build_has_every_source() -> Result<()> {
    let path = root().join("deploy/Dockerfile.dockerignore");
    let patterns = std::fs::read_to_string(path)?;
    let patterns: Vec<_> = patterns
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    for source in SOURCES {
        ensure!(root().join(source).exists(), "{source} does not exist");
        let mut parents = std::path::Path::new(source).ancestors();
        let ignored = parents.find(|parent| {
            let name = parent.file_name().unwrap_or_default().to_string_lossy();
            patterns.iter().any(|pattern| {
                *pattern == parent.to_string_lossy() || *pattern == format!("**/{name}")
            })
        });
        ensure!(ignored.is_none(), "{source} is ignored");
    }
    Ok(())
}

#[test]
fn the_image_is_built_with_the_oldest_supported_compiler_or_a_newer_one() -> Result<()> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let minimum = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .context("no rust-version")?;
    let stages = stages()?;
    let build = stages.first().context("no stage")?;
    let tag = build.image.strip_prefix("rust:").context("not Rust")?;
    let version = tag.split('-').next().unwrap_or_default();
    let numbers = |text: &str| {
        let parts = text.split('.').map(str::parse::<u32>);
        parts.collect::<Result<Vec<_>, _>>()
    };
    ensure!(numbers(version)? >= numbers(minimum)?, "{tag} < {minimum}");
    Ok(())
}

#[test]
fn the_image_runs_as_a_numeric_user_other_than_root() -> Result<()> {
    let image = image()?;
    let user = image.only("USER")?;
    // Kubernetes refuses names, since any of them may be that of root.
    for id in user.split(':') {
        ensure!(id.parse::<u32>()? > 0, "{user}");
    }
    Ok(())
}

#[test]
fn the_commands_of_the_image_exist() -> Result<()> {
    let image = image()?;
    let entry = image.words("ENTRYPOINT")?;
    ensure!(entry == ["wisp"], "{entry:?}");
    let command = image.words("CMD")?;
    let health = health(&image)?;
    let (program, health) = health.split_first().context("no program")?;
    ensure!(program == "wisp", "{program}");
    for arguments in [&command[..], health] {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.push("--help");
        succeed(&mut wisp(&arguments))?;
    }
    Ok(())
}

#[test]
fn the_environment_of_the_image_is_a_valid_configuration() -> Result<()> {
    let image = image()?;
    let environment = environment(&image);
    check_settings(environment.keys().map(String::as_str))?;
    let repository = Repository::of(&["progression"])?;
    let cache = tempfile::tempdir()?;
    let mut check = wisp(&["serve", "--check-config"]);
    check
        .envs(&environment)
        .env("WISP_REPOSITORY", repository.path())
        .env("WISP_CACHE_DIR", cache.path().join("wisp"));
    let printed = String::from_utf8(succeed(&mut check)?.stdout)?;
    for name in environment.keys() {
        ensure!(
            printed.contains(&format!("environment {name}")),
            "{name}: {printed}"
        );
    }
    // Clients outside of the container reach all ports.
    let exposed: Vec<_> = image.only("EXPOSE")?.split_whitespace().collect();
    for (variable, port) in ["WISP_HTTP", "WISP_GRPC", "WISP_METRICS"]
        .iter()
        .zip(exposed)
    {
        let address = environment.get(*variable).context(*variable)?;
        ensure!(
            *address == format!("0.0.0.0:{port}"),
            "{variable}={address}"
        );
    }
    Ok(())
}
