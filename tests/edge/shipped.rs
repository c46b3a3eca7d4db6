//! Tests of the modules of bundles that come with Wisp: where releases and the image have them, the program finds them.

use crate::cli;
use crate::harness::{Repository, root};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Installs the program and the modules at these paths of a new directory, and bundles a model outside of any checkout.
fn bundles(program: &str, modules: &str) -> Result<()> {
    // On the file system of the program, which is large and linked.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (program, modules) = (
        directory.path().join(program),
        directory.path().join(modules),
    );
    std::fs::create_dir_all(program.parent().context("no directory")?)?;
    std::fs::hard_link(env!("CARGO_BIN_EXE_wisp"), &program)?;
    std::fs::create_dir_all(&modules)?;
    for file in ["http-adapter.wasm", "nn-rten-small.wasm"] {
        std::fs::copy(
            Path::new(wisp_artifacts::EDGE_MODULES).join(file),
            modules.join(file),
        )?;
    }
    let repository = Repository::empty()?.with_model("m", "progression", None)?;
    let mut command = Command::new(&program);
    command
        .current_dir(repository.path())
        .env_remove("WISP_EDGE_MODULES")
        .env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        )
        .args(["bundle", "m"]);
    cli::stdout(&cli::run(&mut command)?)?;
    ensure!(repository.path().join("m.wasm").is_file());
    Ok(())
}

#[test]
fn the_program_of_a_release_finds_the_modules_beside_it() -> Result<()> {
    bundles("wisp", "edge")?;
    bundles("bin/wisp", "lib/wisp/edge")
}

#[test]
fn releases_and_the_image_contain_the_modules() -> Result<()> {
    for (file, lines) in [
        (
            ".github/workflows/release.yml",
            [
                "build guest-models/edge",
                "cp -r guest-models/target/wisp/edge \"$name/edge\"",
            ],
        ),
        (
            "deploy/Dockerfile",
            [
                "build guest-models/edge",
                "/image/usr/local/lib/wisp/edge guest-models/target/wisp/edge/*.wasm",
            ],
        ),
    ] {
        let text = std::fs::read_to_string(root().join(file))?;
        for line in lines {
            ensure!(text.contains(line), "`{line}` is not in {file}");
        }
    }
    Ok(())
}
