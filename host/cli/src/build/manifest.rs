//! The parts of a handler's Cargo.toml that a build uses: its names and `[package.metadata.wisp]`.
//!
//! Cargo validates the rest of the file.

use crate::display;
use crate::failure::bad_configuration;
use anyhow::Context;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The name of the file in a crate's directory.
pub(super) const FILE_NAME: &str = "Cargo.toml";

/// The parts of a crate's manifest that a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CrateManifest {
    pub(super) name: String,
    /// The name of the library, which is also the base name of its artifacts.
    pub(super) library: String,
    pub(super) wisp: WispSection,
}

/// The section `[package.metadata.wisp]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct WispSection {
    /// The size of the stack in bytes.
    pub(super) stack_size: Option<u32>,
    /// The repository whose models receive the component, relative to the crate's directory.
    pub(super) models: Option<PathBuf>,
    /// Set for a module of edge bundles, which is not a handler.
    pub(super) edge_module: bool,
    /// The crates that are compiled for speed for this one, although their workspace has them compiled for size.
    pub(super) fast_crates: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    package: Option<Package>,
    lib: Option<Library>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    wisp: WispSection,
}

#[derive(Deserialize)]
struct Library {
    name: Option<String>,
}

impl CrateManifest {
    /// Reads the manifest of the crate in `directory`.
    pub(super) fn load(directory: &Path) -> anyhow::Result<CrateManifest> {
        let path = directory.join(FILE_NAME);
        let shown = display::path(&path);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read `{shown}`"))?;
        let file: File = toml::from_str(&text)
            .map_err(|error| bad_configuration(format!("`{shown}` is not valid: {error}")))?;
        let package = file.package.ok_or_else(|| {
            bad_configuration(format!(
                "`{shown}` is a workspace, not a crate; name the directory of one of its crates"
            ))
        })?;
        let wisp = package.metadata.wisp;
        if let Some(size) = wisp.stack_size {
            check_stack_size(size, &shown)?;
        }
        let library = file.lib.and_then(|library| library.name);
        Ok(CrateManifest {
            library: library.unwrap_or_else(|| package.name.replace('-', "_")),
            name: package.name,
            wisp,
        })
    }
}

/// Checks a stack size. The linker requires a multiple of 16. The bounds reject a size that was given in
/// KiB or in pages, and one that leaves no room in the memory that a handler may use.
fn check_stack_size(size: u32, file: &str) -> anyhow::Result<()> {
    const SMALLEST: u32 = 4 << 10;
    const LARGEST: u32 = 64 << 20;
    if size.is_multiple_of(16) && (SMALLEST..=LARGEST).contains(&size) {
        return Ok(());
    }
    Err(bad_configuration(format!(
        "{file}: package.metadata.wisp.stack-size is {size}; it is in bytes, a multiple of 16 from \
         {SMALLEST} to {LARGEST}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<CrateManifest> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join(FILE_NAME), text)?;
        CrateManifest::load(directory.path())
    }

    #[test]
    fn names_and_settings_are_found() -> anyhow::Result<()> {
        let plain = load("[package]\nname = \"a-b\"\nversion.workspace = true")?;
        assert_eq!((&*plain.name, &*plain.library), ("a-b", "a_b"));
        assert_eq!(plain.wisp, WispSection::default());
        let set = load(
            "[package]\nname = \"a\"\n[package.metadata.wisp]\nstack-size = 131072\n\
             models = \"m\"\nedge-module = true\nfast-crates = [\"b-c\"]\n[package.metadata.docs]\nx = 1\n[lib]\nname = \"other\"",
        )?;
        assert_eq!(set.library, "other");
        assert_eq!(set.wisp.stack_size, Some(131_072));
        assert_eq!(set.wisp.models, Some("m".into()));
        assert!(set.wisp.edge_module && !plain.wisp.edge_module);
        assert_eq!(set.wisp.fast_crates, ["b-c"]);
        Ok(())
    }

    #[test]
    fn an_invalid_value_is_refused_with_its_key_and_file() {
        let section = "[package]\nname = \"a\"\n[package.metadata.wisp]\n";
        for (text, expected) in [
            ("[workspace]".to_owned(), "is a workspace"),
            (format!("{section}stack-size = 64"), "stack-size is 64"),
            (format!("{section}stack-size = 65537"), "multiple of 16"),
            (
                format!("{section}stack_size = 65536"),
                "unknown field `stack_size`",
            ),
            ("[package".to_owned(), "is not valid"),
        ] {
            match load(&text) {
                Ok(manifest) => panic!("{text}: {manifest:?}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        error.contains(expected) && error.contains(FILE_NAME),
                        "{error}"
                    );
                }
            }
        }
    }
}
