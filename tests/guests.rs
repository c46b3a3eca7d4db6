//! Runs the tests of the SDK and of the example handlers natively, in their own workspace.

use crate::harness::root;
use crate::python::succeed;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// The packages that have tests.
const PACKAGES: [&str; 6] = [
    "wisp-handler",
    "digits",
    "wine",
    "progression",
    "embed",
    "tokenize",
];

#[test]
fn the_sdk_and_the_handlers_pass_their_own_tests() -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root().join("guest-models"))
        .args(["test", "--locked", "--all-features"])
        // The host target instead of the workspace's default target, which is Wasm.
        .args(["--target", "host-tuple", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"));
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    // The settings of the outer cargo for its own compilers do not apply here.
    for variable in [
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(variable);
    }
    succeed(&mut cargo).context("`cargo test` in guest-models")?;
    Ok(())
}
